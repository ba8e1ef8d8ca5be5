"""The multiply-accumulates of every contraction equal a count made from onnx's own shape inference, exactly.

Each operator by itself, as the file has it; and the total that a user is shown, after fusion.
"""

from __future__ import annotations

from pathlib import Path

from execution import executed_shapes
from macs import COUNTED, MacCount, count_macs

import graphs
from graphs.passes.lower import Work

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM", "counted_macs", "independent_macs"]

_NAMES = {f"onnx.{op_type}" for op_type in COUNTED}


def counted_macs(path: Path) -> dict[str, int]:
    """MACs of every contraction by the name of its node, before fusion."""
    graph = graphs.run("lower", graphs.load(path)).graph
    return {op.label: op.facts[Work].macs for op in graph.body if op.name in _NAMES}


def independent_macs(path: Path) -> MacCount:
    """The oracle's count; where onnx leaves a shape open, the network is run to see it."""
    try:
        return count_macs(path)
    except KeyError:
        return count_macs(path, executed_shapes(path))


def _check(path: Path) -> Row:
    expected, counted = independent_macs(path), counted_macs(path)
    faults = [
        f"{name!r} has {counted.get(name, 'no')} MACs, by the independent count {expected.per_node.get(name, 'none')}"
        for name in {**expected.per_node, **counted}
        if counted.get(name) != expected.per_node.get(name)
    ]
    total = graphs.run("fuse,lower", graphs.load(path)).total.macs
    if total != expected.total:
        faults.append(f"{total} MACs in total, by the independent count {expected.total}")
    return Row(label(path), (len(counted), total), tuple(faults))


CLAIM = Claim(
    "macs",
    f"the MACs of every {', '.join(sorted(COUNTED))} equal an independent count exactly, each and in total",
    ("operators", "MACs"),
    _check,
)
