"""What is said of control operations below the table: which branch was taken and why, how often a loop runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ...passes.report import BodyReport, Report
from ..units import duration, si

__all__ = ["control_notes", "described"]

_MOST = 6
"""Control operations of a report that get a line of their own."""


def control_notes(report: Report) -> list[tuple[str, list[str]]]:
    """Return a labelled line for each control operation, the dearest first, and how many more there are."""
    groups: dict[int, list[BodyReport]] = {}
    for body in report.bodies:
        groups.setdefault(body.of, []).append(body)
    dearest = sorted(groups.values(), key=_cost, reverse=True)
    notes = [(bodies[0].operator, [f"{bodies[0].label}: {described(bodies)}"]) for bodies in dearest[:_MOST]]
    more = len(dearest) - len(notes)
    return [*notes, *([("", [f"{more} more control operations: --emit=json has all"])] if more else [])]


def _cost(bodies: Sequence[BodyReport]) -> tuple[float, int]:
    kernels = [kernel for body in bodies if body.counted for kernel in body.kernels]
    return sum(kernel.seconds or 0.0 for kernel in kernels), sum(kernel.flops for kernel in kernels)


def described(bodies: Sequence[BodyReport]) -> str:
    """Return what became of the bodies of one control operation."""
    taken = [body for body in bodies if body.counted]
    if any(body.one_of for body in bodies):
        others = "; ".join(f"{body.name} {_amounts(body)}" for body in bodies if body not in taken)
        return "; ".join(f"{body.name} {_amounts(body)}, the dearer branch" for body in taken) + f"; {others}"
    if len(bodies) > 1:
        return "; ".join(f"{body.name} taken, {body.why}" for body in bodies if body.times)
    (body,) = bodies
    if isinstance(body.times, int):
        times = "never runs" if not body.times else f"{'at most ' if body.at_most else ''}{body.times:,} ×"
        return f"{times} {_amounts(body) if body.times else ''}: {body.why}".replace(" :", ":")
    return f"{body.times}, each {_amounts(body)}; bind with --dim {shlex.quote(f'{body.times}=N')}"


def _amounts(body: BodyReport) -> str:
    amounts = [si(body.macs, "MAC"), si(body.bytes, "B")]
    return ", ".join([*amounts, *([duration(body.seconds)] if body.seconds is not None else [])])
