"""Gradients of a graph by reverse-mode differentiation, one operation after another.

``ai.onnx.preview.training.Gradient-1``: the graph that is differentiated is the operation's region; its first inputs
are what ``xs`` name, then what ``zs`` name. From its output back, each operation that depends on ``xs`` takes the
gradient of its result to those of its operands:

- a product or convolution: for each factor one of as many multiply-accumulates, with the roles of the three changed
  (dA = dC·Bᵀ, dB = Aᵀ·dC);
- a function of each element: as many operations as itself and a product, for each operand; none where it is a sum;
- what moves elements: moves them back; what took one element several times adds up what comes back;
- statistics (normalisation, softmax, reductions): as PyTorch's ``*_backward`` operators of the same name.

Where several operations read a value, their gradients are added. This is the reverse mode of Griewank and Walther,
Evaluating Derivatives (2nd edition, 2008), chapter 3: nothing is differentiated that no ``xs`` reaches. What the
forward pass made is read again (``saved`` operands), unless the operands are others than those named: then it is
computed first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from math import prod

from ..graph import Graph, Op, Value
from ..primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Softmax,
    Unknown,
    Window,
)
from ..registry import Kind, Lowering, define, kind_of, lowering
from ..types import TensorType, Type
from .reading import compute_dtype, elements, integer, size, tensor

__all__: list[str] = []


@dataclass(frozen=True, slots=True)
class _Step:
    """What taking a gradient through one operation takes, and which of its values it reads again."""

    primitives: tuple[Primitive, ...] = ()
    reads: tuple[Value, ...] = ()


Rule = Callable[[Op, Collection[int]], _Step]


# -- the operation ----------------------------------------------------------------------------------------------------


def _like_operands(op: Op) -> tuple[Type, ...] | None:
    """The derivatives by the first operands, whose names are ``xs``."""
    types = [value.type for value in op.operands[: _count(op, "xs", len(op.results))] if value is not None]
    return tuple(types) if len(types) == len(op.results) else None


def _count(op: Op, name: str, default: int) -> int:
    names = op.attributes.get(name)
    return len(names) if isinstance(names, tuple) else default


@define("ai.onnx.preview.training.Gradient", kind=Kind.OPAQUE, infer=_like_operands, any_type=True)
def gradient(op: Op) -> Lowering:
    """Each operation on the way from ``xs`` to ``y`` backwards, one contraction for each factor of a contraction."""
    if not op.regions:
        return Lowering((Unknown(f"what {op.label!r} differentiates is not in the graph around it"),))
    region, saved = op.regions[0], integer(op, "saved", 0)
    forward = () if saved else (part for inner in region.body for part in lowering(inner).primitives)
    active = _active(region, _count(op, "xs", 0))
    steps = [_back(inner, active) for inner in reversed(region.body) if any(r in active for r in inner.results)]
    added = (_sum_of_gradients(region, value, active) for value in active)
    work = (*forward, *(part for step in steps for part in step.primitives), *(part for part in added if part))
    return Lowering(work, _reads(op, region, {value for step in steps for value in step.reads}))


def _active(region: Graph, differentiated: int) -> dict[Value, None]:
    """The floating-point values that depend on what is differentiated by, in order."""
    active = dict.fromkeys(entry.result for entry in region.inputs[:differentiated])
    for inner in region.body:
        if any(value in active for value in inner.inputs):
            active.update((value, None) for value in inner.results if _is_float(value))
    return active


def _is_float(value: Value) -> bool:
    return isinstance(value.type, TensorType) and value.type.dtype.is_float


def _sum_of_gradients(region: Graph, value: Value, active: Collection[Value]) -> Primitive | None:
    """The additions that join the gradients which several readers send back."""
    readers = sum(1 for user, _ in region.uses(value) if any(made in active for made in user.results))
    if readers < 2 or not isinstance(value.type, TensorType):
        return None
    return Elementwise("add", prod(value.type.dims), value.type.dtype, readers - 1)


def _reads(op: Op, region: Graph, read: Collection[Value]) -> dict[int, int]:
    """Of operands that no step reads again nothing; those that were saved stand for values of the region."""
    if not integer(op, "saved", 0):
        return {}
    made = {value.name: value for inner in region.body for value in inner.results}
    first = len(op.operands) - len(region.inputs)
    inputs = ((first + index, entry.result) for index, entry in enumerate(region.inputs))
    return {index: 0 for index, value in inputs if made.get(value.name.removesuffix(_SAVED), value) not in read}


_SAVED = ".saved"
"""What the name of a region's input ends in that stands for a value which the forward pass made."""


