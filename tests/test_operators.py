"""The operator registry against onnx itself: its list of operators, its inference, the outputs of its backend suite."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graphs.frontends.onnx import load_onnx
from graphs.ir import (
    CONSTANT,
    INPUT,
    Dense,
    DType,
    Expression,
    Graph,
    Kind,
    Lowering,
    Op,
    Symbol,
    TensorType,
    Type,
    definition,
    definitions,
    infer_types,
    lowering,
)
from graphs.ir.inequalities import largest
from graphs.ir.onnx_types import dtype_of, infer_with_onnx, number_of, type_from_proto, type_to_proto
from graphs.ir.ops.reading import ratio
from graphs.ir.primitives import Gemm, Unknown

OLDEST_OPSET = 7

DATA_DEPENDENT = {"onnx.NonZero", "onnx.Compress", "onnx.Unique", "onnx.NonMaxSuppression"}
"""Operators whose result's shape follows from elements that are no shape arithmetic."""

OPEN_TYPES = DATA_DEPENDENT | {
    "onnx.ImageDecoder",
    "onnx.StringSplit",
    "onnx.StringNormalizer",
    "onnx.Loop",
    "onnx.If",
    "onnx.SequenceMap",
}

UNCOUNTED = {
    "ai.onnx.preview.FlexAttention": "shape of",
}
"""Operators that may lower to Unknown, and the reason that they give."""

NO_TENSOR_SEMANTICS = {
    "ai.onnx.ml.CastMap",
    "ai.onnx.ml.DictVectorizer",
    "ai.onnx.ml.ZipMap",
    "tfl.CUSTOM",
    "tfl.DELEGATE",
    "tfl.HASHTABLE_FIND",
    "tfl.HASHTABLE_IMPORT",
    "tfl.PLACEHOLDER_FOR_GREATER_OP_CODES",
    "tfl.SKIP_GRAM",
    "tfl.STABLEHLO_CUSTOM_CALL",
}
"""Maps, tables and text, and what a file only names."""
COMPILED = {"com.microsoft.EPContext", "com.microsoft.Snpe"}
"""A network for one device, as one operator."""


# -- the backend suite's one-operator models ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    proto: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]

    @property
    def opset(self) -> int:
        return next((entry.version for entry in self.proto.opset_import if not entry.domain), 1)

    @property
    def arrays(self) -> dict[str, Any]:
        weights = {tensor.name for tensor in self.proto.graph.initializer}
        names = [info.name for info in self.proto.graph.input if info.name not in weights]
        return dict(zip(names, self.inputs, strict=False))

    def op(self) -> Op:
        """The operation, its small integer operands made constants and its result types open."""
        graph = load_onnx(self.proto)
        arrays = self.arrays
        for source in graph.inputs:
            name, array = source.result.name, arrays.get(source.result.name)
            if isinstance(array, np.ndarray) and _steers_shapes(array):
                dense = Dense.of(_dtype(array), array.shape, array.reshape(-1).tolist())
                constant = graph.add(CONSTANT, [], [(name, dense.type)], {"value": dense}, before=source).result
                graph.replace(source, [constant])
                graph.rename(constant, name)
        (op,) = graph.body
        return op


def _steers_shapes(array: np.ndarray) -> bool:
    """Integers, and the few floats that Resize and its kin take: what a model holds as constants."""
    if array.dtype.kind in "iub" and array.dtype.itemsize <= 8:
        return array.size <= 64 and array.dtype.name in ("int64", "int32", "int16", "uint8", "bool")
    return array.dtype.name in ("float32", "float16", "bfloat16") and array.ndim <= 1 and 0 < array.size <= 8


