"""What ``--list-…``, ``--timing`` and ``--stats`` print."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..passes.index import NAMED_PIPELINES
from ..passes.instrumentation import PassStatistics
from ..passes.options import options_of
from ..passes.plugins import find_pass, pass_names
from ..targets import list_runtimes, list_targets
from .emit.layout import Column, fitted, rendered
from .emit.view import View
from .operator_table import markdown, operator_rows, rows_as_json
from .units import duration, percent

__all__ = ["listing", "statistics_table", "timing_table"]


def listing(what: str, view: View, format: str = "table") -> str:
    """Return the list of passes, targets or operators; operators also as ``markdown`` or ``json``."""
    if what == "ops" and format != "table":
        return markdown() if format == "markdown" else rows_as_json()
    lists: dict[str, Callable[[View], str]] = {"passes": _passes, "targets": _targets, "ops": _operators}
    return lists[what](view)


def _passes(view: View) -> str:
    blocks = []
    for name in pass_names():
        cls = find_pass(name)
        lines = [f"  {name:<12}{_first_sentence(cls.__doc__)}"]
        lines += [f"{'':14}{option.name}={option.default or '…'}  ({option.type})" for option in options_of(cls)]
        needs = ", ".join(cls.requires)
        gives = ", ".join(cls.provides)
        lines.append(f"{'':14}{'requires ' + needs + ', ' if needs else ''}provides {gives or 'nothing'}")
        blocks.append("\n".join(lines))
    named = [f"  {name:<12}{text}" for name, text in NAMED_PIPELINES.items()]
    return "passes\n" + "\n".join(blocks) + "\n\nnamed pipelines\n" + "\n".join(named) + "\n"


def _targets(view: View) -> str:
    devices = list_targets()
    columns = [
        _text("device", [item.name for item in devices], 0),
        _text("class", [item.device_class for item in devices], 3),
        _text("modes", [", ".join(item.modes) for item in devices], 1),
        _text("runtimes", [", ".join(item.runtimes) for item in devices], 2),
        _text("what it is", [item.error or item.title for item in devices], 4),
    ]
    runtimes = list_runtimes()
    software = [
        _text("runtime", [item.name for item in runtimes], 0),
        _text("for", [", ".join(item.device_classes) for item in runtimes], 1),
        _text("what it is", [item.error or item.title for item in runtimes], 2),
    ]
    how = "written DEVICE[:RUNTIME][@MODE]; the first runtime and mode listed are the default"
    return f"{_table(columns, view)}\n{_table(software, view)}\n{how}\n"


def _operators(view: View) -> str:
    rows = operator_rows()
    columns = [
        _text("operator", [row.name for row in rows], 0),
        _text("kind", [row.kind for row in rows], 1),
        _text("work", [row.status for row in rows], 2),
        _text("primitives", [", ".join(row.primitives) for row in rows], 4),
        _text("types", [row.types for row in rows], 5),
        _text("what it does", [row.doc for row in rows], 3),
    ]
    return _table(columns, view)


def _text(title: str, cells: Sequence[str], rank: int) -> Column:
    return Column(title, tuple(cells), rank, right=False, least=12)


def _table(columns: Sequence[Column], view: View) -> str:
    return rendered(columns if view.wide else fitted(columns, view.width), view.color)


def _first_sentence(doc: str | None) -> str:
    paragraph = " ".join((doc or "").strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")


def timing_table(steps: Sequence[tuple[str, float]]) -> str:
    """How long each step took; a pass that ran for several models has one line."""
    sums: dict[str, float] = {}
    for name, seconds in steps:
        sums[name] = sums.get(name, 0.0) + seconds
    whole = sum(sums.values())
    columns = [
        Column("step", (*sums, "all"), 0, right=False),
        Column("time", (*map(duration, sums.values()), duration(whole)), 0),
        Column("share", (*(percent(seconds / whole) if whole else "" for seconds in sums.values()), ""), 0),
    ]
    return rendered(columns, color=False)


def statistics_table(model: str, passes: Sequence[PassStatistics]) -> str:
    """What each pass did to a model: operations before and after, and what it counted itself."""
    rows = [(step.name, f"{step.ops_before} ops → {step.ops_after} ops", "") for step in passes]
    lines: list[tuple[str, str, str]] = []
    for row, step in zip(rows, passes, strict=True):
        lines.append(row)
        lines += [("", name, str(amount)) for name, amount in sorted(step.counted.items())]
    if not lines:
        return f"{model}: no pass ran\n"
    columns = [
        Column(model, tuple(line[0] for line in lines), 0, right=False),
        Column("", tuple(line[1] for line in lines), 0, right=False),
        Column("count", tuple(line[2] for line in lines), 0),
    ]
    return rendered(columns, color=False)
