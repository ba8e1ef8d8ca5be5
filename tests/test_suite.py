"""What is measured: valid models that run and that we understand, the same each time, and enough of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import islice

import numpy as np
import onnx
import onnxruntime
import pytest
from materialise import random_inputs
from onnx import numpy_helper

from graphs.calibration.errors import CalibrationError
from graphs.calibration.suite import GROUPS, PRECISIONS, Benchmark, Caches, suite
from graphs.calibration.suite.blas import ROUTINES, blas
from graphs.calibration.suite.networks import FAMILIES, network
from graphs.calibration.suite.operators import GRIDS, operators
from graphs.calibration.suite.quantized import GRIDS as QUANTIZED
from graphs.calibration.suite.stream import STREAMS, streams
from graphs.frontends.onnx import load_onnx
from graphs.passes.base import Context
from graphs.passes.lower import Work
from graphs.passes.manager import PassManager, parse_passes
from graphs.targets import load_target

SMALL = Caches((16 << 10, 64 << 10))

OPERATORS = {
    "Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "LayerNormalization", "InstanceNormalization",
    "BatchNormalization", "Relu", "Sigmoid", "HardSwish", "HardSigmoid", "Gelu", "Erf", "Tanh", "Clip", "PRelu",
    "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceMax", "Transpose", "Concat",
    "Slice", "Split", "Pad", "DepthToSpace", "Expand", "Reshape", "Gather", "Resize", "Add", "Mul", "Div", "Sub",
    "Pow", "Sqrt", "Where", "ArgMax", "LSTM", "GRU", "CumSum", "TopK", "Reciprocal", "Neg", "IsNaN", "Squeeze",
    "Unsqueeze",
}  # fmt: skip
"""What real networks are made of."""


@cache
def quick() -> list[Benchmark]:
    return suite("onnxruntime", quick=True)


@cache
def small(family: str) -> Benchmark:
    return network(family, 0, "fp32", 1e-4, 6e-4)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def works(benchmark: Benchmark) -> list[Work]:
    """The work of every kernel on the host."""
    graph = load_onnx(benchmark.build())
    PassManager(parse_passes("fuse,lower")).run(graph, Context(load_target("host@1-thread")))
    return [op.facts[Work] for op in graph.body if op.facts.get(Work) is not None]


def holds(benchmark: Benchmark) -> None:
    """It is valid, it runs, its results are numbers, and nothing in it is unknown to us."""
    model = benchmark.build()
    onnx.checker.check_model(model, full_check=True)
    for result in session(model).run(None, random_inputs(model)):
        assert np.isfinite(result).all()
    assert not [work.unknown for work in works(benchmark) if work.unknown]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_network(family: str) -> None:
    holds(small(family))


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_operators(grid: str) -> None:
    holds(next(one for one in operators("onnxruntime", "fp32") if one.covers == (grid,)))


@pytest.mark.parametrize("grid", sorted(QUANTIZED))
def test_eight_bit_operators(grid: str) -> None:
    holds(next(one for one in operators("onnxruntime", "int8") if one.covers == (grid,)))


@pytest.mark.parametrize("precision", ["fp64", "fp32", "fp16", "int8"])
def test_streams_and_routines_run_in_every_precision(precision: str) -> None:
    level = len(SMALL.sizes) + 1
    vectors = list(streams("onnxruntime", precision, SMALL))
    assert Counter(one.covers[0] for one in vectors) == {f"stream_{kind}": level for kind in STREAMS}
    routines = list(blas("onnxruntime", precision, SMALL))
    assert {one.covers[0] for one in routines} == set(ROUTINES)
    for one in [*vectors[-len(STREAMS) :], *routines[-len(ROUTINES) - 8 :]]:
        if one.flops < 1e8:
            holds(one)


def test_every_precision_has_what_the_runtimes_have_kernels_for() -> None:
    for precision in PRECISIONS:
        found = {one.covers[0] for make in (blas, streams) for one in make("pytorch", precision, SMALL)}
        assert found == {*ROUTINES, *(f"stream_{kind}" for kind in STREAMS)}, precision
    assert {one.covers for one in suite("onnxruntime", ["bf16"])} == {("stream_copy",)}
    groups = Counter(one.group for one in suite("pytorch", PRECISIONS, caches=SMALL, seconds=8))
    assert set(groups) == set(GROUPS)


def test_bf16_is_written_in_an_opset_that_has_it() -> None:
    for one in islice(operators("pytorch", "bf16"), len(GRIDS)):
        onnx.checker.check_model(one.build(), full_check=True)
    onnx.checker.check_model(network("basic", 0, "bf16", 1e-4, 6e-4).build(), full_check=True)


def test_streams_reach_from_each_cache_to_memory() -> None:
    sets = sorted(one.bytes for one in streams("onnxruntime", "fp32", Caches((32 << 10, 1 << 20, 4 << 20))))
    copies = [one.bytes for one in streams("onnxruntime", "fp32", SMALL) if one.covers == ("stream_copy",)]
    assert sorted(copies) == [8 << 10, 32 << 10, 16 << 20]
    assert sets[0] <= 16 << 10 and sets[-1] >= 16 << 20


def test_a_copy_really_copies(tmp_path) -> None:
    for one in streams("onnxruntime", "fp32", SMALL):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(tmp_path / "left.onnx")
        onnxruntime.InferenceSession(one.build().SerializeToString(), options, providers=["CPUExecutionProvider"])
        left = [node.op_type for node in onnx.load(tmp_path / "left.onnx").graph.node]
        kind = one.covers[0].removeprefix("stream_")
        assert left == {"copy": ["Concat"], "scale": ["Mul"], "add": ["Add"], "triad": ["Mul", "Add"]}[kind]


def test_the_first_networks_cover_all_operators() -> None:
    early, seconds = set(), 0.0
    for one in quick():
        early.update(one.tags)
        seconds += one.seconds
        if seconds > 30:
            break
    assert not OPERATORS - early


def test_any_beginning_is_balanced() -> None:
    for share in (0.1, 0.3, 1.0):
        beginning = quick()[: int(len(quick()) * share)]
        seconds = {group: sum(one.seconds for one in beginning if one.group == group) for group in GROUPS}
        assert all(seconds.values()), (share, seconds)
        assert 0.45 < seconds["networks"] / sum(seconds.values()) < 0.85, (share, seconds)


def test_time_asked_for_is_time_planned() -> None:
    assert 60 < sum(one.seconds for one in quick()) < 120
    assert 15 < sum(one.seconds for one in suite("onnxruntime", ["fp32", "int8"], seconds=25)) < 40
    assert len({one.name for one in quick()}) == len(quick())


def test_networks_have_the_size_that_was_wanted() -> None:
    seconds = sorted(one.run_seconds for one in quick() if one.group == "networks")
    assert seconds[len(seconds) // 20] > 0.5e-3
    assert seconds[-len(seconds) // 20] < 30e-3
    assert sum(one.weight_bytes > 150e6 for one in quick() if one.group == "networks") == 0


def digest() -> str:
    """Of a few models' bytes."""
    chosen = [small("inverted"), small("windowed"), next(operators("onnxruntime", "fp32"))]
    return hashlib.sha256(b"".join(one.build().SerializeToString() for one in chosen)).hexdigest()


