"""A pass of one's own: which operations make the largest activations.

graphs-opt --load-plugin=examples/extending/widest.py --passes='widest{count=3}' model.onnx --stats
"""

from dataclasses import dataclass

from graphs.ir import Fact, Graph
from graphs.passes.base import Context, Pass


@dataclass(frozen=True, slots=True)
class Width(Fact, key="width"):
    """Bytes of an operation's results, and its rank among all operations (1 is the widest)."""

    bytes: int
    rank: int


@dataclass(frozen=True)
class Widest(Pass):
    """Mark the operations with the largest results: the first places to look when activations do not fit."""

    name = "widest"
    requires = ("types",)
    count: int = 5

    def run(self, graph: Graph, context: Context) -> None:
        """Attach a :class:`Width` to the `count` widest operations."""
        sizes = {op: sum(value.bytes or 0 for value in op.results) for op in graph.body}
        widest = sorted(sizes, key=sizes.__getitem__, reverse=True)[: self.count]
        for rank, op in enumerate(widest, start=1):
            op.facts.add(Width(sizes[op], rank))
            context.count(f"widest: {rank}. {op.label}, bytes", sizes[op])
