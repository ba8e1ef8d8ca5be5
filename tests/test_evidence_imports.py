"""What others measured: the microbenchmark format, CSV files of latencies, onnxruntime's profiles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphs.calibration.errors import CalibrationError
from graphs.calibration.importers.latencies import read_latencies, read_runtime_profile
from graphs.calibration.importers.microbenchmarks import read_microbenchmarks
from graphs.calibration.profile import parse_profile, print_profile
from graphs.calibration.sample import Setting
from graphs.ir.primitives import Copy, Elementwise, Gemm, Reduction
from graphs.targets import load_target

MIB = 2**20
FLOPS = {"dot": lambda n: 2 * n, "axpy": lambda n: 2 * n, "gemv": lambda n: 2 * n**2, "gemm": lambda n: 2 * n**3}


def times(milliseconds: float, flops: float, **changes: object) -> dict:
    row = {
        "mean_latency_ms": milliseconds, "std_latency_ms": milliseconds / 50, "min_latency_ms": milliseconds * 0.98,
        "max_latency_ms": milliseconds * 1.05, "num_trials": 10, "measured_gops": flops / milliseconds / 1e6,
    }  # fmt: skip
    return {**row, **changes}


def stream(kind: str, mib: int, milliseconds: float, **changes: object) -> dict:
    flops = {"copy": 0, "scale": 1, "add": 1, "triad": 2}[kind] * mib * MIB // 4
    row = times(milliseconds, flops)
    row["measured_gflops"] = row.pop("measured_gops")
    return {
        "operation_type": f"stream_{kind}",
        "input_shape": [mib * MIB // 4],
        "precision_results": {},
        **row,
        **changes,
    }


def blas(kind: str, size: int, **milliseconds: float | dict) -> dict:
    rows = {}
    for precision, value in milliseconds.items():
        made = value if isinstance(value, dict) else times(value, FLOPS[kind](size))
        rows[precision] = {"precision": precision, "supported": True, "test_size": size, **made}
    rows["fp4"] = {
        "precision": "fp4",
        "supported": False,
        "failure_reason": "no",
        "mean_latency_ms": None,
        "test_size": 0,
    }
    level = {"dot": 1, "axpy": 1, "gemv": 2, "gemm": 3}[kind]
    # The operation's own figures are those of its fastest precision, whichever that is: nobody may read them.
    return {"operation_type": f"blas{level}_{kind}", "mean_latency_ms": 1e-6, "precision_results": rows}


def registry(*operations: dict, **changes: object) -> dict:
    meta = {"hardware_name": "12th Gen Intel(R) Core(TM) i7-12700K", "calibration_date": "2025-11-28T09:39:49.214918",
            "calibration_tool_version": "1.0.0", "device_type": "cpu", "framework": "pytorch", "cpu_count": 12,
            "cpu_clock": {"governor": "performance", "per_core_freq_mhz": [800.0, 900.0]}}  # fmt: skip
    meta.update(changes)
    return {
        "metadata": meta, "theoretical_bandwidth_gbps": 75.0,
        "precision_matrix": {"theoretical_peaks": {"fp32": 1280.0, "fp16": 0.0, "tf32": 0.0, "bf16": 0.0}},
        "operation_profiles": {f"{row['operation_type']} {i}": row for i, row in enumerate(operations)},
    }  # fmt: skip


USUAL = (
    stream("copy", 64, 2.7876), stream("scale", 64, 2.4593), stream("add", 64, 3.5696), stream("triad", 64, 5.4621),
    blas("dot", 10**6, fp32=0.0343), blas("axpy", 10**6, fp32=0.1944), blas("gemv", 2048, fp32=0.0726),
    blas("gemm", 512, fp32=0.7856, fp16=75.6306, tf32=0.906), blas("gemm", 2048, fp32=23.92, tf32=35.17),
)  # fmt: skip


def written(tmp_path: Path, body: object) -> Path:
    path = tmp_path / "registry.json"
    path.write_text(json.dumps(body))
    return path


def test_microbenchmarks_become_curves_and_samples(tmp_path: Path) -> None:
    target = load_target("intel-core-i7-12700k:pytorch-eager")
    fp32, fp16 = read_microbenchmarks(written(tmp_path, registry(*USUAL)), target)
    assert fp32.setting == Setting("intel-core-i7-12700k", "pytorch-eager", "", "fp32")
    assert (fp32.precision, fp16.precision, fp32.device_type) == ("FP32", "FP16", "cpu")
    peak = target.device.arithmetic("contraction", "fp32")[0].peak("fp32")
    points = fp32.curves["matmul"].data_points
    assert [point.flops for point in points] == [2 * 512**3, 2 * 2048**3]
    assert points[1].efficiency_mean == pytest.approx(2 * 2048**3 / 23.92e-3 / peak)
    bandwidth = target.device.memories[-1].bandwidth
    (copied,) = fp32.bandwidth_curves["stream_copy"].data_points
    assert (copied.flops, copied.efficiency_mean) == (2 * 64 * MIB, pytest.approx(2 * 64 * MIB / 2.7876e-3 / bandwidth))
    assert sum(point.num_observations for point in fp32.bandwidth_curves["generic"].data_points) == 4
    assert fp32.environment["peak_flops"] == peak
    assert fp32.environment["cpu_clock.governor"] == "performance"
    assert "The file states 75 GB/s" not in fp32.notes
    assert parse_profile(print_profile(fp32), "again") == fp32


def test_samples_list_all_that_a_benchmark_runs(tmp_path: Path) -> None:
    (fp32, *_) = read_microbenchmarks(written(tmp_path, registry(*USUAL)))
    by_node = {sample.nodes[0]: sample for sample in fp32.samples}
    n = 16 * MIB
    assert [kernel.pattern for kernel in by_node["gemm_512"].kernels] == ["MatMul", "Mul", "Mul", "Add", "Copy"]
    assert [kernel.pattern for kernel in by_node["axpy_1000000"].kernels] == ["Mul", "Add", "Copy"]
    assert [kernel.pattern for kernel in by_node[f"triad_{n}"].kernels] == ["Mul", "Add"]
    (gemm, *_), (gemv, *_) = by_node["gemm_512"].kernels, by_node["gemv_2048"].kernels
    assert (type(gemm.main), gemm.flops, gemm.bytes) == (Gemm, 2 * 512**3, 3 * 512**2 * 4)
    assert (gemv.flops, gemv.bytes) == (2 * 2048**2, (2048**2 + 2 * 2048) * 4)
    (copy,), (add,), (dot,) = by_node[f"copy_{n}"].kernels, by_node[f"add_{n}"].kernels, by_node["dot_1000000"].kernels
    assert (type(copy.main), copy.bytes) == (Copy, 2 * 64 * MIB)
    assert (type(add.main), add.bytes) == (Elementwise, 3 * 64 * MIB)
    assert (type(dot.main), dot.flops) == (Reduction, 2 * 10**6)
    assert by_node["gemm_512"].seconds.mean == pytest.approx(0.7856e-3)
    assert by_node["gemm_512"].seconds.n == 10


def test_a_precision_without_a_unit_is_measured_against_what_computes_it(tmp_path: Path) -> None:
    _, fp16 = read_microbenchmarks(
        written(tmp_path, registry(*USUAL)), load_target("intel-core-i7-12700k:pytorch-eager")
    )
    assert "no fp16 arithmetic: shares are of its fp32 peak" in fp16.notes
    assert "STREAM's bandwidths are of fp32 arrays" in fp16.notes
    assert [sample.nodes[0] for sample in fp16.samples] == ["gemm_512"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (times(1.0, 2 * 512**3, mean_latency_ms=0.0), "no time, or one of zero or below"),
        (times(1.0, 2 * 512**3, mean_latency_ms=-1.0), "no time, or one of zero or below"),
        (times(1.0, 2 * 512**3, std_latency_ms=None), "no time, or one of zero or below"),
        (times(1.0, 2 * 512**3, std_latency_ms=1.4), "a spread wider than the time"),
        (times(1.0, 2 * 512**3, min_latency_ms=1.5), "a mean outside its range"),
        (times(1.0, 2 * 512**3 * 1000), "a rate that its own size and time do not give"),
        ({"supported": False, "failure_reason": "timeout"}, "not supported or timed out"),
    ],
)
def test_rows_that_nobody_can_have_measured_are_left_out_and_counted(tmp_path: Path, row: dict, reason: str) -> None:
    (fp32, *_) = read_microbenchmarks(written(tmp_path, registry(*USUAL, blas("gemm", 1024, fp32=row))))
    assert "gemm_1024" not in {sample.nodes[0] for sample in fp32.samples}
    assert f"1 ({reason})" in fp32.notes
    assert "2 (tf32 on a CPU, which is fp32)" in fp32.notes


def test_a_file_of_another_power_mode_or_device_is_refused(tmp_path: Path) -> None:
    orin = registry(*USUAL, device_type="cuda", gpu_clock={"power_mode_name": "MODE_30W"})
    path = written(tmp_path, orin)
    assert read_microbenchmarks(path, load_target("jetson-orin-agx:pytorch-eager@30W"))[0].setting.mode == "30W"
    with pytest.raises(CalibrationError, match="was measured in power mode 30W"):
        read_microbenchmarks(path, load_target("jetson-orin-agx:pytorch-eager"))
    with pytest.raises(CalibrationError, match="was measured on a GPU"):
        read_microbenchmarks(path, load_target("intel-core-i7-12700k:pytorch-eager"))


def test_without_a_target_the_file_s_own_peaks_count(tmp_path: Path) -> None:
    (fp32,) = read_microbenchmarks(written(tmp_path, registry(*USUAL)))
    assert fp32.curves["matmul"].data_points[1].efficiency_mean == pytest.approx(2 * 2048**3 / 23.92e-3 / 1.28e12)
    assert fp32.hardware_id == "12th-gen-intel-r-core-tm-i7-12700k"
    assert "1 (no peak for fp16)" in fp32.notes


@pytest.mark.parametrize("body", [{}, [], {"metadata": {}}, registry(), registry(blas("gemm", 8))])
def test_what_is_no_such_file_is_refused(tmp_path: Path, body: object) -> None:
    with pytest.raises(CalibrationError, match=r"registry\.json: "):
        read_microbenchmarks(written(tmp_path, body))


# -- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["model,latency_ms\nresnet18,12.5\nvgg16,0.25\n", "\ufeffModel, latency_us, by\nresnet18,12500,x\n\nvgg16,250,y\n",
     'latency,unit,model\n12.5,ms,"resnet18"\n250,us,vgg16\n', "model,seconds\r\nresnet18,0.0125\r\nvgg16,2.5e-4\r\n"],
    ids=["ms", "us", "unit", "seconds"],
)  # fmt: skip
def test_latencies_are_read_in_seconds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "latencies.csv"
    path.write_bytes(text.encode())
    assert read_latencies(path) == {"resnet18": pytest.approx(0.0125), "vgg16": pytest.approx(0.00025)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns model and one of"),
        ("model,time\na,1\n", "expected the columns model and one of"),
        ("model,latency\na,1\n", "has no unit"),
        ("model,latency_ms,latency_s\na,1,2\n", "expected the columns"),
        ("model,latency,unit\na,1,min\n", 'row 2: unknown unit "min"'),
        ("model,latency_ms\na,0\n", "row 2: expected a latency above zero, got 0"),
        ("model,latency_ms\na,1\nb,-3\n", "row 3: expected a latency above zero"),
        ("model,latency_ms\na,nan\n", "row 2: expected a latency above zero"),
        ("model,latency_ms\na,inf\n", "row 2: expected a latency above zero"),
        ("model,latency_ms\na,fast\n", 'row 2: expected a latency, got "fast"'),
        ("model,latency_s\na,1e6\n", "more than a day"),
        ("model,latency_ms\na,1\na,2\n", 'row 3: the model "a" is given twice'),
        ("model,latency_ms\n,1\n", "has no name"),
        ("model,latency_ms\na,1,2\n", "row 2: 3 cells under 2 columns"),
        ("model,latency_ms\n", "no latency in it"),
        ('model,latency_ms\n"a,1\n', "not a CSV file"),
    ],
)
def test_a_csv_that_makes_no_sense_is_refused_with_the_row(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "latencies.csv"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"latencies\.csv: .*" + message.replace("(", r"\(")):
        read_latencies(path)


# -- onnxruntime ------------------------------------------------------------------------------------------------------


def node(name: str, op_type: str, microseconds: object) -> dict:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": op_type}}


def run(*nodes: dict, whole: int = 100) -> list[dict]:
    return [*nodes, {"cat": "Session", "name": "SequentialExecutor::Execute", "dur": whole - 5, "args": {}},
            {"cat": "Session", "name": "model_run", "dur": whole, "args": {}}]  # fmt: skip


def test_a_profile_s_nodes_have_one_time_for_each_run_after_warming_up(tmp_path: Path) -> None:
    start = [{"cat": "Session", "name": "session_initialization", "dur": 4000, "args": {}}]
    runs = [run(node("mm", "MatMul", d), node("relu", "Relu", 0), whole=d + 10) for d in (900, 20, 22, 21)]
    path = written(tmp_path, start + [event for one in runs for event in one])
    executed = read_runtime_profile(path, {"mm": (("x",), ("y",))})
    assert [(one.name, one.op_type, one.inputs, one.outputs) for one in executed.nodes] == [
        ("mm", "MatMul", ("x",), ("y",)), ("relu", "Relu", (), ()),
    ]  # fmt: skip
    assert executed.nodes[0].seconds == pytest.approx((20.5e-6, 22.5e-6, 21.5e-6))
    assert all(0 < time < 1e-6 for time in executed.nodes[1].seconds)
    assert executed.end_to_end == pytest.approx((30.5e-6, 32.5e-6, 31.5e-6))
    once = written(tmp_path, runs[0])
    assert read_runtime_profile(once).nodes[0].seconds == pytest.approx((900.5e-6,))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({}, "expected a list of events"),
        ([], "no run of a model"),
        (run(), "no run of a model"),
        ([node("mm", "MatMul", 3)], "no run of a model"),
        (run(node("mm", "MatMul", -3)), r"\[0\]\.dur: expected a whole number of at least zero, got -3"),
        (run(node("mm", "MatMul", "3")), r"\[0\]\.dur: expected a whole number"),
        (
            [*run(node("a", "Relu", 1)), *run(node("a", "Relu", 1)), *run(node("b", "Relu", 1))],
            "run 3 executed other nodes",
        ),
        ([3], r"\[0\]: expected an object"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, events: object, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        read_runtime_profile(written(tmp_path, events))


def test_onnxruntime_s_own_profile_is_read(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    import onnxruntime

    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 17]> g (float[64, 64] x) => (float[64, 64] z) '
        "{ y = MatMul(x, x) z = Softmax(y) }"
    )
    for one in made.graph.node:
        one.name = one.op_type.lower()
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix, options.intra_op_num_threads = True, str(tmp_path / "p"), 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for _ in range(4):
        session.run(None, {"x": np.ones((64, 64), np.float32)})
    executed = read_runtime_profile(Path(session.end_profiling()))
    assert [(one.name, one.op_type, len(one.seconds)) for one in executed.nodes] == [
        ("matmul", "MatMul", 3),
        ("softmax", "Softmax", 3),
    ]
    assert 0 < executed.seconds < sum(executed.end_to_end)
