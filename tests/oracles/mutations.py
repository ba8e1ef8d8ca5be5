"""Damaged models: bytes as a bad disk leaves them, and structure as a wrong exporter or an attacker writes it.

Everything follows from a seed, so that a failure can be looked at again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import onnx

__all__ = ["damaged", "mutated"]

_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 4097, -(2**31), 2**31 - 1, 2**31, 2**53, 2**63 - 1, -(2**63))
_VERSIONS = (0, -1, 1, 6, 7, 9, 11, 13, 17, 19, 21, 23, 27, 2**31, 2**63 - 1, -(2**63))
_NAMES = (
    "", "\x1b[31mred\x1b]0;title\x07", "two\nlines\r\n", "\0", "../../etc/passwd", "\u202egnp.exe", "a,b\"c'", "=1+1",
    "%s{}", "x" * 100_000, "<b>&amp;", "\\", "graphs.input", "?", "*", "$1", "0", "\u0301", "[bold red]", "a/b/../c",
)  # fmt: skip
_ATTRIBUTES = (
    "axis", "axes", "group", "perm", "to", "kernel_shape", "strides", "dilations", "pads", "auto_pad", "equation",
    "shape", "hidden_size", "num_heads", "blocksize", "keepdims", "output_shape", "num_outputs", "split", "value",
    "block_size",
    "bits", "K", "N", "num_scan_inputs", "scan_input_axes", "batch_dims", "mode", "direction", "nonesuch",
)  # fmt: skip
_EQUATIONS = (
    b"",
    b"->",
    b"...->...",
    b"ij,jk->ik",
    b"i" * 100_000,
    b"ab,bc,cd->" * 50,
    b"i,i,i->ii",
    b"..i..,j->k",
    b"\xff",
)
_OPERATORS = (
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "ConstantOfShape", "Conv", "ConvTranspose",
    "Einsum", "Expand", "Flatten", "GRU", "Gather", "GatherND", "Gemm", "GlobalAveragePool", "LSTM",
    "LayerNormalization", "MatMul", "MaxPool", "Nonesuch", "OneHot", "Pad", "QuantizeLinear", "Range", "ReduceMean",
    "Reshape", "Resize", "ScatterND", "Shape", "Slice", "Softmax", "Split", "Squeeze", "Tile", "TopK", "Transpose",
    "Unsqueeze", "Where", "If", "Loop", "Scan", "SequenceAt", "SequenceConstruct", "SplitToSequence", "Optional",
    "DequantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "Attention", "DFT", "STFT", "MelWeightMatrix",
    "NonMaxSuppression", "NonZero", "Unique", "Compress", "RoiAlign", "GridSample", "Col2Im", "CenterCropPad",
    "EyeLike", "DepthToSpace", "SpaceToDepth", "MaxUnpool", "LpPool", "MaxRoiPool", "ScatterElements",
    "TfIdfVectorizer",
    "Constant", "Identity", "Cast", "Mod", "Pow", "Div", "Size", "CumSum", "Trilu", "AffineGrid", "RotaryEmbedding",
    "RNN",
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


def mutated(model: onnx.ModelProto, seed: int, others: Sequence[onnx.ModelProto] = ()) -> onnx.ModelProto:
    """A copy with one to four things wrong: operators, operands, attributes, dimensions, types, names or versions.

    Nodes may come from ``others``.
    """
    chance = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(chance.randrange(1, 5)):
        graph = chance.choice([graph for graph in _graphs(copy.graph) if graph.node] or [copy.graph])
        if graph.node:
            chance.choice(_MUTATIONS)(graph, chance)
    if others and chance.random() < 0.2:
        _splice(copy, chance.choice(others), chance)
    if chance.random() < 0.1 and copy.opset_import:
        copy.opset_import[0].version = chance.choice(_VERSIONS)
    return copy


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


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
            attribute.type = chance.choice(range(15))
        case 2:
            attribute.name = chance.choice(_ATTRIBUTES)
        case 3:
            attribute.s = chance.choice([b"", b"SAME_UPPER", b"\xff\xfe", b"linear", *_EQUATIONS])


def _set_attribute(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Give a node an attribute of any type, in the place of its own or beside them."""
    node, name = _node(graph, chance), chance.choice([*_ATTRIBUTES, *(a.name for a in _node(graph, chance).attribute)])
    for index, attribute in enumerate(node.attribute):
        if attribute.name == name:
            del node.attribute[index]
            break
    numbers = [chance.choice(_NUMBERS) for _ in range(chance.choice([0, 1, 2, 3, 4, 8, 3000]))]
    made = node.attribute.add(name=name)
    match chance.randrange(7):
        case 0:
            made.type, made.i = onnx.AttributeProto.INT, chance.choice(_NUMBERS)
        case 1 | 2:
            made.type = onnx.AttributeProto.INTS
            made.ints.extend(numbers)
        case 3:
            made.type, made.f = onnx.AttributeProto.FLOAT, chance.choice([0.0, -1.0, 1e38, float("nan"), float("inf")])
        case 4:
            made.type, made.s = onnx.AttributeProto.STRING, chance.choice(_EQUATIONS)
        case 5:
            made.type = onnx.AttributeProto.TENSOR
            made.t.data_type = chance.randrange(30)
            made.t.dims.extend(numbers[:8])
            made.t.int64_data.extend(numbers[:2])
        case 6:
            made.type = onnx.AttributeProto.GRAPH
            made.g.CopyFrom(onnx.GraphProto(name="body", node=graph.node[:1], output=graph.output[:1]))


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
    """Damage a stored constant, or give it extreme numbers: shapes, axes, trips, scales."""
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
    stored = [tensor for tensor in tensors if tensor.raw_data or tensor.int64_data]
    if not stored:
        return
    tensor = chance.choice(stored)
    if tensor.int64_data:
        _renumber(tensor.int64_data, chance)
    elif tensor.data_type == onnx.TensorProto.INT64 and len(tensor.raw_data) >= 8 and chance.random() < 0.8:
        at = chance.randrange(len(tensor.raw_data) // 8) * 8
        number = chance.choice(_NUMBERS).to_bytes(8, "little", signed=True)
        tensor.raw_data = tensor.raw_data[:at] + number + tensor.raw_data[at + 8 :]
    else:
        tensor.raw_data = damaged(tensor.raw_data, chance.randrange(1 << 30)) if tensor.raw_data else b"\0"


def _change_name(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Call a value, with all that read it, or a node by a name that is awkward, or taken."""
    node, name = _node(graph, chance), chance.choice(_NAMES)
    if chance.random() < 0.3 or not node.output:
        node.name = name
        return
    old = node.output[0]
    new = chance.choice([name, *_node(graph, chance).output])
    if chance.random() < 0.8:
        for reader in graph.node:
            for index, operand in enumerate(reader.input):
                if operand == old:
                    reader.input[index] = new
        for info in graph.output:
            info.name = new if info.name == old else info.name
    node.output[0] = new


def _name_dimension(graph: onnx.GraphProto, chance: random.Random) -> None:
    for info in (*graph.input, *graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if chance.random() < 0.3:
                dim.dim_param = chance.choice(_NAMES)


def _raise_rank(graph: onnx.GraphProto, chance: random.Random) -> None:
    if graph.input:
        tensor = chance.choice(graph.input).type.tensor_type
        for _ in range(chance.choice([1, 9, 70, 3000])):
            tensor.shape.dim.add().dim_value = chance.choice([1, 1, 2, 2**40])


def _repeat(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Many copies of a node that all read the same."""
    node = _node(graph, chance)
    for number in range(chance.choice([2, 20, 300])):
        copy = graph.node.add()
        copy.CopyFrom(node)
        copy.output[:] = [f"{name}_{number}" for name in node.output]


def _externalise(graph: onnx.GraphProto, chance: random.Random) -> None:
    """Say that a weight's data are somewhere that must not be read."""
    if graph.initializer:
        tensor = chance.choice(graph.initializer)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", chance.choice(["../../etc/passwd", "/dev/zero", "", *_NAMES])),
            ("offset", chance.choice(["-1", "0", str(2**63), "x"])),
            ("length", chance.choice(["-1", "0", str(2**63), "x"])),
        ):
            tensor.external_data.add(key=key, value=value)


def _splice(model: onnx.ModelProto, other: onnx.ModelProto, chance: random.Random) -> None:
    """Add nodes of another model, some of their operands taken from this one."""
    graph = model.graph
    mine = [name for node in graph.node for name in node.output]
    taken = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(tensor for tensor in other.graph.initializer if tensor.name not in taken)
    inputs = {info.name for info in graph.input}
    graph.input.extend(info for info in other.graph.input if info.name not in inputs)
    for node in other.graph.node[:5]:
        copy = graph.node.add()
        copy.CopyFrom(node)
        for index in range(len(copy.input)):
            if mine and chance.random() < 0.4:
                copy.input[index] = chance.choice(mine)
    known = {opset.domain for opset in model.opset_import}
    model.opset_import.extend(opset for opset in other.opset_import if opset.domain not in known)
    graph.output.extend(other.graph.output)


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
    _change_constant,
    _change_name,
    _set_attribute,
    _set_attribute,
    _name_dimension,
    _raise_rank,
    _repeat,
    _externalise,
)
