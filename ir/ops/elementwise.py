"""Elementwise operators: a table, one row each.

``per_element`` counts arithmetic per element of the result. Each elementary function (exp, log, tanh, erf, a division,
a square root, a power) counts one operation, as do an addition, a multiplication, a comparison together with the
selection it decides, and a conversion between types; changing a sign and moving a value count none. Sigmoid is three:
exp, add, divide. Work that depends on attributes or operands (Clip with one bound, Sum of five) has a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Op
from ..primitives import Elementwise, Primitive
from ..registry import Kind, OpDef, add, define
from ..types import DType, TensorType, Type
from .extents import has_expressions, of_extents
from .reading import (
    Array,
    broadcast,
    compute_dtype,
    elements,
    integer,
    number,
    tensor,
    text,
    typed,
)

__all__ = ["activation_ops", "broadcast_types", "elementwise", "elementwise_lowering", "evaluator"]

_BOOLEAN = DType.BOOL
_BINARY = 2


@dataclass(frozen=True, slots=True)
class Row:
    """An elementwise operator: its work per element, its result's type if not its operand's, its numpy function."""

    name: str
    per_element: int
    result: DType | None = None
    numpy: Callable[..., Any] | None = None


def elementwise(op: Op, function: str, per_element: int = 1) -> tuple[Primitive, ...]:
    """``function`` of each element of the first result."""
    return (Elementwise(function, elements(op), compute_dtype(op), per_element),)


def elementwise_lowering(function: str, per_element: int) -> Callable[[Op], tuple[Primitive, ...]]:
    """Return the lowering of an operator with a fixed number of operations per element."""
    return lambda op: elementwise(op, function, per_element)


def broadcast_types(op: Op, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Result types of an operator whose tensor operands broadcast to its results."""
    operands = [value.type for value in op.inputs]
    tensors = [type_ for type_ in operands if isinstance(type_, TensorType)]
    if not tensors or len(tensors) != len(operands):
        return None
    shapes = [type_.shape for type_ in tensors if type_.shape is not None]
    shape = broadcast(*shapes) if len(shapes) == len(tensors) else None
    return (TensorType(dtype or tensors[0].dtype, shape),) * len(op.results)


def _boolean_types(op: Op) -> tuple[Type, ...] | None:
    return broadcast_types(op, _BOOLEAN)


# -- evaluation -------------------------------------------------------------------------------------------------------


def _divide(a: Array, b: Array) -> Array:
    """Integers divide towards zero (ONNX Div-14)."""
    if a.dtype.kind not in "iu":
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(np.abs(a), np.abs(b)) * (np.sign(a) * np.sign(b))
    return np.asarray(quotient, dtype=a.dtype)


def _power(a: Array, b: Array) -> Array:
    """Exact for integers where the exponent is one; else through floats. The base's type stays (ONNX Pow-15)."""
    exact = a.dtype.kind in "iu" and b.dtype.kind in "iu" and bool((b >= 0).all())
    return np.asarray(np.power(a if exact else a.astype(np.float64), b), dtype=a.dtype)


