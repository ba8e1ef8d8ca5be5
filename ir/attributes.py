"""Attribute values: what an operation's ``attributes`` may hold.

Scalars, strings, bytes, types, small dense tensors, and tuples and mappings of these; all immutable, all comparable by
value, all printable and parseable (:mod:`graphs.ir.printer`, :mod:`graphs.ir.parser`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .types import DType, TensorType, Type

__all__ = ["FLOAT_FOLD_LIMIT", "FOLD_LIMIT", "Attribute", "Dense"]

FOLD_LIMIT = 4096
"""Elements up to which an integer constant keeps its values: shapes, axes, repeats and index tables are below it."""

FLOAT_FOLD_LIMIT = 64
"""Elements up to which a floating-point constant keeps its values: exponents, clip bounds, resize scales, epsilons."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A small constant tensor with its values, in row-major order."""

    type: TensorType
    values: tuple[bool | int | float | str, ...]

    @staticmethod
    def of(dtype: DType, shape: tuple[int, ...], values: Any) -> Dense:
        """Return the tensor of ``values`` (any iterable of scalars, row-major)."""
        return Dense(TensorType(dtype, shape), tuple(values))


Attribute = bool | int | float | str | bytes | Type | Dense | tuple["Attribute", ...] | Mapping[str, "Attribute"]
