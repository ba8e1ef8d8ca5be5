"""The multiply-accumulates of an exported network are those that PyTorch's own counter counts when the module runs.

Operator by operator: as many products and convolutions of each size as the counter saw. Where an exporter's operator
stands for several of PyTorch's, their sum is compared, and the difference is listed with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flop_counter import Counted

import graphs
from graphs.ir import Expression, Graph
from graphs.ir.primitives import Conv
from graphs.passes.lower import Work

__all__ = ["CLASSES", "Agreement", "agreement", "lowered_macs"]

CLASSES = ("conv", "matmul")

_REASONS = {
    "onnx.LSTM": "one recurrent layer, a product for every step there",
    "onnx.GRU": "one recurrent layer, a product for every step there",
    "onnx.RNN": "one recurrent layer, a product for every step there",
    "onnx.Einsum": "one sum over several operands, a product for each pair there",
}
"""Operators that stand for several products of PyTorch's."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """MACs by class on both sides, how many operators are equal, and how the others differ.

    ``differences`` have their reasons, ``faults`` have none.
    """

    theirs: Mapping[str, int]
    ours: Mapping[str, int]
    equal: int
    differences: tuple[str, ...]
    faults: tuple[str, ...]


def lowered_macs(path: Path, dims: Mapping[str, int]) -> tuple[list[Counted], list[str]]:
    """Return our count of each operator that multiplies and accumulates, and the names of those left uncounted.

    Uncounted is what is unknown, and what stays an expression since its extents follow from data.
    """
    graph = graphs.run("lower", graphs.load(path), dims=dims).graph
    works = [(op.name, op.facts[Work]) for op in graph.walk() if Work in op.facts]
    left = [name for name, work in works if work.unknown or isinstance(work.macs, Expression)]
    return list(_counted(graph)), left


def _counted(graph: Graph) -> Iterable[Counted]:
    for op in graph.walk():
        work = op.facts.get(Work)
        if work is not None and work.macs and not isinstance(work.macs, Expression):
            work_class = "conv" if any(isinstance(primitive, Conv) for primitive in work.primitives) else "matmul"
            yield Counted(op.name, work_class, work.macs)


def agreement(theirs: Sequence[Counted], ours: Sequence[Counted], uncounted: Sequence[str] = ()) -> Agreement:
    """Compare two counts of the same network; ``uncounted`` names our operators whose work follows from data."""
    equal, differences, faults = 0, list[str](), list[str]()
    for work_class in CLASSES:
        there = [call for call in theirs if call.work_class == work_class]
        here = [call for call in ours if call.work_class == work_class]
        common = Counter(call.macs for call in there) & Counter(call.macs for call in here)
        equal += common.total()
        rest_there, rest_here = _without(there, common), _without(here, common)
        if rest_there or rest_here:
            told, reason = _told(rest_there, rest_here, uncounted)
            (differences if reason else faults).append(f"{work_class}: {told}{reason and ': '}{reason}")
    return Agreement(_totals(theirs), _totals(ours), equal, tuple(differences), tuple(faults))


def _totals(calls: Sequence[Counted]) -> dict[str, int]:
    return {name: sum(call.macs for call in calls if call.work_class == name) for name in CLASSES}


def _without(calls: Sequence[Counted], common: Counter[int]) -> list[Counted]:
    left, rest = Counter(common), []
    for call in calls:
        if left[call.macs]:
            left[call.macs] -= 1
        else:
            rest.append(call)
    return rest


def _told(there: Sequence[Counted], here: Sequence[Counted], uncounted: Sequence[str]) -> tuple[str, str]:
    """What differs, and why that is right; no reason where there is none."""
    macs_there, macs_here = sum(call.macs for call in there), sum(call.macs for call in here)
    told = f"{_listed(there)} = {macs_there:,} there, {_listed(here)} = {macs_here:,} here"
    if macs_there == macs_here and here and all(call.operator in _REASONS for call in here):
        return told, "; ".join(dict.fromkeys(_REASONS[call.operator] for call in here))
    products = [name for name in uncounted if name in ("onnx.Conv", "onnx.Gemm", "onnx.MatMul")]
    if not here and len(there) == len(products):
        return told, f"how many rows {', '.join(dict.fromkeys(products))} has follows from data, and is left open here"
    return told, ""


def _listed(calls: Sequence[Counted]) -> str:
    counts = Counter(call.operator for call in calls)
    return ", ".join(f"{count} {operator}" for operator, count in counts.items()) or "nothing"
