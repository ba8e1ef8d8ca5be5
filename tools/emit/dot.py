"""A picture of the kernels for Graphviz: coloured by what bounds them, the darker the more time they take.

graphs-opt model.onnx -o model.dot && dot -Tsvg model.dot -o model.svg
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

from ...ir import CONSTANT, Graph, Op, TensorType
from ...passes.report import KernelReport, Report
from ..terminal import visible
from ..units import duration, percent, shape, si
from .rows import labels
from .view import View

__all__ = ["emit"]

_HUES = {"compute": 0.36, "dispatch": 0.80, "unknown": 0.0}
_MEMORY_HUE = 0.12
_ALIGN_LEFT = "\\l"


def emit(reports: Sequence[Report], view: View) -> str:
    """Return a digraph for each report."""
    return "\n".join("\n".join(_digraph(report)) + "\n" for report in reports)


def _digraph(report: Report) -> Iterator[str]:
    yield f"digraph {_quoted(report.model)} {{"
    yield f"  label={_quoted(_title(report))};"
    yield '  labelloc="t"; rankdir="TB"; fontname="Helvetica";'
    yield '  node [shape="box", style="filled,rounded", fillcolor="white", fontname="Helvetica", fontsize="10"];'
    yield '  edge [fontname="Helvetica", fontsize="8", color="gray40"];'
    graph = report.graph
    drawn = [op for op in graph.ops if op.name != CONSTANT]
    numbers = {op: number for number, op in enumerate(drawn)}
    kernels = _kernels_by_op(report)
    for op, number in numbers.items():
        yield f"  n{number} [{_node(op, kernels.get(op))}];"
    yield from _edges(graph, numbers)
    yield "}"


def _title(report: Report) -> str:
    total = report.total
    at_least = "" if total.exact else "≥ "
    time = f" · {at_least}{duration(total.seconds)}" if total.seconds is not None else ""
    return f"{report.model} · {len(report.kernels)} kernels · {report.target} · {report.precision}{time}"


def _kernels_by_op(report: Report) -> dict[Op, tuple[str, KernelReport]]:
    named = zip(labels(report.kernels), report.kernels, strict=True)
    return {report.graph.value(kernel.results[0]).op: (label, kernel) for label, kernel in named if kernel.results}


def _node(op: Op, found: tuple[str, KernelReport] | None) -> str:
    if found is None:
        return f'label={_quoted(op.label)}, shape="ellipse", style="filled", fillcolor="gray95"'
    label, kernel = found
    lines = [label, f"{kernel.pattern} {shape(kernel.output)}"]
    if kernel.flops or kernel.bytes:
        lines.append(f"{si(kernel.flops, 'FLOP')} · {si(kernel.bytes, 'B')}")
    if kernel.seconds is not None:
        lines.append(f"{duration(kernel.seconds)} ({percent(kernel.share)}) {kernel.bound}, {kernel.evidence}")
    lines += [f"{unknown.operator}: {unknown.reason}" for unknown in kernel.unknown]
    return f"label={_quoted(*lines)}, fillcolor={_quoted(_color(kernel))}, tooltip={_quoted(', '.join(kernel.origins))}"


def _color(kernel: KernelReport) -> str:
    """Hue by bound, saturation by share of time; its square root, so that small kernels still differ."""
    if not kernel.bound:
        return "white"
    saturation = 0.05 + 0.75 * sqrt(min(max(kernel.share or 0.0, 0.0), 1.0))
    return f"{_HUES.get(kernel.bound, _MEMORY_HUE):.3f} {saturation:.3f} 1.000"


def _edges(graph: Graph, numbers: dict[Op, int]) -> Iterator[str]:
    for op, number in numbers.items():
        for value in op.inputs:
            if value.op in numbers:
                type = value.type
                text = shape(type.shape) if isinstance(type, TensorType) and type.shape else ""
                yield f"  n{numbers[value.op]} -> n{number} [label={_quoted(text)}];"


def _quoted(*lines: str) -> str:
    """A Graphviz string; quotes, backslashes and line breaks in names are taken literally."""
    escaped = [visible(line.replace("\n", " ")).replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    text = escaped[0] if len(escaped) == 1 else "".join(line + _ALIGN_LEFT for line in escaped)
    return f'"{text}"'
