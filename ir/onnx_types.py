"""Element types and result types as ONNX knows them: numbers of ``TensorProto.DataType``, ``TypeProto``, inference.

The numbers are ONNX's (onnx.proto3), so that reading a file's types needs no import of ``onnx``; only inference does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .attributes import Attribute, Dense
from .expression import UNKNOWN_DIM, Expression, Symbol
from .graph import Op, Value
from .types import Dim, DType, OptionalType, SequenceType, Shape, TensorType, Type, UnknownType

if TYPE_CHECKING:
    import onnx

__all__ = ["dtype_of", "infer_with_onnx", "number_of", "type_from_proto", "type_to_proto"]

_NUMBERS = {
    DType.F32: 1,
    DType.UI8: 2,
    DType.I8: 3,
    DType.UI16: 4,
    DType.I16: 5,
    DType.I32: 6,
    DType.I64: 7,
    DType.STRING: 8,
    DType.BOOL: 9,
    DType.F16: 10,
    DType.F64: 11,
    DType.UI32: 12,
    DType.UI64: 13,
    DType.C64: 14,
    DType.C128: 15,
    DType.BF16: 16,
    DType.F8E4M3FN: 17,
    DType.F8E4M3FNUZ: 18,
    DType.F8E5M2: 19,
    DType.F8E5M2FNUZ: 20,
    DType.UI4: 21,
    DType.I4: 22,
    DType.F4E2M1FN: 23,
    DType.F8E8M0FNU: 24,
    DType.UI2: 25,
    DType.I2: 26,
    DType.F6E2M3FN: 27,
    DType.F6E3M2FN: 28,
}
_DTYPES = {number: dtype for dtype, number in _NUMBERS.items()}

_DIGITS = 18
"""Digits that every extent of so many fits in 64 bits with."""


def dtype_of(number: int) -> DType:
    """Return the element type of a ``TensorProto.DataType`` number; unknown if there is none."""
    return _DTYPES.get(number, DType.UNKNOWN)


def number_of(dtype: DType) -> int:
    """Return the ``TensorProto.DataType`` number of an element type; 0 (undefined) if ONNX has none."""
    return _NUMBERS.get(dtype, 0)


# -- TypeProto --------------------------------------------------------------------------------------------------------


def type_from_proto(proto: onnx.TypeProto) -> Type:
    """Return the type that a ``TypeProto`` states; what it leaves open is a ``Symbol("?")`` or unknown."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        tensor = proto.tensor_type
        return TensorType(
            dtype_of(tensor.elem_type), _shape_from_proto(tensor.shape) if tensor.HasField("shape") else None
        )
    if kind == "sequence_type":
        return SequenceType(type_from_proto(proto.sequence_type.elem_type))
    if kind == "optional_type":
        return OptionalType(type_from_proto(proto.optional_type.elem_type))
    return UnknownType()


def _shape_from_proto(shape: onnx.TensorShapeProto) -> Shape:
    return tuple(_dim_from_proto(dim) for dim in shape.dim)