def _back(op: Op, active: Collection[Value]) -> _Step:
    """Take the gradient through one operation of a region, to those operands that are ``active``."""
    wanted = [index for index, value in enumerate(op.operands) if value is not None and value in active]
    rule = _BY_NAME.get(op.name) or _BY_KIND.get(kind_of(op))
    if rule is None or op.regions:
        return _Step((Unknown(f"how {op.name} {op.label!r} is differentiated is not known"),))
    return rule(op, wanted)


# -- contractions -----------------------------------------------------------------------------------------------------


def _contraction(op: Op, wanted: Collection[int]) -> _Step:
    """For each factor one contraction; the gradient of a bias is a sum."""
    (forward,) = (part for part in lowering(op).primitives if isinstance(part, Gemm | Conv | Unknown))
    if isinstance(forward, Unknown):
        return _Step((forward,))
    parts = [_factor(forward, index) if index < 2 else _summed(op, index) for index in wanted]
    others = (op.operand(1 - index) for index in wanted if index < 2)
    return _Step(tuple(parts), tuple(value for value in others if value is not None))


def _factor(forward: Gemm | Conv, index: int) -> Primitive:
    """The contraction that gives the gradient of factor 0, which moves through a convolution, or 1, its weight."""
    if isinstance(forward, Gemm):
        turned = (forward.m, forward.k, forward.n) if index == 0 else (forward.k, forward.n, forward.m)
        m, n, k = turned
        return replace(forward, m=m, n=n, k=k, weight=forward.weight and index == 0)
    if index == 0:
        return replace(
            forward,
            in_channels=forward.out_channels,
            out_channels=forward.in_channels,
            in_size=forward.out_size,
            out_size=forward.in_size,
            transposed=not forward.transposed,
        )
    groups = forward.groups
    inner, outer = forward.in_channels // groups, forward.out_channels // groups
    places = forward.batch * prod(forward.in_size if forward.transposed else forward.out_size)
    return Gemm(outer, inner * prod(forward.kernel), places, forward.dtype, groups)


def _summed(op: Op, index: int) -> Primitive:
    return Reduction("sum", elements(op), size(op, index), tensor(op, index).dtype)


# -- elements ---------------------------------------------------------------------------------------------------------

_SUMS = frozenset({"onnx.Add", "onnx.Sum", "onnx.Identity", "onnx.Dropout"})
_SIGNED_SUMS = frozenset({"onnx.Sub", "onnx.Neg", "onnx.Mean", "onnx.Mul", "onnx.Where", "onnx.Cast"})
"""Functions whose gradient takes one operation: a sign, a share, the other factor, a choice, a conversion."""
_LINEAR = _SUMS | _SIGNED_SUMS - {"onnx.Mul", "onnx.Where"}
"""Those that read nothing again."""


def _elementwise(op: Op, wanted: Collection[int]) -> _Step:
    """As many operations as the function itself and a product, for each operand; sums where it was broadcast."""
    dtype, count = compute_dtype(op), elements(op)
    own = sum(part.per_element for part in lowering(op).primitives if isinstance(part, Elementwise))
    per_element = 0 if op.name in _SUMS else 1 if op.name in _SIGNED_SUMS else own + 1
    parts: list[Primitive] = []
    for index in wanted:
        if per_element:
            parts.append(Elementwise(f"{op.base_name.lower()}_gradient", count, dtype, per_element))
        if size(op, index) != count:
            parts.append(_summed(op, index))
    return _Step(tuple(parts), () if op.name in _LINEAR else (*op.inputs, *op.results))


# -- moving -----------------------------------------------------------------------------------------------------------


def _view(_: Op, __: Collection[int]) -> _Step:
    return _Step()


def _moved(op: Op, wanted: Collection[int]) -> _Step:
    """Elements go back where they came from; what was repeated is summed."""
    return _Step(
        tuple(
            _summed(op, index) if op.name in _REPEATING else Copy(size(op, index), tensor(op, index).dtype)
            for index in wanted
        )
    )


_REPEATING = frozenset({"onnx.Expand", "onnx.Tile"})