def _dtype(array: np.ndarray) -> DType:
    if array.dtype.kind in "OUS":
        return DType.STRING
    return dtype_of(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _collect() -> dict[str, list[Case]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    cases: dict[str, list[Case]] = defaultdict(list)
    for case in found:
        nodes = case.model.graph.node
        version = next((entry.version for entry in case.model.opset_import if not entry.domain), OLDEST_OPSET)
        if len(nodes) == 1 and not case.model.functions and version >= OLDEST_OPSET:
            name = f"{nodes[0].domain or 'onnx'}.{nodes[0].op_type}"
            inputs, outputs = ([_readable(item) for item in items] for items in case.data_sets[0])
            cases[name].append(Case(case.name, case.model, inputs, outputs))
    del cases["onnx.Constant"]  # the frontend makes these constants
    return dict(cases)


def _readable(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return onnx.numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


CASES = _collect()
every_operator = pytest.mark.parametrize("name", sorted(CASES))


def _actual(output: Any) -> TensorType | None:
    """The type of an expected output; sequences and optionals have none here."""
    if isinstance(output, (list, tuple)) or output is None:
        return None
    array = np.asarray(output)
    return TensorType(_dtype(array), array.shape)


def _settle(op: Op, outputs: Sequence[Any]) -> None:
    """Give results the types of the expected outputs, and omitted ones what inference says."""
    named = [value for value in op.results if not value.name.endswith(tuple(f".{i}" for i in range(9)))]
    inferred = infer_types(op) or infer_with_onnx(op)
    for value, type_ in zip(op.results, inferred or (), strict=False):
        value.type = type_
    for value, output in zip(named, outputs, strict=False):
        value.type = _actual(output) or value.type


# -- completeness ------------------------------------------------------------------------------------------------------


def test_the_suite_is_there() -> None:
    assert sum(map(len, CASES.values())) > 1200
    assert len(CASES) > 190


@pytest.mark.parametrize(
    ("domain", "prefix"),
    [("", "onnx"), *((name, name) for name in ("ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training"))],
)
def test_every_onnx_operator_has_an_entry(domain: str, prefix: str) -> None:
    schemas = onnx.defs.get_all_schemas_with_history()  # those that newer opsets no longer have, too
    known = {f"{prefix}.{schema.name}" for schema in schemas if schema.domain == domain}
    assert known
    assert known - definitions().keys() == set()


@pytest.mark.parametrize("name", sorted(definitions()))
def test_every_entry_says_what_it_is(name: str) -> None:
    entry = definition(name)
    assert entry is not None
    assert entry.name == name
    assert isinstance(entry.kind, Kind)
    assert len(entry.doc) > 5
    assert (entry.lower is None) == (name in NO_TENSOR_SEMANTICS | COMPILED)


# -- result types ------------------------------------------------------------------------------------------------------


def _disagreement(inferred: Type, actual: TensorType, symbols_allowed: bool) -> str:
    if not isinstance(inferred, TensorType) or inferred.dtype is not actual.dtype:
        return f"{inferred} is not {actual}"
    if inferred.shape is None:
        return "" if symbols_allowed else f"the shape is open, {actual} expected"
    if len(inferred.shape) != len(actual.dims):
        return f"{inferred} is not {actual}"
    for mine, theirs in zip(inferred.shape, actual.dims, strict=True):
        if isinstance(mine, int) and mine != theirs:
            return f"{inferred} is not {actual}"
        if isinstance(mine, Expression):
            if not symbols_allowed:
                return f"{inferred} leaves open what is {actual}"
            if not _possible(mine, theirs):
                return f"{inferred} says something else than {actual}"
    return ""


_NAMED = {f"s{extent}": extent for extent in range(4096)}


def _possible(dim: Expression, actual: int) -> bool:
    """Whether an extent fits an expression of symbols that are called after their values, and of bounded ones."""
    bound = dim.substitute(_NAMED)
    if isinstance(bound, Symbol) and bound.upper is not None:
        return isinstance(bound.upper, int) and bound.lower <= actual <= bound.upper
    return bound == actual or (isinstance(bound, Expression) and not bound.known) or isinstance(bound, Symbol)


def _faults(types: Sequence[Type], op: Op, outputs: Sequence[Any], symbols_allowed: bool) -> Iterator[str]:
    named = [(v, t) for v, t in zip(op.results, types, strict=True) if not v.name.endswith((".0", ".1", ".2", ".3"))]
    for (_, type_), output in zip(named, outputs, strict=False):
        actual = _actual(output)
        if actual is not None and (fault := _disagreement(type_, actual, symbols_allowed)):
            yield fault


@every_operator
def test_inferred_types_are_those_of_the_outputs(name: str) -> None:
    faults = []
    for case in CASES[name]:
        op = case.op()
        mine = infer_types(op)
        theirs = infer_with_onnx(op, case.opset)
        if mine is None and theirs is None:
            assert op.regions or name in OPEN_TYPES or name.startswith("ai."), f"{case.name}: no types at all"
            continue
        open_ = name in OPEN_TYPES
        # Ours may leave to onnx what is rare (Resize keeping aspects); what either says must be right.
        own = list(_faults(mine, op, case.outputs, open_ or theirs is not None)) if mine is not None else []
        best = _best(mine, theirs)
        faults += [f"{case.name}: {fault}" for fault in own + list(_faults(best, op, case.outputs, open_))]
    assert faults == []


def _best(mine: Sequence[Type] | None, theirs: Sequence[Type] | None) -> Sequence[Type]:
    """Our result types, and onnx's where ours are open: what the ``shape`` pass makes of them."""
    if mine is None or theirs is None:
        return mine or theirs or ()
    return [b if isinstance(a, TensorType) and not a.static else a for a, b in zip(mine, theirs, strict=True)]


@every_operator
def test_symbols_are_never_bound_wrongly(name: str) -> None:
    """Each extent n of the operands becomes a symbol ``sn``: a result's extent is then an expression of value n."""
    faults = []
    for case in CASES[name]:
        op = case.op()
        for value in op.inputs:
            if value.op.name == INPUT and isinstance(value.type, TensorType) and value.type.static:
                dims = (Symbol(f"s{dim}") if dim > 1 else dim for dim in value.type.dims)
                value.type = TensorType(value.type.dtype, tuple(dims))
        types = infer_types(op)
        faults += [f"{case.name}: {fault}" for fault in _faults(types, op, case.outputs, True)] if types else []
    assert faults == []


@pytest.mark.parametrize("name", ["Add", "Relu", "MatMul", "Concat", "Transpose", "Softmax", "LayerNormalization"])
def test_symbols_survive(name: str) -> None:
    batch = Symbol("batch")
    shapes = {"MatMul": [(batch, 4, 8), (8, 3)], "LayerNormalization": [(batch, 4), (4,)]}
    expected = {"MatMul": (batch, 4, 3), "Concat": (batch, 8), "Transpose": (4, batch)}
    op = _op(f"onnx.{name}", shapes.get(name, [(batch, 4), (batch, 4)])[: 1 if name in ("Relu", "Transpose") else 2])
    types = infer_types(op)
    assert types is not None and types[0] == TensorType(DType.F32, expected.get(name, (batch, 4)))


def test_different_symbols_broadcast_to_the_larger() -> None:
    op = _op("onnx.Add", [(Symbol("n"), 1), (Symbol("m"), 4)])
    assert infer_types(op) == (TensorType(DType.F32, (largest(Symbol("n"), Symbol("m")), 4)),)


def test_unknown_dimensions_do_not_cancel() -> None:
    assert ratio((Symbol("n"), 6), (Symbol("n"), 2)) == 3
    assert ratio((Symbol("?"), 6), (Symbol("?"), 2)) == Symbol("?")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((0, -1), (Symbol("n"), 24)),
        ((-1, 24), (Symbol("n"), 24)),
        ((-1, 12), (2 * Symbol("n"), 12)),
        ((0, 4, 6), (Symbol("n"), 4, 6)),
    ],
)
def test_reshape_of_a_symbolic_batch(wanted: tuple[int, ...], expected: tuple[Any, ...]) -> None:
    op = _op("onnx.Reshape", [(Symbol("n"), 4, 6)], constants=[wanted])
    assert infer_types(op) == (TensorType(DType.F32, expected),)


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.UNKNOWN])
def test_types_survive_protobuf(dtype: DType) -> None:
    assert dtype_of(number_of(dtype)) is dtype
    assert onnx.TensorProto.DataType.Name(number_of(dtype))
    for shape in (None, (), (2, Symbol("n"), Symbol("?"))):
        proto = type_to_proto(TensorType(dtype, shape))
        assert proto is not None
        assert type_from_proto(proto) == TensorType(dtype, shape)


