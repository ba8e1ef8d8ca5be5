"""Hypothesis strategies: graphs that use all that the IR can hold, and small networks of real ONNX operators."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from graphs.ir import (
    CONSTANT,
    INPUT,
    OUTPUT,
    Dense,
    DType,
    Graph,
    Location,
    OptionalType,
    Origin,
    SequenceType,
    Symbol,
    TensorType,
    UnknownType,
    Value,
)
from graphs.ir.primitives import Conv, Elementwise, Gemm, Unknown
from graphs.passes.cost import Cost
from graphs.passes.lower import Work
from graphs.passes.memory import Buffers

__all__ = ["any_graphs", "attributes", "networks"]

NAMES = st.one_of(
    st.sampled_from(
        ["x", "y", "a/b", "0", "12", "", " ", '"', "\\", "a\nb", "x$1", "x_1", "ünï", "日本", "tensor", "%"]
    ),
    st.text(max_size=6),
)
KEYS = st.one_of(
    st.sampled_from(
        ["axis", "cost", "work", "memory", "loc", "true", "f32", "i8", "graphs.cost", "graphs.names", "sym_name", "é"]
    ),
    st.sampled_from(["operandSegmentSizes", "graphs.regions", "graphs.source.axis", "a b", "dense", '"']),
    st.text(min_size=1, max_size=5),
)
DTYPES = st.sampled_from(DType)
DIMS = st.one_of(st.integers(0, 5), st.builds(Symbol, NAMES))
TENSORS = st.builds(TensorType, DTYPES, st.one_of(st.none(), st.lists(DIMS, max_size=3).map(tuple)))
TYPES = st.recursive(
    st.one_of(TENSORS, st.just(UnknownType())),
    lambda inner: st.one_of(st.builds(SequenceType, inner), st.builds(OptionalType, inner)),
    max_leaves=3,
)
EXACT = {DType.F64: 64, DType.F32: 32, DType.F16: 16}
"""Element types whose numbers hypothesis makes, and their width."""


@st.composite
def dense(draw: st.DrawFn) -> Dense:
    """Return a small constant of any element type that keeps values."""
    dtype = draw(st.sampled_from([*EXACT, DType.BF16, DType.I64, DType.UI8, DType.I4, DType.BOOL, DType.STRING]))
    if dtype in EXACT:
        items: st.SearchStrategy[Any] = st.floats(width=EXACT[dtype])  # type: ignore[arg-type]
    elif dtype is DType.BF16:
        items = st.sampled_from([0.0, -1.5, float("inf"), float("-inf"), float("nan")])
    elif dtype is DType.BOOL:
        items = st.booleans()
    elif dtype is DType.STRING:
        items = NAMES
    else:
        low = 0 if dtype is DType.UI8 else -(1 << dtype.bits - 1)
        items = st.integers(low, low + (1 << dtype.bits) - 1)
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    type_ = TensorType(dtype, shape)
    return Dense(type_, tuple(draw(st.lists(items, min_size=type_.elements or 0, max_size=type_.elements or 0))))


def attributes() -> st.SearchStrategy[Any]:
    """Return every kind of attribute, nested."""
    leaves = st.one_of(
        st.booleans(),
        st.integers(-(1 << 300), 1 << 300),
        st.sampled_from([1 << 63, (1 << 63) - 1, -(1 << 63), -(1 << 63) - 1, 1 << 127]),
        st.floats(),
        NAMES,
        st.binary(max_size=6),
        TYPES,
        dense(),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.dictionaries(KEYS, inner, max_size=3)),
        max_leaves=6,
    )


ORIGINS = st.builds(Origin, NAMES, st.one_of(st.just(""), NAMES), st.one_of(st.none(), st.integers(0, 1 << 31)))
LOCATIONS = st.builds(Location, st.lists(ORIGINS, max_size=3).map(tuple))
COUNTS = st.integers(0, 1 << 62)
PRIMITIVES = st.one_of(
    st.builds(Gemm, COUNTS, COUNTS, COUNTS, DTYPES, weight=st.booleans()),
    st.builds(Elementwise, NAMES, COUNTS, DTYPES),
    st.builds(Unknown, NAMES),
    st.builds(
        Conv,
        *[COUNTS] * 3,
        *[st.lists(COUNTS, max_size=2).map(tuple)] * 3,
        dtype=DTYPES,
        transposed=st.booleans(),
    ),
)
COSTS = st.fixed_dictionaries(
    {
        field.name: st.one_of(st.none(), st.floats()) if "None" in str(field.type) else st.floats()
        for field in fields(Cost)
        if "float" in str(field.type)
    }
    | dict.fromkeys(("bound", "work_class", "unit", "memory", "confidence"), NAMES)
    | {"unknown": st.lists(NAMES, max_size=2).map(tuple)}
).map(lambda values: Cost(**values))
FACTS = st.one_of(
    st.builds(Buffers, COUNTS, st.lists(st.integers(-1, 1 << 40), max_size=3).map(tuple)),
    st.builds(Work, *[st.lists(strategy, max_size=2).map(tuple) for strategy in (PRIMITIVES, COUNTS, COUNTS)]),
    COSTS,
)


@st.composite
def any_graphs(draw: st.DrawFn, depth: int = 2) -> Graph:
    """Return a graph that may hold anything, well formed or not as far as its operators go, with regions in it."""
    graph = Graph(draw(NAMES), draw(st.dictionaries(KEYS, attributes(), max_size=2)))
    values: list[Value] = []
    for _ in range(draw(st.integers(0, 2 * depth or 1))):
        readable = st.one_of(st.none(), st.sampled_from(values)) if values else st.none()
        op = graph.add(
            draw(st.sampled_from(["onnx.Relu", "com.acme.Odd", "x", 'a"b\\', INPUT, CONSTANT, OUTPUT])),
            draw(st.lists(readable, max_size=3)),
            draw(st.lists(st.tuples(NAMES, TYPES), max_size=3)),
            draw(st.dictionaries(KEYS, attributes(), max_size=3)),
            regions=draw(st.lists(any_graphs(depth - 1), max_size=2)) if depth else (),
            loc=draw(LOCATIONS),
            before=draw(st.sampled_from(graph.ops)) if len(graph) and draw(st.booleans()) else None,
        )
        for fact in draw(st.lists(FACTS, max_size=2)):
            op.facts.add(fact)
        values.extend(op.results)
    return graph


UNARY = ("onnx.Relu", "onnx.Sigmoid", "onnx.Tanh", "onnx.Erf", "onnx.Sqrt", "onnx.Identity", "onnx.HardSwish")
BINARY = ("onnx.Add", "onnx.Mul", "onnx.Sub", "onnx.Div")


@st.composite
def networks(draw: st.DrawFn, most: int = 14) -> Graph:
    """Return a small network of real operators over ``1×C×8×8`` values: what fusion rules are written for."""
    graph = Graph("random", {"opset": {"ai.onnx": 17}})
    channels = draw(st.sampled_from([4, 16]))
    image = TensorType(DType.F32, (1, channels, 8, 8))
    values = [graph.add(INPUT, [], [("in", image)]).result]
    for step in range(draw(st.integers(1, most))):
        # mostly the newest value, so that chains come about that rules match
        x = values[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(values))
        values.append(_layer(draw, graph, step, x, values, channels))
    returned = {value for value in values[1:] if not graph.users(value.op)} or {values[-1]}
    returned.update(draw(st.lists(st.sampled_from(values[1:]), max_size=2)))
    for value in values:
        if value in returned:
            graph.add(OUTPUT, [value])
    return graph


def _layer(draw: st.DrawFn, graph: Graph, step: int, x: Value, values: list[Value], channels: int) -> Value:
    image = x.type
    sort = draw(st.sampled_from(["unary", "binary", "conv", "bn", "scale", "transpose", "matmul", "softmax", "pool"]))
    loc = Location.of(f"node{step}")

    def constant(label: str, *shape: int) -> Value:
        return graph.add(CONSTANT, [], [(f"{label}{step}", TensorType(DType.F32, shape))]).result

    def add(name: str, operands: list[Value | None], **attributes: Any) -> Value:
        return graph.add(name, operands, [(f"v{step}", image)], attributes, loc=loc).result

    if sort == "unary":
        return add(draw(st.sampled_from(UNARY)), [x])
    if sort == "binary":
        return add(draw(st.sampled_from(BINARY)), [x, draw(st.sampled_from(values))])
    if sort == "conv":
        groups = draw(st.sampled_from([1, channels]))
        weight = constant("w", channels, channels // groups, 3, 3)
        return add("onnx.Conv", [x, weight], kernel_shape=(3, 3), pads=(1, 1, 1, 1), group=groups)
    if sort == "bn":
        return add("onnx.BatchNormalization", [x, *(constant(f"bn{i}_", channels) for i in range(4))])
    if sort == "scale":
        return add(draw(st.sampled_from(BINARY)), [x, constant("s", *draw(st.sampled_from([(), (channels, 1, 1)])))])
    if sort == "transpose":
        return add("onnx.Transpose", [x], perm=(0, 1, 3, 2))
    if sort == "matmul":
        return add("onnx.MatMul", [x, constant("m", 8, 8)])
    if sort == "softmax":
        return add("onnx.Softmax", [x], axis=-1)
    return add("onnx.MaxPool", [x], kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(1, 1))