def test_models_are_the_same_in_every_process() -> None:
    code = "import sys; sys.path[:0] = sys.argv[1:]; import test_suite; print(test_suite.digest())"
    assert [one.name for one in suite("onnxruntime", seconds=2)] == [
        one.name for one in suite("onnxruntime", seconds=2)
    ]
    done = subprocess.run([sys.executable, "-c", code, *sys.path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


def test_weights_are_fit_to_run() -> None:
    model = network("plain", 1, "fp32", 5e-3, 10e-3).build()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 64:
            continue
        smallest = np.abs(values[values != 0]).min()
        assert smallest > 1e-6, tensor.name
        if values.ndim == 1:
            assert values.min() > 0.3 and values.max() < 0.7
        elif values.ndim == 4:
            assert 1.0 < values.std() * np.sqrt(np.prod(values.shape[1:])) < 1.8


@pytest.mark.parametrize("family", ["plain", "vision", "inverted", "recurrent"])
def test_counts_agree_with_our_own(family: str) -> None:
    one = small(family)
    assert one.flops == pytest.approx(sum(work.flops for work in works(one)), rel=0.25)
    inside = sum(len(tensor.raw_data) for tensor in one.build().graph.initializer if tensor.data_type == 1)
    assert one.weight_bytes == pytest.approx(inside, rel=1e-3)


def test_refusals() -> None:
    with pytest.raises(CalibrationError, match='no runtime "tflite"'):
        suite("tflite")
    with pytest.raises(CalibrationError, match='no precision "fp8"'):
        suite("pytorch", ["fp32", "fp8"])
    for sizes in ((), (0,), (1 << 20, 1 << 15)):
        with pytest.raises(CalibrationError, match="ascending"):
            Caches(sizes)
