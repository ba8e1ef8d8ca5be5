"""Reproducers: the graph that a pass failed on and the pipeline that was still to run, in one runnable file.

// RUN: graphs-opt --run-reproducer %s
// graphs-reproducer: {"pipeline": "lower,cost", "states": ["types"], "target": "host", …}
"graphs.graph"() ({
…
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..ir import DType, Graph, ParseError, parse
from ..ir.errors import GraphsError
from ..ir.files import write_atomically
from ..targets import load_target
from .base import Context, Pass
from .options import call_of
from .pipeline import Pipeline

__all__ = ["Reproducer", "precision_named", "read_reproducer", "write_reproducer"]

_RUN = "// RUN: graphs-opt --run-reproducer %s"
_MARK = "// graphs-reproducer:"


@dataclass(frozen=True, slots=True)
class Reproducer:
    """How to run the graph in the file: the pipeline, the states it starts from, and what it runs for."""

    pipeline: str
    target: str
    states: tuple[str, ...] = ()
    precision: str | None = None
    dims: dict[str, int] = field(default_factory=dict)
    strict: bool = False

    @staticmethod
    def of(passes: Sequence[Pass], states: Iterable[str], context: Context) -> Reproducer:
        """Return the description of a run that is still to do."""
        return Reproducer(
            pipeline=str(Pipeline(tuple(call_of(step) for step in passes))),
            target=context.target.spec,
            states=tuple(sorted(states)),
            precision=context.precision.precision if context.precision else None,
            dims=dict(context.dims),
            strict=context.strict,
        )

    def context(self) -> Context:
        """Return what the passes ran for.

        Raises:
            TargetError: the target is not known here.
        """
        precision = precision_named(self.precision) if self.precision else None
        return Context(load_target(self.target), precision, dict(self.dims), self.strict)


def precision_named(name: str) -> DType:
    """Return the element type that a precision (``fp16``, ``int8``, …) means.

    Raises:
        GraphsError: there is no such precision.
    """
    for dtype in DType:
        if name in (dtype.precision, dtype.mlir) and dtype.sized:
            return dtype
    known = dict.fromkeys(dtype.precision for dtype in DType if dtype.sized)
    raise GraphsError(f'no precision "{name}"', help=f"known: {', '.join(known)}")


def write_reproducer(reproducer: Reproducer, text: str, name: str, folder: Path | None = None) -> Path:
    """Write a reproducer and return where; the same failure always goes to the same file."""
    content = f"{_RUN}\n{_MARK} {json.dumps(asdict(reproducer))}\n{text}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:80]
    path = (folder or Path(tempfile.gettempdir())) / f"graphs-reproducer-{safe}-{digest}.mlir"
    write_atomically(path, content)
    return path


def read_reproducer(path: Path) -> tuple[Reproducer, Graph]:
    """Read a reproducer and its graph.

    Raises:
        GraphsError: the file cannot be read or is no reproducer.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise GraphsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise GraphsError(f"{path}: not a reproducer: it is no UTF-8 text") from None
    line = next((line for line in text.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise GraphsError(f"{path}: not a reproducer: no line starts with {_MARK!r}")
    try:
        return _decode(json.loads(line.removeprefix(_MARK))), parse(text)
    except (ValueError, TypeError, RecursionError) as error:
        where = f"{path}:{error}" if isinstance(error, ParseError) else f"{path}: not a reproducer: {error}"
        raise GraphsError(where) from None


def _decode(raw: Any) -> Reproducer:
    if not isinstance(raw, dict):
        raise ValueError("expected a JSON object")
    unknown = raw.keys() - {field.name for field in fields(Reproducer)}
    if unknown:
        raise ValueError(f'unknown key "{min(unknown)}"')
    return Reproducer(**{**raw, "states": tuple(raw.get("states", ()))})
