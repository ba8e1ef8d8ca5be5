"""Result types of every value, and shape arithmetic folded away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from ..ir import (
    CONSTANT,
    FLOAT_FOLD_LIMIT,
    FOLD_LIMIT,
    INPUT,
    OUTPUT,
    Dense,
    Dim,
    DType,
    Expression,
    Graph,
    Kind,
    Op,
    OpDef,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
    definition,
    infer_types,
    misfit,
    possible,
    region_input_types,
)
from ..ir.registry import MALFORMED
from .base import Context, Pass
from .bodies import show_constants
from .branches import replace_by_branch
from .routing import share_rows
from .weights import folded_attributes

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = ["ShapeInference"]

_NUMPY_TYPES = {
    DType.I64: "int64",
    DType.I32: "int32",
    DType.I16: "int16",
    DType.I8: "int8",
    DType.UI8: "uint8",
    DType.BOOL: "bool",
    DType.F32: "float32",
    DType.F64: "float64",
}
_FROM_TYPES = frozenset({"Shape", "Size", "SHAPE"})
_DTYPES = {name: dtype for dtype, name in _NUMPY_TYPES.items()}

_EXPERTS = "shape: experts whose rows were spread evenly"

_EXTENTS = frozenset({DType.I64, DType.BOOL})
"""Element types of which nothing that is folded is a weight."""


@dataclass(frozen=True)
class ShapeInference(Pass):
    """Infer result types; evaluate shape arithmetic on small constants."""

    name = "shape"
    requires = ("dims",)
    provides = ("types",)
    fold: bool = True

    def run(self, graph: Graph, context: Context) -> None:
        """Give every value the most precise type that follows from the inputs'."""
        opset = graph.attributes.get("opset")
        version = opset.get("ai.onnx") if isinstance(opset, Mapping) else None
        inference = _Inference(graph, context, self.fold, version if isinstance(version, int) else None)
        before = context.statistics.get(_EXPERTS, 0)
        inference.run(graph)
        inference.report()
        if (experts := context.statistics.get(_EXPERTS, 0) - before) > 0:
            context.warn("shape", f"which rows {experts} experts get depends on data: rows are taken as spread evenly")


@dataclass(frozen=True, slots=True)
class _Inference:
    whole: Graph
    context: Context
    fold: bool
    opset: int | None
    contradictions: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)

    def run(self, graph: Graph) -> None:
        orphans: list[Op] = []
        for op in graph.ops:
            if op.name in (INPUT, OUTPUT, CONSTANT):
                continue
            if self.fold and self._fold(graph, op, orphans):
                continue
            if op.regions:
                self._enter_regions(op)
                if self.fold and replace_by_branch(graph, op):
                    self.context.count("shape: branches that compute nothing")
                    continue
            self._infer(graph, op)
        for op in dict.fromkeys(orphans):
            if op in graph and not graph.users(op):
                graph.erase(op)

    # -- folding ------------------------------------------------------------------------------------------------------

    def _fold(self, graph: Graph, op: Op, orphans: list[Op]) -> bool:
        """Replace an operation by constants where its operands' values are known and small."""
        entry = definition(op.name)
        if entry is None or entry.evaluate is None or not op.results:
            return False
        try:
            arrays = _known_operands(op, entry)
        except (ValueError, OverflowError):
            return False  # a constant that is none of its type, or of more dimensions than an array has
        if arrays is None:
            return False
        results = _evaluate(entry, op, arrays)
        if results is None or not all(_keepable(result) for result in results):
            return False
        constants = []
        for value, result in zip(op.results, results, strict=True):
            dense = Dense.of(_DTYPES[str(result.dtype)], result.shape, result.reshape(-1).tolist())
            wanted = (value.name, dense.type)
            known = {} if dense.type.dtype in _EXTENTS else folded_attributes(op.inputs)
            made = graph.add(CONSTANT, [], [wanted], {"value": dense, **known}, loc=op.loc, before=op)
            constants.append(made.result)
        orphans.extend(value.op for value in op.inputs if value.op.name == CONSTANT)
        names = [value.name for value in op.results]
        graph.replace(op, constants)
        for constant, name in zip(constants, names, strict=True):
            graph.rename(constant, name)
        self.context.count("shape: operations folded")
        return True

    # -- types --------------------------------------------------------------------------------------------------------

    def _infer(self, graph: Graph, op: Op) -> None:
        """Refine the result types; what a file says of them is checked as well, since it may have been made for other
        extents of the inputs.
        """
        if experts := share_rows(graph, op):
            self.context.count(_EXPERTS, experts)
        types = infer_types(op)
        reason = misfit(op) if types is None else None
        if reason is not None:
            if graph is self.whole:  # operations of a body that does not run for these operands need not fit
                self.misfits.append(f'{op.name} "{op.label}" does not fit its operands: {reason}')
            return
        self._refine(graph, op, types)
        known_to_onnx = op.dialect == "onnx" or op.dialect.startswith("ai.onnx")
        if known_to_onnx and not all(_complete(value.type) for value in op.results):
            from ..ir.onnx_types import infer_with_onnx

            self._refine(graph, op, infer_with_onnx(op, self.opset))

    def _refine(self, graph: Graph, op: Op, types: Sequence[Type] | None) -> None:
        for value, type in zip(op.results, types or (), strict=False):
            better = _merge(value.type, type)
            if better != value.type and possible(better):
                if _contradict(value.type, better):
                    self.contradictions.append(f"{value.name!r} is stated as {value.type}, but comes out as {better}")
                graph.retype(value, better)
                self.context.count("shape: types inferred")

    def report(self) -> None:
        """Warn, once each, where operations do not fit, and where other shapes are stated than follow."""
        if self.misfits:
            self.context.warn("shape", f"{self.misfits[0]}{_others(self.misfits)}")
        if self.contradictions:
            told = f"{self.contradictions[0]}{_others(self.contradictions)}"
            self.context.warn("shape", f"{told}; what follows from the inputs is used")

    def _enter_regions(self, op: Op) -> None:
        """Carry types and constants into the bodies and infer what is inside."""
        show_constants(op)
        for region, types in zip(op.regions, region_input_types(op), strict=True):
            for inner, type in zip(region.inputs, types, strict=True):
                if type is not None and possible(better := _merge(inner.result.type, type)):
                    region.retype(inner.result, better)
            self.run(region)