def _dim_from_proto(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    name = dim.dim_param
    if name.isascii() and name.isdecimal() and name[0] != "0" and len(name) <= _DIGITS:
        return int(name)  # transformers' exporter names a fixed dimension by its extent
    return Symbol(name or "?")


def type_to_proto(type_: Type) -> onnx.TypeProto | None:
    """Return the ``TypeProto`` of a type, ``None`` where ONNX cannot say it."""
    import onnx

    proto = onnx.TypeProto()
    if isinstance(type_, TensorType):
        proto.tensor_type.elem_type = number_of(type_.dtype)
        if type_.shape is not None:
            proto.tensor_type.shape.SetInParent()
            for dim in type_.shape:
                _dim_to_proto(dim, proto.tensor_type.shape.dim.add())
        return proto
    element = None if isinstance(type_, UnknownType) else type_to_proto(type_.element)
    if element is None:
        return None
    if isinstance(type_, SequenceType):
        proto.sequence_type.elem_type.CopyFrom(element)
    else:
        proto.optional_type.elem_type.CopyFrom(element)
    return proto


def _dim_to_proto(dim: Dim, proto: Any) -> None:
    if isinstance(dim, int):
        if dim >= 0:  # onnx's inference of Slice aborts the process on a negative one
            proto.dim_value = dim
    elif dim.known:
        proto.dim_param = str(dim)


# -- inference of one operation ---------------------------------------------------------------------------------------


def infer_with_onnx(op: Op, opset: int | None = None) -> tuple[Type, ...] | None:
    """Return the result types that onnx's own inference gives an ``onnx.…`` or ``ai.onnx.…`` operation.

    ``opset`` is the model's version of ``ai.onnx``; other domains, and a model that states none, take the newest.
    ``None`` where onnx cannot say: no such operator, an operation with regions, an operand of unknown type, or one
    that onnx finds wrong.
    """
    import onnx
    import onnx.checker
    import onnx.shape_inference

    domain = "" if op.dialect == "onnx" else op.dialect
    if op.regions or not onnx.defs.has(op.base_name, domain) or _wrong_split(op):
        return None
    try:
        if opset is None or domain:
            schema = onnx.defs.get_schema(op.base_name, domain)
        else:
            schema = onnx.defs.get_schema(op.base_name, opset, domain)
        inferred = _infer(op, schema)
    except (
        onnx.defs.SchemaError,
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        ArithmeticError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        return None
    if not inferred:
        return None
    given = {str(dim): dim for value in op.inputs for dim in _open_dims(value.type)}
    return tuple(
        _restored(type_from_proto(inferred[name]), given) if name in inferred else UnknownType()
        for name in _results(op)
    )


def _open_dims(type_: Type) -> list[Expression]:
    if isinstance(type_, SequenceType | OptionalType):
        return _open_dims(type_.element)
    shape = type_.shape if isinstance(type_, TensorType) else None
    return [dim for dim in shape or () if isinstance(dim, Expression)]


def _restored(type_: Type, given: Mapping[str, Expression]) -> Type:
    """The type with the operands' own dimensions where onnx has handed on their names; what else it named is open."""
    if isinstance(type_, SequenceType | OptionalType):
        return type_.__class__(_restored(type_.element, given))
    if not isinstance(type_, TensorType) or type_.static or type_.shape is None:
        return type_
    shape = (dim if isinstance(dim, int) else given.get(str(dim), UNKNOWN_DIM) for dim in type_.shape)
    return TensorType(type_.dtype, tuple(shape))


def _wrong_split(op: Op) -> bool:
    """Whether a split says another number of outputs than it has: onnx's inference then ends the process."""
    count, sizes = op.attributes.get("num_outputs"), op.attributes.get("split")
    said = [] if count is None else [count]
    said += [len(sizes)] if isinstance(sizes, tuple) else []
    return op.name == "onnx.Split" and any(number != len(op.results) for number in said)


def _infer(op: Op, schema: onnx.defs.OpSchema) -> dict[str, onnx.TypeProto] | None:
    import onnx

    values = {f"i{index}": value for index, value in enumerate(op.operands) if value is not None}
    types = {name: type_ for name, value in values.items() if (type_ := type_to_proto(value.type)) is not None}
    if len(types) < len(values):
        return None
    constants = {name: proto for name, value in values.items() if (proto := _constant(value, name)) is not None}
    names = ["" if value is None else f"i{index}" for index, value in enumerate(op.operands)]
    node = onnx.helper.make_node(op.base_name, names, _results(op), domain=schema.domain)
    for name, attribute in op.attributes.items():
        if name in schema.attributes:
            node.attribute.append(_attribute(name, attribute, schema.attributes[name].type))
    opsets = [onnx.helper.make_opsetid(schema.domain, schema.since_version)]
    inferred: dict[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
        schema, node, types, constants, opset_imports=opsets
    )
    return inferred


def _results(op: Op) -> list[str]:
    return [f"o{index}" for index in range(len(op.results))]


def _attribute(name: str, attribute: Attribute, kind: onnx.defs.OpSchema.AttrType) -> onnx.AttributeProto:
    import onnx

    kinds, proto = onnx.defs.OpSchema.AttrType, onnx.AttributeProto
    if isinstance(attribute, Dense):
        return onnx.helper.make_attribute(name, _tensor(attribute, name))
    if isinstance(attribute, TensorType) and kind == kinds.INT:
        return onnx.helper.make_attribute(name, number_of(attribute.dtype))
    if attribute == ():
        empty = {kinds.FLOATS: proto.FLOATS, kinds.STRINGS: proto.STRINGS}.get(kind, proto.INTS)
        return onnx.helper.make_attribute(name, (), attr_type=empty)
    if kind == kinds.FLOAT and isinstance(attribute, int):
        return onnx.helper.make_attribute(name, float(attribute))
    return onnx.helper.make_attribute(name, attribute)


def _constant(value: Value, name: str) -> onnx.TensorProto | None:
    dense = value.constant
    if dense is None or dense.open:
        return None
    try:
        return _tensor(dense, name)
    except (TypeError, ValueError):
        return None


def _tensor(dense: Dense, name: str) -> onnx.TensorProto:
    import onnx

    values: Any = dense.values  # strings too, which onnx's annotation leaves out
    return onnx.helper.make_tensor(name, number_of(dense.type.dtype), dense.type.dims, values)