def test_every_onnx_element_type_is_known() -> None:
    numbers = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
    assert {number for number in numbers if dtype_of(number) is DType.UNKNOWN} == set()


# -- lowering ----------------------------------------------------------------------------------------------------------


@every_operator
def test_every_case_is_counted(name: str) -> None:
    for case in CASES[name]:
        op = case.op()
        _settle(op, case.outputs)
        lowered = lowering(op)
        unknown = [primitive.reason for primitive in lowered.primitives if isinstance(primitive, Unknown)]
        if name in UNCOUNTED:
            assert all(UNCOUNTED[name] in reason or "is not known" in reason for reason in unknown), case.name
            continue
        assert unknown == [], case.name
        assert all(primitive.macs >= 0 and primitive.ops >= 0 for primitive in lowered.primitives), case.name
        _check_bytes(op, lowered, case.name)


def _check_bytes(op: Op, lowered: Lowering, where: str) -> None:
    """Nothing reads more of an operand, or writes more of a result, than there is."""
    for index, count in (*lowered.reads.items(),):
        value = op.operand(index)
        limit = value.bytes if value is not None else None
        assert count >= 0 and (limit is None or count <= limit or op.base_name in ("Gather", "GatherND", "Slice")), (
            where
        )
    for index, count in lowered.writes.items():
        limit = op.results[index].bytes
        assert count >= 0 and (limit is None or count <= limit), where