def _known_operands(op: Op, entry: OpDef) -> list[ndarray[Any, Any] | None] | None:
    """The operands' values; ``None`` if one is not known. What reads a shape needs only the type."""
    if op.base_name in _FROM_TYPES:
        operand = op.operand(0)
        known = operand is not None and isinstance(operand.type, TensorType) and operand.type.static
        return [None] if known else None
    arrays: list[ndarray[Any, Any] | None] = []
    for value in op.operands:
        dense = value.constant if value is not None else None
        if value is not None and (dense is None or dense.type.dtype not in _NUMPY_TYPES):
            return None
        arrays.append(_array(dense) if dense else None)
    return arrays


def _array(dense: Dense) -> ndarray[Any, Any]:
    import numpy as np

    return np.array(dense.values, dtype=_NUMPY_TYPES[dense.type.dtype]).reshape(dense.type.dims)


def _evaluate(entry: OpDef, op: Op, arrays: list[ndarray[Any, Any] | None]) -> list[ndarray[Any, Any]] | None:
    import numpy as np

    assert entry.evaluate is not None
    if any(isinstance(v.type, TensorType) and (v.type.elements or 0) > FOLD_LIMIT for v in op.results):
        return None
    try:
        shapes = [array.shape for array in arrays if array is not None]
        if entry.kind is Kind.ELEMENTWISE and prod(np.broadcast_shapes(*shapes)) > FOLD_LIMIT:
            return None
        with np.errstate(all="ignore"):
            outcome = entry.evaluate(op, *arrays)
    except MALFORMED:
        return None  # ill-formed arithmetic folds to nothing; type inference then reports what stays open
    if outcome is None:
        return None
    results = [np.asarray(item) for item in (outcome if isinstance(outcome, tuple) else (outcome,))]
    return results if len(results) == len(op.results) else None


def _keepable(array: ndarray[Any, Any]) -> bool:
    dtype = _DTYPES.get(str(array.dtype))
    return dtype is not None and array.size <= (FOLD_LIMIT if dtype.is_integer else FLOAT_FOLD_LIMIT)


def _others(told: Sequence[str]) -> str:
    return f" (and {len(told) - 1} more)" if len(told) > 1 else ""


def _complete(type: Type) -> bool:
    if isinstance(type, SequenceType | OptionalType):
        return _complete(type.element)
    return isinstance(type, TensorType) and type.static


def _merge(old: Type, new: Type) -> Type:
    """The more precise of two types for the same value, dimension by dimension."""
    if isinstance(old, UnknownType) or isinstance(new, UnknownType):
        return new if isinstance(old, UnknownType) else old
    if not isinstance(old, TensorType) or not isinstance(new, TensorType):
        return new
    dtype = new.dtype if old.dtype is DType.UNKNOWN else old.dtype
    if old.shape is None or new.shape is None:
        return TensorType(dtype, new.shape if old.shape is None else old.shape)
    if len(old.shape) != len(new.shape):
        return TensorType(dtype, new.shape)
    pairs = zip(old.shape, new.shape, strict=True)
    return TensorType(dtype, tuple(_precise(a, b) for a, b in pairs))


def _precise(old: Dim, new: Dim) -> Dim:
    """A number if there is one, that which follows before that which was stated; else what is inferred, if anything."""
    if isinstance(new, int):
        return new
    return old if isinstance(old, int) or (isinstance(new, Expression) and not new.known) else new


def _contradict(old: Type, new: Type) -> bool:
    """Whether an extent or the rank that was stated is another now."""
    if not isinstance(old, TensorType) or not isinstance(new, TensorType) or old.shape is None or new.shape is None:
        return False
    if len(old.shape) != len(new.shape):
        return True
    return any(isinstance(a, int) and a != b for a, b in zip(old.shape, new.shape, strict=True))
