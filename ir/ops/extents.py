"""Elementwise operators on extents: what shape arithmetic makes of numbers and expressions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..expression import Expression, Undecided
from ..inequalities import equal, largest, less, never_negative, smallest
from ..types import DType
from .reading import Array

__all__ = ["converted", "has_expressions", "of_extents"]


_MOST_RAISED = 64
"""Exponents of integers of 64 bits up to which a power is worked out."""


def has_expressions(*arrays: Array | None) -> bool:
    """Whether one of these arrays holds expressions."""
    return any(array is not None and array.dtype == object for array in arrays)


def of_extents(name: str, arrays: tuple[Array, ...], whole: bool) -> Array | None:
    """Apply an operator to arrays of numbers and expressions; ``None`` where there is no such arithmetic.

    Args:
        name: the operator's, without its dialect.
        arrays: which broadcast.
        whole: whether the elements are integers, which divide towards zero.

    Raises:
        Undecided: the outcome depends on the dimensions that are open.
    """
    function = _divided if name == "Div" and whole else _FUNCTIONS.get(name)
    if function is None:
        return None
    made = np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), dtype=object)
    return made.astype(bool) if name in _CONDITIONS else made


def converted(array: Array, dtype: DType) -> Array:
    """Return numbers and expressions in another element type.

    Raises:
        Undecided: the outcome depends on the dimensions that are open.
    """
    if dtype is DType.BOOL:
        return np.asarray(np.frompyfunc(lambda item: not equal(item, 0), 1, 1)(array), dtype=bool)
    if dtype.is_float:
        return array
    return np.asarray(np.frompyfunc(_truncated, 1, 1)(array), dtype=object)


def _truncated(item: Any) -> Any:
    if not isinstance(item, Expression):
        return int(item)
    if item.integral:
        return item
    if never_negative(item):
        return item // 1
    raise Undecided(f"whether {item} is negative depends on the dimensions that are open")


def _divided(a: Any, b: Any) -> Any:
    """Integers divide towards zero (ONNX Div-14)."""
    if never_negative(a) and never_negative(b - 1):
        return a // b
    if never_negative(-a) and never_negative(b - 1):
        return -(-a // b)
    raise Undecided(f"the sign of {a} / {b} depends on the dimensions that are open")


def _raised(a: Any, b: Any) -> Any:
    if not isinstance(b, int) or not 0 <= b <= _MOST_RAISED:
        raise Undecided(f"{a} to the power of {b}")
    return a**b


def _not(a: Any) -> bool:
    return not a


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Abs": lambda a: largest(a, -a),
    "Add": operator.add,
    "And": lambda a, b: bool(a and b),
    "Ceil": lambda a: -(-a // 1),
    "Div": operator.truediv,
    "Equal": equal,
    "Floor": lambda a: a // 1,
    "Greater": lambda a, b: less(b, a),
    "GreaterOrEqual": lambda a, b: not less(a, b),
    "Less": less,
    "LessOrEqual": lambda a, b: not less(b, a),
    "Max": largest,
    "Min": smallest,
    "Mod": operator.mod,
    "Mul": operator.mul,
    "Neg": operator.neg,
    "Not": _not,
    "Or": lambda a, b: bool(a or b),
    "Pow": _raised,
    "Sub": operator.sub,
    "Sum": operator.add,
    "Where": lambda condition, a, b: a if condition else b,
}
_CONDITIONS = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"})
