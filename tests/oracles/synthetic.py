"""Networks made up for a size: structure only, every weight external and absent.

Six families that stress different things: residual convolutions, transformer blocks, one value with very many readers,
chains, operations with very many operands and results, values that live long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

__all__ = ["FAMILIES", "Network", "chain", "fan_out", "ladder", "residual", "transformer", "wide"]

OPSET = 18
Dim = int | str


@dataclass
class Network:
    """A graph under construction; every method adds something and returns the name of its value.

    Weights are of ``dtype`` unless told; ``domain`` is one that operators come from besides onnx's own.
    """

    name: str
    dtype: int = TensorProto.FLOAT
    domain: str = ""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def op(self, op_type: str, *operands: str, outputs: int = 1, **attributes: object) -> str:
        """Add a node; its name is its first result's."""
        name = f"{op_type.lower()}_{len(self.nodes)}"
        results = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op_type, operands, results, name=name, **attributes))
        return name

    def weight(self, *shape: int, dtype: int | None = None) -> str:
        """Add a weight whose bytes are in a file that does not exist."""
        tensor = TensorProto(name=f"w{len(self.initializers)}", data_type=dtype or self.dtype, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "absent.bin"
        self.initializers.append(tensor)
        return tensor.name

    def ints(self, *values: int) -> str:
        """Add a small constant that is stored in the file: a shape or axes."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def number(self, value: int) -> str:
        """Add a number that is stored in the file."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
        return name

    def model(self, inputs: Sequence[tuple[str, int, Sequence[Dim]]], outputs: Sequence[str]) -> onnx.ModelProto:
        """Return the whole as a model; types of inputs are given, all others are left to inference."""
        graph = onnx.GraphProto(name=self.name, node=self.nodes, initializer=self.initializers)
        graph.input.extend(helper.make_tensor_value_info(name, dtype, list(dims)) for name, dtype, dims in inputs)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        opsets = [helper.make_opsetid("", OPSET), *([helper.make_opsetid(self.domain, 1)] if self.domain else [])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


# -- families of a given size -----------------------------------------------------------------------------------------


def residual(ops: int) -> onnx.ModelProto:
    """Basic blocks of a residual network: Conv, Relu, Conv, Add, Relu."""
    net, x = Network(f"residual_{ops}"), "x"
    while len(net.nodes) < ops:
        branch = net.op("Conv", x, net.weight(64, 64, 3, 3), net.weight(64), pads=[1, 1, 1, 1])
        branch = net.op("Conv", net.op("Relu", branch), net.weight(64, 64, 3, 3), net.weight(64), pads=[1, 1, 1, 1])
        x = net.op("Relu", net.op("Add", branch, x))
    return net.model([("x", TensorProto.FLOAT, (1, 64, 14, 14))], [x])


def transformer(ops: int) -> onnx.ModelProto:
    """Encoder blocks as an exporter writes them: projections, reshapes, transposes, attention, layer norms, SiLU."""
    net, x = Network(f"transformer_{ops}"), "x"
    while len(net.nodes) < ops:
        x = _normalised(net, net.op("Add", _attention(net, x, width=128, heads=4), x), 128)
        hidden = net.op("Add", net.op("MatMul", x, net.weight(128, 512)), net.weight(512))
        gate = net.op("Mul", hidden, net.op("Sigmoid", hidden))
        x = _normalised(net, net.op("Add", net.op("MatMul", gate, net.weight(512, 128)), x), 128)
    return net.model([("x", TensorProto.FLOAT, (1, 64, 128))], [x])


def _normalised(net: Network, x: str, width: int) -> str:
    return net.op("LayerNormalization", x, net.weight(width), net.weight(width), axis=-1)


def _attention(net: Network, x: str, width: int, heads: int) -> str:
    def heads_of(perm: list[int]) -> str:
        projected = net.op("Add", net.op("MatMul", x, net.weight(width, width)), net.weight(width))
        return net.op("Transpose", net.op("Reshape", projected, net.ints(0, 0, heads, -1)), perm=perm)

    query, key, value = heads_of([0, 2, 1, 3]), heads_of([0, 2, 3, 1]), heads_of([0, 2, 1, 3])
    scores = net.op("Softmax", net.op("Div", net.op("MatMul", query, key), net.weight()), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", scores, value), perm=[0, 2, 1, 3])
    return net.op("MatMul", net.op("Reshape", mixed, net.ints(0, 0, width)), net.weight(width, width))


def fan_out(ops: int) -> onnx.ModelProto:
    """One value read by a third of the operations, each followed by another, and all joined: pairwise and by one op."""
    net = Network(f"fan_out_{ops}")
    hub = net.op("Relu", "x")
    branches = [net.op("Mul", net.op("Sigmoid", hub), net.weight(64)) for _ in range(ops // 3)]
    joined = net.op("Concat", *branches, axis=0)
    while len(branches) > 1:
        branches = [net.op("Add", *branches[i : i + 2]) if i + 1 < len(branches) else branches[i]
                    for i in range(0, len(branches), 2)]  # fmt: skip
    return net.model([("x", TensorProto.FLOAT, (1, 64))], [branches[0], joined])


def chain(ops: int) -> onnx.ModelProto:
    """One operation after another: products, activations, transposes, reshapes, sums."""
    net, x = Network(f"chain_{ops}"), "x"
    while len(net.nodes) < ops:
        x = net.op("Transpose", net.op("Relu", net.op("MatMul", x, net.weight(64, 64))), perm=[1, 0])
        x = net.op("Add", net.op("Reshape", x, net.ints(-1, 64)), net.op("Exp", x))
    return net.model([("x", TensorProto.FLOAT, (64, 64))], [x])


def wide(ops: int) -> onnx.ModelProto:
    """Operations with as many results and operands as there are others: a split, a branch for each part, two joins."""
    net, parts = Network(f"wide_{ops}"), ops // 2
    first = net.op("Split", "x", outputs=parts, axis=0, num_outputs=parts)
    names = [first, *(f"{first}.{i}" for i in range(1, parts))]
    joined = net.op("Concat", *(net.op("Relu", name) for name in names), axis=0)
    again = net.op("Sum", *(net.op("Mul", "x", net.weight(64)) for _ in range(ops - parts)), joined)
    return net.model([("x", TensorProto.FLOAT, (parts, 64))], [again])


def ladder(ops: int) -> onnx.ModelProto:
    """An encoder whose every value is read again on the way back: a third of all values is alive in the middle."""
    net, values = Network(f"ladder_{ops}"), ["x"]
    for _ in range(ops // 3):
        values.append(net.op("MatMul", values[-1], net.weight(64, 64)))
    back = values.pop()
    while values:
        back = net.op("Add", net.op("Sigmoid", back), values.pop())
    return net.model([("x", TensorProto.FLOAT, (8, 64))], [back])


FAMILIES: dict[str, Callable[[int], onnx.ModelProto]] = {
    "residual": residual,
    "transformer": transformer,
    "fan_out": fan_out,
    "chain": chain,
    "wide": wide,
    "ladder": ladder,
}
