"""onnx's backend suite: every case loads, its outputs' types are inferred, and all work in it is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from backend_suite import SuiteCase, disagreement, file_cases, node_cases, steered

from graphs.frontends.onnx import load_onnx
from graphs.ir import Op, definition
from graphs.ir.primitives import Unknown
from graphs.passes.base import Context
from graphs.passes.bind import Bind
from graphs.passes.bodies import nested_bodies
from graphs.passes.lower import Lower, Work
from graphs.passes.shape import ShapeInference
from graphs.targets import load_target
from graphs.tools.operator_table import primitives_of

TARGET = "intel-core-i7-12700k"
SHARDS = 8

DATA_DEPENDENT = {
    "onnx.NonZero",
    "onnx.Compress",
    "onnx.Unique",
    "onnx.NonMaxSuppression",
    "onnx.ImageDecoder",
    "onnx.StringSplit",
    "onnx.StringNormalizer",
    "onnx.Loop",
    "onnx.If",
    "onnx.SequenceMap",
}
"""Operators whose results' extents follow from elements that are no shape arithmetic."""


def _faults(cases: Iterable[SuiteCase]) -> Iterator[str]:
    for case in cases:
        graph, context = load_onnx(steered(case)), Context(load_target(TARGET))
        Bind().run(graph, context)
        ShapeInference().run(graph, context)
        Lower().run(graph, context)
        open_dims = bool(case.operators & DATA_DEPENDENT)
        for output, expected in zip(graph.outputs, case.outputs, strict=False):
            value = output.operands[0]
            fault = disagreement(value.type, expected, open_dims) if value is not None else "it has no value"
            if fault:
                yield f"{case.name}: {fault}"
        for region in (graph, *(body.region for body in nested_bodies(graph))):
            for op in region.body:
                yield from (f"{case.name}: {op.name} is not listed with {tag}" for tag in _unlisted(op))
                yield from (f"{case.name}: {op.name} {each.reason}" for each in op.facts[Work].beside.unknown)


def _unlisted(op: Op) -> set[str]:
    """Primitives that an operation was lowered to, and the list of operators does not name."""
    entry = definition(op.name)
    made = {each.tag for each in op.facts[Work].beside.primitives if not isinstance(each, Unknown)}
    return made - set(primitives_of(entry)) if entry else made


def test_the_suite_is_there() -> None:
    cases = node_cases()
    assert len(cases) > 1800
    assert len(set().union(*(case.operators for case in cases))) >= 200


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_case_is_read_typed_and_counted(shard: int) -> None:
    assert list(_faults(node_cases()[shard::SHARDS])) == []


def test_every_file_in_the_package_is_read_typed_and_counted() -> None:
    cases = list(file_cases())
    assert len(cases) > 140
    assert list(_faults(cases)) == []
