"""What a runtime does to quantised graphs before it forms kernels.

Values are quantised and dequantised around operators (QDQ). A QuantizeLinear or DequantizeLinear is told by its name;
its scale and zero point are operands 1 and 2. Source of the behaviour: onnxruntime ``core/optimizer/qdq_transformer``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ..ir import CONSTANT, INPUT, OUTPUT, Attribute, Dense, DType, Graph, Op, TensorType, Type, Value

__all__ = [
    "DEQUANTIZE",
    "QUANTIZE",
    "concatenate_integers",
    "drop_requantization",
    "make_unsigned",
    "own_dequantization",
    "propagate_quantization",
    "quantize_around_transposes",
    "quantize_weights",
    "run_on_integers",
    "same_numbers",
]

QUANTIZE = frozenset({"onnx.QuantizeLinear", "com.microsoft.QuantizeLinear"})
DEQUANTIZE = frozenset({"onnx.DequantizeLinear", "com.microsoft.DequantizeLinear"})
_SIGNED_TO_UNSIGNED = 128


def _conversions(graph: Graph, names: Collection[str]) -> Iterator[tuple[Op, Value, TensorType]]:
    """Quantisations or dequantisations that are well formed: what each reads, and its result's type."""
    for op in graph.body:
        source = op.operand(0) if op in graph and op.name in names and len(op.results) == 1 else None
        if source is not None and isinstance(source.type, TensorType) and isinstance(op.results[0].type, TensorType):
            yield op, source, op.results[0].type


def own_dequantization(graph: Graph) -> int:
    """Give every reader of a dequantised value a dequantisation of its own; return how many were added."""
    added = 0
    for op, _, _ in _conversions(graph, DEQUANTIZE):
        uses = graph.uses(op.result)
        kept = 0 if any(user.name == OUTPUT for user, _ in uses) else 1
        for user, index in [use for use in uses if use[0].name != OUTPUT][kept:]:
            result = (f"{op.result.name}/duplicated", op.result.type)
            twin = graph.add(op.name, op.operands, [result], op.attributes, loc=op.loc, before=user)
            graph.set_operand(user, index, twin.result)
            added += 1
    return added


def make_unsigned(graph: Graph) -> int:
    """Make signed 8-bit values unsigned that are quantised and dequantised once; return how many.

    The zero point moves along by 128, so both mean the same numbers.
    """
    made = 0
    for op, _, type_ in _conversions(graph, QUANTIZE):
        reader = _only_reader(graph, op)
        if type_.dtype is not DType.I8 or reader is None or reader.name not in DEQUANTIZE:
            continue
        zero, other = _number(op.operand(2)), _number(reader.operand(2))
        if zero is None or zero != other:
            continue
        dense = Dense.of(DType.UI8, (), (int(zero) + _SIGNED_TO_UNSIGNED,))
        result = (f"{op.result.name}.zero", dense.type)
        constant = graph.add(CONSTANT, [], [result], {"value": dense}, loc=op.loc, before=op).result
        graph.set_operand(op, 2, constant)
        graph.set_operand(reader, 2, constant)
        graph.retype(op.result, TensorType(DType.UI8, type_.shape))
        made += 1
    return made


def quantize_weights(graph: Graph, names: Collection[str]) -> int:
    """Quantise the float weights of operators that are quantised before and behind; return how many there were.

    ``names`` are those operators: their operand 0 is dequantised with one scale, and what they return is quantised,
    behind a Relu or Clip perhaps. The weight, operand 1, becomes 8-bit integers, a bias 32-bit ones.
    """
    done = 0
    for op in graph.body:
        source = op.operand(0) if op.name in names and len(op.results) == 1 else None
        if source is None or source.op.name not in DEQUANTIZE or _number(source.op.operand(1)) is None:
            continue
        reader = _only_reader(graph, op)
        while reader is not None and reader.base_name in ("Relu", "Clip"):
            reader = _only_reader(graph, reader)
        if reader is None or reader.name not in QUANTIZE:
            continue
        weight = op.operand(1)
        if weight is None or not (_is_float_constant(weight) or weight.op.name in DEQUANTIZE):
            continue
        for index, dtype in ((1, DType.I8), (2, DType.I32)):
            value = op.operand(index)
            if value is not None and _is_float_constant(value):
                graph.set_operand(op, index, _dequantized_constant(graph, value, dtype, op))
                done += index == 1
    return done


def _is_float_constant(value: Value) -> bool:
    dtype = _dtype(value)
    return value.is_constant and dtype is not None and dtype.is_float


def _dequantized_constant(graph: Graph, value: Value, dtype: DType, before: Op) -> Value:
    """The integers that a constant is quantised to, dequantised; which numbers they are nobody asks."""
    assert isinstance(value.type, TensorType)
    type_, loc = TensorType(dtype, value.type.shape), value.op.loc
    integers = graph.add(CONSTANT, [], [(f"{value.name}.quantized", type_)], loc=loc, before=before).result
    scale_type = TensorType(value.type.dtype, ())
    scale = graph.add(CONSTANT, [], [(f"{value.name}.scale", scale_type)], loc=loc, before=before).result
    result = (f"{value.name}.dequantized", value.type)
    return graph.add("onnx.DequantizeLinear", [integers, scale], [result], loc=loc, before=before).result


