"""Sequences, optionals and strings: references that change hands, until a tensor is cut or joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..attributes import FOLD_LIMIT
from ..graph import Op, Value
from ..onnx_types import dtype_of
from ..primitives import Copy, Primitive, Scan, Unknown
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, OptionalType, SequenceType, TensorType, Type, UnknownType
from .reading import UNKNOWN_DIM, axes_operand, constant_integers, elements, integer, normal_axis, ranked, tensor, view

__all__ = ["common_type", "element_type", "sequence_length", "sequence_of"]


# -- types ------------------------------------------------------------------------------------------------------------


def common_type(types: Sequence[Type]) -> Type:
    """Return the type that values of all these types are of: dimensions in which they differ are open."""
    known = [type_ for type_ in types if not isinstance(type_, UnknownType)]
    if not known:
        return UnknownType()
    first = known[0]
    if all(other == first for other in known):
        return first
    if isinstance(first, SequenceType | OptionalType):
        inside = [type_.element if isinstance(type_, SequenceType | OptionalType) else type_ for type_ in known]
        return type(first)(common_type(inside))
    tensors = [type_ for type_ in known if isinstance(type_, TensorType)]
    if len(tensors) != len(known) or not isinstance(first, TensorType):
        return first
    shapes = [type_.shape for type_ in tensors if type_.shape is not None]
    if len(shapes) != len(known) or len({len(shape) for shape in shapes}) != 1:
        return TensorType(first.dtype, None)
    return TensorType(
        first.dtype, tuple(column[0] if len(set(column)) == 1 else UNKNOWN_DIM for column in zip(*shapes, strict=True))
    )


def sequence_of(types: Sequence[Type]) -> SequenceType:
    """Return the type of a sequence of values of these types."""
    return SequenceType(common_type(types))


def element_type(type_: Type) -> Type:
    """Return the type of a sequence's elements; that of any other value as it is."""
    return type_.element if isinstance(type_, SequenceType) else type_


# -- what is in a sequence, by the operations that make it -------------------------------------------------------------


def sequence_length(value: Value | None) -> int | None:
    """Return how many elements a sequence has; ``None`` where the operations that make it do not tell."""
    added = 0
    while value is not None:
        op, name = value.op, value.op.base_name
        if name in ("SequenceConstruct", "SequenceEmpty"):
            return added + len(op.operands)
        if name == "SplitToSequence":
            parts = _parts(op)
            return None if parts is None else added + len(parts)
        if name not in ("Identity", "SequenceMap", "SequenceInsert", "SequenceErase"):
            return None
        added += {"SequenceInsert": 1, "SequenceErase": -1}.get(name, 0)
        value = op.operand(0)
    return None


def _elements_of(value: Value | None) -> list[Type] | None:
    """The type of each element of a sequence, in order; ``None`` where the operations that make it do not tell."""
    changes: list[Op] = []
    while value is not None and value.op.base_name in ("SequenceInsert", "SequenceErase", "Identity"):
        changes.append(value.op)
        value = value.op.operand(0)
    if value is None or len(changes) > FOLD_LIMIT:
        return None
    types = _first_elements(value.op)
    for op in reversed(changes):
        if types is None:
            return None
        types = _changed(op, types)
    return types


def _first_elements(op: Op) -> list[Type] | None:
    if op.base_name in ("SequenceConstruct", "SequenceEmpty"):
        return [value.type for value in op.inputs]
    parts = _parts(op) if op.base_name == "SplitToSequence" else None
    x = ranked(op, 0)
    if parts is None or x is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    kept = op.operand(1) is not None or integer(op, "keepdims", 1)
    return [TensorType(x[0], (*x[1][:axis], *((part,) if kept else ()), *x[1][axis + 1 :])) for part in parts]


def _changed(op: Op, types: list[Type]) -> list[Type] | None:
    """The elements after one was inserted or erased, or the sequence handed on."""
    if op.base_name == "Identity":
        return types
    added, at = op.operand(1), 2 if op.base_name == "SequenceInsert" else 1
    place = constant_integers(op.operand(at)) if op.operand(at) is not None else (len(types) - (at == 1),)
    if not place or not -len(types) <= place[0] <= len(types) or (at == 2 and added is None):
        return None
    index = place[0] + len(types) if place[0] < 0 else place[0]
    return [*types[:index], *((added.type,) if at == 2 and added else ()), *types[index + (at == 1) :]]


