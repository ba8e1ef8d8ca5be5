"""What of a processor decides how much work a kernel is: its caches, and how wide its vectors are."""

from __future__ import annotations

from dataclasses import dataclass

from ..targets import Target

__all__ = ["FILTER_BLOCKS", "GEMM_COLUMNS", "Processor"]

FILTER_BLOCKS = 4
"""Blocks of filters that a convolution computes together."""
GEMM_COLUMNS = 16
"""Columns of the right factor that are packed together."""

_NEAR_SHARE = 0.75
_LANES_OF_VECTORS, _USUAL_LANES = {32: 8}, 16
"""Channels that MLAS computes together, by bytes of a vector register: 16 on ARM too, whose registers have 16 bytes.
The runtime's file says the same to fusion (``blocked_layout``)."""

_ROWS = {8: (3, 6)}
_USUAL_ROWS = (6, 12)
"""Rows of results that a convolution and a product keep in registers, by lanes: 16 registers of AVX, 32 of AVX-512
(``mlas/lib/amd64``: ``SconvKernelFma3``, ``SgemmKernelFma3``, and those that end in ``Avx512F``)."""


@dataclass(frozen=True, slots=True)
class Processor:
    """``near_bytes`` is what the caches hold from one kernel to the next; what is larger comes from far.

    ``lanes`` are the channels that are computed together.
    """

    near_bytes: int
    lanes: int = _USUAL_LANES

    @property
    def conv_rows(self) -> int:
        """Results along a row that a convolution computes together."""
        return _ROWS.get(self.lanes, _USUAL_ROWS)[0]

    @property
    def gemm_rows(self) -> int:
        """Rows that a matrix product computes together."""
        return _ROWS.get(self.lanes, _USUAL_ROWS)[1]

    @property
    def filter_set(self) -> int:
        """Filters that a convolution computes together."""
        return FILTER_BLOCKS * self.lanes

    @staticmethod
    def of(target: Target) -> Processor:
        """Return that of a target; its caches hold three quarters of the second level."""
        device = target.device
        sized = [level.size for level in device.memories if level.size is not None]
        near = int(_NEAR_SHARE * sized[min(1, len(sized) - 1)]) if sized else 0
        return Processor(near, _LANES_OF_VECTORS.get(device.vector_bytes or 0, _USUAL_LANES))