@pytest.mark.parametrize(
    "name", ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Size", "BitCast"]
)
def test_views_cost_nothing(name: str) -> None:
    for case in CASES[f"onnx.{name}"]:
        if "training" in case.name:
            continue
        op = case.op()
        _settle(op, case.outputs)
        lowered = lowering(op)
        assert lowered.primitives == (), case.name
        assert all(lowered.reads[index] == 0 for index, value in enumerate(op.operands) if value), case.name


def test_an_embedding_reads_its_rows_and_not_the_table() -> None:
    op = _op("onnx.Gather", [(50_000, 768), (2, 7)], [(2, 7, 768)], dtypes=[DType.F32, DType.I64])
    assert lowering(op).reads == {0: 2 * 7 * 768 * 4}


def test_a_slice_reads_what_it_keeps() -> None:
    op = _op("onnx.Slice", [(1000, 64)], [(10, 64)], constants=[(0,), (10,), (0,)])
    assert lowering(op).reads == {0: 10 * 64 * 4}


def test_an_operation_that_does_not_fit_is_unknown_with_a_reason() -> None:
    op = _op("onnx.Transpose", [(2, 3)], [(3, 2)], {"perm": (0, 5)})
    (primitive,) = lowering(op).primitives
    assert isinstance(primitive, Unknown)
    assert "no permutation" in primitive.reason
    assert infer_types(op) is None
    assert infer_types(_op("onnx.Unsqueeze", [(2,)], attributes={"axes": (0, 0)})) is None
    assert infer_types(_op("onnx.Reshape", [(2,)], constants=[(-5,)])) is None


@pytest.mark.parametrize(
    ("name", "shapes", "most"),
    [("NonZero", [(4, 5)], 4 * 5 * 2 * 8), ("Unique", [(4, 5)], 4 * 5 * 4), ("Compress", [(4, 5), (20,)], 4 * 5 * 4)],
)
def test_a_data_dependent_result_is_counted_at_its_largest(name: str, shapes: list[tuple[int, ...]], most: int) -> None:
    op = _op(f"onnx.{name}", shapes, [(Symbol("?"),)])
    lowered = lowering(op)
    assert not any(isinstance(primitive, Unknown) for primitive in lowered.primitives)
    assert lowered.writes == {0: most}


ATTRIBUTES = (
    "axis",
    "axes",
    "kernel_shape",
    "strides",
    "pads",
    "group",
    "perm",
    "blocksize",
    "num_heads",
    "k",
    "equation",
)

operand_types = st.builds(
    TensorType,
    st.sampled_from([DType.F32, DType.I64, DType.UI8, DType.STRING]),
    st.lists(st.sampled_from([0, 1, 2, 3, 2**40, Symbol("n"), Symbol("?")]), max_size=5).map(tuple),
)
attribute_values = st.one_of(
    st.integers(-3, 3), st.lists(st.integers(-3, 3), max_size=4).map(tuple), st.sampled_from(["ab,bc->ac", "x", 0.5])
)


