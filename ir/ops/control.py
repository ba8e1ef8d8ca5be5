"""Control flow, sequences, optionals and strings.

What a region computes is counted by lowering its operations; its bytes are those of the operation that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..graph import Graph, Op, Value
from ..onnx_types import dtype_of
from ..primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Unknown,
    Window,
    flops,
)
from ..registry import Kind, Lowering, define, lowering
from ..types import Dim, DType, OptionalType, SequenceType, TensorType, Type
from .reading import (
    UNKNOWN_DIM,
    axes_operand,
    constant_integers,
    constant_number,
    elements,
    integer,
    integers,
    normal_axis,
    ranked,
    tensor,
    view,
)

__all__ = ["region_primitives", "repeated"]


# -- regions ----------------------------------------------------------------------------------------------------------


def region_primitives(region: Graph) -> tuple[Primitive, ...]:
    """The primitives of all operations of a region."""
    # A loop and not a generator: regions nest, and each level should take few frames of the interpreter's stack.
    primitives: list[Primitive] = []
    for op in region.body:
        primitives.extend(lowering(op).primitives)
    return tuple(primitives)


def repeated(primitive: Primitive, times: int) -> Primitive:
    """``times`` of a primitive, one after another where it tells them apart, as one primitive of as much work."""
    match primitive:
        case Gemm():
            return replace(primitive, steps=primitive.steps * times)
        case Conv():
            return replace(primitive, batch=primitive.batch * times)
        case Elementwise() | Copy() | Scan():
            return replace(primitive, elements=primitive.elements * times)
        case Reduction():
            return replace(primitive, elements=primitive.elements * times, results=primitive.results * times)
        case Softmax() | Gather():
            return replace(primitive, rows=primitive.rows * times)
        case Normalization():
            return replace(primitive, groups=primitive.groups * times)
        case Window():
            return replace(primitive, results=primitive.results * times)
        case Unknown():
            return primitive


def _branch_types(op: Op) -> tuple[Type, ...] | None:
    """Results of the branches where they agree; a dimension in which they differ is open."""
    taken = constant_number(op.operand(0))
    regions = op.regions if taken is None else op.regions[:1] if taken else op.regions[1:]
    branches = [[output.operands[0] for output in region.outputs] for region in regions]
    if not branches or any(len(branch) != len(op.results) for branch in branches):
        return None
    return tuple(_common([value.type for value in column if value]) for column in zip(*branches, strict=True))


def _common(types: list[Type]) -> Type:
    first = types[0]
    if all(other == first for other in types):
        return first
    tensors = [type_ for type_ in types if isinstance(type_, TensorType)]
    if len(tensors) != len(types) or not isinstance(first, TensorType):
        return first
    shapes = [type_.shape for type_ in tensors if type_.shape is not None]
    if len(shapes) != len(types) or len({len(shape) for shape in shapes}) != 1:
        return TensorType(first.dtype, None)
    return TensorType(
        first.dtype, tuple(column[0] if len(set(column)) == 1 else UNKNOWN_DIM for column in zip(*shapes, strict=True))
    )


@define("onnx.If", kind=Kind.CONTROL, infer=_branch_types, any_type=True)
def if_(op: Op) -> Iterable[Primitive]:
    """The dearer branch; what is unknown in any branch stays unknown. A constant condition picks its branch."""
    taken = constant_number(op.operand(0))
    if taken is not None and len(op.regions) == 2:
        return region_primitives(op.regions[0 if taken else 1])
    branches = tuple(map(region_primitives, op.regions))
    dearest = max(branches, key=lambda branch: sum(flops(primitive) for primitive in branch))
    others = [primitive for branch in branches if branch is not dearest for primitive in branch]
    return (*dearest, *(primitive for primitive in others if isinstance(primitive, Unknown)))


def _trips(op: Op, times: int) -> tuple[Primitive, ...]:
    primitives = region_primitives(op.regions[0]) if times else ()
    return tuple(repeated(primitive, times) for primitive in primitives)


def _always_true(value: Value | None, region: Graph) -> bool:
    """Whether a loop body's condition is a true constant, or the one that came in."""
    while value is not None and value.op.name == "onnx.Identity":
        value = value.op.operand(0)
    return value is not None and (bool(constant_number(value)) or value.op in region.inputs[1:2])


