"""Attribute values: what an operation's ``attributes`` may hold.

Scalars, strings, bytes, types, expressions, small dense tensors, and tuples and mappings of these; all immutable, all
comparable by value, all printable and parseable (:mod:`graphs.ir.printer`, :mod:`graphs.ir.parser`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .expression import Expression
from .types import DType, TensorType, Type

__all__ = ["FLOAT_FOLD_LIMIT", "FOLD_LIMIT", "Attribute", "Dense", "same_attribute"]

FOLD_LIMIT = 4096
"""Elements up to which an integer constant keeps its values: shapes, axes, repeats and index tables are below it."""

FLOAT_FOLD_LIMIT = 64
"""Elements up to which a floating-point constant keeps its values: exponents, clip bounds, resize scales, epsilons."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A small constant tensor with its values, in row-major order.

    What is made of open dimensions by shape arithmetic is a constant too: its values are expressions.
    """

    type: TensorType
    values: tuple[bool | int | float | str | Expression, ...]

    @property
    def open(self) -> bool:
        """Whether a value depends on dimensions that are open."""
        return any(isinstance(value, Expression) for value in self.values)

    @staticmethod
    def of(dtype: DType, shape: tuple[int, ...], values: Any) -> Dense:
        """Return the tensor of ``values`` (any iterable of scalars, row-major)."""
        return Dense(TensorType(dtype, shape), tuple(values))


Attribute = (
    bool | int | float | str | bytes | Expression | Type | Dense | tuple["Attribute", ...] | Mapping[str, "Attribute"]
)


def same_attribute(mine: Attribute, theirs: Attribute) -> bool:
    """Whether two attributes are of one kind and value; unlike ``==``, ``1`` is not ``1.0`` and NaN is NaN."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return mine.keys() == theirs.keys() and all(same_attribute(item, theirs[key]) for key, item in mine.items())
    if type(mine) is not type(theirs):
        return False
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return len(mine) == len(theirs) and all(map(same_attribute, mine, theirs))
    if isinstance(mine, Dense) and isinstance(theirs, Dense):
        return mine.type == theirs.type and same_attribute(mine.values, theirs.values)
    if isinstance(mine, float) and isinstance(theirs, float) and math.isnan(mine):
        return math.isnan(theirs)
    return mine == theirs
