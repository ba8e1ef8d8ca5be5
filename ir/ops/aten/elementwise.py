"""ATen's elementwise operators: a table, one row each, counted as their ONNX counterparts are.

An operand may be a number, which is then an attribute. A conversion between types that comes with an operator (an
integer added to a float) is not counted.
"""

from __future__ import annotations

from collections.abc import Callable

from ...graph import Op
from ...primitives import Elementwise, Primitive
from ...registry import Kind, Lowering
from ...types import TensorType
from ..elementwise import activation_ops, gelu_ops
from ..reading import compute_dtype, elements, number, text
from .reading import enter, flag, result_dtype

__all__ = ["RANDOM_NORMAL_OPS", "RANDOM_UNIFORM_OPS", "pointwise"]

RANDOM_UNIFORM_OPS = 10
"""A counter-based generator (Philox): about ten integer operations for each number."""

RANDOM_NORMAL_OPS = 15
"""… and a logarithm, a root, a cosine and two products (Box-Muller)."""


def pointwise(function: str, per_element: int) -> Callable[[Op], tuple[Primitive, ...]]:
    """Return the lowering of an operator with a fixed number of operations per element of its result."""
    return lambda op: (Elementwise(function, elements(op), compute_dtype(op), per_element),)


# Operators by name, what their work is called, operations per element. A name of several words is several operators.
_TABLE: tuple[tuple[str, str, int], ...] = (
    ("abs absolute", "abs", 1),
    ("acos arccos", "acos", 1),
    ("acosh arccosh", "acosh", 1),
    ("addcdiv", "addcdiv", 3),
    ("addcmul", "addcmul", 3),
    ("asin arcsin", "asin", 1),
    ("asinh arcsinh", "asinh", 1),
    ("atan arctan", "atan", 1),
    ("atan2 arctan2", "atan", 2),  # a quotient and an arc tangent
    ("atanh arctanh", "atanh", 1),
    ("bitwise_and __and__", "bitwiseand", 1),
    ("bitwise_left_shift bitwise_right_shift __lshift__ __rshift__", "bitshift", 1),
    ("bitwise_not", "bitwisenot", 1),
    ("bitwise_or __or__", "bitwiseor", 1),
    ("bitwise_xor __xor__", "bitwisexor", 1),
    ("ceil", "ceil", 1),
    ("celu", "celu", 7),
    ("complex", "copy", 0),
    ("copysign", "copysign", 1),
    ("cos", "cos", 1),
    ("cosh", "cosh", 1),
    ("deg2rad rad2deg", "mul", 1),
    ("diff", "sub", 1),
    ("digamma lgamma special_digamma special_gammaln", "gamma", 1),
    ("elu", "elu", 4),
    ("eq not_equal ne", "equal", 1),
    ("erf special_erf", "erf", 1),
    ("erfc special_erfc", "erf", 2),
    ("erfinv special_erfinv", "erfinv", 1),
    ("exp", "exp", 1),
    ("exp2 special_exp2", "exp", 1),
    ("expm1 special_expm1", "exp", 1),
    ("floor", "floor", 1),
    ("floor_divide", "div", 2),
    ("fmod remainder", "mod", 1),
    ("frac", "sub", 2),
    ("gcd lcm", "gcd", 1),
    ("ge greater_equal", "greaterorequal", 1),
    ("gt greater", "greater", 1),
    ("hardshrink", "shrink", 2),
    ("hardsigmoid", "hardsigmoid", 4),
    ("hardswish", "hardswish", 5),
    ("hardtanh relu6", "clip", 2),
    ("heaviside", "greater", 2),
    ("hypot", "hypot", 4),  # two products, a sum, a root
    ("isinf isposinf isneginf", "isinf", 1),
    ("isnan", "isnan", 1),
    ("isfinite", "isfinite", 1),
    ("le less_equal", "lessorequal", 1),
    ("leaky_relu", "leakyrelu", 2),
    ("lerp", "lerp", 3),
    ("log", "log", 1),
    ("log10", "log", 1),
    ("log1p special_log1p", "log", 1),
    ("log2", "log", 1),
    ("log_sigmoid log_sigmoid_forward", "softplus", 3),
    ("logaddexp logaddexp2", "logaddexp", 5),  # maximum, difference, exp, log1p, sum
    ("logical_and", "and", 1),
    ("logical_not", "not", 1),
    ("logical_or", "or", 1),
    ("logical_xor", "xor", 1),
    ("logit special_logit", "log", 3),
    ("lt less", "less", 1),
    ("masked_fill", "where", 1),
    ("maximum fmax", "max", 1),
    ("minimum fmin", "min", 1),
    ("mish", "mish", 5),
    ("mul multiply", "mul", 1),
    ("nan_to_num", "where", 3),
    ("neg negative", "neg", 1),
    ("polar", "polar", 4),  # sine, cosine, two products
    ("pow float_power", "pow", 1),
    ("prelu _prelu_kernel rrelu", "prelu", 2),
    ("reciprocal", "reciprocal", 1),
    ("relu", "relu", 1),
    ("round", "round", 1),
    ("rsqrt", "rsqrt", 2),  # a root and a quotient
    ("selu", "selu", 5),
    ("sgn sign", "sign", 1),
    ("sigmoid special_expit", "sigmoid", 3),
    ("signbit", "less", 1),
    ("silu", "swish", 4),
    ("sin", "sin", 1),
    ("sinc special_sinc", "sinc", 3),
    ("sinh", "sinh", 1),
    ("softplus", "softplus", 3),
    ("softshrink", "shrink", 3),
    ("sqrt", "sqrt", 1),
    ("square", "mul", 1),
    ("tan", "tan", 1),
    ("tanh", "tanh", 1),
    ("threshold", "thresholdedrelu", 1),
    ("trunc fix", "trunc", 1),
    ("xlogy special_xlogy special_xlog1py", "xlogy", 2),
)
for _names, _function, _per_element in _TABLE:
    _doc = f"{_per_element} operation{'s' * (_per_element != 1)} per element."
    enter(_names, Kind.ELEMENTWISE, pointwise(_function, _per_element), _doc)


