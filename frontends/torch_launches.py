"""Which ATen operators eager PyTorch launches for a call of a composite whose work depends on its operands.

``reshape`` is a view where strides allow it and else a copy; ``to`` converts or hands its operand on; ``dropout`` does
nothing in evaluation. Each rule says what torch's own dispatcher does (aten/src/ATen/native/TensorShape.cpp,
TensorConversions.cpp, Dropout.cpp).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..ir.types import Dim
from .torch_records import Call, Reference, TensorSpec, references

__all__ = ["COMPOSITES", "launched"]

Specs = Mapping[str, TensorSpec]


def launched(call: Call, specs: Specs) -> Call:
    """Return the call that eager PyTorch makes in the end; ``specs`` are the tensors made so far."""
    rule = _RULES.get(call.operator)
    return rule(call, specs) if rule is not None else call


def _first(call: Call, specs: Specs) -> TensorSpec | None:
    found = next((ref for _, argument in call.arguments for ref in references(argument)), None)
    return None if found is None else specs.get(found.name)


def _reshape(call: Call, specs: Specs) -> Call:
    source = _first(call, specs)
    return call if source is None or _views(source, call.results[0]) else replace(call, operator="aten.clone")


def _contiguous(call: Call, specs: Specs) -> Call:
    source = _first(call, specs)
    if source is None or source.strides is None or source.strides == call.results[0].strides:
        return call
    return replace(call, operator="aten.clone")


def _conversion(call: Call, specs: Specs) -> Call:
    source = _first(call, specs)
    changed = source is not None and call.results and source.type.dtype is not call.results[0].type.dtype
    copied = call.argument("copy") is True
    return replace(call, operator="aten._to_copy" if changed or copied else "aten.to")


def _dropout(call: Call, specs: Specs) -> Call:
    return replace(call, operator="aten.native_dropout" if call.argument("train") is True else "aten.dropout")


def _extremum(call: Call, specs: Specs) -> Call:
    binary = isinstance(call.argument("other"), Reference)
    return replace(call, operator=f"{call.operator}imum") if binary else call


def _where(call: Call, specs: Specs) -> Call:
    names = {name for name, _ in call.arguments}
    return call if "self" in names or "other" in names else replace(call, operator="aten.nonzero")


_RULES: dict[str, Callable[[Call, Specs], Call]] = {
    **dict.fromkeys(("aten.reshape", "aten.reshape_as", "aten.flatten", "aten.ravel"), _reshape),
    **dict.fromkeys(("aten.to", "aten.type_as", "aten.float", "aten.half", "aten.bfloat16"), _conversion),
    **dict.fromkeys(("aten.dropout", "aten.feature_dropout", "aten.alpha_dropout"), _dropout),
    **dict.fromkeys(("aten.max", "aten.min"), _extremum),
    "aten.contiguous": _contiguous,
    "aten.where": _where,
}


COMPOSITES = frozenset(_RULES)
"""The operators that a rule is for."""


# -- strides ----------------------------------------------------------------------------------------------------------


def _views(source: TensorSpec, result: TensorSpec) -> bool:
    """Whether a tensor of these strides can be seen in another shape without a copy (TensorUtils.cpp, computeStride).

    Where strides are not known, or not numbers, it is taken to be contiguous, as most tensors are.
    """
    shape, wanted = source.type.shape, result.type.shape
    if source.strides is None or shape is None or wanted is None:
        return True
    if not all(isinstance(dim, int) for dim in (*shape, *wanted, *source.strides)):
        return _symbolically_contiguous(shape, source.strides)
    return _splits_and_merges(*(_numbers(dims) for dims in (shape, source.strides, wanted)))


def _numbers(dims: Sequence[Dim]) -> list[int]:
    return [dim for dim in dims if isinstance(dim, int)]


def _splits_and_merges(shape: Sequence[int], strides: Sequence[int], wanted: Sequence[int]) -> bool:
    """Each run of axes that lie contiguously must be a whole number of wanted axes."""
    if 0 in shape:
        return True
    runs: list[int] = []
    expected = -1
    for extent, stride in reversed(list(zip(shape, strides, strict=True))):
        if extent == 1:
            continue
        if runs and stride == expected:
            runs[-1] *= extent
        else:
            runs.append(extent)
        expected = stride * extent
    pending = list(reversed(wanted))
    for run in runs:
        taken = 1
        while taken < run and pending:
            taken *= pending.pop(0)
        if taken != run:
            return False
    return all(extent == 1 for extent in pending)


def _symbolically_contiguous(shape: Sequence[Dim], strides: Sequence[Dim]) -> bool:
    """Whether axes lie in the order of their extents, the last one densely: all that can be said of symbols."""
    numbers = [stride for extent, stride in zip(shape, strides, strict=True) if extent != 1 and isinstance(stride, int)]
    return numbers == sorted(numbers, reverse=True) and (not numbers or numbers[-1] == 1)
