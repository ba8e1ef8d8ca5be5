"""What a Gradient differentiates: the nodes between the values that it names, which it does not hold itself.

ONNX's Gradient names a value ``y`` and values ``xs`` and ``zs`` of the graph around it; its operands are the points at
which the derivatives of ``y`` by ``xs`` are taken (``ai.onnx.preview.training.Gradient-1``). Each is given these nodes
as a body of its own. Where its operands are the very values that it names, what the forward pass made is handed to it
too, as further operands, ``saved`` in number: nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from .onnx_functions import inner_graphs
from .onnx_reading import Reading

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["give_bodies"]

_DOMAIN = "ai.onnx.preview.training"

MOST_COPIED = 100_000
"""Nodes that are looked at for all Gradients of a model: each copies what lies between its values."""


def give_bodies(model: ModelProto) -> None:
    """Give each Gradient the nodes that it differentiates as a graph attribute.

    One whose names do not fit the graph around it is left without; so are those that come after :data:`MOST_COPIED`
    nodes.
    """
    if not any(opset.domain == _DOMAIN for opset in model.opset_import):
        return
    reading, left = Reading(), MOST_COPIED
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        pending.extend(inner for node in graph.node for inner in inner_graphs(node))
        gradients = [node for node in graph.node if node.op_type == "Gradient" and node.domain == _DOMAIN]
        if not gradients:
            continue
        makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
        for gradient in gradients:
            names, y = _named(gradient)
            if not len(names) == len(set(names)) == len(gradient.input):
                continue
            order = [graph.node[index] for index in _backwards(graph, makers, names, y, reading)]
            left -= sum(map(_size, order))
            if left < 0:
                return
            between = _between(order, names, y, reading)
            if between:
                read = {name for node in between for name in reading.of(node)}
                _give(gradient, names, y, between, read)


def _named(gradient: NodeProto) -> tuple[list[str], str]:
    """The values that it differentiates by and the others that it depends on, and what it differentiates."""
    texts = {attribute.name: attribute for attribute in gradient.attribute}
    lists = [texts[name].strings for name in ("xs", "zs") if name in texts]
    y = texts["y"].s if "y" in texts else b""
    return [name.decode("utf-8", "replace") for names in lists for name in names], y.decode("utf-8", "replace")


def _between(order: Sequence[NodeProto], names: Sequence[str], y: str, reading: Reading) -> list[NodeProto]:
    """Of the nodes that ``y`` follows from those that depend on the values named; none if it does not."""
    depends, between = set(names), []
    for node in order:
        if any(name in depends for name in reading.of(node)):
            if node.op_type == "Gradient":
                return []  # derivatives of derivatives
            between.append(node)
            depends.update(name for name in node.output if name)
    return between if between and y in between[-1].output else []


def _backwards(
    graph: GraphProto, makers: dict[str, int], names: Sequence[str], y: str, reading: Reading
) -> Iterator[int]:
    """The nodes that ``y`` follows from, up to the values named, each after those that it reads."""
    ends, seen = set(names), set[int]()
    stack = [(makers[y], False)] if y in makers and y not in ends else []
    while stack:
        index, done = stack.pop()
        if done:
            yield index
        elif index not in seen:
            seen.add(index)
            stack.append((index, True))
            reads = (name for name in reading.of(graph.node[index]) if name not in ends)
            stack.extend((makers[name], False) for name in reads if name in makers)


def _size(node: NodeProto) -> int:
    """How many nodes a node is, with those inside it."""
    count, pending = 0, [node]
    while pending:
        count += 1
        pending.extend(inner for graph in inner_graphs(pending.pop()) for inner in graph.node)
    return count


def _give(
    gradient: NodeProto, names: Sequence[str], y: str, between: Sequence[NodeProto], read: Collection[str]
) -> None:
    made = [name for node in between for name in node.output if name]
    again = list(gradient.input) == list(names) and not any(f"{name}.saved" in read for name in made)
    saved = made if again else []
    attribute = gradient.attribute.add(name="differentiated", type=5)
    body = attribute.g
    body.name = "differentiated"
    for name in (*names, *(f"{name}.saved" for name in saved)):
        body.input.add(name=name)
    body.node.extend(between)
    body.output.add(name=y)
    gradient.input.extend(saved)
    gradient.attribute.add(name="saved", type=2, i=len(saved))
