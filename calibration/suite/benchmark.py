"""A benchmark: one ONNX model that is timed kernel by kernel, and what timing it is expected to cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import CalibrationError

if TYPE_CHECKING:
    import onnx

    from .builder import Builder

__all__ = ["GROUPS", "Benchmark", "Caches", "opset_for"]

GROUPS = ("stream", "blas", "operators", "networks")

_FLOPS_PER_SECOND = 8e10
_BYTES_PER_SECOND = 1.2e10
_SECONDS_PER_NODE = 1e-6
_SESSION_SECONDS = 0.02
_SESSION_SECONDS_PER_NODE = 4e-4
_SESSION_BYTES_PER_SECOND = 2.5e8
_REPEATS = 20


_OPSET = 20
"""What PyTorch's exporter writes by default."""

_BF16_OPSET = 22
"""The first in which convolutions, pooling and recurrent layers take bf16."""


def opset_for(precision: str, opset: int = _OPSET) -> int:
    """Return the opset to write: the one wanted, or the first that has all operators in the precision."""
    return max(opset, _BF16_OPSET) if precision == "bf16" else opset


@dataclass(frozen=True, slots=True)
class Caches:
    """Sizes of a machine's caches in bytes, smallest first; vectors are made to fit each and to overflow the last.

    The defaults are those of a common server core: 32 KiB, 1 MiB, and a share of 4 MiB of the last level.
    """

    sizes: tuple[int, ...] = (32 << 10, 1 << 20, 4 << 20)

    def __post_init__(self) -> None:
        if not self.sizes or any(size < 1024 for size in self.sizes) or list(self.sizes) != sorted(self.sizes):
            raise CalibrationError(
                f"suite: cache sizes {self.sizes} are not an ascending list of at least 1 KiB each",
                help="give the data caches' sizes in bytes, smallest first",
            )

    @property
    def memory_bytes(self) -> int:
        """A working set that no cache holds: four times the last one, from 16 to 256 MiB."""
        return min(max(4 * self.sizes[-1], 16 << 20), 256 << 20)


@dataclass(frozen=True)
class Benchmark:
    """One model to be measured.

    ``name`` is unique in a suite and stable over releases. ``recipe`` writes the model into a builder; it is run once
    without weights, to count, and again by each :meth:`build`. ``covers`` names what the model is there for.
    """

    name: str
    group: str
    precision: str
    recipe: Callable[[Builder], None] = field(repr=False, compare=False)
    covers: tuple[str, ...] = ()
    opset: int = _OPSET

    @property
    def model(self) -> str:
        """The name that its samples carry."""
        return self.name

    def build(self) -> onnx.ModelProto:
        """Return the model with weights inside, the same at each call."""
        return self._run(dry=False).model()

    def _run(self, dry: bool) -> Builder:
        from .builder import Builder

        builder = Builder(self.name, self.precision, self.opset, dry=dry)
        self.recipe(builder)
        return builder

    @cached_property
    def _counted(self) -> tuple[int, int, int, int, tuple[str, ...]]:
        builder = self._run(dry=True)
        return builder.flops, builder.bytes, builder.weight_bytes, builder.launches, builder.operators

    @property
    def flops(self) -> int:
        """Floating-point operations of one run, counted without fusion."""
        return self._counted[0]

    @property
    def bytes(self) -> int:
        """Bytes that one run's operators read and write, counted without fusion."""
        return self._counted[1]

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that are in the model."""
        return self._counted[2]

    @property
    def tags(self) -> tuple[str, ...]:
        """The types of the operators in it, sorted."""
        return self._counted[4]

    @property
    def run_seconds(self) -> float:
        """What one run takes on one core of a current server, roughly: only good for dividing up a budget."""
        flops, moved, _, launches, _ = self._counted
        return max(flops / _FLOPS_PER_SECOND, moved / _BYTES_PER_SECOND) + launches * _SECONDS_PER_NODE

    @property
    def session_seconds(self) -> float:
        """What building the model and creating a session take, roughly."""
        _, _, weights, launches, _ = self._counted
        return _SESSION_SECONDS + launches * _SESSION_SECONDS_PER_NODE + weights / _SESSION_BYTES_PER_SECOND

    @property
    def seconds(self) -> float:
        """What measuring it takes, roughly: the session and twenty runs."""
        return self.session_seconds + _REPEATS * self.run_seconds
