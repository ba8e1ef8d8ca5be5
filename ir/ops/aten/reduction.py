"""ATen's reductions, running sums, sorts and losses."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ...graph import Op
from ...primitives import Elementwise, Primitive, Reduction, Scan, Softmax
from ...registry import Kind, Lowering
from ..reading import dims, elements, integer, integers, normal_axes, normal_axis, reduced_run, size, tensor
from .reading import enter

__all__: list[str] = []

# Operators, what the work is called, operations per element and per result, as of ONNX's Reduce*.
_TABLE: tuple[tuple[str, str, int, int], ...] = (
    ("all any", "max", 1, 0),
    ("amax max", "max", 1, 0),
    ("amin min", "min", 1, 0),
    ("aminmax _aminmax", "max", 2, 0),
    ("argmax argmin", "argmax", 1, 0),
    ("count_nonzero", "sum", 2, 0),
    ("dist", "l2", 3, 1),
    ("linalg_vector_norm norm linalg_norm linalg_matrix_norm frobenius_norm", "l2", 2, 1),
    ("logsumexp special_logsumexp", "logsumexp", 4, 1),
    ("mean nanmean", "mean", 1, 1),
    ("mse_loss", "mse", 3, 1),
    ("l1_loss", "l1", 3, 1),
    ("smooth_l1_loss huber_loss", "huber", 5, 1),
    ("binary_cross_entropy", "bce", 7, 1),
    ("binary_cross_entropy_with_logits", "bce", 8, 1),
    ("kl_div", "kl", 4, 1),
    ("prod", "prod", 1, 0),
    ("std", "std", 4, 2),
    ("std_mean", "std", 4, 2),
    ("sum nansum", "sum", 1, 0),
    ("var", "var", 4, 1),  # sum; difference, square, sum
    ("var_mean", "var", 4, 1),
)


def _reduce(function: str, per_element: int, per_result: int) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        dtype, results, shape = tensor(op, 0).dtype, elements(op), dims(op, 0)
        main = Reduction(function, size(op, 0), results, dtype, per_element, reduced_run(shape, _axes(op, len(shape))))
        return (main, Elementwise(function, results, dtype, per_result)) if per_result else (main,)

    return lower


def _axes(op: Op, rank: int) -> tuple[int, ...]:
    """What an operator reduces over: one axis, several, or all where none is named."""
    named = op.attributes.get("dim")
    axes = (named,) if isinstance(named, int) else integers(op, "dim", ())
    return normal_axes(axes, rank) if axes else tuple(range(rank))


for _names, _function, _per_element, _per_result in _TABLE:
    _doc = f"{_per_element} operation(s) for each element, {_per_result} for each result."
    enter(_names, Kind.REDUCTION, _reduce(_function, _per_element, _per_result), _doc)


def _trace(op: Op) -> Lowering:
    count = min(dims(op, 0))
    dtype = tensor(op, 0).dtype
    return Lowering((Reduction("sum", count, 1, dtype),), {0: count * dtype.bits // 8})


enter("trace", Kind.REDUCTION, _trace, "A sum of the diagonal, which alone is read.")


def _distances(op: Op) -> tuple[Primitive, ...]:
    pairs, dtype = elements(op), tensor(op, 0).dtype
    return (Reduction("cdist", pairs * dims(op, 0)[-1], pairs, dtype, 3), Elementwise("sqrt", pairs, dtype))


enter(
    "cdist _cdist_forward pdist _pdist_forward pairwise_distance _euclidean_dist",
    Kind.REDUCTION,
    _distances,
    "Difference, square and sum along each pair of rows, and a root for each pair.",
)


# -- one after another ------------------------------------------------------------------------------------------------


def _running(op: Op) -> tuple[Primitive, ...]:
    return (Scan("cumsum", elements(op), tensor(op, 0).dtype),)


enter(
    "cumsum cumprod cummax cummin logcumsumexp",
    Kind.SCAN,
    _running,
    "One operation for each element, each after the one before.",
)


def _sort(op: Op) -> tuple[Primitive, ...]:
    shape = dims(op, 0)
    extent = shape[normal_axis(integer(op, "dim", -1), len(shape))] if shape else 1
    return (Scan("sort", prod(shape), tensor(op, 0).dtype, max(1, (extent - 1).bit_length())),)


enter("sort argsort msort median nanmedian mode kthvalue", Kind.SCAN, _sort, "log2(n) comparisons for each element.")


def _unique(op: Op) -> Lowering:
    count, dtype = size(op, 0), tensor(op, 0).dtype
    return Lowering((Scan("sort", count, dtype, max(1, (count - 1).bit_length())),))


enter(
    "_unique2 unique_dim unique_consecutive _unique",
    Kind.SCAN,
    _unique,
    "A sort: log2(n) comparisons for each element.",
)


def _top_k(op: Op) -> tuple[Primitive, ...]:
    shape = dims(op, 0)
    extent = shape[normal_axis(integer(op, "dim", -1), len(shape))] if shape else 1
    count = max(1, elements(op) * extent // max(1, prod(shape)))
    return (Scan("topk", prod(shape), tensor(op, 0).dtype, count.bit_length()),)


enter("topk", Kind.SCAN, _top_k, "A heap of k: log2(k) + 1 comparisons for each element, at most.")


def _search(op: Op) -> tuple[Primitive, ...]:
    boundaries = dims(op, 0 if op.base_name == "searchsorted" else 1)[-1]
    return (Elementwise("search", elements(op), tensor(op, 0).dtype, max(1, boundaries.bit_length())),)


enter("searchsorted bucketize", Kind.ELEMENTWISE, _search, "A binary search for each element.")


def _multinomial(op: Op) -> tuple[Primitive, ...]:
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    samples = Elementwise("search", elements(op), dtype, max(1, shape[-1].bit_length()))
    return (Reduction("sum", prod(shape), prod(shape[:-1]), dtype, 2), samples)


enter("multinomial", Kind.REDUCTION, _multinomial, "Sum each row, then search it once for each sample.")


# -- losses over classes ----------------------------------------------------------------------------------------------


def _picked(op: Op) -> tuple[Primitive, ...]:
    labels, dtype = size(op, 1), tensor(op, 0).dtype
    weighted = Elementwise("nll", labels, dtype, 1 + (op.operand(2) is not None))
    return (weighted,) if integer(op, "reduction", 1) == 0 else (weighted, Reduction("mean", labels, 1, dtype))


enter(
    "nll_loss nll_loss2d nll_loss_nd nll_loss_forward nll_loss2d_forward", Kind.REDUCTION, _picked, "One score a label."
)


def _cross_entropy(op: Op) -> tuple[Primitive, ...]:
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    classes = shape[1] if len(shape) > 1 else shape[0]
    return (Softmax(prod(shape) // max(1, classes), classes, dtype), *_picked(op))


enter("cross_entropy_loss", Kind.REDUCTION, _cross_entropy, "The logarithm of a softmax, then one score a label.")
