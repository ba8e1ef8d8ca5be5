"""How many rows each expert of a written-out mixture gets: data decide, but all experts' rows add up to what is routed.

Exporters write a mixture of experts as one product for each expert, over the rows that the router gave it. How many
those are is not known before it runs, and the work does not depend on it: every row goes through the same number of
products. Rows are taken as spread evenly, so that sums are exact whatever the data, and the weights read are those of
as many experts as can be in use.

Recognised is the form of grouped products: rows sorted by expert, each expert taking those from where the one before
ended, ``Gather(rows, Range(end of the expert before, its own end))``.
"""

from __future__ import annotations

from ..ir import DType, Graph, Op, TensorType, Value

__all__ = ["share_rows"]

RANGE = "onnx.Range"

_FEWEST = 2
"""Experts from which on ranges are taken for a mixture."""


def share_rows(graph: Graph, op: Op) -> int:
    """Type the row numbers that ``op`` gathers by, and those of the experts after it; return how many were typed.

    Nothing is done unless they are consecutive ranges, this one from zero, and it is known how many rows there are.
    """
    rows, numbers = op.operand(0), op.operand(1)
    if op.name != "onnx.Gather" or op.attributes.get("axis", 0) != 0 or rows is None or numbers is None:
        return 0
    extent = _first_extent(rows)
    if numbers.op.name != RANGE or extent is None or _first_extent(numbers) is not None:
        return 0
    experts = _consecutive(graph, numbers.op)
    if len(experts) < _FEWEST:
        return 0
    for index, expert in enumerate(experts):
        share = extent // len(experts) + (index < extent % len(experts))
        graph.retype(expert.results[0], TensorType(DType.I64, (share,)))
    return len(experts)


def _first_extent(value: Value) -> int | None:
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return shape[0] if shape and isinstance(shape[0], int) else None


def _consecutive(graph: Graph, first: Op) -> list[Op]:
    """The ranges of step one that start with ``first``, from zero, each from where the one before ends."""
    if _number(first.operand(0)) != 0:
        return []
    found: dict[Op, None] = {}
    following: Op | None = first
    while following is not None and following not in found and _number(following.operand(2)) == 1:
        found[following] = None
        following = _range_with(graph, following.operand(1), 0)
    return list(found)


def _range_with(graph: Graph, bound: Value | None, index: int) -> Op | None:
    """The only range whose operand ``index`` is ``bound``, where ``bound`` is no constant."""
    if bound is None or bound.is_constant:
        return None
    found = [user for user, place in graph.uses(bound) if user.name == RANGE and place == index]
    return found[0] if len(found) == 1 else None


def _number(value: Value | None) -> object:
    dense = value.constant if value is not None else None
    return dense.values[0] if dense is not None and len(dense.values) == 1 else None
