"""A device's YAML tree, read into a `Device`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .device import ALL_KINDS, DEVICE_CLASSES, KINDS, PRECISIONS, ComputeUnit, Device, Energy, Memory, Source
from .document import Node
from .efficiency_file import read_efficiencies
from .quantity import Quantity, format_si
from .reader import Section, fail

__all__ = ["DEVICE_KEYS", "DeviceFile", "read_device", "read_sources"]

DEVICE_KEYS = (
    "schema", "name", "title", "extends", "class", "sources", "units", "memories", "energy", "tdp", "modes",
    "default_mode", "runtimes", "dispatch", "efficiency",
)  # fmt: skip
_UNIT_KEYS = ("title", "runs", "count", "clock", "per_cycle", "peak", "vector", "source", "note")
_MEMORY_KEYS = ("title", "size", "bandwidth", "per_cycle", "clock", "count", "holds", "source", "note")
_SOURCE_KEYS = ("title", "url", "date", "note")
_CONTENTS = ("weights", "activations")
_ONE = Quantity(1.0, "", None, "", "one, as nothing else is said")


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """A device's tree after inheritance and with a mode's overrides in place, and where it came from."""

    name: str
    root: Node
    path: Path | None
    modes: tuple[str, ...]
    mode: str | None
    strict: bool
    notes: tuple[str, ...] = ()


def read_device(file: DeviceFile) -> Device:
    """The device that a tree describes. Raises `TargetError`."""
    sources = read_sources(file.root, file.strict)
    top = Section.root(file.root, sources, file.strict)
    top.only(*DEVICE_KEYS)
    memories = tuple(_memory(name, section) for name, section in top.section("memories").sections())
    if not memories:
        raise fail("a device has at least one memory", top.need("memories"), "memories")
    units = tuple(_unit(name, section) for name, section in top.section("units").sections())
    if not units:
        raise fail("a device has at least one compute unit", top.need("units"), "units")
    return Device(
        name=file.name,
        title=top.text("title", file.name),
        device_class=top.choice("class", DEVICE_CLASSES),
        units=units,
        memories=memories,
        energy=_energy(top.section("energy"), memories) if "energy" in top else None,
        tdp=top.quantity("tdp", "power") if "tdp" in top else None,
        modes=file.modes,
        mode=file.mode,
        runtimes=top.names("runtimes"),
        dispatch=_dispatch(top.section("dispatch")) if "dispatch" in top else {},
        efficiencies=read_efficiencies(top.section("efficiency")) if "efficiency" in top else {},
        sources=sources,
        path=file.path,
        notes=file.notes,
    )


def read_sources(root: Node, strict: bool) -> Mapping[str, Source]:
    """The documents that a file cites; `strict` wants an address and a date of each."""
    top = Section.root(root, {}, strict=False)
    if "sources" not in top:
        return {}
    return {name: _source(name, section, strict) for name, section in top.section("sources").sections()}


def _source(name: str, section: Section, strict: bool) -> Source:
    section.only(*_SOURCE_KEYS)
    if strict:
        section.need("url")
        section.need("date")
    return Source(
        name=name,
        title=section.text("title"),
        url=section.text("url", "") or None,
        date=section.text("date", "") or None,
        note=section.text("note", ""),
        where=str(section.where()),
    )


def _unit(name: str, section: Section) -> ComputeUnit:
    section.only(*_UNIT_KEYS)
    written: dict[str, Quantity] = {}
    count = written["count"] = section.quantity("count", "count") if "count" in section else _ONE
    clock = section.quantity("clock", "frequency") if "clock" in section else None
    if clock is not None:
        written["clock"] = clock
    vector = section.quantity("vector", "size") if "vector" in section else None
    if vector is not None:
        written["vector"] = vector
    peaks = _peaks(section, clock, count, written)
    if not peaks:
        raise fail("say how fast it is: `per_cycle` with `clock`, or `peak`", section.node, section.path)
    if count is _ONE:
        del written["count"]
    return ComputeUnit(name, section.text("title", name), _kinds(section), peaks, clock, count, written, vector)


def _kinds(section: Section) -> frozenset[str]:
    node = section.need("runs")
    if node.value == ALL_KINDS:
        return frozenset((ALL_KINDS,))
    return frozenset(section.names("runs", KINDS))


def _peaks(
    section: Section, clock: Quantity | None, count: Quantity, written: dict[str, Quantity]
) -> dict[str, Quantity]:
    peaks: dict[str, Quantity] = {}
    if "peak" in section:
        for precision, number in _by_precision(section.section("peak"), "throughput").items():
            peaks[precision] = written[f"peak.{precision}"] = number
    if "per_cycle" not in section:
        return peaks
    if clock is None:
        raise fail("`per_cycle` needs a `clock`", section.need("per_cycle"), section.path)
    below = section.section("per_cycle")
    for precision, work in _by_precision(below, "work per cycle").items():
        if precision in peaks:
            raise fail("given as `peak` too", below.need(precision), below.path_of(precision))
        written[f"per_cycle.{precision}"] = work
        peaks[precision] = _product(work, clock, count, "FLOP/s", "FLOP")
    return peaks


def _product(each: Quantity, clock: Quantity, count: Quantity, unit: str, counted: str) -> Quantity:
    """So much per cycle, times the clock, times the number of copies; an assumption in any is one in all."""
    copies = f" × {count.value:g}" if count.value != 1 else ""
    note = f"{each.value:g} {counted}/cycle{copies} × {format_si(clock.value, 'Hz')}"
    remarks = [part.note for part in (each, clock, count) if part.note and part is not _ONE]
    assumed = any(part.assumed for part in (each, clock, count))
    note = "; ".join([note, *dict.fromkeys(remark.removeprefix("assumed: ") for remark in remarks)])
    value = each.value * clock.value * count.value
    return Quantity(value, unit, each.source, each.where, f"assumed: {note}" if assumed else note)


def _by_precision(section: Section, dimension: str) -> dict[str, Quantity]:
    section.only(*PRECISIONS, "source", "note")
    return {
        precision: section.quantity(precision, dimension)
        for precision in section.children
        if precision not in ("source", "note")
    }


def _memory(name: str, section: Section) -> Memory:
    section.only(*_MEMORY_KEYS)
    written: dict[str, Quantity] = {}
    count = section.quantity("count", "count") if "count" in section else _ONE
    if "count" in section:
        written["count"] = count
    size = section.quantity("size", "size") if "size" in section else None
    if size is not None:
        written["size"] = size
    bandwidth = _bandwidth(section, count, written)
    holds = section.names("holds", _CONTENTS) if "holds" in section else _CONTENTS
    return Memory(
        name=name,
        title=section.text("title", name),
        size=None if size is None else size.value * count.value,
        bandwidth=bandwidth.value,
        size_origin=size,
        bandwidth_origin=bandwidth,
        count=count,
        holds=frozenset(holds),
        written=written,
    )


def _bandwidth(section: Section, count: Quantity, written: dict[str, Quantity]) -> Quantity:
    if "per_cycle" not in section:
        if "clock" in section:
            raise fail("`clock` needs a `per_cycle`", section.need("clock"), section.path_of("clock"))
        written["bandwidth"] = section.quantity("bandwidth", "rate")
        return written["bandwidth"]
    if "bandwidth" in section:
        raise fail("given as `per_cycle` too", section.need("bandwidth"), section.path_of("bandwidth"))
    width = written["per_cycle"] = section.quantity("per_cycle", "width")
    clock = written["clock"] = section.quantity("clock", "frequency")
    return _product(width, clock, count, "B/s", "B")


def _energy(section: Section, memories: tuple[Memory, ...]) -> Energy:
    names = tuple(memory.name for memory in memories)
    section.only("flop", "mac", "idle", "source", "note", *names)
    flop = _by_precision(section.section("flop"), "energy") if "flop" in section else {}
    if "mac" in section:
        below = section.section("mac")
        for precision, joules in _by_precision(below, "energy").items():
            if precision in flop:
                raise fail("given per FLOP too", below.need(precision), below.path_of(precision))
            note = "; ".join(filter(None, ("half of a multiply-accumulate's", joules.note)))
            note = f"assumed: {note}" if joules.assumed else note
            flop[precision] = Quantity(joules.value / 2, "J", joules.source, joules.where, note)
    byte = {name: section.quantity(name, "energy per byte") for name in names if name in section}
    return Energy(flop, byte, section.quantity("idle", "power") if "idle" in section else None)


def _dispatch(section: Section) -> dict[str, Quantity]:
    return {
        runtime: section.varying(runtime, "duration")
        for runtime in section.children
        if runtime not in ("source", "note")
    }