@pytest.mark.parametrize("name", sorted(definitions()))
def test_no_operation_however_wrong_raises(name: str) -> None:
    # Made anew for each operator: hypothesis chains the settings of one function's runs, a thousand deep at most.
    @given(
        types=st.lists(st.one_of(operand_types, st.none()), max_size=7),
        results=st.lists(operand_types, min_size=1, max_size=3),
        attributes=st.dictionaries(st.sampled_from(ATTRIBUTES), attribute_values, max_size=4),
    )
    @settings(max_examples=6, deadline=None)
    def holds(types: list[TensorType | None], results: list[TensorType], attributes: dict[str, Any]) -> None:
        graph = Graph()
        operands = [None if t is None else graph.add(INPUT, [], [(f"x{i}", t)]).result for i, t in enumerate(types)]
        op = graph.add(name, operands, [(f"y{i}", type_) for i, type_ in enumerate(results)], attributes)
        inferred = infer_types(op)
        assert inferred is None or len(inferred) == len(results) or len(results) > 1
        assert isinstance(lowering(op), Lowering)

    holds()


# -- evaluation --------------------------------------------------------------------------------------------------------

EVALUATED = sorted(name for name in CASES if (entry := definition(name)) is not None and entry.evaluate is not None)


@pytest.mark.parametrize("name", EVALUATED)
def test_evaluation_gives_the_outputs(name: str) -> None:
    entry = definition(name)
    assert entry is not None and entry.evaluate is not None
    evaluated = 0
    for case in CASES[name]:
        op = case.op()
        _settle(op, case.outputs)
        arrays = [_array(case, value) for value in op.operands]
        if any(array is None and value is not None for array, value in zip(arrays, op.operands, strict=True)):
            continue
        outcome = entry.evaluate(op, *arrays)
        if outcome is None:
            continue
        evaluated += 1
        results = outcome if isinstance(outcome, tuple) else (outcome,)
        for mine, theirs in zip(results, case.outputs, strict=True):
            assert mine.shape == theirs.shape, case.name
            assert mine.dtype == theirs.dtype or mine.dtype.kind == "b", case.name
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, err_msg=case.name)
    assert evaluated > 0


def _array(case: Case, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    array = case.arrays.get(value.name)
    return array if isinstance(array, np.ndarray) and array.dtype.kind in "iufb" else None


@pytest.mark.parametrize(
    ("name", "operands", "attributes"),
    [
        ("Range", (np.array(0), np.array(10**9), np.array(1)), {}),
        ("ConstantOfShape", (np.array([10**6, 10**6]),), {}),
        ("Tile", (np.zeros(4), np.array([10**9])), {}),
        ("Expand", (np.zeros(1), np.array([10**5, 10**5])), {}),
        ("OneHot", (np.zeros(0, dtype="int64"), np.array(10**12), np.array([0, 1])), {}),
        ("Pad", (np.zeros(4), np.array([0, 10**9])), {"pads": (0, 10**9)}),
    ],
)
def test_evaluation_refuses_to_allocate(name: str, operands: tuple[Any, ...], attributes: dict[str, Any]) -> None:
    entry = definition(f"onnx.{name}")
    assert entry is not None and entry.evaluate is not None
    assert entry.evaluate(_op(f"onnx.{name}", [], attributes=attributes), *operands) is None


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("Div", [7, -7, 7, -7], [2, 2, -2, -2], [3, -3, -3, 3]),
        ("Mod", [7, -7], [3, 3], [1, 2]),
        ("Pow", [3, 2], [39, 62], [3**39, 2**62]),
        ("Add", [Symbol("n"), Symbol("n")], [0, 1], [Symbol("n"), Symbol("n") + 1]),
        ("Mul", [Symbol("n"), 3], [1, 4], [Symbol("n"), 12]),
        ("Equal", [Symbol("n"), 4], [-1, 4], [False, True]),
    ],
)
def test_integer_arithmetic(name: str, a: list[Any], b: list[Any], expected: list[Any]) -> None:
    entry = definition(f"onnx.{name}")
    assert entry is not None and entry.evaluate is not None
    kind: Any = object if any(isinstance(item, Symbol) for item in (*a, *b)) else "int64"
    op = _op(f"onnx.{name}", [(2,), (2,)], dtypes=[DType.I64, DType.I64])
    result = entry.evaluate(op, np.array(a, dtype=kind), np.array(b, dtype=kind))
    assert result.tolist() == expected


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (-1, -(2**63), -1, [4, 3, 2, 1, 0]),
        (3, 0, -2, [3, 1]),
        (-2, 2**63 - 1, 1, [3, 4]),
        (9, 10, 1, []),
        (-10, -20, -1, [0]),
    ],
)
def test_slices_evaluate_and_infer_alike(start: int, end: int, step: int, expected: list[int]) -> None:
    op = _op("onnx.Slice", [(5,)], constants=[(start,), (end,), (0,), (step,)], dtypes=[DType.I64])
    entry = definition("onnx.Slice")
    assert entry is not None and entry.evaluate is not None
    bounds = [np.array([number]) for number in (start, end, 0, step)]
    assert entry.evaluate(op, np.arange(5), *bounds).tolist() == expected
    assert infer_types(op) == (TensorType(DType.I64, (len(expected),)),)