def _parts(op: Op) -> tuple[int, ...] | None:
    """The extents of the parts that a SplitToSequence makes; ``None`` where they are not known or too many."""
    x, sizes = ranked(op, 0), axes_operand(op, "", 1, (1,))
    extent = x[1][normal_axis(integer(op, "axis", 0), len(x[1]))] if x else None
    if not isinstance(extent, int) or not sizes or not sizes[0] > 0:
        return None
    split = ranked(op, 1) if op.operand(1) is not None else None
    if split and split[1]:
        return sizes
    if extent > FOLD_LIMIT * sizes[0]:
        return None
    return (sizes[0],) * (extent // sizes[0]) + ((extent % sizes[0],) if extent % sizes[0] else ())


# -- sequences and optionals: references, until a tensor is cut or joined ----------------------------------------------


def _same_sequence(op: Op) -> tuple[Type, ...] | None:
    value = op.operand(0)
    return None if value is None else (value.type,)


def _longer_sequence(op: Op) -> tuple[Type, ...] | None:
    sequence, added = op.operand(0), op.operand(1)
    if sequence is None or added is None or not isinstance(sequence.type, SequenceType):
        return None
    if sequence_length(sequence) == 0:
        return (SequenceType(added.type),)
    return (sequence_of([sequence.type.element, added.type]),)


def _construct_types(op: Op) -> tuple[Type, ...] | None:
    types = [value.type for value in op.inputs]
    return (sequence_of(types),) if types else None


def _element_types(op: Op) -> tuple[Type, ...] | None:
    """The type of the very element, where a constant picks it and it is known what was put there."""
    value, place = op.operand(0), constant_integers(op.operand(1))
    if value is None or not isinstance(value.type, SequenceType):
        return None
    types = _elements_of(value) if place else None
    if place and types and -len(types) <= place[0] < len(types):
        return (types[place[0]],)
    return (value.type.element,)


def _optional_types(op: Op) -> tuple[Type, ...] | None:
    value, stated = op.operand(0), op.attributes.get("type")
    if value is not None:
        return (OptionalType(value.type),)
    return (OptionalType(stated),) if isinstance(stated, TensorType | SequenceType) else None


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
    x = ranked(op, 0)
    if x is None:
        return None
    types = _first_elements(op)
    if types:
        return (sequence_of(types),)
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    if op.operand(1) is None:
        part: tuple[Dim, ...] = (1,) if integer(op, "keepdims", 1) else ()
    else:
        part = (UNKNOWN_DIM,)
    return (SequenceType(TensorType(x[0], (*x[1][:axis], *part, *x[1][axis + 1 :]))),)


@define("onnx.SplitToSequence", kind=Kind.LAYOUT, infer=_split_types, any_type=True)
def split_to_sequence(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy of every part."""
    type_ = tensor(op, 0)
    if type_.elements is None:
        return (Unknown(f"shape of {op.operands[0]!r} is not known"),)
    moved = type_.bytes or 0
    return Lowering((Copy(type_.elements, type_.dtype),), {0: moved}, {0: moved})


def _concat_types(op: Op) -> tuple[Type, ...] | None:
    """Elements side by side along ``axis``, or stacked along a new one (ONNX ConcatFromSequence-11)."""
    value, new = op.operand(0), integer(op, "new_axis", 0)
    element = value.type.element if value is not None and isinstance(value.type, SequenceType) else None
    if not isinstance(element, TensorType) or element.shape is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(element.shape) + new)
    length, types = sequence_length(value), _elements_of(value)
    if new:
        joined: Dim = UNKNOWN_DIM if length is None else length
    else:
        extents = [
            type_.shape[axis] if isinstance(type_, TensorType) and type_.shape else None for type_ in types or ()
        ]
        known = [extent for extent in extents if isinstance(extent, int)]
        joined = sum(known) if types and len(known) == len(types) else UNKNOWN_DIM
    return (TensorType(element.dtype, (*element.shape[:axis], joined, *element.shape[axis + 1 - new :])),)


@define("onnx.ConcatFromSequence", kind=Kind.LAYOUT, infer=_concat_types, any_type=True)
def concat_from_sequence(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy of every part."""
    type_ = op.results[0].type
    if not isinstance(type_, TensorType) or not type_.static:
        return (Unknown(f"shape of {op.results[0].name!r} is not known"),)
    moved = type_.bytes or 0
    return Lowering((Copy(elements(op), type_.dtype),), {0: moved}, {0: moved})


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
