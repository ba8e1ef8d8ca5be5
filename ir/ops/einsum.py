"""Einsum: an equation's labels sorted into batch, m, n and k give matrix products.

More than two operands are contracted from left to right, as numpy and onnxruntime do without a search for the best
order. A label that only one of two factors has and that the result lacks is summed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ..graph import Op
from ..primitives import Copy, Gemm, Primitive, Reduction
from ..registry import Kind, define
from ..types import Dim, DType, Shape, Type
from .reading import broadcast, dims, is_constant, ranked, tensor, text, with_shape

__all__ = ["Equation"]


@dataclass(frozen=True, slots=True)
class Equation:
    """An einsum over operands of known rank; an ellipsis stands for labels ``.0``, ``.1``, … from the right."""

    terms: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]

    @staticmethod
    def parse(equation: str, ranks: Sequence[int]) -> Equation:
        """Read an equation (ONNX Einsum-12).

        Raises:
            ValueError: it does not fit operands of these ranks.
        """
        left, arrow, right = equation.replace(" ", "").partition("->")
        written = left.split(",")
        if len(written) != len(ranks):
            raise ValueError(f"equation {equation!r} has {len(written)} terms for {len(ranks)} operands")
        terms = tuple(_labels(term, rank) for term, rank in zip(written, ranks, strict=True))
        dots = sorted({label for term in terms for label in term if label[0] == "."}, reverse=True)
        if arrow:
            head, ellipsis, tail = right.partition("...")
            return Equation(terms, (*head, *(dots if ellipsis else ()), *tail))
        flat = [label for term in terms for label in term]
        once = sorted(label for label in set(flat) if flat.count(label) == 1 and label[0] != ".")
        return Equation(terms, (*dots, *once))

    def extents(self, shapes: Sequence[Shape]) -> dict[str, Dim]:
        """Return each label's extent; extents of one broadcast."""
        found: dict[str, Dim] = {}
        for labels, shape in zip(self.terms, shapes, strict=True):
            for label, dim in zip(labels, shape, strict=True):
                found[label] = broadcast((found.get(label, 1),), (dim,))[0]
        return found


def _labels(term: str, rank: int) -> tuple[str, ...]:
    head, ellipsis, tail = term.partition("...")
    hidden = rank - len(head) - len(tail)
    if hidden < 0 or (hidden and not ellipsis):
        raise ValueError(f"term {term!r} does not fit a tensor of rank {rank}")
    return (*head, *(f".{hidden - 1 - i}" for i in range(hidden)), *tail)


def _einsum_type(op: Op) -> tuple[Type, ...] | None:
    shapes = [ranked(op, index) for index in range(len(op.operands))]
    known = [shape[1] for shape in shapes if shape is not None]
    if len(known) != len(shapes):
        return None
    equation = Equation.parse(text(op, "equation", ""), [len(shape) for shape in known])
    extents = equation.extents(known)
    return with_shape(op, tuple(extents[label] for label in equation.result))


@define("onnx.Einsum", kind=Kind.CONTRACTION, infer=_einsum_type)
def einsum(op: Op) -> Iterable[Primitive]:
    """A matrix product for each operand after the first; sums over one factor's own labels before it."""
    shapes = [dims(op, index) for index in range(len(op.operands))]
    dtype = tensor(op, 0).dtype
    equation = Equation.parse(text(op, "equation", ""), [len(shape) for shape in shapes])
    extents: dict[str, Any] = equation.extents(shapes)
    if len(shapes) == 1:
        return _unary(equation, extents, dtype)
    last = {label: index for index, term in enumerate(equation.terms) for label in term}
    primitives: list[Primitive] = []
    left, left_own = set(equation.terms[0]), dict(zip(equation.terms[0], shapes[0], strict=True))
    for index in range(1, len(shapes)):
        right, right_own = set(equation.terms[index]), dict(zip(equation.terms[index], shapes[index], strict=True))
        needed = {label for label in left | right if last[label] > index} | set(equation.result)
        for side, other, own in ((left, right, left_own), (right, left, right_own)):
            primitives.extend(_presum(side, other | needed, own, dtype))
        weight = is_constant(op, index) or (index == 1 and is_constant(op, 0))
        primitives.append(_pair(left, right, needed, extents, dtype, weight))
        left = (left | right) & needed
        left_own = {label: extents[label] for label in left}
    return primitives


def _unary(equation: Equation, extents: dict[str, int], dtype: DType) -> Iterable[Primitive]:
    results = prod(extents[label] for label in equation.result)
    summed = prod(extents.values())
    if summed == results:
        return (Copy(results, dtype),)
    return (Reduction("sum", summed, results, dtype),)


def _presum(side: set[str], needed: set[str], own: dict[str, int], dtype: DType) -> Iterable[Primitive]:
    """Sum over labels that nothing else has; ``side`` loses them."""
    before = prod(own[label] for label in side)
    side &= needed
    after = prod(own[label] for label in side)
    return (Reduction("sum", before, after, dtype),) if after < before else ()


def _pair(
    left: set[str], right: set[str], needed: set[str], extents: dict[str, int], dtype: DType, weight: bool
) -> Gemm:
    def extent(labels: set[str]) -> int:
        return prod(extents[label] for label in labels)

    shared = left & right
    m, n, k, batch = extent(left - right), extent(right - left), extent(shared - needed), extent(shared & needed)
    return Gemm(m, n, k, dtype, batch, weight)
