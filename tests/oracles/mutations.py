"""Damaged models: bytes as a bad disk or download leaves them, and structure as a wrong exporter writes it.

Everything follows from a seed, so that a failure can be looked at again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import chain

import onnx

__all__ = ["damaged", "mutated"]

_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 4097, -(2**31), 2**31 - 1, 2**31, 2**53, 2**63 - 1, -(2**63))
_OPERATORS = (
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "ConstantOfShape", "Conv", "ConvTranspose",
    "Einsum", "Expand", "Flatten", "GRU", "Gather", "GatherND", "Gemm", "GlobalAveragePool", "LSTM",
    "LayerNormalization", "MatMul", "MaxPool", "Nonesuch", "OneHot", "Pad", "QuantizeLinear", "Range", "ReduceMean",
    "Reshape", "Resize", "ScatterND", "Shape", "Slice", "Softmax", "Split", "Squeeze", "Tile", "TopK", "Transpose",
    "Unsqueeze", "Where",
)  # fmt: skip


def damaged(content: bytes, seed: int) -> bytes:
    """The bytes with a few flipped, or cut short, or with a piece repeated, removed or zeroed."""
    chance = random.Random(seed)
    data = bytearray(content)
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.randrange(1, 256))
    match chance.randrange(5):
        case 0:
            for _ in range(chance.randrange(1, 9)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[start:]
        case 2:
            data[start:start] = data[start:end]
        case 3:
            del data[start:end]
        case 4:
            data[start:end] = bytes(end - start)
    return bytes(data)


def mutated(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """A copy with one to four things wrong: operators, operands, attributes, dimensions, types or versions."""
    chance = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(chance.randrange(1, 5)):
        chance.choice(_MUTATIONS)(copy.graph, chance)
    if chance.random() < 0.1:
        copy.opset_import[0].version = chance.randrange(1, 30)
    return copy


def _node(graph: onnx.GraphProto, chance: random.Random) -> onnx.NodeProto:
    return chance.choice(graph.node)


def _change_operator(graph: onnx.GraphProto, chance: random.Random) -> None:
    _node(graph, chance).op_type = chance.choice(_OPERATORS)


def _change_operand(graph: onnx.GraphProto, chance: random.Random) -> None:
    node, other = _node(graph, chance), _node(graph, chance)
    names = ["", *other.input, *other.output, *(tensor.name for tensor in graph.initializer[:50])]
    if node.input:
        node.input[chance.randrange(len(node.input))] = chance.choice(names)


def _change_operand_count(graph: onnx.GraphProto, chance: random.Random) -> None:
    node = _node(graph, chance)
    values = chance.choice([node.input, node.output])
    if values and chance.random() < 0.6:
        del values[chance.randrange(len(values)) :]
    else:
        values.append(f"new_{chance.randrange(1000)}" if values is node.output else next(iter(node.input), ""))


def _change_attribute(graph: onnx.GraphProto, chance: random.Random) -> None:
    nodes = [node for node in graph.node if node.attribute]
    if not nodes:
        return
    attribute = chance.choice(chance.choice(nodes).attribute)
    match chance.randrange(4):
        case 0:
            _renumber(attribute.ints, chance)
            attribute.i = chance.choice(_NUMBERS)
        case 1:
            attribute.type = chance.choice([1, 2, 3, 6, 7, 8])
        case 2:
            attribute.name = chance.choice(["axis", "axes", "group", "perm", "to", "kernel_shape", "nonesuch"])
        case 3:
            attribute.s = chance.choice([b"", b"SAME_UPPER", b"\xff\xfe", b"linear"])


def _drop_attribute(graph: onnx.GraphProto, chance: random.Random) -> None:
    node = _node(graph, chance)
    if node.attribute:
        del node.attribute[chance.randrange(len(node.attribute))]


def _change_dimension(graph: onnx.GraphProto, chance: random.Random) -> None:
    infos = list(chain(graph.input, graph.output, graph.value_info))
    tensors = [info.type.tensor_type for info in infos if info.type.HasField("tensor_type")]
    if graph.initializer and chance.random() < 0.5:
        _renumber(chance.choice(graph.initializer).dims, chance)
    elif tensors:
        tensor = chance.choice(tensors)
        tensor.elem_type = chance.choice([tensor.elem_type, tensor.elem_type, 7, 8, 16, 99])
        for dim in tensor.shape.dim[:1]:
            dim.dim_value = chance.choice(_NUMBERS)


def _change_constant(graph: onnx.GraphProto, chance: random.Random) -> None:
    stored = [tensor for tensor in graph.initializer if tensor.raw_data]
    if stored:
        tensor = chance.choice(stored)
        tensor.raw_data = damaged(tensor.raw_data, chance.randrange(1 << 30))


def _renumber(numbers: Sequence[int], chance: random.Random) -> None:
    if numbers:
        numbers[chance.randrange(len(numbers))] = chance.choice(_NUMBERS)  # type: ignore[index]  # a protobuf container


_MUTATIONS: tuple[Callable[[onnx.GraphProto, random.Random], None], ...] = (
    _change_operator,
    _change_operand,
    _change_operand_count,
    _change_attribute,
    _drop_attribute,
    _change_dimension,
    _change_constant,
)
