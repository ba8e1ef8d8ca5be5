"""Control flow of TFLite, state that outlives a call, and what only the runtime knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, floor

from ...graph import Graph, Op, Value
from ...primitives import Copy, Primitive
from ...registry import Kind, Lowering, OpDef, Runs, add, define
from ...types import TensorType, Type
from ..control import agreed_types, branch_runs, open_trips
from ..reading import constant_number, size, tensor, view
from ..sequence import common_type

__all__ = ["while_trips"]


def _made(region: Graph) -> list[Value | None]:
    return [output.operands[0] for output in region.outputs]


@define(
    "tfl.IF",
    kind=Kind.CONTROL,
    infer=lambda op: agreed_types(op, op.regions),
    runs=branch_runs,
    any_type=True,
)
def if_(op: Op) -> Lowering:
    """One of two branches: the dearer, unless a constant condition picks one."""
    if len(op.regions) != 2:
        raise ValueError("it does not have two branches")
    return view(op)


@define(
    "tfl.CALL",
    "tfl.STABLEHLO_COMPOSITE",
    kind=Kind.CONTROL,
    infer=lambda op: agreed_types(op, op.regions[:1]),
    runs=lambda op: (Runs(1, "it is called once"),),
    any_type=True,
)
def call(op: Op) -> Lowering:
    """What the subgraph does: of a composite, what it is decomposed into."""
    if not op.regions:
        raise ValueError("it runs no subgraph")
    return view(op)


@define(
    "tfl.CALL_ONCE",
    kind=Kind.CONTROL,
    runs=lambda op: (Runs(0, "it ran before the first inference"),),
    any_type=True,
)
def call_once(op: Op) -> Lowering:
    """What sets up state before the first call: not work of an inference."""
    return view(op)


# -- loops ------------------------------------------------------------------------------------------------------------


def _carried_types(op: Op) -> tuple[Type, ...] | None:
    """Carried values keep their type where the body gives back what it took."""
    if len(op.regions) != 2 or len(op.operands) != len(op.results):
        return None
    made = _made(op.regions[1])
    if len(made) != len(op.results):
        return None
    pairs = zip(op.operands, made, strict=True)
    return tuple(common_type([value.type for value in pair if value is not None]) for pair in pairs)


def _enter_while(op: Op) -> Sequence[Sequence[Type | None]]:
    """Carried values enter both regions, unless the body changes their shape."""
    made = _made(op.regions[1])
    entering: list[Type | None] = []
    for value, leaving in zip(op.operands, made, strict=True):
        changes = value is None or leaving is None or (_static(leaving.type) and leaving.type != value.type)
        entering.append(None if changes or value is None else value.type)
    return (tuple(entering), tuple(entering))


def _static(type_: Type) -> bool:
    return isinstance(type_, TensorType) and type_.static


def _while_runs(op: Op) -> Sequence[Runs]:
    trips = while_trips(op)
    if trips is None:
        open_ = open_trips(op)
        return (replace(open_, times=open_.times + 1), open_)
    why = "its counter runs between constants"
    return (Runs(trips + 1, why), Runs(trips, why))


@define(
    "tfl.WHILE",
    "tfl.STABLEHLO_WHILE",
    kind=Kind.CONTROL,
    infer=_carried_types,
    enter=_enter_while,
    runs=_while_runs,
    any_type=True,
)
def while_(op: Op) -> Lowering:
    """The body again and again, and the condition once more; carried values change hands."""
    if len(op.regions) != 2:
        raise ValueError("it does not have a condition and a body")
    return view(op)


_BELOW = {"tfl.LESS": False, "tfl.LESS_EQUAL": True}
_COUNT_STEPS = {"tfl.ADD", "tfl.STABLEHLO_ADD"}


def while_trips(op: Op) -> int | None:
    """How often a loop runs whose condition is ``counter < limit``, the counter stepping up from a constant.

    ``None`` where it is another condition, or a number is not known.
    """
    condition, body = op.regions
    tests = _conjunction(_made(condition)[0] if condition.outputs else None)
    found = [_trips(op, condition, body, test) for test in tests]
    known = [trips for trips in found if trips is not None]
    return min(known) if known and len(known) == len(found) else None


def _conjunction(value: Value | None) -> list[Op]:
    """The comparisons that must all hold: converters test a loop's own limit and the longest that it may run."""
    if value is None:
        return []
    if value.op.name == "tfl.LOGICAL_AND":
        return [test for operand in value.op.inputs for test in _conjunction(operand)]
    return [value.op]