def propagate_quantization(graph: Graph, names: Collection[str]) -> int:
    """Quantise and dequantise again behind and before operators that only move elements; return how often.

    ``names`` are those operators. A value dequantised before one of them is quantised again behind it, and one that is
    quantised behind it also before it, so that the operator can run on integers.
    """
    done = 0
    for op, _, _ in _conversions(graph, DEQUANTIZE):
        if _constant_scalars(op):
            done += _propagate_forward(graph, op, names)
    for op, source, _ in _conversions(graph, QUANTIZE):
        if _constant_scalars(op):
            done += _propagate_backward(graph, op, source, names)
    return done


def _propagate_forward(graph: Graph, dequantize: Op, names: Collection[str]) -> int:
    done, todo = 0, [dequantize]
    while todo:
        mover = _only_reader(graph, todo.pop())
        if mover is None or mover.name not in names or mover.operand(0) is None or len(mover.results) != 1:
            continue
        uses = [use for use in graph.uses(mover.result) if use[0].name not in QUANTIZE]
        if not uses or any(user.name == OUTPUT for user, _ in uses):
            continue
        quantized = _quantize_like(graph, mover.result, dequantize, uses[0][0])
        for user, index in uses:
            again = _dequantize_like(graph, quantized, mover.result.type, dequantize, user)
            graph.set_operand(user, index, again.result)
            todo.append(again)
        done += 1
    return done


def _propagate_backward(graph: Graph, quantize: Op, value: Value, names: Collection[str]) -> int:
    done, mover = 0, value.op
    while mover.name in names and _only_reader(graph, mover) is not None:
        source = mover.operand(0)
        if source is None or not isinstance(source.type, TensorType) or not _stands_alone(graph, source):
            break
        quantized = _quantize_like(graph, source, quantize, mover)
        again = _dequantize_like(graph, quantized, source.type, quantize, mover)
        graph.set_operand(mover, 0, again.result)
        done, mover = done + 1, source.op
    return done


def _quantize_like(graph: Graph, value: Value, like: Op, before: Op) -> Value:
    """``value`` quantised with the scale and zero point of ``like``."""
    integers = like.operand(0) if like.name in DEQUANTIZE else like.result
    assert integers is not None and isinstance(integers.type, TensorType) and isinstance(value.type, TensorType)
    type_ = TensorType(integers.type.dtype, value.type.shape)
    name = like.name.replace("Dequantize", "Quantize")
    parameters = like.operands[1:]
    result = (f"{value.name}.quantized", type_)
    return graph.add(name, [value, *parameters], [result], loc=value.op.loc, before=before).result


def _dequantize_like(graph: Graph, value: Value, type_: Type, like: Op, before: Op) -> Op:
    name = like.name.replace(".Quantize", ".Dequantize")
    result = (f"{value.name}.dequantized", type_)
    return graph.add(name, [value, *like.operands[1:]], [result], loc=before.loc, before=before)


def quantize_around_transposes(graph: Graph) -> int:
    """Give transposes that stand beside one conversion the other one on their far side as well; return how many.

    A transpose of a dequantised value that no quantisation reads is quantised and dequantised again behind it, so that
    it moves integers; the same before a transpose that a quantisation reads.
    """
    done = 0
    for op in graph.body:
        source = op.operand(0) if op.name == "onnx.Transpose" else None
        behind = _only_reader(graph, op)
        if source is None or not isinstance(source.type, TensorType) or behind is None:
            continue
        before = source.op
        if before.name in DEQUANTIZE and behind.name not in QUANTIZE and _constant_scalars(before):
            ((_, index),) = graph.uses(op.result)
            quantized = _quantize_like(graph, op.result, before, behind)
            again = _dequantize_like(graph, quantized, op.result.type, before, behind)
            graph.set_operand(behind, index, again.result)
            done += 1
        elif behind.name in QUANTIZE and _constant_scalars(behind) and _made_for_one(graph, source):
            quantized = _quantize_like(graph, source, behind, op)
            graph.set_operand(op, 0, _dequantize_like(graph, quantized, source.type, behind, op).result)
            done += 1
    return done


def _stands_alone(graph: Graph, value: Value) -> bool:
    """Whether one operation alone reads it, and no dequantisation makes it."""
    return not value.is_constant and value.op.name not in DEQUANTIZE and len(graph.uses(value)) == 1


def _made_for_one(graph: Graph, value: Value) -> bool:
    return value.op.name != INPUT and _stands_alone(graph, value)


# -- operators on integers --------------------------------------------------------------------------------------------


