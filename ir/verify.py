"""The verifier: proves that a graph is well formed, or names the first operation that is not."""

from __future__ import annotations

from .errors import GraphsError
from .graph import CONSTANT, INPUT, OUTPUT, Graph, Op, Value
from .limits import possible
from .order import CycleError

__all__ = ["VerificationError", "verify"]


_KERNEL = "graphs.kernel"


class VerificationError(GraphsError, ValueError):
    """The graph breaks a rule of the IR; ``op`` is where, if one operation is to blame."""

    def __init__(self, message: str, op: Op | None = None) -> None:
        self.op = op
        super().__init__(f"{op.name} {op.label!r}: {message}" if op else message)


def verify(graph: Graph) -> None:
    """Check a graph and the regions inside it.

    Uses and edges agree, every operand is made in the same graph, there is an order to run in, names are unique, no
    tensor is larger than any can be, each region ends its inputs with one for each captured operand, and a kernel has
    one region that takes what it takes and gives what it gives.

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
        _verify_edges(current)
        for op in ops:
            _verify_structure(op)
            pending.extend(op.regions)


def _verify_names(graph: Graph) -> None:
    """Each name leads to the value that has it: then no two values share one."""
    for value in graph.values():
        try:
            named = graph.value(value.name)
        except KeyError:
            raise VerificationError(f"{value.name!r} belongs to another graph", value.op) from None
        if named is not value:
            raise VerificationError(f"the name {value.name!r} leads to another value", value.op)
        if not possible(value.type):
            raise VerificationError(f"nothing can be of the type of {value.name!r}, {value.type}", value.op)


def _verify_edges(graph: Graph) -> None:
    """Every edge is an operand, and there are as many of the one as of the other."""
    edges = 0
    value: Value | None
    for producer, op, index, value in graph.nx.in_edges(keys=True, data="value"):
        edges += 1
        operand = op.operands[index] if index < len(op.operands) else None
        if operand is None or operand is not value:
            raise VerificationError(f"operand {index} and its edge disagree", op)
        if operand.op is not producer:
            raise VerificationError(f"operand {index} ({operand.name!r}) is made in another graph", op)
        if operand.index >= len(producer.results) or producer.results[operand.index] is not operand:
            raise VerificationError(f"operand {index} ({operand.name!r}) is no result of the operation it names", op)
    if edges != sum(len(op.operands) - op.operands.count(None) for op in graph.ops):
        raise _unconnected(graph)


def _unconnected(graph: Graph) -> VerificationError:
    for op in graph.ops:
        used = [index for index, value in enumerate(op.operands) if value is not None]
        edges = sorted(index for _, _, index in graph.nx.in_edges(op, keys=True))
        if used != edges:
            return VerificationError(f"operands {used} but edges {edges}", op)
    return VerificationError("there are more edges than operands")


def _verify_structure(op: Op) -> None:
    if op.name in (INPUT, CONSTANT) and (op.operands or len(op.results) != 1):
        raise VerificationError("must have one result and no operand", op)
    if op.name == OUTPUT and (len(op.operands) != 1 or op.results):
        raise VerificationError("must have one operand and no result", op)
    if op.name == _KERNEL:
        _verify_kernel(op)
    captures = op.attributes.get("captures", 0)
    if not isinstance(captures, int) or not 0 <= captures <= len(op.operands):
        raise VerificationError(f"captures must be a number of its {len(op.operands)} operands", op)
    for region in op.regions:
        if len(region.inputs) < captures:
            raise VerificationError(
                f"region {region.name!r} has {len(region.inputs)} inputs, fewer than the {captures} captured operands",
                op,
            )


def _verify_kernel(op: Op) -> None:
    (region, *others) = op.regions or (Graph(),)
    if others or not region.body or (len(region.inputs), len(region.outputs)) != (len(op.operands), len(op.results)):
        raise VerificationError(
            "must have one region that computes, with an input for each operand and an output for each result", op
        )
