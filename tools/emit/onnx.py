"""The model file itself, each node annotated with what became of it, and a sidecar for tools that read no ONNX.

Annotations are ``metadata_props`` under ``graphs.*``: the kernel that the node is part of, and that kernel's figures in
SI units. Figures are the kernel's, so a sum goes over the nodes whose ``graphs.role`` is ``main``, one for each kernel.
Weights are never read. Where the model has local functions, the annotated model has them inlined, as the tool saw it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.errors import GraphsError
from ...passes.fuse import kernel_ops
from ...passes.report import KernelReport, Report
from .rows import labels
from .view import View

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["SCHEMA", "companions", "emit"]

SCHEMA = "graphs.annotation/1"
PREFIX = "graphs."
_EXTERNAL = 1
_GONE = "no kernel: folded, merged or dropped before the run"
_VIEW = "no kernel: a view, which costs nothing"


def emit(reports: Sequence[Report], view: View) -> bytes:
    """Return the annotated model.

    Raises:
        GraphsError: there are several reports, or the model was not read from an ONNX file that is still there.
    """
    report = _only(reports)
    source = _source(report)
    model = _loaded(source)
    if view.path is not None:
        _relocate(model, source, view)
    notes = _annotations(report)
    for index, node in enumerate(model.graph.node):
        _annotate(node, notes.get(index, {"kernel": "", "note": _GONE}))
    _set(model.metadata_props, _totals(report))
    serialized: bytes = model.SerializeToString()
    return serialized


def companions(reports: Sequence[Report], view: View) -> dict[Path, str]:
    """Return the sidecar: the same annotations by node name and by the name of each value."""
    report = _only(reports)
    if view.path is None:
        return {}
    model = _loaded(_source(report))
    notes = _annotations(report)
    nodes: dict[str, Mapping[str, str | int | float]] = {}
    outputs: dict[str, Mapping[str, str | int | float]] = {}
    for index, node in enumerate(model.graph.node):
        note = notes.get(index, {"kernel": "", "note": _GONE})
        nodes[node.name or next(iter(node.output), f"node {index}")] = note
        outputs.update((name, note) for name in node.output if name)
    content = {"schema": SCHEMA, "model": view.path.name, **_totals(report), "nodes": nodes, "outputs": outputs}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return {view.path.with_name(f"{view.path.name}.graphs.json"): text}


def _only(reports: Sequence[Report]) -> Report:
    if len(reports) != 1:
        raise GraphsError(f"an ONNX file holds one model, not {len(reports)}")
    return reports[0]


def _source(report: Report) -> Path:
    path = report.graph.attributes.get("path")
    if report.graph.attributes.get("format") != "onnx" or not isinstance(path, str):
        raise GraphsError(f"{report.model}: only a model read from an ONNX file can be written as one")
    return Path(path)


def _loaded(source: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    from ...frontends.onnx_functions import inlined

    try:
        model = onnx.load_model(source, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise GraphsError(f"{source}: the model cannot be read again: {error}") from None
    return inlined(model, str(source))


# -- what each node is told -------------------------------------------------------------------------------------------


def _annotations(report: Report) -> dict[int, dict[str, str | int | float]]:
    """What became of each node of the file, by its index there."""
    named = zip(labels(report.kernels), report.kernels, strict=True)
    made = {kernel.results: (label, kernel) for label, kernel in named}
    parts: dict[int, list[_Part]] = {}
    for op in report.graph.body:
        found = made.get(tuple(value.name for value in op.results))
        for origin in dict.fromkeys(origin for inner in kernel_ops(op) for origin in inner.loc.origins):
            if origin.index is not None:
                known = parts.setdefault(origin.index, [])
                known += [_Part(*found, main=origin.name == found[1].name)] if found else []
    return {index: _note(found) for index, found in parts.items()}


@dataclass(frozen=True, slots=True)
class _Part:
    """That a node is part of a kernel, and whether it is the one that the kernel is named after."""

    label: str
    kernel: KernelReport
    main: bool


def _note(parts: Sequence[_Part]) -> dict[str, str | int | float]:
    """A node's annotation. One that became several kernels stands for those named after it, whose figures add up."""
    if not parts:
        return {"kernel": "", "note": _VIEW}
    mains = [part for part in parts if part.main]
    chosen = mains or parts[:1]
    note: dict[str, str | int | float] = {
        "kernel": " + ".join(dict.fromkeys(part.label for part in chosen)),
        "role": "main" if mains else "fused",
        "pattern": " + ".join(part.kernel.pattern for part in chosen),
    }
    for part in chosen:
        for key, figure in _figures(part.kernel).items():
            note[key] = note[key] + figure if key in note else figure  # type: ignore[operator]  # numbers both
    largest = max((part.kernel for part in chosen), key=lambda kernel: kernel.seconds or 0.0)
    unknown = [f"{op.operator}: {op.reason}" for part in chosen for op in part.kernel.unknown]
    words = {
        "kind": largest.kind,
        "bound": largest.bound,
        "confidence": largest.confidence,
        "evidence": largest.evidence,
        "unknown": "; ".join(unknown),
    }
    return note | {key: word for key, word in words.items() if word}


