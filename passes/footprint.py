"""What a network takes of a microcontroller's RAM and flash, beside what its application takes."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Graph, Op, TensorType
from ..targets import Target
from .fuse import kernel_ops

__all__ = ["Footprint", "footprint"]

_BY_CHANNEL = frozenset({"tfl.CONV_2D", "tfl.DEPTHWISE_CONV_2D", "tfl.TRANSPOSE_CONV"})
"""Operators that keep a multiplier and a shift for each channel of their result."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of RAM: the arena's activations, and what the interpreter keeps of tensors and operators. Bytes of flash:
    the model as it is stored, and the runtime's own code, without the kernels that it links.

    ``sram_size`` and ``flash_size`` are what the device has, ``None`` where its file does not say.
    """

    arena_bytes: int
    upkeep_bytes: int
    model_bytes: int
    code_bytes: int
    sram_size: int | None
    flash_size: int | None

    @property
    def sram_bytes(self) -> int:
        """RAM in all."""
        return self.arena_bytes + self.upkeep_bytes

    @property
    def flash_bytes(self) -> int:
        """Flash in all."""
        return self.model_bytes + self.code_bytes


def footprint(graph: Graph, target: Target, arena_bytes: int, weight_bytes: int) -> Footprint | None:
    """Return what a network takes of the target's RAM and flash; ``None`` where its runtime does not say."""
    upkeep = target.runtime.arena.upkeep
    if upkeep is None:
        return None
    operators = [inner for op in graph.body for inner in kernel_ops(op)]
    stored = graph.attributes.get("file_bytes")
    return Footprint(
        arena_bytes=arena_bytes,
        upkeep_bytes=int(
            upkeep.fixed.value
            + upkeep.per_tensor.value * _tensors(graph)
            + upkeep.per_operator.value * len(operators)
            + upkeep.per_channel.value * sum(map(_channels, operators))
        ),
        model_bytes=stored if isinstance(stored, int) else weight_bytes,
        code_bytes=int(upkeep.code.value),
        sram_size=_size(target, "activations"),
        flash_size=_size(target, "weights"),
    )


def _tensors(graph: Graph) -> int:
    """Tensors of the file: activations and constants, those inside kernels once."""
    inside = sum(len(op.results) for kernel in graph.body for op in kernel_ops(kernel) if op is not kernel)
    outside = sum(len(op.results) for op in graph.ops if kernel_ops(op) == (op,))
    return inside + outside


def _channels(op: Op) -> int:
    type_ = op.results[0].type if op.results else None
    if op.name not in _BY_CHANNEL or not isinstance(type_, TensorType) or not type_.static or not type_.dims:
        return 0
    return 0 if type_.dtype.is_float else type_.dims[-1]


def _size(target: Target, holds: str) -> int | None:
    """Bytes of the memory that holds nothing but this."""
    sizes = [level.size for level in target.device.memories if level.holds == {holds} and level.size is not None]
    return int(max(sizes)) if sizes else None
