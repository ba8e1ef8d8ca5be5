"""What a network takes of a microcontroller's RAM and flash, beside what its application takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..ir import CONSTANT, INPUT, OUTPUT, Graph, Kind, Op, TensorType, kind_of
from ..targets import Target
from .lower import KERNEL

__all__ = ["Footprint", "footprint"]

_WITHOUT_STATE = frozenset({Kind.VIEW, Kind.CONTROL})

_BY_CHANNEL = frozenset({"tfl.CONV_2D", "tfl.DEPTHWISE_CONV_2D", "tfl.TRANSPOSE_CONV"})
"""Operators that keep a multiplier and a shift for each channel of their result."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of RAM: the arena's activations, and what the interpreter keeps of tensors, operators and variables.
    Bytes of flash: the model as it is stored, and the runtime's own code, without the kernels that it links.

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
    members = list(_members(graph))
    operators = [op for op in members if op.name not in (INPUT, OUTPUT, CONSTANT)]
    stored = graph.attributes.get("file_bytes")
    return Footprint(
        arena_bytes=arena_bytes,
        upkeep_bytes=int(
            upkeep.fixed.value
            + upkeep.per_tensor.value * sum(len(op.results) for op in members)
            + upkeep.per_operator.value * len(operators)
            + upkeep.per_kernel.value * sum(kind_of(op) not in _WITHOUT_STATE and bool(op.results) for op in operators)
            + upkeep.per_channel.value * sum(map(_channels, operators))
            + sum(_variables(operators).values())
        ),
        model_bytes=stored if isinstance(stored, int) else weight_bytes,
        code_bytes=int(upkeep.code.value),
        sram_size=_size(target, "activations"),
        flash_size=_size(target, "weights"),
    )


def _members(graph: Graph) -> Iterator[Op]:
    """What stands in the file: kernels taken apart, and the operators of every subgraph."""
    for op in graph.ops:
        if op.name == KERNEL:
            yield from op.regions[0].body
            continue
        yield op
        for region in op.regions:
            yield from _members(region)


def _channels(op: Op) -> int:
    type_ = op.results[0].type if op.results else None
    if op.name not in _BY_CHANNEL or not isinstance(type_, TensorType) or not type_.static or not type_.dims:
        return 0
    return 0 if type_.dtype.is_float else type_.dims[-1]


def _variables(operators: Iterable[Op]) -> dict[Op, int]:
    """Bytes of each resource variable, by the operation that names it: what is put there or taken from there."""
    sizes: dict[Op, int] = {}
    for op in operators:
        value = {"tfl.ASSIGN_VARIABLE": op.operand(1), "tfl.READ_VARIABLE": next(iter(op.results), None)}.get(op.name)
        handle = op.operand(0)
        if value is not None and handle is not None:
            sizes[handle.op] = max(sizes.get(handle.op, 0), value.bytes or 0)
    return sizes


def _size(target: Target, holds: str) -> int | None:
    """Bytes of the memory that holds nothing but this."""
    sizes = [level.size for level in target.device.memories if level.holds == {holds} and level.size is not None]
    return int(max(sizes)) if sizes else None
