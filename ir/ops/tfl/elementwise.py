"""Elementwise operators of TFLite: a table, counted as the ONNX operator of the same function is.

A quantised operand is dequantised first and a quantised result requantised, whether a kernel computes that or looks it
up in a table of 256 results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...graph import Op
from ...primitives import Elementwise, Primitive
from ...registry import Kind, Lowering, OpDef, add, define
from ...types import DType, TensorType, Type
from ..elementwise import broadcast_types, evaluator
from ..reading import Array, compute_dtype, elements, numpy_dtype, ranked, tensor, typed, view
from .stages import activation, is_quantized, result_type, scaled_ops, unary_ops

__all__ = ["elementwise_op"]

# The ONNX operator that has the same work for each element.
_ONE_OPERAND: Mapping[str, str] = {
    "ABS": "Abs",
    "CEIL": "Ceil",
    "COS": "Cos",
    "ELU": "Elu",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "GELU": "gelu",
    "HARD_SWISH": "HardSwish",
    "LEAKY_RELU": "LeakyRelu",
    "LOG": "Log",
    "LOGICAL_NOT": "Not",
    "LOGISTIC": "Sigmoid",
    "NEG": "Neg",
    "RELU": "Relu",
    "RELU6": "clip",
    "RELU_0_TO_1": "clip",
    "RELU_N1_TO_1": "clip",
    "ROUND": "Round",
    "SIGN": "Sign",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "TANH": "Tanh",
}
_COUNTED: Mapping[str, int] = {
    "COMPLEX_ABS": 4,  # two squares, their sum, its root
    "RSQRT": 2,  # root, division
    "SQUARE": 1,
}

# Operations per element, and the name under which small integers are computed (shape arithmetic).
_TWO_OPERANDS: Mapping[str, tuple[int, str, Callable[..., Any] | None]] = {
    "ADD": (1, "Add", np.add),
    "ATAN2": (1, "", None),
    "BITWISE_XOR": (1, "BitwiseXor", np.bitwise_xor),
    "DIV": (1, "Div", None),
    "FLOOR_DIV": (2, "Div", np.floor_divide),
    "FLOOR_MOD": (3, "Mod", np.mod),  # divide, multiply, subtract
    "MAXIMUM": (1, "Max", np.maximum),
    "MINIMUM": (1, "Min", np.minimum),
    "MUL": (1, "Mul", np.multiply),
    "POW": (1, "", None),
    "PRELU": (2, "", None),  # multiply, select
    "RIGHT_SHIFT": (1, "", np.right_shift),
    "SQUARED_DIFFERENCE": (2, "", None),
    "SUB": (1, "Sub", np.subtract),
}
_COMPARISONS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "EQUAL": ("Equal", np.equal),
    "GREATER": ("Greater", np.greater),
    "GREATER_EQUAL": ("GreaterOrEqual", np.greater_equal),
    "LESS": ("Less", np.less),
    "LESS_EQUAL": ("LessOrEqual", np.less_equal),
    "LOGICAL_AND": ("And", np.logical_and),
    "LOGICAL_OR": ("Or", np.logical_or),
    "NOT_EQUAL": ("NotEqual", np.not_equal),
}


def elementwise_op(op: Op, per_element: int, operands: int = 1) -> tuple[Primitive, ...]:
    """An elementwise function of ``operands`` tensors, and the activation fused into it."""
    work = Elementwise(op.base_name.lower(), elements(op), compute_dtype(op), scaled_ops(op, per_element, operands))
    return (work, *activation(op))


def _lowering(per_element: int, operands: int) -> Callable[[Op], Iterable[Primitive]]:
    return lambda op: elementwise_op(op, per_element, operands)


def _doc(per_element: int, operands: int) -> str:
    scaling = "quantised operands dequantised, the result requantised"
    return f"{per_element} operation{'s' * (per_element > 1)} per element of {operands} operand(s); {scaling}."


def _register(
    name: str, per_element: int, operands: int, evaluate: Callable[..., Any] | None = None, boolean: bool = False
) -> None:
    infer = (lambda op: broadcast_types(op, DType.BOOL)) if boolean else broadcast_types
    lower, doc = _lowering(per_element, operands), _doc(per_element, operands)
    add(OpDef(f"tfl.{name}", Kind.ELEMENTWISE, lower, infer, evaluate, doc))


for _name, _like in _ONE_OPERAND.items():
    _register(_name, unary_ops(_like), 1, boolean=_name == "LOGICAL_NOT")
for _name, _per_element in _COUNTED.items():
    _register(_name, _per_element, 1)
for _name, (_per_element, _symbolic, _numpy) in _TWO_OPERANDS.items():
    _register(_name, _per_element, 2, evaluator(_symbolic, _numpy) if _numpy else None)
for _name, (_symbolic, _compare) in _COMPARISONS.items():
    _register(_name, 1, 2, evaluator(_symbolic, _compare), boolean=True)


@define("tfl.ADD_N", kind=Kind.ELEMENTWISE, infer=broadcast_types)
def add_n(op: Op) -> Iterable[Primitive]:
    """One addition per element for each operand after the first."""
    return (Elementwise("add", elements(op), compute_dtype(op), max(1, len(op.operands) - 1)),)


def _select_types(op: Op) -> tuple[Type, ...] | None:
    chosen = typed(op, 1)
    return None if chosen is None else broadcast_types(op, chosen.dtype)


@define("tfl.SELECT_V2", kind=Kind.ELEMENTWISE, infer=_select_types)
def select_v2(op: Op) -> Iterable[Primitive]:
    """One selection per element."""
    return (Elementwise("select", elements(op), tensor(op, 1).dtype),)


@define("tfl.SELECT", kind=Kind.ELEMENTWISE, infer=lambda op: None if (x := typed(op, 1)) is None else (x,))
def select(op: Op) -> Iterable[Primitive]:
    """One selection per element; a vector of conditions selects whole rows."""
    return (Elementwise("select", elements(op), tensor(op, 1).dtype),)


@define("tfl.REAL", "tfl.IMAG", kind=Kind.ELEMENTWISE, infer=lambda op: _part_types(op))
def part(op: Op) -> Iterable[Primitive]:
    """One part of each complex number: no arithmetic."""
    return (Elementwise(op.base_name.lower(), elements(op), result_type(op).dtype, 0),)


def _part_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else (TensorType(DType.F64 if x[0] is DType.C128 else DType.F32, x[1]),)


@define("tfl.BUCKETIZE", kind=Kind.ELEMENTWISE, infer=lambda op: broadcast_types(op, DType.I32))
def bucketize(op: Op) -> Iterable[Primitive]:
    """A binary search among the boundaries for each element."""
    boundaries = op.attributes.get("boundaries", ())
    count = len(boundaries) if isinstance(boundaries, tuple) else 0
    return (Elementwise("search", elements(op), tensor(op, 0).dtype, max(1, count.bit_length())),)


# -- between element types ---------------------------------------------------------------------------------------------


def _same_shape(op: Op) -> tuple[Type, ...] | None:
    """The operand's shape in the element type that the file states."""
    x, result = ranked(op, 0), op.results[0].type
    return None if x is None or not isinstance(result, TensorType) else (TensorType(result.dtype, x[1]),)


