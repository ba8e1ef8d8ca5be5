"""Conditions that a fusion rule may set on what its pattern bound (the rule's ``where``).

    where: same_shape(a, b) and rank(a, 3) and blocked(c) and not constant(x)

Arguments are names that the pattern bound, or numbers. A predicate is one function here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, nan, prod

from ..ir import OUTPUT, DType, Graph, Op, TensorType, Value
from .patterns import PatternError
from .quantized import QUANTIZE, same_numbers

__all__ = ["Condition", "Environment", "parse_condition"]

_CONDITION = re.compile(r"(?P<negated>not\s+)?(?P<name>[a-z_0-9]+)\((?P<arguments>[^()]*)\)")


@dataclass(frozen=True, slots=True)
class Environment:
    """What predicates may look at beside the values themselves."""

    graph: Graph
    blocked: frozenset[Value] = frozenset()


Predicate = Callable[[Environment, Sequence[Value], Sequence[float]], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a predicate applied to bound names and numbers; ``text`` is how it was written."""

    text: str
    predicate: Predicate
    names: tuple[str, ...]
    numbers: tuple[float, ...]
    negated: bool

    def holds(self, environment: Environment, values: dict[str, Value]) -> bool:
        """Whether it holds; a name that the match left unbound (inside an optional part) makes it true."""
        if any(name not in values for name in self.names):
            return True
        return self.predicate(environment, [values[name] for name in self.names], self.numbers) != self.negated


