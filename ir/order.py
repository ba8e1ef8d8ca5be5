"""The order in which a graph's operations run."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from .graph import Graph, Op

__all__ = ["CycleError", "topological_order"]


class CycleError(ValueError):
    """The graph has a cycle, so there is no order to run it in. ``ops`` are some of the operations on it."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.ops = tuple(ops)
        super().__init__(f"the graph has a cycle through {', '.join(op.label for op in self.ops[:3])}")


def topological_order(graph: Graph) -> tuple[Op, ...]:
    """Kahn's algorithm that always takes the earliest-placed ready operation; linear when placement is an order."""
    placed = sorted(graph.nx, key=lambda op: op.order)
    seen: set[Op] = set()
    for op in placed:
        if any(value is not None and value.op not in seen for value in op.operands):
            break
        seen.add(op)
    else:
        return tuple(placed)
    waiting = {op: graph.nx.in_degree(op) for op in placed}
    rank = {op: position for position, op in enumerate(placed)}
    ready = [rank[op] for op in placed if waiting[op] == 0]
    heapify(ready)
    order: list[Op] = []
    while ready:
        op = placed[heappop(ready)]
        order.append(op)
        for user, edges in graph.nx.succ[op].items():
            waiting[user] -= len(edges)
            if waiting[user] == 0:
                heappush(ready, rank[user])
    if len(order) < len(placed):
        raise CycleError([edge[0] for edge in nx.find_cycle(graph.nx)])
    return tuple(order)
