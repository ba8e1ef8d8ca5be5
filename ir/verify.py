"""The verifier: proves that a graph is well formed, or names the first operation that is not."""

from __future__ import annotations

from .errors import GraphsError
from .graph import CONSTANT, INPUT, OUTPUT, CycleError, Graph, Op

__all__ = ["VerificationError", "verify"]


class VerificationError(GraphsError, ValueError):
    """The graph breaks a rule of the IR; ``op`` is where, if one operation is to blame."""

    def __init__(self, message: str, op: Op | None = None) -> None:
        self.op = op
        super().__init__(f"{op.name} {op.label!r}: {message}" if op else message)


def verify(graph: Graph) -> None:
    """Check a graph and the regions inside it.

    Uses and edges agree, every operand is made in the same graph, there is an order to run in, names are unique, and
    each region has one input for each operand, or for each captured one: the last ``captures`` operands.

    Raises:
        VerificationError: a rule is broken.
    """
    pending = [graph]
    while pending:
        current = pending.pop()
        try:
            ops = current.ops
        except CycleError as error:
            raise VerificationError(str(error), error.ops[0]) from None
        _verify_names(current)
        for op in ops:
            _verify_edges(current, op)
            _verify_structure(op)
            pending.extend(op.regions)


def _verify_names(graph: Graph) -> None:
    seen: set[str] = set()
    for value in graph.values():
        if value.name in seen:
            raise VerificationError(f"two values are called {value.name!r}", value.op)
        if graph.value(value.name) is not value:
            raise VerificationError(f"the name {value.name!r} leads to another value", value.op)
        seen.add(value.name)


def _verify_edges(graph: Graph, op: Op) -> None:
    edges: dict[object, tuple[Op, object]] = {
        index: (producer, edge["value"])
        for producer, parallel in graph.nx.pred[op].items()
        for index, edge in parallel.items()
    }
    used = {index: value for index, value in enumerate(op.operands) if value is not None}
    if edges.keys() != used.keys():
        raise VerificationError(f"operands {sorted(used)} but edges {list(edges)}", op)
    for index, value in used.items():
        if value.op not in graph:
            raise VerificationError(f"operand {index} ({value.name!r}) is made in another graph", op)
        if edges[index] != (value.op, value):
            raise VerificationError(f"operand {index} and its edge disagree", op)
        if value.op.results[value.index] is not value:
            raise VerificationError(f"operand {index} ({value.name!r}) is not a result of the operation it names", op)


def _verify_structure(op: Op) -> None:
    if op.name in (INPUT, CONSTANT) and (op.operands or len(op.results) != 1):
        raise VerificationError("must have one result and no operand", op)
    if op.name == OUTPUT and (len(op.operands) != 1 or op.results):
        raise VerificationError("must have one operand and no result", op)
    captures = op.attributes.get("captures", 0)
    if not isinstance(captures, int):
        raise VerificationError("captures must be a number of operands", op)
    for region in op.regions:
        if len(region.inputs) not in (captures, len(op.operands)):
            raise VerificationError(
                f"region {region.name!r} has {len(region.inputs)} inputs for {len(op.operands)} operands,"
                f" {captures} of them captures",
                op,
            )
