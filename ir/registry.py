"""The operator registry: one entry per operator holds all that the tool knows about it.

    @define("com.acme.Rotary", kind=Kind.ELEMENTWISE)
    def rotary(op):
        return elementwise(op, "rotary", per_element=6)

An entry says of which kind an operator is, how it lowers to primitives, how its result types follow (where the
frontend's own inference does not know), and how to evaluate it on small constants (for shape arithmetic). Entries for
the operators that come with the tool live by family in :mod:`graphs.ir.ops`; anyone may add one from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from .expression import UNKNOWN_DIM, OpenDimension
from .graph import Op, Value
from .limits import MOST_WORK, possible
from .primitives import Primitive, Unknown, flops
from .types import Dim, TensorType, Type

__all__ = [
    "Kind",
    "Lowering",
    "OpDef",
    "Runs",
    "define",
    "definition",
    "definitions",
    "infer_types",
    "kind_of",
    "lowering",
    "misfit",
    "region_input_types",
    "runs_of",
]


class Kind(Enum):
    """What sort of work an operator does: what fusion rules and compute units select by."""

    ELEMENTWISE = "elementwise"
    CONTRACTION = "contraction"
    WINDOW = "window"
    REDUCTION = "reduction"
    NORMALIZATION = "normalization"
    LAYOUT = "layout"
    VIEW = "view"
    GATHER = "gather"
    RECURRENT = "recurrent"
    SCAN = "scan"
    CONTROL = "control"
    QUANTIZATION = "quantization"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Lowering:
    """The primitives of one operation, and what it reads and writes where that is not the whole of each value.

    ``reads`` maps operand indices, ``writes`` result indices, to bytes: an embedding reads the rows it gathers, not the
    table.
    """

    primitives: tuple[Primitive, ...]
    reads: Mapping[int, int] = field(default_factory=dict)
    writes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Runs:
    """How often one region of a control operation runs in one run of the operation, and how that is known.

    ``times`` is a number, or a symbol where only running the model tells. ``at_most`` says that it may be fewer;
    ``one_of`` that of all regions with this mark one alone runs.
    """

    times: Dim
    why: str
    at_most: bool = False
    one_of: bool = False


Lower = Callable[[Op], "Iterable[Primitive] | Lowering"]
L = TypeVar("L", bound=Lower)
Infer = Callable[[Op], "Sequence[Type] | None"]
Evaluate = Callable[..., Any]
Enter = Callable[[Op], "Sequence[Sequence[Type | None]]"]
Run = Callable[[Op], "Sequence[Runs]"]


@dataclass(frozen=True, slots=True)
class OpDef:
    """All that is known of one operator. ``lower`` is ``None`` where its work cannot be counted.

    ``any_type`` says that ``lower`` looks at the types itself: operands and results may be sequences, optionals or of
    open shape. ``enter`` says of which types the inputs of each region are, where they are not the operands' own.
    ``caches`` are pairs of an operand and the result that continues it: a cache, and the cache with new entries.
    ``runs`` says how often each region runs, where regions are graphs of kernels: ``lower`` then counts what the
    operation does beside them.
    ``aliases`` says that the results lie in operand 0's memory, whatever their extents.
    """

    name: str
    kind: Kind
    lower: Lower | None = None
    infer: Infer | None = None
    evaluate: Evaluate | None = None
    doc: str = ""
    any_type: bool = False
    enter: Enter | None = None
    caches: tuple[tuple[int, int], ...] = ()
    runs: Run | None = None
    aliases: bool = False


MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What an entry's functions raise for an operation that does not fit its operator: files come from anywhere."""

_DEFINITIONS: dict[str, OpDef] = {}


def define(
    *names: str,
    kind: Kind,
    infer: Infer | None = None,
    evaluate: Evaluate | None = None,
    any_type: bool = False,
    enter: Enter | None = None,
    caches: Iterable[tuple[int, int]] = (),
    runs: Run | None = None,
) -> Callable[[L], L]:
    """Register the decorated function as the lowering of the operators ``names``.

    Args:
        names: dialect-qualified operator names, ``onnx.Relu``.
        kind: what sort of work the operator does.
        infer: result types from an operation whose operand types are known; ``None`` where it cannot say.
        evaluate: results from an operation and its operands as numpy arrays (whose elements may be symbols).
        any_type: ``lower`` looks at the types itself; else every operand and result must be a tensor of known shape.
        enter: the types of each region's inputs, from an operation with regions; ``None`` for one that stays open.
        caches: (operand, result) for each result that is a cache with its new entries.
        runs: how often each region of an operation runs, where its regions are graphs of kernels.

    Raises:
        ValueError: an operator of this name is registered already.
    """

    def register(lower: L) -> L:
        for name in names:
            doc = (lower.__doc__ or "").strip()
            add(OpDef(name, kind, lower, infer, evaluate, doc, any_type, enter, tuple(caches), runs))
        return lower

    return register


