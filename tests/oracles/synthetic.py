"""Networks made up for a size: structure only, every weight external and absent.

Three families that stress different things (residual convolutions, transformer blocks, one value with very many
readers), and a Llama-like decoder whose weights and multiply-accumulates follow from its dimensions in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

__all__ = ["FAMILIES", "LLAMA_70B", "Decoder", "decoder_model", "fan_out", "residual", "transformer"]

OPSET = 18
Dim = int | str


@dataclass
class _Network:
    """A graph under construction; every method adds something and returns the name of its value."""

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def op(self, op_type: str, *operands: str, outputs: int = 1, **attributes: object) -> str:
        """Add a node; its name is its first result's."""
        name = f"{op_type.lower()}_{len(self.nodes)}"
        results = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op_type, operands, results, name=name, **attributes))
        return name

    def weight(self, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """Add a weight whose bytes are in a file that does not exist."""
        tensor = TensorProto(name=f"w{len(self.initializers)}", data_type=dtype, dims=shape)
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

    def model(self, inputs: Sequence[tuple[str, int, Sequence[Dim]]], outputs: Sequence[str]) -> onnx.ModelProto:
        """Return the whole as a model; types of inputs are given, all others are left to inference."""
        graph = onnx.GraphProto(name=self.name, node=self.nodes, initializer=self.initializers)
        graph.input.extend(helper.make_tensor_value_info(name, dtype, list(dims)) for name, dtype, dims in inputs)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


# -- families of a given size -----------------------------------------------------------------------------------------


def residual(ops: int) -> onnx.ModelProto:
    """Basic blocks of a residual network: Conv, Relu, Conv, Add, Relu."""
    net, x = _Network(f"residual_{ops}"), "x"
    while len(net.nodes) < ops:
        branch = net.op("Conv", x, net.weight(64, 64, 3, 3), net.weight(64), pads=[1, 1, 1, 1])
        branch = net.op("Conv", net.op("Relu", branch), net.weight(64, 64, 3, 3), net.weight(64), pads=[1, 1, 1, 1])
        x = net.op("Relu", net.op("Add", branch, x))
    return net.model([("x", TensorProto.FLOAT, (1, 64, 14, 14))], [x])


def transformer(ops: int) -> onnx.ModelProto:
    """Encoder blocks as an exporter writes them: projections, reshapes, transposes, attention, layer norms, SiLU."""
    net, x = _Network(f"transformer_{ops}"), "x"
    while len(net.nodes) < ops:
        x = _normalised(net, net.op("Add", _attention(net, x, width=128, heads=4), x), 128)
        hidden = net.op("Add", net.op("MatMul", x, net.weight(128, 512)), net.weight(512))
        gate = net.op("Mul", hidden, net.op("Sigmoid", hidden))
        x = _normalised(net, net.op("Add", net.op("MatMul", gate, net.weight(512, 128)), x), 128)
    return net.model([("x", TensorProto.FLOAT, (1, 64, 128))], [x])


def _normalised(net: _Network, x: str, width: int) -> str:
    return net.op("LayerNormalization", x, net.weight(width), net.weight(width), axis=-1)


def _attention(net: _Network, x: str, width: int, heads: int) -> str:
    def heads_of(perm: list[int]) -> str:
        projected = net.op("Add", net.op("MatMul", x, net.weight(width, width)), net.weight(width))
        return net.op("Transpose", net.op("Reshape", projected, net.ints(0, 0, heads, -1)), perm=perm)

    query, key, value = heads_of([0, 2, 1, 3]), heads_of([0, 2, 3, 1]), heads_of([0, 2, 1, 3])
    scores = net.op("Softmax", net.op("Div", net.op("MatMul", query, key), net.weight()), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", scores, value), perm=[0, 2, 1, 3])
    return net.op("MatMul", net.op("Reshape", mixed, net.ints(0, 0, width)), net.weight(width, width))


def fan_out(ops: int) -> onnx.ModelProto:
    """One value read by a third of the operations, each followed by another, and all joined: pairwise and by one op."""
    net = _Network(f"fan_out_{ops}")
    hub = net.op("Relu", "x")
    branches = [net.op("Mul", net.op("Sigmoid", hub), net.weight(64)) for _ in range(ops // 3)]
    joined = net.op("Concat", *branches, axis=0)
    while len(branches) > 1:
        branches = [net.op("Add", *branches[i : i + 2]) if i + 1 < len(branches) else branches[i]
                    for i in range(0, len(branches), 2)]  # fmt: skip
    return net.model([("x", TensorProto.FLOAT, (1, 64))], [branches[0], joined])


FAMILIES: dict[str, Callable[[int], onnx.ModelProto]] = {
    "residual": residual,
    "transformer": transformer,
    "fan_out": fan_out,
}


# -- a decoder of known work ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decoder:
    """A Llama-like decoder: grouped-query attention, RMS norms, SwiGLU, rotary embedding, an untied output head."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int

    @property
    def head(self) -> int:
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """Weights in closed form: embedding and head, and per layer four projections, three of SwiGLU, two norms."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_heads * self.head
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        return 2 * self.vocab * self.hidden + self.layers * layer + self.hidden

    def macs(self, batch: int, sequence: int) -> int:
        """Multiply-accumulates of the matrix products in closed form: each weight once a token, and attention's two."""
        norms = (2 * self.layers + 1) * self.hidden
        weights = self.parameters - self.vocab * self.hidden - norms
        attention = 2 * self.layers * self.heads * self.head * sequence * sequence
        return batch * (sequence * weights + attention)


LLAMA_70B = Decoder(layers=80, hidden=8192, heads=64, kv_heads=8, ffn=28672, vocab=128256)


def decoder_model(shape: Decoder, batch: Dim, sequence: Dim) -> onnx.ModelProto:
    """The decoder's prefill in fp16; rotary tables are inputs, so that weights are what the closed form counts."""
    net = _Network("decoder")
    x = net.op("Gather", _half(net, shape.vocab, shape.hidden), "tokens")
    for _ in range(shape.layers):
        x = net.op("Add", x, _decoder_attention(net, shape, _rms(net, shape, x)))
        y = _rms(net, shape, x)
        gate = net.op("MatMul", y, _half(net, shape.hidden, shape.ffn))
        up = net.op("MatMul", y, _half(net, shape.hidden, shape.ffn))
        swish = net.op("Mul", gate, net.op("Sigmoid", gate))
        x = net.op("Add", x, net.op("MatMul", net.op("Mul", swish, up), _half(net, shape.ffn, shape.hidden)))
    logits = net.op("MatMul", _rms(net, shape, x), _half(net, shape.hidden, shape.vocab))
    rotary = (1, 1, sequence, shape.head)
    return net.model(
        [("tokens", TensorProto.INT64, (batch, sequence)), ("cos", TensorProto.FLOAT16, rotary),
         ("sin", TensorProto.FLOAT16, rotary), ("mask", TensorProto.FLOAT16, (1, 1, sequence, sequence)),
         ("epsilon", TensorProto.FLOAT16, ()), ("scale", TensorProto.FLOAT16, ())],
        [logits],
    )  # fmt: skip


def _half(net: _Network, *shape: int) -> str:
    return net.weight(*shape, dtype=TensorProto.FLOAT16)


def _rms(net: _Network, shape: Decoder, x: str) -> str:
    mean = net.op("ReduceMean", net.op("Mul", x, x), net.ints(-1), keepdims=1)
    root = net.op("Sqrt", net.op("Add", mean, "epsilon"))
    return net.op("Mul", net.op("Div", x, root), _half(net, shape.hidden))


def _decoder_attention(net: _Network, shape: Decoder, x: str) -> str:
    def heads_of(count: int) -> str:
        projected = net.op("MatMul", x, _half(net, shape.hidden, count * shape.head))
        return net.op("Transpose", net.op("Reshape", projected, net.ints(0, 0, count, shape.head)), perm=[0, 2, 1, 3])

    def rotated(value: str) -> str:
        half = shape.head // 2
        first = net.op("Slice", value, net.ints(0), net.ints(half), net.ints(3))
        second = net.op("Slice", value, net.ints(half), net.ints(shape.head), net.ints(3))
        turned = net.op("Concat", net.op("Neg", second), first, axis=-1)
        return net.op("Add", net.op("Mul", value, "cos"), net.op("Mul", turned, "sin"))

    def repeated(value: str) -> str:
        """Each of the key and value heads serves a group of query heads."""
        group = shape.heads // shape.kv_heads
        wide = net.op("Expand", net.op("Unsqueeze", value, net.ints(2)), net.ints(1, 1, group, 1, 1))
        extents = net.op("Shape", value)
        ends = [net.op("Slice", extents, net.ints(axis), net.ints(axis + 1)) for axis in (0, 2)]
        target = net.op("Concat", ends[0], net.ints(shape.heads), ends[1], net.ints(shape.head), axis=0)
        return net.op("Reshape", wide, target)

    query, key, value = rotated(heads_of(shape.heads)), rotated(heads_of(shape.kv_heads)), heads_of(shape.kv_heads)
    flipped = net.op("Transpose", repeated(key), perm=[0, 1, 3, 2])
    scores = net.op("Add", net.op("Mul", net.op("MatMul", query, flipped), "scale"), "mask")
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), repeated(value))
    merged = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.ints(0, 0, shape.hidden))
    return net.op("MatMul", merged, _half(net, shape.hidden, shape.hidden))
