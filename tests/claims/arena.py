"""Peak activation memory against what onnxruntime's arena hands out: within 10 %, or the difference is explained.

The plan is the default one of the ``memory`` pass, after fusion, without the graph's inputs, which belong to the
caller. The runtime runs its optimised graph; its arena reports what is requested after every kernel. The runtime's own
reuse of dead buffers is off: with it, a dead buffer is not freed but waits for a later value of the same size, so that
more is held than is live (shown beside, since that is the default).

What the pass does not know of this runtime are copies between layouts, and which kernels write in place. Where that is
what makes the peak, the operator that runs at the peak says so, and is listed here with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from liveness import ArenaUsage, arena_usage
from onnxruntime import GraphOptimizationLevel

import graphs
from graphs.ir import INPUT, Op
from graphs.passes.fuse import kernel_ops
from graphs.passes.memory import MemoryPlan, plan_memory

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM", "explained", "planned_usage"]

TOLERANCE = 0.10
_REORDER = "a copy between the blocked and the plain layout, which is no kernel of the network"

TAKES_MORE = {
    "ReorderOutput": _REORDER,
    "ReorderInput": _REORDER,
    "Gelu": "Gelu does not write over its input",
    "Reshape": "a view that is a graph output is a copy",
    "Mul": "HardSwish runs as HardSigmoid and Mul, its input kept for the second",
    "Conv": "a scale of the channels runs as a convolution, which does not write over its input",
}
"""Why onnxruntime takes more than is planned, by the operator that runs at its peak."""

TAKES_LESS = {"Softmax": "Softmax writes over its input"}
"""Why it takes less, by the operator at the planned peak."""


def planned_usage(path: Path) -> tuple[int, Op]:
    """Peak bytes without the graph's inputs, and the kernel at the peak."""
    graph = graphs.run("fuse", graphs.load(path), target="host:onnxruntime-cpu").graph
    plan = plan_memory(graph, views=True, in_place=True, alignment=1)
    owned = _input_bytes(plan)
    at = max(plan.live_bytes, key=lambda op: plan.live_bytes[op] - owned[op])
    return plan.live_bytes[at] - owned[at], at


def _input_bytes(plan: MemoryPlan) -> dict[Op, int]:
    """Bytes of graph inputs that are alive at each step."""
    inputs = [item for item in plan.storages if any(value.op.name == INPUT for value in item.values)]
    return {
        op: sum(item.bytes for item in inputs if item.first <= step <= item.last)
        for step, op in enumerate(plan.live_bytes)
    }


def explained(planned: int, at: Sequence[str], usage: ArenaUsage) -> str | None:
    """Why plan and arena differ, empty where they do not; ``None`` if no reason is known."""
    if abs(planned - usage.requested) <= TOLERANCE * usage.requested:
        return ""
    if planned < usage.requested:
        return TAKES_MORE.get(usage.op_type) if usage.grew else None
    return next((TAKES_LESS[name] for name in at if name in TAKES_LESS), None)


def _check(path: Path) -> Row:
    planned, at = planned_usage(path)
    usage = arena_usage(path, GraphOptimizationLevel.ORT_ENABLE_ALL)
    reusing = arena_usage(path, GraphOptimizationLevel.ORT_ENABLE_ALL, reuse=True)
    reason = explained(planned, [op.base_name for op in kernel_ops(at)], usage)
    faults = ()
    if reason is None:
        faults = (f"{planned} bytes planned (peak at {at.label!r}), {usage.requested} in use at a {usage.op_type}",)
    figures = (planned, usage.requested, planned / usage.requested, reusing.requested, reason or "")
    return Row(label(path), figures, faults)


def _overall(rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
    near = sum(abs(float(row.figures[2]) - 1) <= TOLERANCE for row in rows)
    return f"{near} within {TOLERANCE:.0%}, {sum(bool(row.figures[4]) for row in rows)} explained", ()


CLAIM = Claim(
    "arena",
    f"peak activation memory is what onnxruntime's arena reports, within {TOLERANCE:.0%} or for a reason given",
    ("planned", "arena", "ratio", "arena, reusing", "why they differ"),
    _check,
    _overall,
)
