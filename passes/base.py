"""What a pass is: a frozen dataclass whose fields are its options and whose docstring is its help.

    @dataclass(frozen=True)
    class Fuse(Pass):
        \"\"\"Group ops into the kernels that the target's runtime launches.\"\"\"

        name = "fuse"
        requires = ("types",)
        provides = ("kernels",)
        rules: str = "target"

        def run(self, graph: Graph, context: Context) -> None: ...

``requires``, ``provides`` and ``invalidates`` name states of the graph; the pass manager inserts the pass that provides
a missing one. A pass is taken to need every dimension as a number: in its pipeline ``bind`` leaves none open, and what
depends on data takes its upper bound (:attr:`Context.numbers`). One that can do with expressions says
``needs_numbers = False``.

Passes contain no timing, printing or verification: those are the manager's instrumentation.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ..ir import DType, Graph, Op
from ..ir.errors import GraphsError
from ..targets import Target

if TYPE_CHECKING:
    from .evidence import Evidence

__all__ = ["Context", "Diagnostic", "Pass", "PassError", "closest"]


class PassError(GraphsError):
    """A pass cannot go on because of its input."""

    def __init__(self, message: str, op: Op | None = None, help: str = "") -> None:
        self.op = op
        super().__init__(f"{message} (node {op.label!r})" if op else message, help)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something the user should know that did not stop the run."""

    source: str
    message: str
    op: str = ""


@dataclass(slots=True)
class Context:
    """What a pipeline runs for: the target, the precision asked for, bound dimensions, strictness; and what it found.

    ``precision`` of ``None`` keeps the model's own element types. ``numbers`` says that a pass of the pipeline needs
    every dimension as a number; the pass manager sets it. ``evidence`` is what the pass ``calibrate`` found;
    ``read_evidence`` keeps what it read by precision and file, and may be shared by all contexts of one target.
    """

    target: Target
    precision: DType | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    strict: bool = False
    diagnostics: list[Diagnostic] = field(default_factory=list)
    statistics: dict[str, int] = field(default_factory=dict)
    evidence: Evidence | None = None
    read_evidence: dict[tuple[DType | None, str], Evidence] = field(default_factory=dict)
    numbers: bool = False

    def warn(self, source: str, message: str, op: Op | None = None) -> None:
        """Record a warning; under ``strict`` it is an error.

        Raises:
            PassError: the context is strict.
        """
        if self.strict:
            raise PassError(f"{source}: {message}", op, help="--strict refuses this; without it, it is a warning")
        self.diagnostics.append(Diagnostic(source, message, op.label if op else ""))

    def count(self, statistic: str, amount: int = 1) -> None:
        """Add to a statistic that ``--stats`` prints."""
        self.statistics[statistic] = self.statistics.get(statistic, 0) + amount


@dataclass(frozen=True)
class Pass:
    """Base of all passes; see the module's docstring."""

    name: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[tuple[str, ...]] = ()
    invalidates: ClassVar[tuple[str, ...]] = ()
    needs_numbers: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> None:
        """Transform ``graph`` in place, or attach facts to its operations."""
        raise NotImplementedError


def closest(word: str, choices: Mapping[str, object] | list[str]) -> str:
    """Return ``; did you mean "…"?`` if one of the choices is close to ``word``, else nothing."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
