"""What tests of measuring share: a setting, a machine whose speed is set by hand, a runner on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel
from graphs.calibration.measure.campaign import Campaign
from graphs.calibration.measure.described import Described
from graphs.calibration.measure.environment import Environment
from graphs.calibration.measure.executed import Executed, ExecutedNode
from graphs.calibration.measure.reference import Reading
from graphs.calibration.measure.runner import UnsteadyError
from graphs.calibration.measure.samples_writer import SamplesWriter
from graphs.calibration.measure.statistics import statistics
from graphs.calibration.sample import Sample, Setting
from graphs.frontends.onnx import load_onnx
from graphs.ir import DType
from graphs.ir.primitives import Gemm
from graphs.passes.base import Context
from graphs.passes.calibrate import described
from graphs.passes.manager import PassManager, parse_passes
from graphs.targets import load_target

SETTING = Setting("host", "onnxruntime-cpu", "1-thread", "fp32")
ENVIRONMENT = Environment(
    "box-2c-0123456789",
    "a box",
    2,
    (1,),
    1,
    "",
    2.7e9,
    True,
    1 << 34,
    "Linux 6",
    "3.11",
    ("numpy 2",),
    0.1,
    "2026-11-21",
)


class Speed:
    """A machine whose slowness is set by hand, and its reference."""

    def __init__(self) -> None:
        self.arithmetic = self.memory = 1.0
        self.handover = self.now = 0.0

    def read(self) -> Reading:
        self.now += 0.01
        return Reading(self.now, 2e-4 * self.arithmetic, 1e-3 * self.memory, self.handover)


def kernel(n: int = 64) -> Kernel:
    return Kernel("MatMul", (Gemm(n, n, n, DType.F32),), 4 * n * n, 4 * n * n, 4 * n * n)


def sample(seconds: float = 1e-3, n: int = 64) -> Sample:
    return Sample((kernel(n),), statistics([seconds] * 7), "microbenchmark", "gemm", ("node",), 1.01)


class Toy:
    """A benchmark of a toy model."""

    def __init__(self, name: str, seconds: float = 1.0, group: str = "blas", fails: str = "") -> None:
        self.name, self.seconds, self.group, self.precision, self.fails = name, seconds, group, "fp32", fails
        self.model = name

    def build(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.graph.name = self.name
        model.doc_string = self.fails
        return model


class ToyRunner:
    """A runner on a clock of its own: each model takes two seconds of it."""

    runtime, on_processor = "onnxruntime-cpu", False

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []
        self.allowed: list[float] = []
        self.unsteady: dict[str, int] = {}

    def execute(
        self,
        model: onnx.ModelProto | Path,
        allowed: float,
        *,
        end_to_end: bool = True,
        fewest: int = 9,
        pause: Callable[[], bool] = lambda: True,
    ) -> Executed:
        assert isinstance(model, onnx.ModelProto)
        self.now += 2.0
        self.ran.append(model.graph.name)
        self.allowed.append(allowed)
        pause()
        assert pause()
        if model.doc_string:
            raise {"memory": MemoryError(), "stop": KeyboardInterrupt()}.get(
                model.doc_string, CalibrationError(model.doc_string)
            )
        if self.unsteady.get(model.graph.name, 0) > 0:
            self.unsteady[model.graph.name] -= 1
            raise UnsteadyError("disturbed")
        return Executed((ExecutedNode("MatMul", "node", (), ("y",), (1e-3,) * 9),), (1.1e-3,) * 9)


def campaign(path: Path, runner: ToyRunner, budget: float = 1e6, **options: object) -> Campaign:
    rows = [Described(kernel(), ("y",), ("node",))]
    writer = SamplesWriter(path, SETTING, ENVIRONMENT)
    made = {"clock": lambda: runner.now, "baseline_seconds": 0.0, **options}
    return Campaign(runner, Speed(), lambda model: rows, writer, budget, **made)  # type: ignore[arg-type]  # of several types


def small_model() -> onnx.ModelProto:
    """A network with convolutions in the blocked layout, a residual, a matrix product with bias, and a softmax."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.standard_normal(shape, dtype=np.float32) / 8, name)

    rows = [
        ("Conv", ["x", "w1", "b1"], "c1", {"pads": [1] * 4}), ("Relu", ["c1"], "r1", {}),
        ("Conv", ["r1", "w2", "b1"], "c2", {"pads": [1] * 4}), ("Add", ["c2", "r1"], "s", {}),
        ("Relu", ["s"], "r2", {}), ("MaxPool", ["r2"], "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Transpose", ["p"], "t", {"perm": [0, 2, 3, 1]}), ("Reshape", ["t", "shape"], "v", {}),
        ("MatMul", ["v", "w3"], "m", {}), ("Add", ["m", "b3"], "a", {}), ("Softmax", ["a"], "y", {"axis": -1}),
    ]  # fmt: skip
    nodes = [helper.make_node(op, ins, [out], f"node_{out}", **attributes) for op, ins, out, attributes in rows]
    weights = [
        weight("w1", 32, 3, 3, 3),
        weight("b1", 32),
        weight("w2", 32, 32, 3, 3),
        weight("w3", 32, 48),
        weight("b3", 48),
    ]
    weights.append(numpy_helper.from_array(np.array([1, 256, 32], np.int64), "shape"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 256, 48])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def kernels_of(model: onnx.ModelProto, target: str = "host@1-thread") -> Sequence[Described]:
    graph, loaded = load_onnx(model), load_target(target)
    PassManager(parse_passes("fuse,lower")).run(graph, Context(loaded, None, {"*": 1}))
    return described(graph, loaded)