@cache
def parse_condition(text: str) -> Condition:
    """Read ``predicate(name, number, …)``.

    Raises:
        PatternError: the text is no condition, or there is no such predicate.
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise PatternError(f"expected a condition such as 'rank(x, 3)', got {text!r}")
    predicate = _PREDICATES.get(match["name"])
    if predicate is None:
        raise PatternError(f"no predicate {match['name']!r}; there are {', '.join(sorted(_PREDICATES))}")
    arguments = [argument.strip() for argument in match["arguments"].split(",") if argument.strip()]
    names = tuple(argument for argument in arguments if not _number(argument))
    numbers = tuple(float(argument) for argument in arguments if _number(argument))
    return Condition(text.strip(), predicate, names, numbers, match["negated"] is not None)


def _number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+", text) is not None


def _dims(value: Value) -> tuple[int, ...] | None:
    return value.type.dims if isinstance(value.type, TensorType) and value.type.known else None


def _constant(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    return all(value.is_constant for value in values)


def _rest_constant(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """Every operand but the first of the operation that makes the value is a constant."""
    return all(operand.is_constant for value in values for operand in list(value.op.inputs)[1:])


def _same_shape(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    return len({_dims(value) for value in values}) == 1 and _dims(values[0]) is not None


def _rank(_: Environment, values: Sequence[Value], numbers: Sequence[float]) -> bool:
    return all(isinstance(v.type, TensorType) and v.type.rank in numbers for v in values)


def _scalar(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """One element, whatever the rank."""
    return all((dims := _dims(value)) is not None and prod(dims) == 1 for value in values)


def _bias_of(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """``bias_of(b, y)``: ``b`` is a vector along the last dimension of ``y``."""
    bias, output = _dims(values[0]), _dims(values[1])
    return bias is not None and output is not None and len(bias) == 1 and bias == output[-1:]


def _per_channel(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """``per_channel(b, y)``: ``b`` has one element for each channel (dimension 1) of ``y``, or one in all."""
    factor, output = _dims(values[0]), _dims(values[1])
    if factor is None or output is None or len(output) < 2:
        return False
    padded = (1,) * (len(output) - len(factor)) + factor
    return all(extent in ((1, output[1]) if axis == 1 else (1,)) for axis, extent in enumerate(padded))


def _bits(_: Environment, values: Sequence[Value], numbers: Sequence[float]) -> bool:
    """An integer type of one of these widths."""
    return all((dtype := _dtype(value)) is not None and dtype.is_integer and dtype.bits in numbers for value in values)


def _width(_: Environment, values: Sequence[Value], numbers: Sequence[float]) -> bool:
    """A type of one of these widths, integer or not."""
    return all((dtype := _dtype(value)) is not None and dtype.bits in numbers for value in values)


def _unsigned(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    return all((dtype := _dtype(v)) is not None and dtype.is_integer and dtype not in _SIGNED for v in values)


def _signed(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    return all((dtype := _dtype(value)) is not None and dtype in _SIGNED for value in values)


def _same_type(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """One element type, whatever the shapes."""
    return len({_dtype(value) for value in values}) == 1 and _dtype(values[0]) is not None


def _signed_alike(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """``signed_alike(a, b)``: where ``a`` is signed, ``b`` is."""
    return _dtype(values[0]) not in _SIGNED or _dtype(values[1]) in _SIGNED


def _quantized(environment: Environment, values: Sequence[Value], _: Sequence[float]) -> bool:
    """Some reader quantises it."""
    return all(any(user.name in QUANTIZE for user in environment.graph.users(value.op)) for value in values)


def _in_blocks(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """Dequantised with one scale for each block of elements."""
    return all(value.op.attributes.get("block_size", 0) != 0 for value in values)


def _by_column(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """Dequantised with one scale, or a matrix with one for each column."""
    return all(_scaled_by_column(value) for value in values)


def _scaled_by_column(dequantized: Value) -> bool:
    dims, scale = _dims(dequantized), dequantized.op.operand(1)
    scales = _dims(scale) if scale is not None else None
    if dims is None or scales is None:
        return False
    last = dequantized.op.attributes.get("axis", 1) in (-1, len(dims) - 1)
    return prod(scales) == 1 or (len(dims) == 2 and scales == (dims[-1],) and last)


def _wide(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """More than one element in the last dimension, one in every other: a bias along it."""
    return all((dims := _dims(v)) and dims[-1] > 1 and all(extent == 1 for extent in dims[:-1]) for v in values)


def _equal(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """Constants of the same elements."""
    return all(same_numbers(values[0], value) for value in values[1:])


def _saturates(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """``saturates(q, c)``: quantising to ``q`` cuts off all that the Relu or Clip that makes ``c`` would.

    Source: onnxruntime ``core/optimizer/qdq_transformer/qdq_util.cc``, ``IsClipMadeRedundantByQ``.
    """
    quantized, clipped = values
    dtype, scale, shift = _dtype(quantized), _scalar_of(quantized.op.operand(1)), quantized.op.operand(2)
    zero = _scalar_of(shift) if shift is not None else 0.0
    if dtype is None or not dtype.is_integer or scale is None or not scale or zero is None:
        return False
    least = -(1 << dtype.bits - 1) if dtype in _SIGNED else 0
    if clipped.op.base_name == "Relu":
        return zero == least
    most = least + (1 << dtype.bits) - 1
    low, high = _bound(clipped.op, 1, "min", -inf), _bound(clipped.op, 2, "max", inf)
    return low / scale + zero <= least + 0.5 and high / scale + zero >= most - 0.5


def _bound(clip: Op, index: int, name: str, open_end: float) -> float:
    """A bound of a Clip, ``open_end`` where it has none, NaN where it is not known."""
    written, operand = clip.attributes.get(name), clip.operand(index)
    if isinstance(written, (int, float)):
        return float(written)
    if operand is None:
        return open_end
    number = _scalar_of(operand)
    return nan if number is None else number


def _scalar_of(value: Value | None) -> float | None:
    dense = value.constant if value is not None else None
    if dense is None or len(dense.values) != 1 or not isinstance(dense.values[0], (int, float)):
        return None
    return float(dense.values[0])


def _dtype(value: Value) -> DType | None:
    return value.type.dtype if isinstance(value.type, TensorType) else None


_SIGNED = frozenset({DType.I2, DType.I4, DType.I8, DType.I16, DType.I32, DType.I64})


def _blocked(environment: Environment, values: Sequence[Value], _: Sequence[float]) -> bool:
    return all(value in environment.blocked for value in values)


def _shared(environment: Environment, values: Sequence[Value], _: Sequence[float]) -> bool:
    """More than one operation reads it, or the graph returns it."""
    return all(
        any(count > 0 or user.name == OUTPUT for count, user in enumerate(environment.graph.each_user(value.op)))
        for value in values
    )


def _transposes_matrices(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    """The transposed value ``t`` swaps the last two dimensions, or also rotates the batch ones: a GEMM reads it so."""
    return all(_permutation(value) in _GEMM_PERMUTATIONS.get(len(_permutation(value)), ()) for value in values)


_GEMM_PERMUTATIONS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((1, 0),),
    3: ((0, 2, 1), (1, 0, 2), (1, 2, 0)),
    4: ((0, 1, 3, 2), (1, 2, 0, 3), (1, 2, 3, 0)),
}


def _permutation(value: Value) -> tuple[int, ...]:
    perm = value.op.attributes.get("perm")
    return tuple(axis for axis in perm if isinstance(axis, int)) if isinstance(perm, tuple) else ()


def _moves_channels_last(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    return all(_permutation(value) in ((0, 2, 3, 1), (0, 2, 1)) for value in values)


def _moves_channels_first(_: Environment, values: Sequence[Value], __: Sequence[float]) -> bool:
    return all(_permutation(value) in ((0, 3, 1, 2), (0, 2, 1)) for value in values)


_PREDICATES: dict[str, Predicate] = {
    "constant": _constant,
    "rest_constant": _rest_constant,
    "same_shape": _same_shape,
    "rank": _rank,
    "scalar": _scalar,
    "bias_of": _bias_of,
    "per_channel": _per_channel,
    "bits": _bits,
    "width": _width,
    "signed": _signed,
    "unsigned": _unsigned,
    "same_type": _same_type,
    "signed_alike": _signed_alike,
    "equal": _equal,
    "quantized": _quantized,
    "wide": _wide,
    "in_blocks": _in_blocks,
    "by_column": _by_column,
    "saturates": _saturates,
    "blocked": _blocked,
    "shared": _shared,
    "transposes_matrices": _transposes_matrices,
    "moves_channels_last": _moves_channels_last,
    "moves_channels_first": _moves_channels_first,
}
