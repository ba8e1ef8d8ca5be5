"""The PyTorch runner computes what the model says: each operator against onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from graphs.calibration.errors import CalibrationError
from graphs.calibration.suite.operators import GRIDS, operators

pytest.importorskip("torch")

from graphs.calibration.measure.pytorch import PyTorch
from graphs.calibration.measure.torch_onnx import onnx_program
from graphs.calibration.measure.torch_operators import FACTORIES
from graphs.calibration.measure.torch_program import torch_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """An operator with its operands: shapes become random numbers, arrays are constants."""

    op: str
    operands: tuple[tuple[int, ...] | Array | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    results: int = 1
    opset: int = 18

    def __str__(self) -> str:
        listed = ",".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.op}-{listed}-{self.opset}"


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


X, P = (2, 8, 6, 6), (2, 12)
CASES = [
    *(
        Case(op, (X,))
        for op in [
            "Abs",
            "Neg",
            "Exp",
            "Sin",
            "Cos",
            "Tanh",
            "Sigmoid",
            "Relu",
            "Erf",
            "Floor",
            "Ceil",
            "Round",
            "Sign",
            "Softplus",
            "Softsign",
            "Mish",
        ]
    ),
    *(
        Case(op, (X,))
        for op in [
            "HardSwish",
            "Selu",
            "LeakyRelu",
            "Elu",
            "Celu",
            "HardSigmoid",
            "Identity",
            "IsNaN",
            "Reciprocal",
            "Atan",
        ]
    ),
    *(Case(op, (X, (8, 1, 1))) for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]),
    *(Case(op, (X, (8, 1, 1))) for op in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "PRelu"]),
    Case("HardSigmoid", (X,), {"alpha": 1 / 6, "beta": 0.5}),
    Case("LeakyRelu", (X,), {"alpha": 0.2}),
    Case("Gelu", (X,), opset=20),
    Case("Gelu", (X,), {"approximate": "tanh"}, opset=20),
    Case("Div", (ints(7, -7), ints(2, 2))),
    Case("Pow", (X, np.array(2.0, np.float32))),
    Case("Mod", (ints(7, -7), ints(3, 3))),
    Case("Clip", (X, np.array(-0.5, np.float32), np.array(0.5, np.float32))),
    Case("Clip", (X, None, np.array(0.5, np.float32))),
    Case("Cast", (X,), {"to": TensorProto.INT32}),
    Case("CastLike", (X, ints(1))),
    Case("Where", (np.array([True, False] * 3), X, X)),
    Case("MatMul", ((2, 3, 4), (4, 5))),
    Case("Einsum", ((2, 3), (3, 4)), {"equation": "ij,jk->ki"}),
    Case("Gemm", ((3, 4), (5, 4), (5,)), {"transB": 1}),
    Case("Gemm", ((4, 3), (4, 5), (3, 5)), {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", ((3, 4), (4, 5))),
    Case("Softmax", (X,)),
    Case("Softmax", (X,), {"axis": 1}),
    Case("Softmax", (X,), {"axis": 1}, opset=11),
    Case("LogSoftmax", (X,), {"axis": 1}),
    Case("BatchNormalization", (X, (8,), (8,), (8,), np.full(8, 0.5, np.float32))),
    Case("InstanceNormalization", (X, (8,), (8,))),
    Case("LayerNormalization", (X, (6, 6), (6, 6)), {"axis": -2}),
    Case("LayerNormalization", (X, (6,)), {"epsilon": 1e-3}),
    Case("GroupNormalization", (X, (8,), (8,)), {"num_groups": 4}, opset=21),
    Case("LRN", (X,), {"size": 3}),
    *(
        Case(f"Reduce{op}", (X, ints(-1, 1)), {"keepdims": 0})
        for op in ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"]
    ),
    Case("ReduceMean", (X,), {"axes": [2, 3]}, opset=13),
    Case("ReduceSum", (X,)),
    Case("ReduceSum", (X,), {"noop_with_empty_axes": 1}),
    Case("ArgMax", (X,), {"axis": 1}),
    Case("ArgMin", (X,), {"axis": 2, "keepdims": 0}),
    Case("CumSum", (X, np.array(1))),
    Case("TopK", (X, ints(3)), {"axis": 1}, results=2),
    Case("Transpose", (X,), {"perm": [0, 2, 3, 1]}),
    Case("Transpose", (X,)),
    Case("Reshape", (X, ints(0, -1, 3))),
    Case("Flatten", (X,), {"axis": 2}),
    Case("Squeeze", ((1, 3, 1), ints(0))),
    Case("Squeeze", ((1, 3, 1),)),
    Case("Unsqueeze", ((3, 4), ints(0, -1))),
    Case("Concat", ((2, 3), (2, 4)), {"axis": 1}),
    Case("Slice", (X, ints(1, 0), ints(9, -1), ints(1, 2), ints(2, 1))),
    Case("Slice", (X, ints(-1), ints(-99), ints(1), ints(-2))),
    Case("Slice", (X, ints(0), ints(2**63 - 1), ints(3))),
    Case("Slice", (X,), {"starts": [1], "ends": [3], "axes": [1]}, opset=9),
    Case("Split", (P, ints(4, 8)), {"axis": 1}, results=2),
    Case("Split", (P,), {"axis": 1, "num_outputs": 3}, results=3),
    Case("Expand", ((3, 1), ints(2, 1, 4))),
    Case("Tile", ((2, 3), ints(2, 2))),
    Case("Trilu", ((4, 4),)),
    Case("Trilu", ((4, 4), np.array(1)), {"upper": 0}),
    Case("Pad", (X, ints(0, 0, 1, 2, 0, 0, 3, 4))),
    Case("Pad", (X, ints(1, 2, 1, 2), np.array(0.5, np.float32), ints(2, 3))),
    Case("Pad", (X, ints(0, 0, 1, 2, 0, 0, 3, 4)), {"mode": "reflect"}),
    Case("Pad", (X, ints(0, 0, 1, 2, 0, 0, 3, 4)), {"mode": "edge"}),
    Case("DepthToSpace", (X,), {"blocksize": 2}),
    Case("DepthToSpace", (X,), {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (X,), {"blocksize": 2}),
    Case("Gather", (X, ints(1, -1)), {"axis": 1}),
    Case("Gather", (X, np.array([[0, 1], [2, -3]])), {"axis": 2}),
    Case("Gather", (X, np.array(-1))),
    Case("GatherElements", ((3, 4), np.array([[0, -1, 1, 2]])), {"axis": 0}),
    Case("GatherND", ((3, 4), np.array([[0, 1], [2, 3]]))),
    Case("ScatterND", ((4, 3), np.array([[1], [3]]), (2, 3))),
    Case("ScatterElements", ((3, 3), np.array([[0, 2, 1]]), (1, 3))),
    Case("Shape", (X,)),
    Case("Shape", (X,), {"start": 1, "end": 3}),
    Case("Size", (X,)),
    Case("ConstantOfShape", (ints(2, 3),)),
    Case("Range", (np.array(1), np.array(9), np.array(2))),
    Case(
        "Resize",
        (X, None, np.array([1, 1, 2, 2], np.float32)),
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    Case("Resize", (X, None, None, ints(2, 8, 9, 9)), {"mode": "linear"}),
    Case(
        "Resize",
        (X, None, None, ints(2, 8, 9, 9)),
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    Case("Conv", (X, (4, 8, 3, 3), (4,)), {"pads": [1] * 4, "strides": [2, 2]}),
    Case("Conv", (X, (8, 1, 3, 3)), {"group": 8, "dilations": [2, 2]}),
    Case("Conv", (X, (4, 8, 3, 3)), {"pads": [0, 1, 2, 1]}),
    Case("Conv", (X, (4, 8, 2, 2)), {"auto_pad": "SAME_UPPER"}),
    Case("Conv", (X, (4, 8, 2, 2)), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    Case("Conv", ((1, 4, 9), (2, 4, 3))),
    Case("Conv", ((1, 2, 5, 5, 5), (3, 2, 3, 3, 3))),
    Case("ConvTranspose", (X, (8, 4, 3, 3), (4,)), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
    Case("MaxPool", (X,), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
    Case("MaxPool", (X,), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "ceil_mode": 0}),
    Case("AveragePool", (X,), {"kernel_shape": [3, 3], "pads": [1] * 4}),
    Case("AveragePool", (X,), {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
    Case("GlobalAveragePool", (X,)),
    Case("GlobalMaxPool", (X,)),
]


UNTRIED = {
    "Log",
    "Sqrt",
    "Tan",
    "Asin",
    "Acos",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "IsInf",
    "And",
    "Or",
    "Xor",
    "Not",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "BitwiseNot",
    "Dropout",
    "ReduceLogSum",
    "RMSNormalization",
    "SplitToSequence",
    "SequenceAt",
    "EyeLike",
    "Upsample",
}
"""One torch function of the same name, or nothing that onnxruntime runs alone."""


def recurrent(op: str, gates: int, direction: str, **attributes: Any) -> Case:
    d, hidden, width = (2 if direction == "bidirectional" else 1), 5, 4
    generator = np.random.default_rng(1)
    w, r = (generator.standard_normal((d, gates * hidden, n)).astype(np.float32) for n in (width, hidden))
    b = generator.standard_normal((d, 2 * gates * hidden)).astype(np.float32)
    results = 3 if op == "LSTM" else 2
    return Case(op, ((7, 2, width), w, r, b), {"hidden_size": hidden, "direction": direction, **attributes}, results)


CASES += [
    recurrent(op, gates, direction, **({"linear_before_reset": 1} if op == "GRU" else {}))
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
    for direction in ("forward", "bidirectional")
]


def model_of(case: Case) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The operator as a model; random operands are fed, constant ones stored."""
    generator = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    stored, names = [], []
    for i, operand in enumerate(case.operands):
        names.append("" if operand is None else f"x{i}")
        if isinstance(operand, tuple):
            feeds[names[-1]] = generator.standard_normal(operand, dtype=np.float32)
        elif operand is not None:
            stored.append(numpy_helper.from_array(operand, names[-1]))
    if not feeds:  # so that nothing is folded away
        feeds = {name: numpy_helper.to_array(tensor) for name, tensor in zip(names, stored, strict=True)}
        stored = []
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in feeds.items()}
    outputs = [f"y{i}" for i in range(case.results)]
    graph = helper.make_graph(
        [helper.make_node(case.op, names, outputs, "node", **case.attributes)],
        "one",
        [helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in feeds.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model), feeds


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_computes_what_onnxruntime_computes(case: Case) -> None:
    import onnxruntime

    model, feeds = model_of(case)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, feeds
    )
    torch = torch_of()
    program = onnx_program(model, "cpu")
    found = program.run({name: torch.from_numpy(value.copy()) for name, value in feeds.items()})
    for i, want in enumerate(expected):
        got = found[f"y{i}"].numpy()
        assert got.shape == want.shape
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)
        else:
            np.testing.assert_array_equal(got, want)