def test_division_by_zero_is_not_folded() -> None:
    entry = definition("onnx.Div")
    assert entry is not None and entry.evaluate is not None
    assert entry.evaluate(_op("onnx.Div", []), np.array([4]), np.array([0])) is None


# -- work against closed forms -----------------------------------------------------------------------------------------


def _op(
    name: str,
    operands: Sequence[tuple[Any, ...]],
    results: Sequence[tuple[Any, ...]] = ((1,),),
    attributes: dict[str, Any] | None = None,
    *,
    constants: Sequence[tuple[int, ...]] = (),
    dtypes: Sequence[DType] | None = None,
) -> Op:
    """An operation on operands of these shapes, then on these integer constants."""
    graph = Graph()
    values = []
    for index, shape in enumerate(operands):
        type_ = TensorType(dtypes[index] if dtypes else DType.F32, tuple(shape))
        values.append(graph.add(INPUT, [], [(f"x{index}", type_)]).result)
    for index, numbers in enumerate(constants):
        dense = Dense.of(DType.I64, (len(numbers),), numbers)
        values.append(graph.add(CONSTANT, [], [(f"c{index}", dense.type)], {"value": dense}).result)
    made = [(f"y{index}", TensorType(DType.F32, tuple(shape))) for index, shape in enumerate(results)]
    return graph.add(name, values, made, attributes or {})


def _macs(op: Op) -> int:
    """MACs of an operation whose result types are those that onnx infers (which must be ours)."""
    theirs, mine = infer_with_onnx(op), infer_types(op)
    assert theirs is not None and mine is not None
    assert tuple(mine) == tuple(theirs)
    for value, type_ in zip(op.results, theirs, strict=True):
        value.type = type_
    return sum(primitive.macs for primitive in lowering(op).primitives)


extent = st.integers(1, 9)
quick = settings(max_examples=60, deadline=None)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))
    per_axis = st.lists(st.integers(1, 3), min_size=rank, max_size=rank).map(tuple)
    return {
        "batch": draw(extent),
        "groups": draw(st.integers(1, 4)),
        "inputs": draw(st.integers(1, 4)),
        "outputs": draw(st.integers(1, 4)),
        "size": tuple(draw(st.lists(st.integers(7, 14), min_size=rank, max_size=rank))),
        "kernel": draw(per_axis),
        "strides": draw(per_axis),
        "dilations": draw(per_axis),
        "pads": tuple(draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))),
    }


def _conv_attributes(c: dict[str, Any]) -> dict[str, Any]:
    names = ("strides", "dilations", "pads")
    return {"group": c["groups"], "kernel_shape": c["kernel"], **{name: c[name] for name in names}}