def add(entry: OpDef) -> None:
    """Register an entry.

    Raises:
        ValueError: an operator of this name is registered already.
    """
    if entry.name in _DEFINITIONS:
        raise ValueError(f"operator {entry.name!r} is registered already")
    _DEFINITIONS[entry.name] = entry


@cache
def _load_builtin() -> None:
    import_module(".ops", __package__)


def definition(name: str) -> OpDef | None:
    """Return the entry of an operator, ``None`` if there is none."""
    _load_builtin()
    return _DEFINITIONS.get(name)


def definitions() -> Mapping[str, OpDef]:
    """Return all entries by operator name, sorted."""
    _load_builtin()
    return dict(sorted(_DEFINITIONS.items()))


def kind_of(op: Op) -> Kind:
    """Return an operation's kind; :attr:`Kind.OPAQUE` if nothing is known of the operator."""
    entry = definition(op.name)
    return entry.kind if entry else Kind.OPAQUE


def lowering(op: Op) -> Lowering:
    """Return an operation's primitives; :class:`~graphs.ir.primitives.Unknown` where they cannot be counted."""
    entry = definition(op.name)
    if entry is None or entry.lower is None:
        return _unknown(f"no lowering for {op.name!r}")
    open_value = None if entry.any_type else _open_value(op)
    if open_value is not None:
        reason = misfit(op)
        return _unknown(
            f"shape of {open_value.name!r} is not known: {open_value.type}"
            if reason is None
            else f"{op.name} {op.label!r} does not fit its operands: {reason}"
        )
    try:
        made = entry.lower(op)
        lowered = made if isinstance(made, Lowering) else Lowering(tuple(made))
        counts = [flops(primitive) for primitive in lowered.primitives]  # which also divides by what must not be zero
        amounts = (*counts, *lowered.reads.values(), *lowered.writes.values())
        if not all(0 <= amount <= MOST_WORK for amount in amounts if isinstance(amount, int)):
            raise ValueError("its work comes out negative, or more than any machine can do")
        return lowered
    except OpenDimension as error:
        return _unknown(f"the work of {op.label!r} is open: {error}")
    except MALFORMED as error:
        return _unknown(f"{op.name} {op.label!r} does not fit its operator: {error}")


def infer_types(op: Op) -> Sequence[Type] | None:
    """Return the types that an operation's entry infers for the results that it has.

    ``None`` where it cannot, or the operation is wrong.
    """
    entry = definition(op.name)
    if entry is None or entry.infer is None:
        return None
    try:
        types = entry.infer(op)
    except MALFORMED:
        return None
    return types[: len(op.results)] if types is not None and all(map(possible, types)) else None


def misfit(op: Op) -> str | None:
    """Return why an operation does not fit operands that are all known; ``None`` if it fits, or nothing tells."""
    entry = definition(op.name)
    known = all(isinstance(value.type, TensorType) and value.type.static for value in op.inputs)
    if entry is None or entry.infer is None or not known:
        return None
    try:
        types = entry.infer(op)
    except OpenDimension:
        return None
    except MALFORMED as error:
        return str(error) or type(error).__name__
    wrong = next((type_ for type_ in types or () if not possible(type_)), None)
    return None if wrong is None else f"its result would be {wrong}"


def region_input_types(op: Op) -> Sequence[Sequence[Type | None]]:
    """Return the types of each region's inputs; ``None`` for one that stays open.

    Where the entry does not say, a region's inputs are the operation's operands, or the captured ones: the last.
    """
    entry = definition(op.name)
    if entry is not None and entry.enter is not None:
        try:
            types = entry.enter(op)
            if [len(row) for row in types] == [len(region.inputs) for region in op.regions]:
                return types
        except MALFORMED:
            pass
    outer = [None if value is None else value.type for value in op.operands]
    return [_last(outer, len(region.inputs)) for region in op.regions]


def _last(types: list[Type | None], count: int) -> list[Type | None]:
    """The last ``count`` types; open ones in front where there are fewer."""
    return [*[None] * (count - len(types)), *types[max(0, len(types) - count) :]]


def runs_of(op: Op) -> Sequence[Runs]:
    """Return how often each region of a control operation runs; nothing for any other operation."""
    entry = definition(op.name)
    if entry is None or entry.runs is None or not op.regions:
        return ()
    try:
        runs = tuple(entry.runs(op))
        if len(runs) == len(op.regions):
            return runs
        why = f"{op.name} has {len(op.regions)} regions"
    except MALFORMED as error:
        why = f"{op.name} {op.label!r} does not fit its operator: {error}"
    return tuple(Runs(UNKNOWN_DIM, why) for _ in op.regions)


def _unknown(reason: str) -> Lowering:
    return Lowering((Unknown(reason),))


def _open_value(op: Op) -> Value | None:
    for value in (*op.inputs, *op.results):
        if not isinstance(value.type, TensorType) or not value.type.known:
            return value
    return None