def run_on_integers(
    graph: Graph, names: Collection[str], bits: Collection[int], having: Mapping[str, Attribute]
) -> int:
    """Run operators that only move or compare elements on the integers that their operand was dequantised from.

    ``names`` are those operators, ``bits`` the widths that they take, ``having`` attributes that may not be others.
    What they return must be quantised to the very same scale, zero point and type; both conversions go.
    """
    done = 0
    for op in graph.body:
        source = op.operand(0) if op.name in names and op.results else None
        if any(op.attributes.get(name, wanted) != wanted for name, wanted in having.items()):
            continue
        dequantize = source.op if source is not None else None
        if dequantize is None or dequantize.name not in DEQUANTIZE or _only_reader(graph, dequantize) is None:
            continue
        quantizes = [_only_reader_of(graph, value) for value in op.results]
        if all(quantize is not None and _inverse(quantize, dequantize) for quantize in quantizes):
            integers = dequantize.operand(0)
            if integers is not None and _width(integers) in bits:
                _convert(graph, op, integers, [quantize for quantize in quantizes if quantize is not None])
                graph.erase(dequantize)
                done += 1
    return done


def _convert(graph: Graph, op: Op, integers: Value, quantizes: list[Op]) -> None:
    graph.set_operand(op, 0, integers)
    for value, quantize in zip(op.results, quantizes, strict=True):
        name = quantize.result.name
        graph.retype(value, quantize.result.type)
        graph.replace(quantize, [value])
        graph.rename(value, name)


def concatenate_integers(graph: Graph, operator: str) -> int:
    """Concatenate integers where every part is dequantised before and the whole quantised behind, all to one type.

    ``operator`` is what does it: its operands are the whole's scale and zero point, then each part with its own.
    """
    done = 0
    for op in graph.body:
        quantize = _only_reader(graph, op) if op.name == "onnx.Concat" else None
        if quantize is None or quantize.name not in QUANTIZE:
            continue
        parts = [value.op for value in op.inputs]
        integers = [part.operand(0) for part in parts if part.name in DEQUANTIZE and _only_reader(graph, part)]
        if len(integers) < len(parts) or any(_dtype(value) is not _dtype(quantize.result) for value in integers):
            continue
        if _width(quantize.result) != 8:
            continue
        operands = [*_parameters(quantize)]
        for part in parts:
            operands.extend((part.operand(0), *_parameters(part)))
        name, type_ = quantize.result.name, quantize.result.type
        made = graph.add(operator, operands, [(name, type_)], op.attributes, loc=op.loc, before=op)
        graph.replace(quantize, [made.result])
        graph.rename(made.result, name)
        for gone in (op, *parts):
            graph.erase(gone)
        done += 1
    return done


def drop_requantization(graph: Graph) -> int:
    """Drop a dequantisation whose only reader quantises to the same integers again, both of them; return how many."""
    done = 0
    for op in graph.body:
        quantize = _only_reader(graph, op) if op in graph and op.name in DEQUANTIZE else None
        source = op.operand(0) if quantize is not None else None
        if quantize is not None and source is not None and quantize.name in QUANTIZE and _inverse(quantize, op):
            graph.replace(quantize, [source])
            graph.erase(op)
            done += 1
    return done


# -- what they are asked ----------------------------------------------------------------------------------------------


def _only_reader(graph: Graph, op: Op) -> Op | None:
    """The operation that alone reads the only result of ``op``."""
    return _only_reader_of(graph, op.results[0]) if len(op.results) == 1 else None


def _only_reader_of(graph: Graph, value: Value) -> Op | None:
    uses = graph.uses(value)
    return uses[0][0] if len(uses) == 1 and uses[0][0].name != OUTPUT else None


def _inverse(quantize: Op, dequantize: Op) -> bool:
    """Whether a quantisation undoes a dequantisation: one constant scale and zero point, written out, and one type."""
    integers = dequantize.operand(0)
    return (
        quantize.name in QUANTIZE
        and integers is not None
        and _dtype(integers) is _dtype(quantize.result)
        and all(_same_scalar(quantize.operand(index), dequantize.operand(index)) for index in (1, 2))
    )


def _same_scalar(one: Value | None, other: Value | None) -> bool:
    number = _number(one)
    return number is not None and number == _number(other)


def same_numbers(one: Value | None, other: Value | None) -> bool:
    """Whether two values are constants of the same elements."""
    if one is None or other is None or one.constant is None or other.constant is None:
        return False
    return one is other or one.constant.values == other.constant.values


def _number(value: Value | None) -> float | int | None:
    dense = value.constant if value is not None else None
    if dense is None or len(dense.values) != 1 or not isinstance(dense.values[0], (int, float)):
        return None
    return dense.values[0]


def _constant_scalars(op: Op) -> bool:
    return all(_number(value) is not None for value in op.operands[1:] if value is not None)


def _parameters(op: Op) -> tuple[Value | None, Value | None]:
    return op.operand(1), op.operand(2)


def _dtype(value: Value | None) -> DType | None:
    return value.type.dtype if value is not None and isinstance(value.type, TensorType) else None


def _width(value: Value) -> int:
    dtype = _dtype(value)
    return dtype.bits if dtype is not None else 0