def _trips(op: Op, condition: Graph, body: Graph, test: Op) -> int | None:
    """Trips until one comparison fails."""
    compared = _compared(test)
    if compared is None:
        return None
    low, high, inclusive = compared
    start, step = _entering(op, condition, low), _step(condition, body, low)
    limit = _entering(op, condition, high) if _step(condition, body, high) == 0 else None
    if start is None or limit is None or not step or step < 0:
        return None
    distance = (limit - start) / step
    return max(0, floor(distance) + 1 if inclusive else ceil(distance))


def _compared(test: Op) -> tuple[Value, Value, bool] | None:
    """The value that must stay below, the one above it, and whether they may be equal."""
    first, second = test.operand(0), test.operand(1)
    if first is None or second is None:
        return None
    if test.name in _BELOW:
        return first, second, _BELOW[test.name]
    if test.name in ("tfl.GREATER", "tfl.GREATER_EQUAL"):
        return second, first, test.name == "tfl.GREATER_EQUAL"
    direction = test.attributes.get("comparison_direction")
    if test.name == "tfl.STABLEHLO_COMPARE" and isinstance(direction, str):
        if direction.endswith(("LT", "LE")):
            return first, second, direction.endswith("LE")
        if direction.endswith(("GT", "GE")):
            return second, first, direction.endswith("GE")
    return None


def _position(region: Graph, value: Value) -> int | None:
    return region.inputs.index(value.op) if value.op in region.inputs else None


def _entering(op: Op, condition: Graph, value: Value) -> float | None:
    """A constant of the condition, or the constant that a carried value starts from."""
    position = _position(condition, value)
    return constant_number(value) if position is None else constant_number(op.operand(position))


def _step(condition: Graph, body: Graph, value: Value) -> float | None:
    """By how much a trip raises a value of the condition: 0 for a constant and for what the body hands on."""
    position = _position(condition, value)
    if position is None:
        return 0.0 if value.constant is not None else None
    made = _made(body)[position] if position < len(body.outputs) else None
    if made is None:
        return None
    if _position(body, made) == position:
        return 0.0
    if made.op.name not in _COUNT_STEPS:
        return None
    own = [operand for operand in made.op.inputs if _position(body, operand) == position]
    steps = [constant_number(operand) for operand in made.op.inputs if operand not in own]
    return steps[0] if len(own) == 1 and len(steps) == 1 else None


# -- state ------------------------------------------------------------------------------------------------------------


@define("tfl.UNINITIALIZED", kind=Kind.VIEW, any_type=True)
def uninitialized(op: Op) -> Lowering:
    """Memory that no operator has written: an operator takes it to work in."""
    return view(op)


@define("tfl.VAR_HANDLE", "tfl.HASHTABLE", kind=Kind.VIEW, any_type=True)
def handle(op: Op) -> Lowering:
    """A name for state: nothing moves."""
    return view(op)


@define("tfl.READ_VARIABLE", kind=Kind.VIEW, any_type=True)
def read_variable(op: Op) -> Lowering:
    """The variable's memory."""
    return view(op)


@define("tfl.HASHTABLE_SIZE", kind=Kind.VIEW, any_type=True)
def hashtable_size(op: Op) -> Lowering:
    """A number that the table has at hand."""
    return view(op)


@define("tfl.ASSIGN_VARIABLE", kind=Kind.LAYOUT, any_type=True)
def assign_variable(op: Op) -> Iterable[Primitive]:
    """A copy into the variable's memory."""
    return (Copy(size(op, 1), tensor(op, 1).dtype),)


# -- what is not in the file ------------------------------------------------------------------------------------------

for _name, _doc in (
    ("DELEGATE", "A part of the network that a delegate runs, in its own form."),
    ("CUSTOM", "An operator of the application's own; by name it is tfl.custom.NAME."),
    ("PLACEHOLDER_FOR_GREATER_OP_CODES", "No operator: its number stands for those that a newer field holds."),
    ("STABLEHLO_CUSTOM_CALL", "A function of the runtime that the model names."),
):
    add(OpDef(f"tfl.{_name}", Kind.OPAQUE, None, None, None, _doc, any_type=True))
