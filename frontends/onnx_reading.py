"""Which names a node reads: its own, and those that the graphs inside it read from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["Reading"]


class Reading:
    """Finds the names, each graph's once: every graph around it asks for them again."""

    def __init__(self) -> None:
        self._free: dict[int, tuple[GraphProto, tuple[str, ...]]] = {}

    def of(self, node: NodeProto) -> Iterator[str]:
        """What a node reads of its own graph; absent operands have an empty name."""
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from self._of_graph(attribute.g)
            for body in attribute.graphs:
                yield from self._of_graph(body)

    def captured(self, bodies: Sequence[tuple[str, GraphProto]]) -> list[str]:
        """The names that graphs read and do not make, each once, in order."""
        return list(dict.fromkeys(name for _, body in bodies for name in self._of_graph(body)))

    def _of_graph(self, body: GraphProto) -> tuple[str, ...]:
        known = self._free.get(id(body))  # which keeps the graph, so that no other gets its identity
        if known is not None:
            return known[1]
        made = {info.name for info in body.input} | {tensor.name for tensor in body.initializer}
        made |= {tensor.values.name for tensor in body.sparse_initializer}
        made |= {name for node in body.node for name in node.output}
        reads = dict.fromkeys(name for node in body.node for name in self.of(node))
        reads.update((info.name, None) for info in body.output)
        free = tuple(name for name in reads if name and name not in made)
        self._free[id(body)] = (body, free)
        return free
