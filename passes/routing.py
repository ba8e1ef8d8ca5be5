"""How many rows each expert of a written-out mixture gets: data decide, but all experts' rows add up to what is routed.

Exporters write a mixture of experts as one product for each expert, over the rows that the router gave it. How many
those are is not known before it runs, and the work does not depend on it: every row goes through the same number of
products. Rows are taken as spread evenly, so that sums are exact whatever the data, and the weights read are those of
as many experts as can be in use.

Two forms are recognised:

- rows sorted by expert, each taking those from where the one before ended:
  ``Gather(rows, Range(end of the expert before, its own end))``;
- a mask of each expert's choices, from ``OneHot`` over the chosen experts: ``NonZero(Gather(mask, expert))``.
"""

from __future__ import annotations

from itertools import pairwise

from ..ir import Dim, DType, Graph, Op, Symbol, TensorType, Value
from ..ir.expression import is_unknown
from ..ir.ops.reading import normal_axis

__all__ = ["share_rows"]

RANGE = "onnx.Range"

_FEWEST, _MOST = 2, 512
"""Between how many experts a mixture has."""


def share_rows(graph: Graph, op: Op) -> list[Op]:
    """Type the row numbers of all experts of a mixture, of which ``op`` is the first to ask; return what makes them.

    Nothing is done where the forms are not met, or it is not known how many rows there are.
    """
    if op.name == "onnx.Gather":
        return _share_ranges(graph, op)
    return _share_hits(graph, op) if op.name == "onnx.NonZero" else []


def _shares(rows: Dim, experts: int) -> list[Dim]:
    """As many rows for each expert as for any other, give or take one; differences, so that open extents cancel."""
    ends = [rows * index // experts for index in range(experts + 1)]
    return [end - start for start, end in pairwise(ends)]


# -- consecutive ranges -----------------------------------------------------------------------------------------------


def _share_ranges(graph: Graph, op: Op) -> list[Op]:
    rows, numbers = op.operand(0), op.operand(1)
    if op.attributes.get("axis", 0) != 0 or rows is None or numbers is None:
        return []
    extent = _first_extent(rows)
    if numbers.op.name != RANGE or extent is None or not isinstance(_first_extent(numbers), Symbol | None):
        return []
    experts = _consecutive(graph, numbers.op)
    if len(experts) < _FEWEST:
        return []
    for expert, share in zip(experts, _shares(extent, len(experts)), strict=True):
        graph.retype(expert.results[0], TensorType(DType.I64, (share,)))
    return experts


def _first_extent(value: Value) -> Dim | None:
    """How many rows a value has: a number, or an expression in the model's open dimensions."""
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return shape[0] if shape and not is_unknown(shape[0]) else None


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


# -- hits of a mask ---------------------------------------------------------------------------------------------------


def _share_hits(graph: Graph, op: Op) -> list[Op]:
    """Each choice is one hit in one of the masks, so that those of all masks are as many as there are choices."""
    gather = _behind_casts(op.operand(0))
    masks = gather.operand(0) if gather is not None and gather.name == "onnx.Gather" else None
    if gather is None or masks is None or _scalar(gather.operand(1)) != 0:
        return []
    one_hot, axis = _one_hot(masks, gather)
    if one_hot is None:
        return []
    depth, choices = _number(one_hot.operand(1)), one_hot.operand(0)
    elements = choices.type.elements if choices is not None and isinstance(choices.type, TensorType) else None
    if not isinstance(depth, int) or not _FEWEST <= depth <= _MOST or elements is None:
        return []
    hits = _hits_of_experts(graph, masks, axis, depth)
    for expert, share in zip(hits, _shares(elements, depth), strict=False):
        graph.retype(expert.results[0], TensorType(DType.I64, (_rank(masks) - 1, share)))
    return hits


def _one_hot(masks: Value, gather: Op) -> tuple[Op | None, object]:
    """The operation that made the masks, maybe transposed, where ``gather`` takes them apart by expert; its axis."""
    shape = masks.type.shape if isinstance(masks.type, TensorType) else None
    axis = gather.attributes.get("axis", 0)
    if not shape or not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return None, axis
    place, maker = normal_axis(axis, len(shape)), masks.op
    if maker.name == "onnx.Transpose":
        perm = maker.attributes.get("perm")
        moved = perm[place] if isinstance(perm, tuple) and len(perm) == len(shape) else len(shape) - 1 - place
        source = maker.operand(0)
        if not isinstance(moved, int) or source is None:
            return None, axis
        place, maker = moved, source.op
    hot = maker.attributes.get("axis", -1)
    same = maker.name == "onnx.OneHot" and isinstance(hot, int) and hot % len(shape) == place
    return (maker if same else None), axis


def _hits_of_experts(graph: Graph, masks: Value, axis: object, depth: int) -> list[Op]:
    """What finds the hits in the mask of each expert, in order; nothing unless there is one for every expert."""
    found: dict[object, Op] = {}
    users = graph.users(masks.op) if len(graph.nx.succ[masks.op]) <= 2 * depth else []
    for user in users:
        expert = _scalar(user.operand(1))
        if user.name != "onnx.Gather" or user.attributes.get("axis", 0) != axis or expert in found:
            continue
        hits = _only_user(graph, user)
        while hits is not None and hits.name == "onnx.Cast":
            hits = _only_user(graph, hits)
        if hits is not None and hits.name == "onnx.NonZero":
            found[expert] = hits
    return [found[index] for index in range(depth)] if all(index in found for index in range(depth)) else []


def _rank(value: Value) -> int:
    return (value.type.rank or 0) if isinstance(value.type, TensorType) else 0


def _scalar(value: Value | None) -> object:
    return _number(value) if value is not None and isinstance(value.type, TensorType) and not value.type.rank else None


def _only_user(graph: Graph, op: Op) -> Op | None:
    users = graph.users(op)
    return users[0] if len(users) == 1 else None


def _behind_casts(value: Value | None) -> Op | None:
    while value is not None and value.op.name == "onnx.Cast":
        value = value.op.operand(0)
    return value.op if value is not None else None
