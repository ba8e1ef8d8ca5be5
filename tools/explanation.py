"""What ``--explain`` prints: the formula, the sizes and the constants behind one kernel, with their sources."""

from __future__ import annotations

import textwrap
from fnmatch import fnmatchcase

from ..passes.base import PassError
from ..passes.bodies import Launch
from ..passes.explain import Explanation, Step, explain, find_kernel
from ..passes.lower import Work
from ..passes.report import Report
from ..targets import Target
from .emit.layout import styled
from .emit.rows import labels
from .emit.view import View
from .terminal import harmless, visible
from .units import duration

__all__ = ["explanation"]

_TOPIC_WIDTH = 12


def explanation(report: Report, node: str, target: Target, view: View) -> str:
    """Return why the kernel that holds ``node`` costs what it costs.

    ``node`` is a name as the table has it, stars included, or that of any operation, value or module.

    Raises:
        PassError: no kernel holds it, or the pipeline has not counted its work.
    """
    matching = [kernel for kernel, label in zip(report.kernels, labels(report.kernels), strict=True)
                if kernel.results and fnmatchcase(label, node)]  # fmt: skip
    if matching:
        launch = Launch(report.graph.value(matching[0].results[0]).op, report.graph, report.graph, 1)
    else:
        launch = find_kernel(report.graph, node)
    if Work not in launch.op.facts:
        raise PassError(f"{node}: nothing to explain yet", help="the pipeline needs cost: --passes=fuse,lower,cost")
    found = explain(launch, target, report.evidence)
    others = f"  {'kernels':<{_TOPIC_WIDTH}}{len(matching)} match; this is the first\n" if len(matching) > 1 else ""
    text = _headline(found, view) + others + "".join(_step(step, view) for step in found.steps)
    return harmless(text, view.color)


def _headline(found: Explanation, view: View) -> str:
    operations = visible(", ".join(f'{operator} "{name}"' for operator, name in found.operations))
    return f"{styled(visible(found.name), 'bold', view.color)}   {visible(found.pattern)} ({operations})\n"


def _step(step: Step, view: View) -> str:
    outcome = f" = {duration(step.seconds)}" if step.seconds is not None else ""
    margin = " " * (2 + _TOPIC_WIDTH)
    room = max(view.width - len(margin), 40)
    lines = textwrap.wrap(visible(step.formula + outcome), room, break_long_words=False) or [""]
    lines += [styled(line, "dim", view.color) for line in textwrap.wrap(step.source, room, break_long_words=False)]
    topic = styled(f"{step.topic:<{_TOPIC_WIDTH}}", "bold", view.color)
    return f"  {topic}" + f"\n{margin}".join(lines) + "\n"
