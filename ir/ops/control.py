"""Control flow: how often the regions of ``If``, ``Loop``, ``Scan`` and ``SequenceMap`` run, and what they give.

Regions are graphs of kernels, which ``lower`` counts one by one. What is lowered here is what an operation does beside
them: putting together what its trips leave behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..expression import Expression
from ..graph import Graph, Op, Value
from ..primitives import Copy
from ..registry import Kind, Lowering, Runs, define
from ..types import Dim, DType, Symbol, TensorType, Type
from .reading import (
    UNKNOWN_DIM,
    constant_dims,
    constant_number,
    dim_product,
    integer,
    integers,
    normal_axis,
    ranked,
    view,
)
from .sequence import common_type, element_type, sequence_length, sequence_of

__all__ = ["BOUND_TRIPS", "agreed_types", "branch_runs", "open_trips", "trips_symbol"]

BOUND_TRIPS = "trips"
"""Attribute of a loop whose trips ``--dim`` gives, or a pipeline leaves open."""

_FOREVER = 2**31
"""Trip counts from here on stand for "until the condition is false": exporters write the largest integer there is."""


def trips_symbol(op: Op) -> Symbol:
    """Return the symbol of a loop's trips that only running the model tells."""
    return Symbol(f'trips of "{op.label}"', 0)


def _bound_trips(op: Op) -> Dim | None:
    bound = op.attributes.get(BOUND_TRIPS)
    return bound if isinstance(bound, int | Expression) else None


def open_trips(op: Op) -> Runs:
    """Return that only running the model tells how often a body runs, unless ``--dim`` does."""
    bound = _bound_trips(op)
    if bound is not None:
        return Runs(bound, "as bound")
    return Runs(trips_symbol(op), f"the number of trips of {op.label!r} is known only when it runs")


def _captured(op: Op) -> tuple[Value | None, ...]:
    return op.operands[len(op.operands) - integer(op, "captures", 0) :]


def _types_of(values: Iterable[Value | None]) -> tuple[Type | None, ...]:
    return tuple(value.type if value else None for value in values)


# -- If ---------------------------------------------------------------------------------------------------------------


def _branch_types(op: Op) -> tuple[Type, ...] | None:
    """Results of the branches where they agree; a dimension in which they differ is open."""
    taken = constant_number(op.operand(0))
    return agreed_types(op, op.regions if taken is None else op.regions[:1] if taken else op.regions[1:])


def agreed_types(op: Op, regions: Sequence[Graph]) -> tuple[Type, ...] | None:
    """Results of regions where they agree; a dimension in which they differ is open."""
    branches = [[output.operands[0] for output in region.outputs] for region in regions]
    if not branches or any(len(branch) != len(op.results) for branch in branches):
        return None
    return tuple(common_type([value.type for value in column if value]) for column in zip(*branches, strict=True))


def branch_runs(op: Op) -> Sequence[Runs]:
    """Return how often each branch of a condition runs: one of them, or the one that a constant picks."""
    taken = constant_number(op.operand(0))
    if taken is None:
        return (Runs(1, "its condition is known only when it runs", one_of=True),) * len(op.regions)
    why = f"its condition is always {'true' if taken else 'false'}"
    return tuple(Runs(int(bool(taken) is not bool(index)), why) for index in range(len(op.regions)))


@define("onnx.If", kind=Kind.CONTROL, infer=_branch_types, runs=branch_runs, any_type=True)
def if_(op: Op) -> Lowering:
    """One of two branches: the dearer, unless a constant condition picks one."""
    return view(op)


# -- Loop -------------------------------------------------------------------------------------------------------------


def _always_true(value: Value | None, region: Graph) -> bool:
    """Whether a loop body's condition is a true constant, or the one that came in."""
    while value is not None and value.op.name == "onnx.Identity":
        value = value.op.operand(0)
    return value is not None and (bool(constant_number(value)) or value.op in region.inputs[1:2])


def _loop_runs(op: Op) -> Sequence[Runs]:
    given, condition = constant_dims(op.operand(0)), op.operand(1)
    most: Dim | None = given[0] if given and (not isinstance(given[0], int) or given[0] < _FOREVER) else None
    if constant_number(condition) == 0 or (isinstance(most, int) and most <= 0):
        return (Runs(0, "it never starts"),)
    started = condition is None or bool(constant_number(condition))
    if most is not None and started and _always_true(op.regions[0].outputs[0].operands[0], op.regions[0]):
        return (Runs(most, "the trip count is a constant" if isinstance(most, int) else f"the trip count is {most}"),)
    if most is None or isinstance(_bound_trips(op), int):
        return (open_trips(op),)
    return (Runs(most, "it stops when its condition is false", at_most=True),)