def _loop_types(op: Op) -> tuple[Type, ...] | None:
    """Carried values keep their type where the body gives back what it took; the rest are stacked over the trips."""
    region = op.regions[0] if op.regions else None
    if region is None:
        return None
    carried = len(op.operands) - 2 - integer(op, "captures", 0)
    made = [output.operands[0] for output in region.outputs][1:]
    if len(made) != len(op.results) or carried < 0:
        return None
    trips = constant_integers(op.operand(0))
    known = trips is not None and _always_true(region.outputs[0].operands[0], region)
    count = max(0, trips[0]) if trips and known and trips[0] < 2**31 else UNKNOWN_DIM
    types: list[Type] = []
    for index, value in enumerate(made):
        entering = op.operand(2 + index) if index < carried else None
        leaving = value.type if value else TensorType(DType.UNKNOWN, None)
        if entering is not None:
            types.append(_common([leaving, entering.type]))
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
    captures = (value.type if value else None for value in op.operands[last:])
    return ((TensorType(DType.I64, ()), TensorType(DType.BOOL, ()), *carried, *captures),)


def _static(type_: Type) -> bool:
    return isinstance(type_, TensorType) and type_.static


@define("onnx.Loop", kind=Kind.CONTROL, infer=_loop_types, enter=_enter_loop, any_type=True)
def loop(op: Op) -> Iterable[Primitive]:
    """Trip count times the body, where the count is a constant and the body never stops early."""
    trips, region = constant_integers(op.operand(0)), op.regions[0]
    started = op.operand(1) is None or constant_number(op.operand(1))
    if constant_number(op.operand(1)) == 0:
        return ()
    if not trips or not started or not _always_true(region.outputs[0].operands[0], region):
        return (Unknown(f"the number of trips of {op.label!r} is known only when it runs"),)
    return _trips(op, max(0, trips[0]))


def _scan_trips(op: Op, first: int, axes: tuple[int, ...]) -> Dim:
    x = ranked(op, first)
    return x[1][normal_axis(axes[0], len(x[1]))] if x and axes else UNKNOWN_DIM


def _scan_layout(op: Op) -> tuple[int, tuple[int, ...]]:
    """Index of the first scanned operand, and the axis along which each is scanned (ONNX Scan-11).

    Raises:
        ValueError: this is the batched Scan of opset 8.
    """
    if len(op.regions[0].inputs) != len(op.operands):
        raise ValueError("the batched Scan of opset 8 is not read")
    scanned = integer(op, "num_scan_inputs", 1)
    return len(op.operands) - integer(op, "captures", 0) - scanned, integers(op, "scan_input_axes", (0,) * scanned)


def _enter_scan(op: Op) -> tuple[tuple[Type | None, ...], ...]:
    """States as they are, scanned operands without their scanned axis, captures."""
    first, axes = _scan_layout(op)
    types: list[Type | None] = [value.type if value else None for value in op.operands]
    for index, axis in enumerate(axes, first):
        x = ranked(op, index)
        at = normal_axis(axis, len(x[1])) if x else 0
        types[index] = TensorType(x[0], (*x[1][:at], *x[1][at + 1 :])) if x else None
    return (tuple(types),)


def _scan_types(op: Op) -> tuple[Type, ...] | None:
    """States as the body leaves them; the rest stacked along ``scan_output_axes``."""
    first, axes = _scan_layout(op)
    trips, made = _scan_trips(op, first, axes), [output.operands[0] for output in op.regions[0].outputs]
    if len(made) != len(op.results) or any(value is None for value in made):
        return None
    types = [value.type for value in made if value is not None]
    stacked_axes = integers(op, "scan_output_axes", (0,) * (len(types) - first))
    for index, axis in enumerate(stacked_axes, first):
        slice_ = types[index]
        if isinstance(slice_, TensorType) and slice_.shape is not None:
            at = normal_axis(axis, len(slice_.shape) + 1)
            types[index] = TensorType(slice_.dtype, (*slice_.shape[:at], trips, *slice_.shape[at:]))
    return tuple(types)


@define("onnx.Scan", kind=Kind.CONTROL, infer=_scan_types, enter=_enter_scan, any_type=True)
def scan(op: Op) -> Iterable[Primitive]:
    """The body once for each slice of the scanned operands."""
    trips = _scan_trips(op, *_scan_layout(op))
    if not isinstance(trips, int):
        return (Unknown(f"the number of trips of {op.label!r} is not known"),)
    return _trips(op, trips)


# -- sequences and optionals: references, until a tensor is cut or joined ----------------------------------------------


def _same_sequence(op: Op) -> tuple[Type, ...] | None:
    value = op.operand(0)
    return None if value is None else (value.type,)


