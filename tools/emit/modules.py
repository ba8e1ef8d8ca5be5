"""Kernels as the tree of the framework's modules, with each branch's sum; repeated blocks are shown once.

Where the source says of which class a module is, its name is followed by that: ``layer1 (Sequential)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...passes.report import KernelReport, Report
from .rows import Row, common_name, name_template, row_of

__all__ = ["module_of", "module_rows"]

NO_MODULE = "(no module)"
_DEEPEST = 60
"""Modules inside each other that get a row each; the path of one deeper is one name from there on."""

_LONGEST_NUMBER = 10


@dataclass(slots=True)
class _Branch:
    """A module: the kernels in it and below it, and the modules below it by name."""

    name: str
    kind: str = ""
    kernels: list[KernelReport] = field(default_factory=list)
    below: dict[str, _Branch] = field(default_factory=dict)

    def likeness(self) -> object:
        """What two repeated blocks have in common: everything but the numbers in names."""
        work = tuple((item.pattern, item.output, item.macs, item.flops, item.bytes) for item in self.kernels)
        return (name_template(self.name), work, tuple(branch.likeness() for branch in self.below.values()))


def module_of(kernel: KernelReport) -> tuple[str, ...]:
    """The path of modules that a kernel belongs to; from an operation's own path where there is no other."""
    if kernel.module:
        return tuple(kernel.module.split(".", _DEEPEST))
    parts: list[str] = []
    for part in kernel.name.strip("/").split("/", _DEEPEST)[:-1]:
        parts.append(part.removeprefix(f"{parts[-1]}.") if parts else part)
    return tuple(parts) or (NO_MODULE,)


def module_rows(report: Report) -> list[Row]:
    """The tree in graph order, each branch before what is below it."""
    root = _Branch("")
    known = report.graph.attributes.get("modules")
    kinds = known if isinstance(known, Mapping) else {}
    for kernel in report.kernels:
        branch, path = root, ""
        for name in module_of(kernel):
            path = f"{path}.{name}" if path else name
            branch = branch.below.setdefault(name, _Branch(name, str(kinds.get(path, ""))))
            branch.kernels.append(kernel)
    return list(_rows([root], 0))


def _rows(alike: Sequence[_Branch], depth: int) -> Iterator[Row]:
    """The rows below a bundle of branches that are alike, and so have as many branches below them."""
    groups: dict[object, list[_Branch]] = {}
    for twins in zip(*(branch.below.values() for branch in alike), strict=True):
        groups.setdefault(twins[0].likeness(), []).extend(twins)
    for group in groups.values():
        name = _name(group)
        while _passes_through(group[0]):
            group = [only for branch in group for only in branch.below.values()]
            name = f"{name}.{_name(group)}"
        kinds = {branch.kind for branch in group}
        if len(kinds) == 1 and "" not in kinds:
            name = f"{name} ({kinds.pop()})"
        yield row_of(name, [kernel for branch in group for kernel in branch.kernels], depth)
        yield from _rows(group, depth + 1)


def _passes_through(branch: _Branch) -> bool:
    """Whether a module holds nothing but one other: the two then share a row."""
    return len(branch.below) == 1 and all(len(only.kernels) == len(branch.kernels) for only in branch.below.values())


def _name(alike: Sequence[_Branch]) -> str:
    """``1–11`` for blocks that are numbered, else what the names have in common."""
    names = list(dict.fromkeys(branch.name for branch in alike))
    if len(names) > 1 and all(name.isdecimal() and len(name) < _LONGEST_NUMBER for name in names):
        first, last = int(names[0]), int(names[-1])
        return f"{first}–{last}" if last - first == len(names) - 1 else ",".join(names)
    return common_name(names)