def _loop_types(op: Op) -> tuple[Type, ...] | None:
    """Carried values keep their type where the body gives back what it took; the rest are stacked over the trips."""
    region = op.regions[0] if op.regions else None
    if region is None:
        return None
    carried = len(op.operands) - 2 - integer(op, "captures", 0)
    made = [output.operands[0] for output in region.outputs][1:]
    if len(made) != len(op.results) or carried < 0:
        return None
    (runs,) = _loop_runs(op)
    count = Symbol(trips_symbol(op).name, 0, runs.times) if runs.at_most else runs.times
    types: list[Type] = []
    for index, value in enumerate(made):
        entering = op.operand(2 + index) if index < carried else None
        leaving = value.type if value else TensorType(DType.UNKNOWN, None)
        if entering is not None:
            types.append(common_type([leaving, entering.type]))
        elif isinstance(leaving, TensorType) and leaving.shape is not None:
            types.append(TensorType(leaving.dtype, (count, *leaving.shape)))
        else:
            types.append(leaving)
    return tuple(types)


def _enter_loop(op: Op) -> tuple[tuple[Type | None, ...], ...]:
    """The iteration number, the condition, carried values unless the body changes their shape, and captures."""
    last = len(op.operands) - integer(op, "captures", 0)
    carried: list[Type | None] = []
    for value, output in zip(op.operands[2:last], op.regions[0].outputs[1:], strict=False):
        leaving = output.operands[0]
        changes = value is None or leaving is None or (_static(leaving.type) and leaving.type != value.type)
        carried.append(None if changes or value is None else value.type)
    return ((TensorType(DType.I64, ()), TensorType(DType.BOOL, ()), *carried, *_types_of(_captured(op))),)


def _static(type_: Type) -> bool:
    return isinstance(type_, TensorType) and type_.static


@define("onnx.Loop", kind=Kind.CONTROL, infer=_loop_types, enter=_enter_loop, runs=_loop_runs, any_type=True)
def loop(op: Op) -> Lowering:
    """The body again and again, and a copy of what each trip leaves behind into one tensor (ONNX Loop-24)."""
    carried = len(op.operands) - 2 - integer(op, "captures", 0)
    stacked = [value for value in op.results[carried:] if isinstance(value.type, TensorType) and value.type.static]
    return _joined(op, (), stacked)


def _joined(op: Op, taken: Sequence[int], stacked: Sequence[Value]) -> Lowering:
    """Copies of operands and results; all others change hands."""
    reads = {index: (value.bytes or 0) if value and index in taken else 0 for index, value in enumerate(op.operands)}
    writes = {value.index: (value.bytes or 0) if value in stacked else 0 for value in op.results}
    copied = (*(op.operands[index] for index in taken), *stacked)
    types = [value.type for value in copied if value and isinstance(value.type, TensorType)]
    return Lowering(tuple(Copy(type_.elements or 0, type_.dtype) for type_ in types), reads, writes)


# -- Scan -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scanned:
    """Which operands and results of a Scan are states, and along which axes the others are cut and stacked.

    ``batched`` is the Scan of opset 8: operand 0 has the sequences' lengths, and every value a batch in front.
    """

    op: Op
    batched: bool
    states: range
    inputs: range
    input_axes: tuple[int, ...]
    output_axes: tuple[int, ...]

    @staticmethod
    def of(op: Op) -> _Scanned:
        region, last = op.regions[0], len(op.operands) - integer(op, "captures", 0)
        scanned, first = integer(op, "num_scan_inputs", 1), len(op.operands) - len(region.inputs)
        if first not in (0, 1) or not 0 < scanned <= last - first:
            raise ValueError(f"its body takes {len(region.inputs)} values")
        states, inputs = range(first, last - scanned), range(last - scanned, last)
        outputs = len(op.results) - len(states)
        if first:
            return _Scanned(op, True, states, inputs, (1,) * scanned, (1,) * outputs)
        axes = integers(op, "scan_input_axes", (0,) * scanned), integers(op, "scan_output_axes", (0,) * outputs)
        return _Scanned(op, False, states, inputs, *axes)

    @property
    def batch(self) -> tuple[Dim, ...]:
        """The batch of opset 8, nothing otherwise."""
        x = ranked(self.op, self.inputs[0])
        return (x[1][0] if x and x[1] else UNKNOWN_DIM,) if self.batched else ()

    @property
    def length(self) -> Dim:
        """How many slices are scanned."""
        x = ranked(self.op, self.inputs[0])
        return x[1][normal_axis(self.input_axes[0], len(x[1]))] if x else UNKNOWN_DIM