def evaluator(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(op: Op, *arrays: Array | None) -> Array | None:
        present = [array for array in arrays if array is not None]
        if len(present) != len(arrays) or not present:
            return None
        if has_expressions(*present):
            return _with_expressions(op, name, present)
        if name in ("Div", "Mod") and present[1].dtype.kind in "iu" and not present[1].all():
            return None
        with np.errstate(all="ignore"):
            return np.asarray(function(*present))

    return evaluate


def _with_expressions(op: Op, name: str, arrays: list[Array]) -> Array | None:
    whole = tensor(op, 0).dtype.is_integer
    if len(arrays) <= _BINARY:
        return of_extents(name, tuple(arrays), whole)
    made: Array | None = arrays[0]
    for array in arrays[1:]:
        made = None if made is None else of_extents(name, (made, array), whole)
    return made


# -- the table --------------------------------------------------------------------------------------------------------


_ONE_OPERAND = (
    Row("Abs", 1, numpy=np.abs),
    Row("Acos", 1),
    Row("Acosh", 1),
    Row("Asin", 1),
    Row("Asinh", 1),
    Row("Atan", 1),
    Row("Atanh", 1),
    Row("BitwiseNot", 1, numpy=np.invert),
    Row("Ceil", 1, numpy=np.ceil),
    Row("Celu", 7),  # max(0, x) + min(0, alpha·(exp(x / alpha) - 1))
    Row("Cos", 1),
    Row("Cosh", 1),
    Row("Elu", 4),  # exp, subtract, multiply, select
    Row("Erf", 1),
    Row("Exp", 1, numpy=np.exp),
    Row("Floor", 1, numpy=np.floor),
    Row("HardSigmoid", 4),  # multiply, add, min, max
    Row("HardSwish", 5),
    Row("IsInf", 1, _BOOLEAN),
    Row("IsNaN", 1, _BOOLEAN, np.isnan),
    Row("LeakyRelu", 2),  # multiply, select
    Row("Log", 1, numpy=np.log),
    Row("Mish", 5),  # exp, add, log; tanh, multiply
    Row("Neg", 1, numpy=np.negative),
    Row("Not", 1, _BOOLEAN, np.logical_not),
    Row("Reciprocal", 1, numpy=lambda a: 1 / a),
    Row("Relu", 1, numpy=lambda a: np.maximum(a, 0)),
    Row("Round", 1, numpy=np.round),
    Row("Selu", 5),  # Elu, multiply
    Row("Shrink", 3),  # two comparisons, add
    Row("Sigmoid", 3),  # exp, add, divide
    Row("Sign", 1, numpy=np.sign),
    Row("Sin", 1),
    Row("Sinh", 1),
    Row("Softplus", 3),  # exp, add, log
    Row("Softsign", 3),  # abs, add, divide
    Row("Sqrt", 1, numpy=np.sqrt),
    Row("Tan", 1),
    Row("Tanh", 1),
    Row("ThresholdedRelu", 1),
)

_MANY_OPERANDS = (
    Row("Add", 1, numpy=np.add),
    Row("And", 1, _BOOLEAN, np.logical_and),
    Row("BitShift", 1),
    Row("BitwiseAnd", 1, numpy=np.bitwise_and),
    Row("BitwiseOr", 1, numpy=np.bitwise_or),
    Row("BitwiseXor", 1, numpy=np.bitwise_xor),
    Row("Div", 1, numpy=_divide),
    Row("Equal", 1, _BOOLEAN, np.equal),
    Row("Greater", 1, _BOOLEAN, np.greater),
    Row("GreaterOrEqual", 1, _BOOLEAN, np.greater_equal),
    Row("Less", 1, _BOOLEAN, np.less),
    Row("LessOrEqual", 1, _BOOLEAN, np.less_equal),
    Row("Mul", 1, numpy=np.multiply),
    Row("Or", 1, _BOOLEAN, np.logical_or),
    Row("PRelu", 2),  # multiply, select
    Row("Pow", 1, numpy=_power),
    Row("Sub", 1, numpy=np.subtract),
    Row("Xor", 1, _BOOLEAN, np.logical_xor),
)


def _register(row: Row) -> None:
    lower = elementwise_lowering(row.name.lower(), row.per_element)
    infer = _boolean_types if row.result is _BOOLEAN else broadcast_types
    evaluate = evaluator(row.name, row.numpy) if row.numpy else None
    doc = f"{row.per_element} operation{'s' * (row.per_element > 1)} per element."
    add(OpDef(f"onnx.{row.name}", Kind.ELEMENTWISE, lower, infer, evaluate, doc))


for _row in (*_ONE_OPERAND, *_MANY_OPERANDS):
    _register(_row)


def activation_ops(name: str) -> int:
    """Return the operations per element of an activation function as attributes name it (``Relu``, ``tanh``)."""
    rows = {row.name.lower(): row.per_element for row in _ONE_OPERAND}
    extra = {
        "affine": 2,
        "scaledtanh": 3,
        "clip": 2,
        "gelu": 5,
        "silu": 4,
        "swish": 4,
        "swiglu": 6,
        "relu2": 2,
        "relu_squared": 2,
        "identity": 0,
        "none": 0,
        "": 0,
    }
    if name.lower() not in rows and name.lower() not in extra:
        raise ValueError(f"no activation function {name!r}")
    return rows.get(name.lower(), extra.get(name.lower(), 0))


# -- rows whose work depends on attributes or operands -----------------------------------------------------------------


def _variadic(name: str, function: Callable[..., Any], extra: int = 0) -> None:
    def lower(op: Op) -> Iterable[Primitive]:
        per_element = len(list(op.inputs)) - 1 + extra
        return elementwise(op, name.lower(), per_element) if per_element else ()

    def fold(*arrays: Array) -> Array:
        total = arrays[0]
        for array in arrays[1:]:
            total = function(total, array)
        return total

    doc = "One operation per element for each operand after the first."
    add(OpDef(f"onnx.{name}", Kind.ELEMENTWISE, lower, broadcast_types, evaluator(name, fold), doc))


_variadic("Sum", np.add)
_variadic("Max", np.maximum)
_variadic("Min", np.minimum)
add(
    OpDef(
        "onnx.Mean",
        Kind.ELEMENTWISE,
        lambda op: elementwise(op, "mean", len(list(op.inputs))),
        broadcast_types,
        None,
        "Additions and one division per element.",
    )
)


def _first_type(op: Op) -> tuple[Type, ...] | None:
    type_ = typed(op, 0)
    return None if type_ is None else (type_,)


def _evaluate_clip(op: Op, x: Array, low: Array | None = None, high: Array | None = None) -> Array | None:
    if has_expressions(x, low, high):
        made = x if low is None else of_extents("Max", (x, low), True)
        return made if high is None or made is None else of_extents("Min", (made, high), True)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@define("onnx.Clip", kind=Kind.ELEMENTWISE, infer=_first_type, evaluate=_evaluate_clip)
def clip(op: Op) -> Iterable[Primitive]:
    """One comparison for each bound; opsets before 11 give the bounds as attributes."""
    bounds = sum(op.operand(1 + i) is not None or name in op.attributes for i, name in enumerate(("min", "max")))
    return elementwise(op, "clip", bounds) if bounds else (Elementwise("clip", elements(op), compute_dtype(op)),)


def gelu_ops(approximate: str) -> int:
    """0.5·x·(1 + erf(x / √2)) takes five, the tanh approximation nine (ONNX Gelu-20)."""
    return 9 if approximate == "tanh" else 5


@define("onnx.Gelu", kind=Kind.ELEMENTWISE, infer=_first_type)
def gelu(op: Op) -> Iterable[Primitive]:
    """Five operations per element, nine in the tanh approximation."""
    return elementwise(op, "gelu", gelu_ops(text(op, "approximate", "none")))


@define("onnx.Swish", kind=Kind.ELEMENTWISE, infer=_first_type)
def swish(op: Op) -> Iterable[Primitive]:
    """x·sigmoid(alpha·x): four operations per element, five where alpha is not 1."""
    return elementwise(op, "swish", 4 + (number(op, "alpha", 1.0) != 1.0))


@define("onnx.SwiGLU", kind=Kind.ELEMENTWISE)
def swiglu(op: Op) -> Iterable[Primitive]:
    """swish(gate)·value: five operations per element of the result, six where alpha is not 1."""
    return elementwise(op, "swiglu", 5 + (number(op, "alpha", 1.0) != 1.0))


def _modulo(op: Op, a: Array, b: Array) -> Array | None:
    if has_expressions(a, b):
        return None if integer(op, "fmod", 0) else of_extents("Mod", (a, b), True)
    if b.dtype.kind in "iu" and not b.all():
        return None
    with np.errstate(all="ignore"):
        return np.asarray(np.fmod(a, b) if integer(op, "fmod", 0) else np.mod(a, b))


@define("onnx.Mod", kind=Kind.ELEMENTWISE, infer=broadcast_types, evaluate=_modulo)
def modulo(op: Op) -> Iterable[Primitive]:
    """One operation per element."""
    return elementwise(op, "mod")


def _where_types(op: Op) -> tuple[Type, ...] | None:
    chosen = typed(op, 1)
    return None if chosen is None else broadcast_types(op, chosen.dtype)


@define(
    "onnx.Where",
    kind=Kind.ELEMENTWISE,
    infer=_where_types,
    evaluate=lambda op, condition, x, y: (
        of_extents("Where", (condition, x, y), True) if has_expressions(x, y) else np.where(condition, x, y)
    ),
)
def where(op: Op) -> Iterable[Primitive]:
    """One selection per element."""
    return (Elementwise("where", elements(op), tensor(op, 1).dtype),)
