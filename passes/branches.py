"""Branches that compute nothing: an ``If`` whose condition is constant is then no operation at all."""

from __future__ import annotations

from ..ir import CONSTANT, INPUT, Graph, Op, Value, runs_of

__all__ = ["replace_by_branch"]


def replace_by_branch(graph: Graph, op: Op) -> bool:
    """Replace an operation whose only body that runs hands on constants and what it captured; return whether it was."""
    runs = runs_of(op)
    running = [region for region, each in zip(op.regions, runs, strict=False) if each.times != 0]
    if op.base_name != "If" or len(running) != 1 or running[0].body or any(each.one_of for each in runs):
        return False
    (region,) = running
    outer = dict(zip(region.inputs, op.operands[len(op.operands) - len(region.inputs) :], strict=True))
    made = [output.operands[0] for output in region.outputs]
    values = [_outside(graph, op, value, outer) for value in made if value is not None]
    known = [value for value in values if value is not None]
    if len(known) != len(op.results):
        return False
    names = [value.name for value in op.results]
    graph.replace(op, known)
    for value, name in zip(known, names, strict=True):
        if value.op.name == CONSTANT and value not in outer.values():
            graph.rename(value, name)
    return True


def _outside(graph: Graph, op: Op, value: Value, outer: dict[Op, Value | None]) -> Value | None:
    """What a branch hands on, as a value of the graph around it."""
    if value.op.name == INPUT:
        return outer.get(value.op)
    return graph.add(CONSTANT, [], [(value.name, value.type)], value.op.attributes, loc=value.op.loc, before=op).result
