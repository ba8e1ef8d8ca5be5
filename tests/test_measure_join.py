"""Runners on a small real model, and what they executed joined to our kernels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from measuring import kernels_of, small_model
from onnx import numpy_helper

from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel
from graphs.calibration.measure.described import Described
from graphs.calibration.measure.executed import Executed, ExecutedNode
from graphs.calibration.measure.onnxruntime import OnnxRuntime, executed_nodes, read_events
from graphs.calibration.measure.profile import join
from graphs.calibration.measure.runner import UnsteadyError
from graphs.calibration.measure.statistics import statistics
from graphs.calibration.measure.weights import made_up_inputs, runnable
from graphs.ir import DType
from graphs.ir.primitives import Elementwise


def test_executed_time_is_conserved_by_the_join() -> None:
    model = small_model()
    executed = OnnxRuntime(1).execute(model, 0.3)
    rows = kernels_of(model)
    joined = join(executed, rows, "small", 1.25)
    assert sum(one.seconds.median for one in joined.samples) == pytest.approx(executed.seconds / 1.25)
    assert joined.matched_share == 1.0 and not joined.unexecuted
    patterns = [tuple(one.pattern for one in sample.kernels) for sample in joined.samples]
    assert sorted(patterns) == sorted((row.kernel.pattern,) for row in rows)
    assert {"Conv_Relu", "MatMul_Add", "Softmax"} <= {name for (name,) in patterns}
    first = next(one for one in joined.samples if "node_c1" in one.nodes)
    assert first.nodes == ("node_c1", "node_r1") and first.drift == 1.25 and first.source == "profile"
    assert joined.end_to_end.kernels == tuple(row.kernel for row in rows)
    assert len(executed.end_to_end) >= 9 and joined.end_to_end.source == "network"


def test_blocks_that_do_not_count_are_left_out() -> None:
    asked = []

    def pause() -> bool:
        asked.append(1)
        return len(asked) % 2 == 0

    executed = OnnxRuntime(1).execute(small_model(), 0.2, pause=pause)
    assert len(executed.nodes[0].seconds) == len(executed.end_to_end) > 0 and len(asked) >= 3
    with pytest.raises(UnsteadyError):
        OnnxRuntime(1).execute(small_model(), 0.05, pause=lambda: False)


def test_the_profiler_s_own_time_is_known() -> None:
    assert 0.2e-6 < OnnxRuntime(1).profiler_seconds < 50e-6


def test_the_profiler_s_own_time_is_taken_off_each_node() -> None:
    """Were it a second, nothing but the tenth that is always left would remain of any node."""
    runner = OnnxRuntime(1)
    runner.__dict__["profiler_seconds"] = 1.0
    executed = runner.execute(small_model(), 0.1)
    assert executed.seconds < 0.5 * statistics(executed.end_to_end).median


def test_a_model_that_cannot_run_is_named() -> None:
    model = small_model()
    model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(CalibrationError, match=r"onnxruntime: .*NoSuchOperator"):
        OnnxRuntime(1).execute(model, 0.1)
    with pytest.raises(CalibrationError, match="no device 'tpu'"):
        OnnxRuntime(1, "tpu")


def test_missing_weights_are_made_up_and_stay_where_they_belong(tmp_path: Path) -> None:
    model = small_model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").rename(tmp_path / "gone.bin")
    with runnable(tmp_path / "m.onnx") as loadable:
        assert isinstance(loadable, str) and Path(loadable).parent != tmp_path
        loaded = onnx.load(loadable)
        weights = {one.name: numpy_helper.to_array(one) for one in loaded.graph.initializer}
    assert not Path(loadable).exists() and not (tmp_path / "w.bin").exists()
    assert weights["w2"].std() == pytest.approx(1 / math.sqrt(32 * 9), rel=0.1)
    assert np.all((weights["b1"] >= 0.5) & (weights["b1"] <= 0.55)) and np.abs(weights["w2"]).min() > 1e-6
    (tmp_path / "gone.bin").rename(tmp_path / "w.bin")
    with runnable(tmp_path / "m.onnx") as loadable:
        assert loadable == str(tmp_path / "m.onnx")
    assert made_up_inputs(model, {"batch": 3})["x"].shape == (3, 3, 32, 32)
    assert made_up_inputs(model)["x"].shape == (1, 3, 32, 32)


def test_profiles_that_are_broken_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    for content in ('[{"name": "a"', "{}", "[1]", "\x00"):
        path.write_text(content)
        with pytest.raises(CalibrationError, match=r"p\.json: not"):
            read_events(path)
    event = {"cat": "Node", "name": "n_kernel_time", "args": {"op_name": "Relu"}}
    with pytest.raises(CalibrationError, match="no duration"):
        executed_nodes([{**event, "dur": -1}], [])
    (found,) = executed_nodes([{**event, "dur": 9}, {**event, "dur": 3}], [])
    assert found.op_type == "Relu" and found.seconds == (3.5e-6,)


# -- joining ---------------------------------------------------------------------------------------------------------


def node(op_type: str, name: str, inputs: str, outputs: str, seconds: float) -> ExecutedNode:
    return ExecutedNode(op_type, name, tuple(inputs.split()), tuple(outputs.split()), (seconds,) * 7)


def row(pattern: str, operands: str, results: str, nodes: str) -> Described:
    work = (Elementwise(64, 1, DType.F32),)
    return Described(
        Kernel(pattern, work, 0, 256, 256), tuple(results.split()), tuple(nodes.split()), tuple(operands.split())
    )


def test_inserted_nodes_go_with_the_kernel_they_serve() -> None:
    executed = Executed(
        (
            node("ReorderInput", "ReorderInput_1", "x", "t0", 1e-6),
            node("Conv", "relu_nchwc", "t0", "t1", 8e-6),
            node("ReorderOutput", "ReorderOutput_2", "t1", "relu", 2e-6),
            node("Reshape", "gemm_input_reshape", "relu", "t2", 1e-7),
            node("Gemm", "node_mm/MatMulAddFusion", "t2", "t3", 5e-6),
            node("Reshape", "gemm_output_reshape", "t3", "y", 1e-7),
        ),
        (2e-5,) * 7,
    )
    joined = join(
        executed,
        [row("Conv_Relu", "x", "c relu", "node_c node_relu"), row("MatMul_Add", "relu", "m y", "node_mm node_y")],
        "m",
    )
    assert [one.seconds.median for one in joined.samples] == pytest.approx([11e-6, 5.2e-6])
    assert joined.matched_share == 1.0
    assert [(one.name, found.kernel.pattern) for one, found in joined.placed] == [
        ("ReorderInput_1", "Conv_Relu"), ("gemm_input_reshape", "MatMul_Add"),
    ]  # fmt: skip


def test_a_node_without_a_name_is_found_between_its_neighbours() -> None:
    executed = Executed(
        (
            node("Relu", "a", "x", "a", 1e-6),
            node("Transpose", "Transpose_token_5", "a", "t9", 7e-6),
            node("Softmax", "s", "t9", "s", 2e-6),
        ),
        (1e-5,) * 7,
    )
    rows = [row("Relu", "x", "a", "a"), row("Transpose", "a", "moved", "moved"), row("Softmax", "moved", "s", "s")]
    joined = join(executed, rows, "m")
    assert [one.seconds.median for one in joined.samples] == pytest.approx([1e-6, 7e-6, 2e-6])
    assert joined.matched_share == pytest.approx(0.3)


def test_a_reorder_back_goes_with_its_maker_and_a_moved_transpose_with_its_own_kernel() -> None:
    executed = Executed(
        (
            node("Conv", "c_nchwc", "x", "t0", 4e-6),
            node("ReorderOutput", "ReorderOutput_3", "t0", "t1", 3e-6),
            node("Relu", "node_r", "t1", "t2", 1e-6),
            node("Reshape", "node_v", "t2", "t3", 1e-7),
            node("Transpose", "Transpose_token_7", "t3", "v", 9e-6),
        ),
        (1e-5,) * 7,
    )
    rows = [
        row("Conv", "x", "c", "node_c"),
        row("Relu", "c", "r", "node_r"),
        row("Transpose", "r", "t", "node_t"),
        row("Softmax", "t", "v", "node_v"),
    ]
    joined = join(executed, rows, "m")
    found = {one.pattern: made.seconds.median for made in joined.samples for one in made.kernels}
    assert found == pytest.approx({"Conv": 7e-6, "Relu": 1e-6, "Transpose": 9e-6, "Softmax": 1e-7})


def test_kernels_that_ran_as_one_make_one_sample() -> None:
    """The addition ran inside the convolution that makes one operand and reads where the other one comes from."""
    executed = Executed(
        (
            node("Conv", "r_nchwc", "x", "t0", 1e-6),
            node("Conv", "c_nchwc", "t0 t0", "t1", 4e-6),
            node("Conv", "d_nchwc", "t1", "t2", 2e-6),
        ),
        (1e-5,) * 7,
    )
    rows = [
        row("Conv", "x", "r", "r"),
        row("Conv", "r", "c", "c"),
        row("Add", "c r", "s", "s"),
        row("Conv", "s", "d", "d"),
    ]
    joined = join(executed, rows, "m")
    assert [[one.pattern for one in found.kernels] for found in joined.samples] == [["Conv"], ["Conv", "Add"], ["Conv"]]
    assert [found.seconds.median for found in joined.samples] == pytest.approx([1e-6, 4e-6, 2e-6])
    assert joined.samples[1].nodes == ("c", "s")


def test_profiles_of_another_model_are_refused() -> None:
    executed = Executed((node("Relu", "z", "x", "zz", 1e-6),), (1e-5,))
    with pytest.raises(CalibrationError, match="none of its 1 nodes has a name"):
        join(executed, [row("Relu", "x", "a", "a")], "m")


# -- PyTorch ---------------------------------------------------------------------------------------------------------


def test_pytorch_runs_and_joins_the_small_model() -> None:
    pytest.importorskip("torch")
    from graphs.calibration.measure.pytorch import PyTorch

    model = small_model()
    executed = PyTorch(1).execute(model, 0.1)
    joined = join(executed, kernels_of(model, "host:pytorch-eager@1-thread"), "small")
    assert [one.op_type for one in executed.nodes] == [one.op_type for one in model.graph.node]
    assert sum(one.seconds.median for one in joined.samples) == pytest.approx(executed.seconds)
    assert joined.matched_share == 1.0


def test_pytorch_refuses_what_it_has_no_function_for() -> None:
    pytest.importorskip("torch")
    from graphs.calibration.measure.pytorch import PyTorch

    model = small_model()
    model.graph.node[3].op_type = "NonMaxSuppression"
    with pytest.raises(CalibrationError, match=r'no torch function for NonMaxSuppression \(node "node_s"\)'):
        PyTorch(1).execute(model, 0.1)