def _figures(kernel: KernelReport) -> dict[str, int | float]:
    known = {
        "macs": kernel.macs,
        "flops": kernel.flops,
        "bytes": kernel.bytes,
        "seconds": kernel.seconds,
        "seconds_low": kernel.seconds_low,
        "seconds_high": kernel.seconds_high,
        "joules": kernel.joules,
    }
    return {key: value for key, value in known.items() if value is not None}


def _totals(report: Report) -> dict[str, str | int | float]:
    total = report.total
    known: dict[str, str | int | float | None] = {
        "target": report.target,
        "precision": report.precision,
        "pipeline": report.pipeline,
        "exact": str(total.exact).lower(),
        "macs": total.macs,
        "flops": total.flops,
        "seconds": total.seconds,
        "seconds_low": total.seconds_low,
        "seconds_high": total.seconds_high,
        "joules": total.joules,
        "confidence": total.confidence or None,
        "evidence": report.evidence.file or None if report.evidence else None,
    }
    return {key: value for key, value in known.items() if value is not None}


def _annotate(node: NodeProto, note: Mapping[str, str | int | float]) -> None:
    _set(node.metadata_props, note)
    for body in _bodies(node):
        for inner in body.node:
            _annotate(inner, {"kernel": note["kernel"], "note": f"inside {node.name or node.op_type}"})


def _set(entries: Any, note: Mapping[str, str | int | float]) -> None:
    """Replace whatever an earlier run left under our keys. ``entries`` is a protobuf list of key-value pairs."""
    for index in reversed(range(len(entries))):
        if entries[index].key.startswith(PREFIX):
            del entries[index]
    for key, value in note.items():
        entry = entries.add()
        entry.key, entry.value = f"{PREFIX}{key}", repr(value) if isinstance(value, float) else str(value)


# -- external data ----------------------------------------------------------------------------------------------------


def _relocate(model: ModelProto, source: Path, view: View) -> None:
    """Make external data reachable from where the output goes; ONNX allows only paths below the model's own folder."""
    assert view.path is not None
    origin, target = source.resolve().parent, view.path.resolve().parent
    if origin == target:
        return
    entries = (entry for tensor in _external(model.graph) for entry in tensor.external_data)
    locations = [entry for entry in entries if entry.key == "location"]
    below = os.path.relpath(origin, target)
    if locations and below.startswith(os.pardir):
        files = ", ".join(sorted({entry.value for entry in locations})[:3])
        view.warn(f"{view.path}: its weights stay in {origin}; copy or link {files} to {target}")
        return
    for entry in locations:
        entry.value = (Path(below) / entry.value).as_posix()


def _external(graph: GraphProto) -> Iterator[TensorProto]:
    yield from (tensor for tensor in graph.initializer if tensor.data_location == _EXTERNAL)
    for node in graph.node:
        for attribute in node.attribute:
            tensors = [attribute.t, *attribute.tensors] if attribute.HasField("t") else attribute.tensors
            yield from (tensor for tensor in tensors if tensor.data_location == _EXTERNAL)
        for body in _bodies(node):
            yield from _external(body)


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else attribute.graphs)