def _scan_runs(op: Op) -> Sequence[Runs]:
    scanned = _Scanned.of(op)
    times = dim_product((*scanned.batch, scanned.length))
    if not isinstance(times, int) and not times.known:
        return (open_trips(op),)
    return (Runs(times, "one for each slice of what it scans"),)


def _enter_scan(op: Op) -> tuple[tuple[Type | None, ...], ...]:
    """States as they are, scanned operands without their scanned axis, captures; of opset 8 without the batch."""
    scanned = _Scanned.of(op)
    states = [_without(op, index, (0,) if scanned.batched else ()) for index in scanned.states]
    slices = [
        _without(op, index, (0, axis) if scanned.batched else (axis,))
        for index, axis in zip(scanned.inputs, scanned.input_axes, strict=True)
    ]
    return ((*states, *slices, *_types_of(_captured(op))),)


def _without(op: Op, index: int, axes: Sequence[int]) -> Type | None:
    """The type of an operand without some axes."""
    value, x = op.operand(index), ranked(op, index)
    if value is None or not axes:
        return value.type if value else None
    if x is None:
        return None
    gone = {normal_axis(axis, len(x[1])) for axis in axes}
    return TensorType(x[0], tuple(dim for axis, dim in enumerate(x[1]) if axis not in gone))


def _scan_types(op: Op) -> tuple[Type, ...] | None:
    """States as the body leaves them; the rest stacked along ``scan_output_axes``."""
    scanned = _Scanned.of(op)
    values = [output.operands[0] for output in op.regions[0].outputs]
    if len(values) != len(op.results) or any(value is None for value in values):
        return None
    types: list[Type] = []
    for index, value in enumerate(values):
        type_ = value.type if value else None
        if not isinstance(type_, TensorType) or type_.shape is None:
            types.append(type_ or TensorType(DType.UNKNOWN, None))
            continue
        shape = (*scanned.batch, *type_.shape)
        if index >= len(scanned.states):
            axis = scanned.output_axes[index - len(scanned.states)]
            at = normal_axis(axis, len(shape) + 1)
            shape = (*shape[:at], scanned.length, *shape[at:])
        types.append(TensorType(type_.dtype, shape))
    return tuple(types)


@define("onnx.Scan", kind=Kind.CONTROL, infer=_scan_types, enter=_enter_scan, runs=_scan_runs, any_type=True)
def scan(op: Op) -> Lowering:
    """The body once for each slice; what is cut or stacked along another axis than the first is copied."""
    scanned = _Scanned.of(op)
    if scanned.batched:
        return view(op)
    taken = [index for index, axis in zip(scanned.inputs, scanned.input_axes, strict=True) if axis]
    outputs = op.results[len(scanned.states) :]
    return _joined(op, taken, [value for value, axis in zip(outputs, scanned.output_axes, strict=True) if axis])


# -- SequenceMap ------------------------------------------------------------------------------------------------------


def _map_runs(op: Op) -> Sequence[Runs]:
    length = sequence_length(op.operand(0))
    return (open_trips(op) if length is None else Runs(length, "one for each element of its sequence"),)


def _enter_map(op: Op) -> tuple[tuple[Type | None, ...], ...]:
    """An element of each sequence; tensors beside the first operand as they are."""
    last = len(op.operands) - integer(op, "captures", 0)
    entering = [element_type(value.type) if value else None for value in op.operands[:last]]
    return ((*entering, *_types_of(_captured(op))),)


def _map_types(op: Op) -> tuple[Type, ...] | None:
    values = [output.operands[0] for output in op.regions[0].outputs]
    if len(values) != len(op.results):
        return None
    return tuple(sequence_of([value.type if value else TensorType(DType.UNKNOWN, None)]) for value in values)


@define("onnx.SequenceMap", kind=Kind.CONTROL, infer=_map_types, enter=_enter_map, runs=_map_runs, any_type=True)
def sequence_map(op: Op) -> Lowering:
    """The body once for each element of a sequence."""
    return view(op)