def _gathered(op: Op, wanted: Collection[int]) -> _Step:
    """Zeros, and each piece added where it came from."""
    if list(wanted) != [0]:
        return _Step((Unknown(f"how {op.name} {op.label!r} is differentiated is not known"),))
    fetched = tuple(part for part in lowering(op).primitives if isinstance(part, Gather))
    dtype = tensor(op, 0).dtype
    indices = tuple(value for value in op.operands[1:2] if value is not None)
    return _Step((Copy(size(op, 0), dtype), *fetched, Elementwise("add", elements(op), dtype)), indices)


# -- statistics and windows -------------------------------------------------------------------------------------------

_SPREAD = frozenset({"onnx.ReduceSum", "onnx.ReduceMean"})


def _reduced(op: Op, _: Collection[int]) -> _Step:
    """The result's gradient spread over what was reduced, times the derivative where that is not a constant."""
    count, dtype = size(op, 0), tensor(op, 0).dtype
    if op.name in _SPREAD:
        return _Step((Elementwise("spread", count, dtype),))
    own = sum(part.per_element for part in lowering(op).primitives if isinstance(part, Reduction))
    return _Step((Elementwise(f"{op.base_name.lower()}_gradient", count, dtype, own + 1),), (*op.inputs, *op.results))


_SOFTMAX_OPS = 4
"""aten._softmax_backward_data."""
_OWN_STATISTICS_OPS = 9
"""aten.native_layer_norm_backward: two sums over each group, then each element."""
_GAIN_OPS = 3
"""Its sums for gain and bias."""


def _normalised(op: Op, wanted: Collection[int]) -> _Step:
    (own,) = (part for part in lowering(op).primitives if isinstance(part, Softmax | Normalization))
    if isinstance(own, Softmax):
        return _Step((Normalization(own.rows, own.columns, own.dtype, _SOFTMAX_OPS),), tuple(op.results))
    known = op.name == "onnx.BatchNormalization"  # whose statistics are operands: a scale for each channel
    parts: list[Primitive] = []
    if 0 in wanted:
        parts.append(replace(own, per_element=1 if known else _OWN_STATISTICS_OPS))
    parts.extend(Reduction("sum", elements(op), size(op, index), own.dtype, _GAIN_OPS) for index in wanted if index)
    return _Step(tuple(parts), tuple(op.inputs))


def _windowed(op: Op, _: Collection[int]) -> _Step:
    """Where each maximum came from an addition; else each element's gradient is spread over its window."""
    x, dtype = size(op, 0), tensor(op, 0).dtype
    if op.name in _LARGEST:
        return _Step((Copy(x, dtype), Elementwise("add", elements(op), dtype)), (*op.inputs, *op.results))
    return _Step(tuple(part for part in lowering(op).primitives if isinstance(part, Window | Reduction)))


_LARGEST = frozenset({"onnx.MaxPool", "onnx.GlobalMaxPool"})

_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")

_BY_NAME: dict[str, Rule] = {
    **dict.fromkeys((f"onnx.Reduce{name}" for name in _REDUCTIONS), _reduced),
    **dict.fromkeys(("onnx.MatMul", "onnx.Gemm", "onnx.Conv", "onnx.ConvTranspose"), _contraction),
    **dict.fromkeys(("onnx.Gather", "onnx.GatherElements", "onnx.GatherND"), _gathered),
    **dict.fromkeys(("onnx.MaxPool", "onnx.AveragePool", "onnx.GlobalMaxPool", "onnx.GlobalAveragePool"), _windowed),
    **dict.fromkeys(
        (
            "onnx.BatchNormalization",
            "onnx.InstanceNormalization",
            "onnx.GroupNormalization",
            "onnx.LayerNormalization",
            "onnx.RMSNormalization",
            "onnx.Softmax",
            "onnx.LogSoftmax",
        ),
        _normalised,
    ),
    **dict.fromkeys(
        ("onnx.Transpose", "onnx.Concat", "onnx.Slice", "onnx.Split", "onnx.Pad", "onnx.Expand", "onnx.Tile"), _moved
    ),
}
"""Operators whose gradient is that of no other of their kind."""

_BY_KIND: dict[Kind, Rule] = {
    Kind.VIEW: _view,
    Kind.ELEMENTWISE: _elementwise,
}
