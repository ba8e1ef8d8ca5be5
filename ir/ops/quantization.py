"""Operators between floats and small integers, and elementwise operators on quantised tensors."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Op
from ..onnx_types import dtype_of
from ..primitives import Copy, Elementwise, Primitive, Reduction, Softmax
from ..registry import Kind, OpDef, add, define
from ..types import DType, TensorType, Type
from .contraction import REQUANTIZE_OPS
from .elementwise import activation_ops
from .layout import concatenated
from .reading import broadcast, dims, elements, integer, largest, ranked, same_type, tensor, typed, with_shape
from .reduction import reduced_types

__all__: list[str] = []


# -- to and from integers ---------------------------------------------------------------------------------------------


def _quantize_types(op: Op) -> tuple[Type, ...] | None:
    x, zero_point = typed(op, 0), typed(op, 2)
    if x is None:
        return None
    chosen = op.attributes.get("output_dtype", 0)
    default = dtype_of(chosen) if isinstance(chosen, int) and chosen else DType.UI8
    return (TensorType(zero_point.dtype if zero_point else default, x.shape),)


@define("onnx.QuantizeLinear", "com.microsoft.QuantizeLinear", kind=Kind.QUANTIZATION, infer=_quantize_types)
def quantize_linear(op: Op) -> Iterable[Primitive]:
    """Divide by the scale, round, add the zero point, saturate."""
    return (Elementwise("quantize", elements(op), tensor(op, 0).dtype, REQUANTIZE_OPS),)


def _dequantize_types(op: Op) -> tuple[Type, ...] | None:
    x, scale = typed(op, 0), typed(op, 1)
    if x is None or scale is None:
        return None
    chosen = op.attributes.get("output_dtype", 0)
    return (TensorType(dtype_of(chosen) if isinstance(chosen, int) and chosen else scale.dtype, x.shape),)


@define("onnx.DequantizeLinear", "com.microsoft.DequantizeLinear", kind=Kind.QUANTIZATION, infer=_dequantize_types)
def dequantize_linear(op: Op) -> Iterable[Primitive]:
    """Subtract the zero point, multiply by the scale."""
    return (Elementwise("dequantize", elements(op), tensor(op, 1).dtype, 2),)


@define("com.microsoft.QuantizeWithOrder", kind=Kind.QUANTIZATION, infer=lambda op: _with_dtype(op, DType.I8))
def quantize_with_order(op: Op) -> Iterable[Primitive]:
    """Divide by the scale, round, saturate, in another layout."""
    return (Elementwise("quantize", elements(op), tensor(op, 0).dtype, REQUANTIZE_OPS),)


def _with_dtype(op: Op, dtype: DType) -> tuple[Type, ...] | None:
    x = typed(op, 0)
    return None if x is None else (TensorType(dtype, x.shape),)


def _order_types(op: Op) -> tuple[Type, ...] | None:
    chosen = op.attributes.get("to")
    return _with_dtype(op, dtype_of(chosen) if isinstance(chosen, int) else DType.F32)


@define("com.microsoft.DequantizeWithOrder", kind=Kind.QUANTIZATION, infer=_order_types)
def dequantize_with_order(op: Op) -> Iterable[Primitive]:
    """Multiply by the scale, in another layout."""
    return (Elementwise("dequantize", elements(op), tensor(op, 1).dtype),)


@define("com.microsoft.QuantizeBFP", "com.microsoft.DequantizeBFP", kind=Kind.QUANTIZATION, any_type=True)
def block_floating_point(op: Op) -> Iterable[Primitive]:
    """To or from blocks that share an exponent: its largest, a shift and a rounding for each element."""
    return (Elementwise("block_floating_point", tensor(op, 0).elements or 0, tensor(op, 0).dtype, 3),)


def _dynamic_types(op: Op) -> tuple[Type, ...] | None:
    x = typed(op, 0)
    if x is None:
        return None
    return (TensorType(DType.UI8, x.shape), TensorType(DType.F32, ()), TensorType(DType.UI8, ()))[: len(op.results)]


@define("onnx.DynamicQuantizeLinear", kind=Kind.QUANTIZATION, infer=_dynamic_types)
def dynamic_quantize_linear(op: Op) -> Iterable[Primitive]:
    """The smallest and the largest element, then quantisation."""
    count, dtype = elements(op), tensor(op, 0).dtype
    return (Reduction("minmax", count, 2, dtype, 2), Elementwise("quantize", count, dtype, REQUANTIZE_OPS))


# -- com.microsoft.QLinear*: scale in, compute, scale out --------------------------------------------------------------


def _binary_types(op: Op) -> tuple[Type, ...] | None:
    a, b = ranked(op, 0), ranked(op, 3)
    return None if a is None or b is None else with_shape(op, broadcast(a[1], b[1]))


def _qlinear_binary(op: Op) -> Iterable[Primitive]:
    """Both operands dequantised, one operation, the result requantised."""
    function = op.base_name.removeprefix("QLinear").lower()
    return (Elementwise(function, elements(op), tensor(op, 0).dtype, 2 + 2 + 1 + REQUANTIZE_OPS),)


def _qlinear_unary(op: Op) -> Iterable[Primitive]:
    """The operand dequantised, the function, the result requantised."""
    function = op.base_name.removeprefix("QLinear")
    per_element = 2 + activation_ops(function) + REQUANTIZE_OPS
    return (Elementwise(function.lower(), elements(op), tensor(op, 0).dtype, per_element),)


for _name in ("Add", "Mul"):
    add(
        OpDef(
            f"com.microsoft.QLinear{_name}",
            Kind.ELEMENTWISE,
            _qlinear_binary,
            _binary_types,
            None,
            _qlinear_binary.__doc__ or "",
        )
    )
for _name in ("Sigmoid", "LeakyRelu"):
    add(
        OpDef(
            f"com.microsoft.QLinear{_name}",
            Kind.ELEMENTWISE,
            _qlinear_unary,
            same_type,
            None,
            _qlinear_unary.__doc__ or "",
        )
    )


@define("com.microsoft.QLinearSoftmax", kind=Kind.NORMALIZATION, infer=same_type)
def qlinear_softmax(op: Op) -> Iterable[Primitive]:
    """A softmax by table, its results requantised."""
    shape = dims(op, 0)
    columns = shape[integer(op, "axis", -1)] if shape else 1
    count = elements(op)
    dtype = tensor(op, 0).dtype
    return (
        Softmax(count // largest(1, columns), columns, dtype),
        Elementwise("requantize", count, DType.I32, REQUANTIZE_OPS),
    )


def _concat_types(op: Op) -> tuple[Type, ...] | None:
    """Operands are the result's scale and zero point, then each tensor with its own."""
    parts = [ranked(op, index) for index in range(2, len(op.operands), 3)]
    types = [part for part in parts if part is not None]
    if not types or len(types) != len(parts):
        return None
    shape = concatenated([part[1] for part in types], integer(op, "axis", 1))
    return None if shape is None else (TensorType(types[0][0], shape),)


