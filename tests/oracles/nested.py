"""Graphs inside graphs, as deep as wanted: made as bytes, since protobuf's own objects stop at a hundred messages."""

from __future__ import annotations

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

__all__ = ["nested_model"]

_BOOL, _F32, _I64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT64


def nested_model(depth: int, side: int = 4) -> bytes:
    """A serialised model: ``If`` in ``If`` in ``Loop`` in ``Scan`` …, a matrix product in the innermost.

    Every fourth level is two of each graph, since a choice is inside the loop. Every level reads ``x`` and ``c`` from
    the outermost graph.
    """
    inner = _graph("innermost", [_node("MatMul", ["x", "x"], ["innermost.y"])], "innermost.y")
    for level in reversed(range(depth)):
        inner = (_if, _if, _loop, _scan)[level % 4](level, inner)
    main = GraphProto.FromString(b"")
    main.input.extend([helper.make_tensor_value_info("x", _F32, [side, side]), _value("c", _BOOL, [])])
    main.initializer.append(helper.make_tensor("trips", _I64, [], [2]))
    main.initializer.append(helper.make_tensor("true", _BOOL, [], [True]))
    frame = ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 18)])
    return frame.SerializeToString() + _field(7, main.SerializeToString() + inner)


def _value(name: str, dtype: int = _F32, dims: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def _node(operator: str, inputs: list[str], outputs: list[str], **bodies: bytes) -> bytes:
    node = NodeProto(op_type=operator, input=inputs, output=outputs, name=outputs[0]).SerializeToString()
    for name, body in bodies.items():
        attribute = AttributeProto(name=name, type=AttributeProto.GRAPH).SerializeToString()
        node += _field(5, attribute + _field(6, body))
    return node


def _graph(name: str, nodes: list[bytes], *outputs: str, inputs: tuple[onnx.ValueInfoProto, ...] = ()) -> bytes:
    graph = GraphProto(name=name, output=[onnx.ValueInfoProto(name=output) for output in outputs], input=inputs)
    return b"".join(_field(1, node) for node in nodes) + graph.SerializeToString()


def _if(level: int, inner: bytes) -> bytes:
    other = _graph(f"else{level}", [_node("Relu", ["x"], [f"r{level}"])], f"r{level}")
    choice = _node("If", ["c"], [f"i{level}"], then_branch=inner, else_branch=other)
    return _graph(f"if{level}", [choice, _node("MatMul", [f"i{level}", "x"], [f"y{level}"])], f"y{level}")


def _loop(level: int, inner: bytes) -> bytes:
    inside = _graph(
        f"body{level}",
        [_node("Identity", [f"go{level}"], [f"on{level}"]), _node("If", ["c"], [f"j{level}"], then_branch=inner,
         else_branch=_graph(f"idle{level}", [_node("Neg", ["x"], [f"n{level}"])], f"n{level}"))],
        f"on{level}", f"j{level}",
        inputs=(_value(f"t{level}", _I64, []), _value(f"go{level}", _BOOL, []), _value(f"s{level}")),
    )  # fmt: skip
    return _graph(f"loop{level}", [_node("Loop", ["trips", "true", "x"], [f"y{level}"], body=inside)], f"y{level}")


def _scan(level: int, inner: bytes) -> bytes:
    inside = _graph(
        f"step{level}",
        [_node("Identity", [f"s{level}"], [f"o{level}"]), _node("If", ["c"], [f"j{level}"], then_branch=inner,
         else_branch=_graph(f"idle{level}", [_node("Neg", ["x"], [f"n{level}"])], f"n{level}"))],
        f"j{level}",
        inputs=(_value(f"s{level}"), _value(f"e{level}")),
    )  # fmt: skip
    scan = _node("Scan", ["x", "x"], [f"y{level}"], body=inside)
    attribute = helper.make_attribute("num_scan_inputs", 1).SerializeToString()
    return _graph(f"scan{level}", [scan + _field(5, attribute)], f"y{level}")


def _field(number: int, content: bytes) -> bytes:
    encoded, length = bytearray([number << 3 | 2]), len(content)
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length]) + content