def _evaluate_cast(op: Op, x: Array) -> Array | None:
    name = numpy_dtype(result_type(op).dtype)
    if name is None:
        return None
    if x.dtype == object:
        return x if name in ("int64", "int32") else None
    with np.errstate(all="ignore"):
        return x.astype(name)


@define("tfl.CAST", kind=Kind.ELEMENTWISE, infer=_same_shape, evaluate=_evaluate_cast)
def cast(op: Op) -> Lowering | Iterable[Primitive]:
    """One conversion per element; nothing where the type stays."""
    if result_type(op).dtype is tensor(op, 0).dtype:
        return view(op)
    return (Elementwise("cast", elements(op), tensor(op, 0).dtype),)


@define("tfl.QUANTIZE", kind=Kind.QUANTIZATION, infer=_same_shape)
def quantize(op: Op) -> Iterable[Primitive]:
    """From floats: divide, round, add the zero point, saturate. Between integers of two scales: requantise."""
    source = tensor(op, 0).dtype
    function = "requantize" if is_quantized(source) else "quantize"
    return (Elementwise(function, elements(op), source, scaled_ops(op, 0, 0)),)


@define("tfl.DEQUANTIZE", kind=Kind.QUANTIZATION, infer=_same_shape)
def dequantize(op: Op) -> Iterable[Primitive]:
    """Subtract the zero point, multiply by the scale; from half to single precision one conversion."""
    per_element = scaled_ops(op, 0, 1) or 1
    return (Elementwise("dequantize", elements(op), result_type(op).dtype, per_element),)


@define("tfl.FAKE_QUANT", kind=Kind.QUANTIZATION, infer=_same_shape)
def fake_quant(op: Op) -> Iterable[Primitive]:
    """Scale, round, saturate to the range, scale back."""
    return (Elementwise("fake_quant", elements(op), tensor(op, 0).dtype, 6),)