def test_attention_is_softmax_of_the_products() -> None:
    case = Case("Attention", ((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4)), {"is_causal": 1}, opset=23)
    model, feeds = model_of(case)
    torch = torch_of()
    found = (
        onnx_program(model, "cpu").run({name: torch.from_numpy(value) for name, value in feeds.items()})["y0"].numpy()
    )
    q, k, v = feeds.values()
    scores = np.where(np.tri(5, dtype=bool), q @ k.swapaxes(-1, -2) / 2, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, weights @ v, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (recurrent("GRU", 3, "forward"), "GRU with linear_before_reset=0"),
        (recurrent("LSTM", 4, "reverse"), "LSTM with direction reverse"),
        (Case("MaxPool", (X,), {"kernel_shape": [2, 2]}, results=2), "MaxPool with indices"),
        (Case("Unique", ((5,),)), "no torch function for Unique"),
        (Case("MatMul", ((2, 3), (4, 5))), 'MatMul .node "node". failed'),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_by_name(case: Case, message: str) -> None:
    model, _ = model_of(case)
    with pytest.raises(CalibrationError, match=message):
        PyTorch(1).execute(model, 0.05)


def test_every_operator_in_the_table_is_tried() -> None:
    tried = {case.op for case in CASES} | {"Attention"}
    left = set(FACTORIES) - tried
    assert left <= UNTRIED, left - UNTRIED


def test_values_live_no_longer_than_they_are_read() -> None:
    nodes = [helper.make_node("Neg", [f"x{i}"], [f"x{i + 1}"], f"n{i}") for i in range(5)]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x0", "x5")]
    graph = helper.make_graph(nodes, "chain", info[:1], info[1:])
    program = onnx_program(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "cpu")
    assert list(program.drops) == [(f"x{i}",) for i in range(5)]
    assert [program.reads(step) for step in program.steps] == [(f"x{i}",) for i in range(5)]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_benchmarks_in_half_precision_run(precision: str) -> None:
    wanted = ("softmaxes_across", "lookups_along", "maps")
    for benchmark in islice(operators("pytorch", precision), len(GRIDS)):
        if benchmark.covers[0] in wanted:
            executed = PyTorch(1).execute(benchmark.build(), 0.05, end_to_end=False, fewest=1)
            assert executed.nodes
