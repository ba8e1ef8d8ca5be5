"""Result types of every value, and shape arithmetic folded away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..ir import (
    CONSTANT,
    INPUT,
    OUTPUT,
    UNKNOWN_DIM,
    Dim,
    DType,
    Expression,
    Graph,
    Op,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
    infer_types,
    misfit,
    open_symbols,
    possible,
    region_input_types,
    substitute,
)
from .base import Context, Pass
from .bodies import show_constants
from .branches import replace_by_branch
from .folding import fold
from .routing import share_rows

__all__ = ["ShapeInference"]

_EXPERTS = "shape: experts whose rows were spread evenly"


@dataclass(frozen=True)
class ShapeInference(Pass):
    """Infer result types; evaluate shape arithmetic on small constants."""

    name = "shape"
    requires = ("dims",)
    provides = ("types",)
    needs_numbers = False
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
    shared: set[Op] = field(default_factory=set)

    def run(self, graph: Graph) -> None:
        orphans: list[Op] = []
        for op in graph.ops:
            if op.name in (INPUT, OUTPUT, CONSTANT):
                continue
            if op.regions:
                self._enter_regions(op)
                if self.fold and replace_by_branch(graph, op):
                    self.context.count("shape: branches that compute nothing")
                    continue
            self._infer(graph, op)
            read = fold(graph, op) if self.fold else None
            if read is not None:
                orphans.extend(read)
                self.context.count("shape: operations folded")
        for op in dict.fromkeys(orphans):
            if op in graph and not graph.users(op):
                graph.erase(op)

    # -- types --------------------------------------------------------------------------------------------------------

    def _infer(self, graph: Graph, op: Op) -> None:
        """Refine the result types; what a file says of them is checked as well, since it may have been made for other
        extents of the inputs.
        """
        if experts := share_rows(graph, op):
            self.context.count(_EXPERTS, len(experts))
            self.shared.update(experts)
        if op in self.shared:
            return
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
            if self.context.numbers:
                better = self._numbered(better, op)
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

    def _numbered(self, type: Type, op: Op) -> Type:
        """The type with dimensions that depend on data at their upper bound; unknown where they have none."""
        opened = open_symbols(type)
        if not opened:
            return type
        bounds = {symbol.name: symbol.upper for symbol in opened}
        known = {name: bound for name, bound in bounds.items() if isinstance(bound, int)}
        if known:
            said = ", ".join(f"{name!r} taken at its upper bound of {bound:,}" for name, bound in known.items())
            self.context.warn("shape", f"dimension {said}: it depends on data", op)
        numbered: Type = substitute(type, {name: known.get(name, UNKNOWN_DIM) for name in bounds})
        return numbered

    def _enter_regions(self, op: Op) -> None:
        """Carry types and constants into the bodies and infer what is inside."""
        show_constants(op)
        for region, types in zip(op.regions, region_input_types(op), strict=True):
            for inner, type in zip(region.inputs, types, strict=True):
                if type is not None and possible(better := _merge(inner.result.type, type)):
                    region.retype(inner.result, better)
            self.run(region)


def _others(told: Sequence[str]) -> str:
    return f" (and {len(told) - 1} more)" if len(told) > 1 else ""


def _complete(type: Type) -> bool:
    if isinstance(type, SequenceType | OptionalType):
        return _complete(type.element)
    return isinstance(type, TensorType) and type.known


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
    """What follows from the inputs before what was stated; a number before what depends on data, or nothing tells."""
    if isinstance(new, int) or not isinstance(old, int):
        return old if isinstance(new, Expression) and not new.known else new
    return new if new.known and all(symbol.lower > 0 for symbol in new.symbols) else old


def _contradict(old: Type, new: Type) -> bool:
    """Whether an extent or the rank that was stated is another now."""
    if not isinstance(old, TensorType) or not isinstance(new, TensorType) or old.shape is None or new.shape is None:
        return False
    if len(old.shape) != len(new.shape):
        return True
    return any(isinstance(a, int) and a != b for a, b in zip(old.shape, new.shape, strict=True))