@given(c=convolutions(), auto_pad=st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
@quick
def test_convolution_work(c: dict[str, Any], auto_pad: str) -> None:
    attributes = _conv_attributes(c)
    if auto_pad != "NOTSET":
        del attributes["pads"]
        attributes["auto_pad"] = auto_pad
    channels = c["inputs"] * c["groups"]
    weights = (c["outputs"] * c["groups"], c["inputs"], *c["kernel"])
    op = _op("onnx.Conv", [(c["batch"], channels, *c["size"]), weights], attributes=attributes)
    macs = _macs(op)
    out = op.result.type
    assert isinstance(out, TensorType)
    # Each result is the sum of one product for each weight of its filter.
    assert macs == prod(out.dims) * prod(weights[1:])


@given(c=convolutions(), extra=st.integers(0, 1))
@quick
def test_transposed_convolution_work(c: dict[str, Any], extra: int) -> None:
    rank = len(c["size"])
    assume(extra < min(max(s, d) for s, d in zip(c["strides"], c["dilations"], strict=True)) or not extra)
    attributes = {**_conv_attributes(c), "output_padding": (extra,) * rank}
    data = (c["batch"], c["inputs"] * c["groups"], *c["size"])
    weights = (c["inputs"] * c["groups"], c["outputs"], *c["kernel"])
    op = _op("onnx.ConvTranspose", [data, weights], attributes=attributes)
    # Each element of the operand meets every weight of its channel once.
    assert _macs(op) == prod(data) * prod(weights[1:])


@given(c=convolutions(), name=st.sampled_from(["MaxPool", "AveragePool", "LpPool"]), ceil=st.integers(0, 1))
@quick
def test_pools_have_onnx_shapes(c: dict[str, Any], name: str, ceil: int) -> None:
    rank = len(c["size"])
    pads = tuple(min(pad, c["kernel"][i % rank] - 1) for i, pad in enumerate(c["pads"]))
    attributes = {"kernel_shape": c["kernel"], "strides": c["strides"], "pads": pads, "ceil_mode": ceil}
    op = _op(f"onnx.{name}", [(c["batch"], c["inputs"], *c["size"])], attributes=attributes)
    assert _macs(op) == 0
    out = op.result.type
    assert isinstance(out, TensorType)
    (window,) = lowering(op).primitives
    assert window.ops == prod(out.dims) * prod(c["kernel"]) * (2 if name == "LpPool" else 1)


@given(m=extent, n=extent, k=extent, left=st.booleans(), right=st.booleans())
@quick
def test_gemm_work(m: int, n: int, k: int, left: bool, right: bool) -> None:
    shapes = [(k, m) if left else (m, k), (n, k) if right else (k, n)]
    op = _op("onnx.Gemm", shapes, attributes={"transA": int(left), "transB": int(right)})
    assert _macs(op) == m * n * k
    (gemm,) = lowering(op).primitives
    assert (gemm.m, gemm.n, gemm.k) == (m, n, k)


@st.composite
def products(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes that multiply: a common batch, of which each side may lack leading axes or have ones."""
    batch = draw(st.lists(st.integers(1, 4), max_size=3))
    sides = []
    for _ in range(2):
        kept = batch[draw(st.integers(0, len(batch))) :]
        sides.append(tuple(draw(st.sampled_from([dim, 1])) for dim in kept))
    m, n, k = draw(extent), draw(extent), draw(extent)
    vectors = draw(st.sampled_from(["neither", "left", "right"]))
    a = (k,) if vectors == "left" else (*sides[0], m, k)
    b = (k,) if vectors == "right" else (*sides[1], k, n)
    return a, b


@given(shapes=products())
@quick
def test_matmul_work(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = shapes
    result = np.matmul(np.zeros(a), np.zeros(b))
    assert _macs(_op("onnx.MatMul", [a, b])) == result.size * a[-1]


@pytest.mark.parametrize("weight", [(768, 3072), (1, 768, 3072)])
def test_a_factor_without_batch_takes_the_batch_into_its_rows(weight: tuple[int, ...]) -> None:
    op = _op("onnx.MatMul", [(8, 197, 768), weight], [(8, 197, 3072)])
    (gemm,) = lowering(op).primitives
    assert (gemm.m, gemm.n, gemm.k, gemm.batch) == (8 * 197, 3072, 768, 1)


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    labels = draw(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True))
    extents = {label: draw(st.integers(1, 5)) for label in labels}
    terms = ["", ""]
    for label in labels:
        owner = draw(st.sampled_from([(0,), (1,), (0, 1)]))
        for index in owner:
            terms[index] += label
    shared = set(terms[0]) & set(terms[1])
    result = "".join(label for label in labels if label not in shared or draw(st.booleans()))
    terms = ["".join(draw(st.permutations(term))) for term in terms]
    shapes = [tuple(extents[label] for label in term) for term in terms]
    return f"{','.join(terms)}->{''.join(draw(st.permutations(result)))}", shapes


@given(drawn=equations())
@quick
def test_einsum_work(drawn: tuple[str, list[tuple[int, ...]]]) -> None:
    equation, shapes = drawn
    labels = {
        label: dim
        for term, shape in zip(equation.split("->")[0].split(","), shapes, strict=True)
        for label, dim in zip(term, shape, strict=True)
    }
    # One product for each point of the space that the labels span.
    assert _macs(_op("onnx.Einsum", shapes, attributes={"equation": equation})) == prod(labels.values())


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bhqd,bhkd->bhqk", [(2, 4, 8, 16), (2, 4, 6, 16)], 2 * 4 * 8 * 6 * 16),
        ("...ij,...jk->...ik", [(3, 2, 4, 5), (3, 2, 5, 6)], 3 * 2 * 4 * 6 * 5),
        ("ij,jk", [(2, 3), (3, 4)], 24),
        ("abc,bd->d", [(2, 3, 4), (3, 5)], 15),  # a and c are summed before: 3·5 products
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("ii->i", [(3, 3)], 0),
        ("ij->", [(3, 4)], 0),
    ],
)
def test_einsum_classification(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    assert _macs(_op("onnx.Einsum", shapes, attributes={"equation": equation})) == macs


@given(
    cell=st.sampled_from([("LSTM", 4), ("GRU", 3), ("RNN", 1)]),
    seq=extent,
    batch=extent,
    features=extent,
    hidden=extent,
    both=st.booleans(),
    layout=st.integers(0, 1),
    reset=st.integers(0, 1),
)
@quick
def test_recurrent_work(
    cell: tuple[str, int], seq: int, batch: int, features: int, hidden: int, both: bool, layout: int, reset: int
) -> None:
    name, gates = cell
    directions = 2 if both else 1
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if both else "forward"}
    attributes |= {"layout": layout} | ({"linear_before_reset": reset} if name == "GRU" else {})
    data = (batch, seq, features) if layout else (seq, batch, features)
    weights = [(directions, gates * hidden, features), (directions, gates * hidden, hidden)]
    op = _op(f"onnx.{name}", [data, *weights], [(1,)] * (3 if name == "LSTM" else 2), attributes)
    # At each step each gate multiplies the input and the hidden state.
    assert _macs(op) == directions * seq * batch * gates * hidden * (features + hidden)
    projection, recurrence = (p for p in lowering(op).primitives[:3] if isinstance(p, Gemm))
    assert (projection.m, projection.steps) == (seq * batch, 1)
    assert (recurrence.m, recurrence.steps) == (batch, seq)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("past", [0, 3])
def test_attention_work(packed: bool, past: int) -> None:
    batch, heads, kv_heads, tokens, size = 2, 6, 3, 5, 8
    query, key = (batch, heads, tokens, size), (batch, kv_heads, tokens, size)
    shapes = [query, key, key]
    attributes = {}
    if packed:
        shapes = [(batch, tokens, heads * size), *[(batch, tokens, kv_heads * size)] * 2]
        attributes = {"q_num_heads": heads, "kv_num_heads": kv_heads}
    graph = Graph()
    caches = [(batch, kv_heads, past, size)] * 2 if past else []
    made = [
        graph.add(INPUT, [], [(f"x{index}", TensorType(DType.F32, shape))]).result
        for index, shape in enumerate([*shapes, *caches])
    ]
    operands = [*made[:3], None, *made[3:]]
    results = [(f"y{index}", TensorType(DType.F32, (1,))) for index in range(3 if past else 1)]
    op = graph.add("onnx.Attention", operands, results, attributes)
    # Scores and values: each query meets each key, cached ones included, in each of its heads.
    assert _macs(op) == 2 * batch * heads * tokens * (past + tokens) * size
