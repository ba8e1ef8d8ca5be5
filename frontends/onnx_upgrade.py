"""ONNX models of opsets 1 to 6, rewritten in place to what opset 7 calls the same.

Until then an operand was broadcast from a stated axis on, and some operators had as attributes what are operands now.
What has no counterpart is refused with the operator's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .onnx_inference import infer_types
from .registry import FrontendError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["UPGRADED", "upgrade"]

UPGRADED = 7
"""The opset that older ones are brought to."""

_BROADCASTING = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"}
)  # fmt: skip


def upgrade(model: ModelProto, label: str) -> None:
    """Rewrite a model of an opset before 7, in place.

    Raises:
        FrontendError: an operator of it has no counterpart.
    """
    ranks: dict[str, int] = {}
    for graph in _graphs(model.graph):
        if any(node.op_type in _BROADCASTING and _attribute(node, "axis") is not None for node in graph.node):
            ranks = ranks or dict(_ranks(infer_types(model)))
        added: list[NodeProto] = []
        for node in graph.node:
            if node.domain in ("", "ai.onnx"):
                _upgrade_node(graph, node, ranks, added, label)
        graph.node.extend(added)
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = UPGRADED


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    pending = [graph]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(a.g for node in current.node for a in node.attribute if a.HasField("g"))


def _ranks(model: ModelProto) -> Iterator[tuple[str, int]]:
    """The ranks of all values that onnx can tell."""
    for graph in _graphs(model.graph):
        infos: list[ValueInfoProto] = [*graph.value_info, *graph.input, *graph.output]
        typed = (info for info in infos if info.type.tensor_type.HasField("shape"))
        yield from ((info.name, len(info.type.tensor_type.shape.dim)) for info in typed)
        yield from ((tensor.name, len(tensor.dims)) for tensor in graph.initializer)


def _upgrade_node(
    graph: GraphProto, node: NodeProto, ranks: dict[str, int], added: list[NodeProto], label: str
) -> None:
    if node.op_type in _BROADCASTING:
        _align(node, ranks, added, label)
    elif node.op_type in _REWRITES:
        _REWRITES[node.op_type](graph, node, f"{label}: node {node.name or next(iter(node.output), '')!r}")
    for name in ("broadcast", "consumed_inputs", "is_test", "output_sequence"):
        _remove(node, name)


def _align(node: NodeProto, ranks: dict[str, int], added: list[NodeProto], label: str) -> None:
    """Give the second operand ones behind it, so that it lies where ``axis`` puts it (ONNX Add-6)."""
    from onnx import helper

    axis = _attribute(node, "axis")
    _remove(node, "axis")
    if axis is None or len(node.input) < 2:
        return
    whole, part = (ranks.get(name) for name in node.input[:2])
    if whole is None or part is None:
        raise FrontendError(
            f"{label}: node {node.name or node.output[0]!r} broadcasts from axis {axis} of a value of unknown rank",
            help="convert it with onnx.version_converter.convert_version",
        )
    behind = whole - (axis + whole if axis < 0 else axis) - part
    if behind > 0:
        name = f"{node.input[1]}/{node.output[0]}/aligned"
        axes = list(range(part, part + behind))
        added.append(helper.make_node("Unsqueeze", [node.input[1]], [name], axes=axes))
        node.input[1] = name


def _attribute(node: NodeProto, name: str) -> int | None:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), None)


def _remove(node: NodeProto, name: str) -> None:
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name == name:
            del node.attribute[index]


# -- operators that had another form ----------------------------------------------------------------------------------


def _cast(graph: GraphProto, node: NodeProto, where: str) -> None:
    """The type was a text (ONNX Cast-1)."""
    from onnx import AttributeProto, TensorProto

    for attribute in node.attribute:
        if attribute.name == "to" and attribute.type == AttributeProto.STRING:
            name = attribute.s.decode("utf-8", "replace")
            if name not in list(TensorProto.DataType.keys()):
                raise FrontendError(f"{where} casts to {name!r}, which is no element type")
            attribute.type, attribute.i = AttributeProto.INT, TensorProto.DataType.Value(name)
            attribute.ClearField("s")


def _reshape(graph: GraphProto, node: NodeProto, where: str) -> None:
    """The shape was an attribute (ONNX Reshape-1)."""
    from onnx import TensorProto, helper

    shape = next((list(a.ints) for a in node.attribute if a.name == "shape"), None)
    if shape is None or len(node.input) != 1:
        return
    name = f"{node.output[0]}/shape"
    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape))
    node.input.append(name)
    _remove(node, "shape")


def _pad(graph: GraphProto, node: NodeProto, where: str) -> None:
    """``pads`` was called ``paddings`` (ONNX Pad-1)."""
    for attribute in node.attribute:
        if attribute.name == "paddings":
            attribute.name = "pads"


def _concat(graph: GraphProto, node: NodeProto, where: str) -> None:
    """The axis was 1 unless said (ONNX Concat-1)."""
    from onnx import helper

    if _attribute(node, "axis") is None:
        node.attribute.append(helper.make_attribute("axis", 1))


def _upsample(graph: GraphProto, node: NodeProto, where: str) -> None:
    """Height and width had an attribute each (ONNX Upsample-1)."""
    from onnx import helper

    scales = {a.name: a.f for a in node.attribute if a.name in ("height_scale", "width_scale")}
    if scales:
        node.attribute.append(helper.make_attribute("scales", [1.0, 1.0, *(scales[name] for name in sorted(scales))]))
        for name in scales:
            _remove(node, name)


def _lp(graph: GraphProto, node: NodeProto, where: str) -> None:
    """The order was a float (ONNX LpPool-1)."""
    from onnx import AttributeProto

    for attribute in node.attribute:
        if attribute.name == "p" and attribute.type == AttributeProto.FLOAT:
            attribute.type, attribute.i = AttributeProto.INT, int(attribute.f)
            attribute.ClearField("f")


def _one_operand(graph: GraphProto, node: NodeProto, where: str) -> None:
    """What opset 1 took as operands, sizes of parts and repeats of an axis, has no counterpart."""
    if len(node.input) > (2 if node.op_type == "Tile" else 1):
        raise FrontendError(
            f"{where}: {node.op_type} as opset 1 had it is not read",
            help="convert it with onnx.version_converter.convert_version",
        )


_REWRITES: dict[str, Callable[[GraphProto, NodeProto, str], None]] = {
    "Cast": _cast,
    "Concat": _concat,
    "GlobalLpPool": _lp,
    "LpPool": _lp,
    "Pad": _pad,
    "Reshape": _reshape,
    "Split": _one_operand,
    "Tile": _one_operand,
    "Upsample": _upsample,
}
