"""The tool as a library: read a model, run a pipeline on it for a target, get a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .ir import DType, Graph
from .ir.garbage import uncollected
from .passes.base import Context
from .passes.manager import PassManager, parse_passes
from .passes.plugins import load_entry_points
from .passes.report import Report
from .passes.reporting import build_report
from .passes.reproducer import precision_named
from .targets import Target, load_target

if TYPE_CHECKING:
    from typing import Any

__all__ = ["from_torch", "load", "run"]


def load(path: str | Path, entry: str | None = None) -> Graph:
    """Read a model file; which format it has is told by its content.

    Args:
        path: the file.
        entry: which of several entry points to read, a TFLite signature say; by default the first.

    Raises:
        GraphsError: the file cannot be read, holds no model or has no such entry point.
    """
    from .frontends import load as load_model

    return load_model(path, entry)


def from_torch(
    module: Any,
    example_inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
) -> Graph:
    """Capture a PyTorch module by ``torch.export``; an ``ExportedProgram`` or ``fx.GraphModule`` is taken as it is.

    No weight is read: the module may be on the meta device. Needs ``pip install 'graphs-opt[torch]'``.

    Args:
        module: what to capture, in the mode (training or evaluation) that it is in.
        example_inputs: one tensor or a tuple of positional inputs; only their types matter.
        kwargs: inputs by keyword.
        dynamic_shapes: as ``torch.export.export`` takes it; dimensions keep the names that they are given.

    Raises:
        GraphsError: torch is not installed, or cannot export the module.
    """
    with uncollected():
        from .frontends.torch import from_torch as capture
    return capture(module, example_inputs, kwargs, dynamic_shapes)


def run(
    pipeline: str,
    graph: Graph,
    target: str | Path | Target = "host",
    precision: str | DType | None = None,
    dims: Mapping[str, int] | None = None,
    strict: bool = False,
    in_place: bool = False,
) -> Report:
    """Run a pipeline on a graph and return what it found; the graph it ran on is the report's ``graph``.

    Args:
        pipeline: passes as on the command line, ``"fuse{rules=none},lower,cost"`` or ``"default"``.
        graph: the model; it is not changed unless ``in_place`` is true, so that it can be run for another target.
        target: ``DEVICE[:RUNTIME][@MODE]``, a path to a target's YAML, or a loaded target.
        precision: ``"fp16"``, ``"int8"``, …; by default the model's own.
        dims: values of symbolic dimensions; ``"*"`` stands for all others.
        strict: refuse what would otherwise be a warning.

    Raises:
        GraphsError: the pipeline, the target, the precision or the model is wrong, or a pass failed.
    """
    load_entry_points()
    manager = PassManager(parse_passes(pipeline), original=None if in_place else graph.clone)
    context = Context(
        target if isinstance(target, Target) else load_target(target),
        precision_named(precision) if isinstance(precision, str) else precision,
        dict(dims or {}),
        strict,
    )
    subject = graph if in_place else graph.clone()
    source_ops = len(subject.body)
    manager.run(subject, context)
    return build_report(subject, context, source_ops, str(manager.pipeline))