@define("com.microsoft.QLinearConcat", kind=Kind.LAYOUT, infer=_concat_types)
def qlinear_concat(op: Op) -> Iterable[Primitive]:
    """A copy of every operand, each brought to the result's scale."""
    dtype = tensor(op, 2).dtype
    return (Copy(elements(op), dtype), Elementwise("requantize", elements(op), DType.I32, 2 + REQUANTIZE_OPS))


@define("com.microsoft.QLinearReduceMean", kind=Kind.REDUCTION, infer=reduced_types)
def qlinear_reduce_mean(op: Op) -> Iterable[Primitive]:
    """Integer sums, requantised."""
    dtype = tensor(op, 0).dtype
    reduced = Reduction("mean", tensor(op, 0).elements or 0, elements(op), dtype)
    return (reduced, Elementwise("requantize", elements(op), DType.I32, REQUANTIZE_OPS))


def _where_types(op: Op) -> tuple[Type, ...] | None:
    shapes = [ranked(op, index) for index in (0, 1, 4)]
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    return with_shape(op, broadcast(*(shape[1] for shape in known)), known[1][0])


@define("com.microsoft.QLinearWhere", kind=Kind.ELEMENTWISE, infer=_where_types)
def qlinear_where(op: Op) -> Iterable[Primitive]:
    """A selection, brought to the result's scale."""
    return (Elementwise("where", elements(op), tensor(op, 1).dtype, 1 + 2 + REQUANTIZE_OPS),)