def _longer_sequence(op: Op) -> tuple[Type, ...] | None:
    sequence, added = op.operand(0), op.operand(1)
    if sequence is None or added is None or not isinstance(sequence.type, SequenceType):
        return None
    return (SequenceType(_common([sequence.type.element, added.type])),)


def _construct_types(op: Op) -> tuple[Type, ...] | None:
    types = [value.type for value in op.inputs]
    return (SequenceType(_common(types)),) if types else None


def _element_types(op: Op) -> tuple[Type, ...] | None:
    value = op.operand(0)
    return (value.type.element,) if value is not None and isinstance(value.type, SequenceType) else None


def _optional_types(op: Op) -> tuple[Type, ...] | None:
    value = op.operand(0)
    return None if value is None else (OptionalType(value.type),)


def _unwrapped_types(op: Op) -> tuple[Type, ...] | None:
    value = op.operand(0)
    if value is None:
        return None
    return (value.type.element if isinstance(value.type, OptionalType) else value.type,)


def _empty_types(op: Op) -> tuple[Type, ...] | None:
    return (SequenceType(TensorType(dtype_of(integer(op, "dtype", 1)), None)),)


def _references(op: Op) -> Lowering:
    """Tensors change hands; none is copied."""
    return view(op)


for _infer, _names in (
    (_construct_types, ("SequenceConstruct",)),
    (_element_types, ("SequenceAt",)),
    (_same_sequence, ("SequenceErase",)),
    (_longer_sequence, ("SequenceInsert",)),
    (lambda op: (TensorType(DType.I64, ()),), ("SequenceLength",)),
    (lambda op: (TensorType(DType.BOOL, ()),), ("OptionalHasElement",)),
    (_optional_types, ("Optional",)),
    (_unwrapped_types, ("OptionalGetElement",)),
    (_empty_types, ("SequenceEmpty",)),
):
    define(*(f"onnx.{name}" for name in _names), kind=Kind.VIEW, infer=_infer, any_type=True)(_references)


def _split_types(op: Op) -> tuple[Type, ...] | None:
    x, sizes = ranked(op, 0), axes_operand(op, "", 1, ())
    if x is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    extent = x[1][axis]
    if op.operand(1) is None:
        part: tuple[int, ...] = () if not integer(op, "keepdims", 1) else (1,)
    elif sizes and (len(set(sizes)) == 1) and (len(sizes) > 1 or (isinstance(extent, int) and extent % sizes[0] == 0)):
        part = sizes[:1]
    else:
        return (SequenceType(TensorType(x[0], (*x[1][:axis], UNKNOWN_DIM, *x[1][axis + 1 :]))),)
    return (SequenceType(TensorType(x[0], (*x[1][:axis], *part, *x[1][axis + 1 :]))),)


@define("onnx.SplitToSequence", kind=Kind.LAYOUT, infer=_split_types, any_type=True)
def split_to_sequence(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy of every part."""
    type_ = tensor(op, 0)
    if type_.elements is None:
        return (Unknown(f"shape of {op.operands[0]!r} is not known"),)
    moved = type_.bytes or 0
    return Lowering((Copy(type_.elements, type_.dtype),), {0: moved}, {0: moved})


@define("onnx.ConcatFromSequence", kind=Kind.LAYOUT, any_type=True)
def concat_from_sequence(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy of every part."""
    type_ = op.results[0].type
    if not isinstance(type_, TensorType) or not type_.static:
        return (Unknown(f"shape of {op.results[0].name!r} is not known"),)
    moved = type_.bytes or 0
    return Lowering((Copy(elements(op), type_.dtype),), {0: moved}, {0: moved})


@define("onnx.SequenceMap", kind=Kind.CONTROL, any_type=True)
def sequence_map(op: Op) -> Iterable[Primitive]:
    """The body once for each element of a sequence, whose length its type does not say."""
    return (Unknown(f"the number of elements that {op.label!r} maps is known only when it runs"),)


# -- strings: work that grows with their length, which types do not say ------------------------------------------------


@define(
    "onnx.StringConcat",
    "onnx.StringNormalizer",
    "onnx.StringSplit",
    "onnx.RegexFullMatch",
    kind=Kind.SCAN,
    any_type=True,
)
def strings(op: Op) -> Iterable[Primitive]:
    """A pass over the operand's strings: counted as one operation each."""
    return (Scan(op.base_name.lower(), tensor(op, 0).elements or 0, DType.STRING),)
