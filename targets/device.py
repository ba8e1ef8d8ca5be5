"""What hardware is: compute units, memories, energy, and where each number comes from. SI units throughout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .efficiency import Efficiency, EfficiencyTable
from .quantity import Quantity

__all__ = [
    "ALL_KINDS",
    "DEVICE_CLASSES",
    "KINDS",
    "PRECISIONS",
    "WIDER",
    "ComputeUnit",
    "Device",
    "Energy",
    "Memory",
    "Source",
]

DEVICE_CLASSES = ("cpu", "gpu", "mcu", "npu")
PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int64", "int32", "int16", "int8", "int4", "bool")
KINDS = (
    "elementwise", "contraction", "window", "reduction", "normalization", "layout", "gather", "recurrent", "scan",
    "control", "quantization", "opaque",
)  # fmt: skip
ALL_KINDS = "all"
# What holds every value of a narrower precision, narrowest first: what software falls back on.
WIDER: Mapping[str, tuple[str, ...]] = {
    "tf32": ("fp32",),
    "fp16": ("fp32",),
    "bf16": ("fp32",),
    "fp8": ("fp16", "bf16", "fp32"),
    "int4": ("int8", "int16", "int32"),
    "int8": ("int16", "int32"),
    "int16": ("int32",),
    "int32": ("int64",),
    "bool": ("int8", "int16", "int32"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A document that numbers are cited from."""

    name: str
    title: str
    url: str | None
    date: str | None
    note: str
    where: str


@dataclass(frozen=True, slots=True)
class ComputeUnit:
    """A part of the device that computes: what it runs, and how fast per precision.

    `peaks` are FLOP/s of all `count` copies together, one multiply-accumulate being two FLOPs; `written` are the
    numbers as they stand in the file (`clock`, `per_cycle.fp16`, …). `vector` is the bytes of a vector register.
    """

    name: str
    title: str
    runs: frozenset[str]
    peaks: Mapping[str, Quantity]
    clock: Quantity | None
    count: Quantity
    written: Mapping[str, Quantity]
    vector: Quantity | None = None

    def accepts(self, kind: str) -> bool:
        """Whether operators of this kind run here."""
        return kind in self.runs or ALL_KINDS in self.runs

    def peak(self, precision: str) -> float | None:
        """FLOP/s at this precision, or None where the unit has no such arithmetic."""
        found = self.peaks.get(precision)
        return None if found is None else found.value

    def origin(self, precision: str) -> Quantity:
        """The peak with its source and derivation. Raises `KeyError` where there is none."""
        return self.peaks[precision]


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory level; `size` in bytes over all copies (None: as large as need be), `bandwidth` in bytes per second.

    `holds` says what may live here: `weights`, `activations`, or both.
    """

    name: str
    title: str
    size: float | None
    bandwidth: float
    size_origin: Quantity | None
    bandwidth_origin: Quantity
    count: Quantity
    holds: frozenset[str]
    written: Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules per FLOP by precision, joules per byte by memory, and the watts that flow whatever happens."""

    flop: Mapping[str, Quantity]
    byte: Mapping[str, Quantity]
    idle: Quantity | None

    def per_flop(self, precision: str) -> float | None:
        """Joules of one FLOP (half a multiply-accumulate), or None where nobody has said."""
        found = self.flop.get(precision)
        return None if found is None else found.value

    def per_byte(self, memory: str) -> float | None:
        """Joules of one byte read from or written to a memory, or None where nobody has said."""
        found = self.byte.get(memory)
        return None if found is None else found.value

    @property
    def idle_watts(self) -> float | None:
        """Watts drawn while nothing computes, or None where nobody has said."""
        return None if self.idle is None else self.idle.value

    def origin(self, name: str) -> Quantity | None:
        """Where a coefficient comes from: a precision, a memory's name, or `idle`."""
        return self.idle if name == "idle" else self.flop.get(name) or self.byte.get(name)


@dataclass(frozen=True, slots=True)
class Device:
    """Hardware in one of its power modes; `memories` are nearest first."""

    name: str
    title: str
    device_class: str
    units: tuple[ComputeUnit, ...]
    memories: tuple[Memory, ...]
    energy: Energy | None
    tdp: Quantity | None
    modes: tuple[str, ...]
    mode: str | None
    runtimes: tuple[str, ...]
    dispatch: Mapping[str, Quantity]
    efficiencies: Mapping[str, EfficiencyTable]
    sources: Mapping[str, Source]
    path: Path | None
    notes: tuple[str, ...] = ()

    @property
    def static_power(self) -> float | None:
        """Watts drawn while nothing computes, or None where nobody has said."""
        return None if self.energy is None else self.energy.idle_watts

    @property
    def vector_bytes(self) -> int | None:
        """Bytes of the widest vector register; None where no file says."""
        return max((int(unit.vector.value) for unit in self.units if unit.vector is not None), default=None)

    def best_unit(self, kind: str, precision: str) -> ComputeUnit | None:
        """The fastest unit for operators of a kind at a precision; None where no unit can do it."""
        able = [unit for unit in self.units if unit.accepts(kind) and unit.peak(precision) is not None]
        return max(able, key=lambda unit: unit.peaks[precision].value, default=None)

    def arithmetic(self, kind: str, precision: str) -> tuple[ComputeUnit, str] | None:
        """The unit, and the precision in which it computes: where none has this one, the next wider that one has."""
        for wider in (precision, *WIDER.get(precision, ())):
            unit = self.best_unit(kind, wider)
            if unit is not None:
                return unit, wider
        return None

    def memory(self, name: str) -> Memory:
        """The memory level of that name. Raises `KeyError`."""
        for memory in self.memories:
            if memory.name == name:
                return memory
        raise KeyError(name)

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every number written in the device's files, with its dotted path."""
        for unit in self.units:
            yield from ((f"units.{unit.name}.{key}", number) for key, number in unit.written.items())
        for memory in self.memories:
            yield from ((f"memories.{memory.name}.{key}", number) for key, number in memory.written.items())
        if self.energy is not None:
            yield from ((f"energy.flop.{key}", number) for key, number in self.energy.flop.items())
            yield from ((f"energy.{key}", number) for key, number in self.energy.byte.items())
            yield from ((("energy.idle", self.energy.idle),) if self.energy.idle else ())
        yield from ((("tdp", self.tdp),) if self.tdp else ())
        yield from ((f"dispatch.{key}", number) for key, number in self.dispatch.items())

    def efficiency_rows(self) -> Iterator[tuple[str, Efficiency]]:
        """Every efficiency that the device's files state in place of the runtimes', with its dotted path."""
        for runtime, table in self.efficiencies.items():
            yield from ((f"efficiency.{runtime}.{path}", row) for path, row in table.rows())