# -- rows whose work depends on arguments ------------------------------------------------------------------------------


def _scaled(function: str) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        scaled = number(op, "alpha", 1.0) != 1.0
        return (Elementwise(function, elements(op), compute_dtype(op), 1 + scaled),)

    return lower


enter("add", Kind.ELEMENTWISE, _scaled("add"), "A sum, and a product where ``alpha`` is not 1.")
enter("sub subtract rsub", Kind.ELEMENTWISE, _scaled("sub"), "A difference, and a product where ``alpha`` is not 1.")


def _divide(op: Op) -> tuple[Primitive, ...]:
    rounded = "rounding_mode" in op.attributes
    return (Elementwise("div", elements(op), compute_dtype(op), 1 + rounded),)


enter("div divide true_divide", Kind.ELEMENTWISE, _divide, "A quotient, rounded where ``rounding_mode`` says so.")


def _clamp(op: Op) -> tuple[Primitive, ...]:
    bounds = sum(op.operand(1 + i) is not None or name in op.attributes for i, name in enumerate(("min", "max")))
    return (Elementwise("clip", elements(op), compute_dtype(op), max(1, bounds)),)


enter("clamp clip clamp_min clamp_max", Kind.ELEMENTWISE, _clamp, "One comparison for each bound.")


def _gelu(op: Op) -> tuple[Primitive, ...]:
    return (Elementwise("gelu", elements(op), compute_dtype(op), gelu_ops(text(op, "approximate", "none"))),)


enter("gelu", Kind.ELEMENTWISE, _gelu, "Five operations per element, nine in the tanh approximation.")


def _glu(op: Op) -> tuple[Primitive, ...]:
    return (Elementwise("glu", elements(op), compute_dtype(op), 1 + activation_ops("sigmoid")),)


enter("glu", Kind.ELEMENTWISE, _glu, "A product with a gate's sigmoid, for each element of the result.")


def _where(op: Op) -> tuple[Primitive, ...]:
    return (Elementwise("where", elements(op), result_dtype(op)),)


enter("where", Kind.ELEMENTWISE, _where, "One selection per element.")


def _convert(op: Op) -> tuple[Primitive, ...]:
    type_ = next((value.type for value in op.inputs), None)
    same = isinstance(type_, TensorType) and type_.dtype is result_dtype(op)
    return (Elementwise("cast", elements(op), compute_dtype(op), int(not same)),)


enter("_to_copy", Kind.ELEMENTWISE, _convert, "One conversion per element; a copy where the type stays.")


# -- random numbers ----------------------------------------------------------------------------------------------------


def _random(function: str, per_element: int) -> Callable[[Op], Lowering]:
    """What an operand holds is not read: it gives the shape, or is written over."""

    def lower(op: Op) -> Lowering:
        work = Elementwise(function, elements(op), result_dtype(op), per_element)
        return Lowering((work,), {0: 0} if op.operands else {})

    return lower


enter(
    "rand rand_like uniform randint randint_like random exponential geometric cauchy",
    Kind.ELEMENTWISE,
    _random("random_uniform", RANDOM_UNIFORM_OPS),
    "A random number for each element.",
)
enter(
    "randn randn_like normal normal_functional log_normal",
    Kind.ELEMENTWISE,
    _random("random_normal", RANDOM_NORMAL_OPS),
    "A normal random number for each element.",
)
enter(
    "bernoulli poisson",
    Kind.ELEMENTWISE,
    pointwise("bernoulli", RANDOM_UNIFORM_OPS + 1),
    "A random number and a comparison for each element.",
)


def _native_dropout(op: Op) -> tuple[Primitive, ...]:
    if not flag(op, "train", True):
        return (Elementwise("copy", elements(op), compute_dtype(op), 0),)
    return (Elementwise("dropout", elements(op), compute_dtype(op), 3),)


enter("native_dropout", Kind.ELEMENTWISE, _native_dropout, "A random number, a comparison and a product per element.")
