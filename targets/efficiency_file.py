"""Tables of kernel efficiencies in YAML: `gemm: {compute: [low, typical, high], memory: [low, typical, high]}`."""

from __future__ import annotations

from collections.abc import Mapping

from .device import PRECISIONS
from .document import Node
from .efficiency import ANY_PRECISION, KERNEL_CLASSES, SIGNED, Efficiency, EfficiencyTable, Share
from .reader import Section, fail

# A described peak can be beaten (turbo, a better memory); a share well above one is a mistake, such as a percentage.
_LARGEST_SHARE = 1.5

__all__ = ["read_efficiencies", "read_efficiency_table"]


def read_efficiencies(section: Section) -> Mapping[str, EfficiencyTable]:
    """One table per key of the section (a device class, or a runtime)."""
    return {name: read_efficiency_table(below) for name, below in section.sections("source", "note")}


def read_efficiency_table(section: Section) -> EfficiencyTable:
    """The rows of one table, by kernel class and precision."""
    section.only(*KERNEL_CLASSES, "source", "note")
    return EfficiencyTable({name: _rows(name, below) for name, below in section.sections("source", "note")})


def _rows(name: str, section: Section) -> Mapping[str, Efficiency]:
    section.only("compute", "memory", "source", "note")
    memory = _share(section.need("memory"), section.path_of("memory"))
    compute = section.need("compute")
    if not isinstance(compute.value, dict):
        return {ANY_PRECISION: _row(name, section, compute, section.path_of("compute"), memory)}
    below = section.section("compute")
    below.only(*PRECISIONS, f"int8{SIGNED}", ANY_PRECISION)
    return {
        precision: _row(name, section, node, below.path_of(precision), memory)
        for precision, node in below.children.items()
    }


def _row(name: str, section: Section, node: Node, path: str, memory: Share) -> Efficiency:
    source, note = section.source_of(node, section.cited, path), section.cited.note_for(node)
    compute = _share(node, path)
    return Efficiency(name, compute.typical, memory.typical, compute, memory, source, str(node.where), note)


def _share(node: Node, path: str) -> Share:
    expected = f"expected [low, typical, high], each above 0 and at most {_LARGEST_SHARE}"
    if not isinstance(node.value, list) or len(node.value) != 3:
        raise fail(expected, node, path)
    numbers = [item.to_python() for item in node.value]
    for item, number in zip(node.value, numbers, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= _LARGEST_SHARE:
            raise fail(f'{expected}, got "{item.value}"', item, path)
    low, typical, high = (float(number) for number in numbers)
    if not low <= typical <= high:
        raise fail(f"{expected}, in rising order", node, path)
    return Share(low, typical, high)
