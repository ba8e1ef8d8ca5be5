"""A made-up machine for tests of graphs-calibrate: nodes take what a formula says, and its speed is set by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from measuring import ENVIRONMENT, Speed
from onnx import TensorProto, helper, numpy_helper

from graphs.calibration.measure import campaign, reference
from graphs.calibration.measure.environment import Environment, machine_id
from graphs.calibration.measure.executed import Executed, ExecutedNode
from graphs.calibration.suite import Benchmark
from graphs.calibration.suite.benchmark import Caches
from graphs.calibration.suite.blas import blas
from graphs.targets import Target
from graphs.tools.calibrating.machine import Bench

RATE = 1e10
"""FLOP/s of the made-up machine."""

LAUNCH = 2e-6


class FakeRunner:
    """Runs nothing: every node takes its launch and its work at the machine's rate, times ``slower``."""

    runtime, on_processor = "onnxruntime-cpu", False

    def __init__(self) -> None:
        self.slower = 1.0
        self.ran: list[str] = []
        self.killed_at = 0
        self.interrupted_at = 0
        self.unsteady: set[str] = set()

    def execute(
        self,
        model: onnx.ModelProto | Path,
        allowed: float,
        *,
        end_to_end: bool = True,
        fewest: int = 9,
        pause: Callable[[], bool] = lambda: True,
    ) -> Executed:
        loaded = onnx.load(model) if isinstance(model, Path) else model
        name = model.stem if isinstance(model, Path) else loaded.graph.name
        self.ran.append(name)
        if len(self.ran) == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(self.ran) == self.interrupted_at:
            raise KeyboardInterrupt
        if name in self.unsteady:
            raise campaign.UnsteadyError("disturbed")
        pause()
        assert pause()
        shapes = _shapes(loaded)
        nodes = tuple(
            ExecutedNode(node.op_type, node.name, tuple(node.input), tuple(node.output),
                         tuple(self._seconds(node, shapes) * factor for factor in np.linspace(0.99, 1.01, fewest)))
            for node in loaded.graph.node
        )  # fmt: skip
        whole = sum(node.statistics.median for node in nodes)
        return Executed(nodes, tuple(whole * factor for factor in np.linspace(0.99, 1.01, fewest)))

    def _seconds(self, node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> float:
        inputs = [shapes[name] for name in node.input if name in shapes]
        work = 2.0 * float(np.prod(inputs[0])) * (inputs[1][-1] if node.op_type == "MatMul" else 1.0)
        return self.slower * (LAUNCH + work / RATE)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        found[info.name] = tuple(dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim)
    return found


def install_bench(patch: pytest.MonkeyPatch) -> FakeRunner:
    """Put the made-up machine in the place of this one, and a short suite in that of the whole one."""
    runner = FakeRunner()
    environment = Environment(**{**_fields(ENVIRONMENT), "machine": machine_id("onnxruntime-cpu")})

    @contextmanager
    def bench(target: Target) -> Iterator[Bench]:
        yield Bench(runner, Speed(), environment, 1)

    for module in ("measuring", "validating"):
        patch.setattr(f"graphs.tools.calibrating.{module}.bench", bench)
    patch.setattr("graphs.tools.calibrating.measuring.suite", short_suite)
    patch.setattr(reference, "BASELINE_SECONDS", 0.0)
    patch.setattr(reference.Monitor.starting, "__defaults__", (None, True, 0.0))
    patch.setattr(campaign.Campaign, "baseline_seconds", 0.0)
    patch.setattr(campaign.Campaign.__init__, "__defaults__", _without_baseline())
    return runner


def _fields(environment: Environment) -> dict[str, object]:
    return {name: getattr(environment, name) for name in environment.__slots__}


def _without_baseline() -> tuple[object, ...]:
    return tuple(0.0 if value == 3.0 else value for value in campaign.Campaign.__init__.__defaults__ or ())


def short_suite(*_: object, **__: object) -> list[Benchmark]:
    """Matrix products and vectors of linear algebra, the short ones."""
    return [one for one in blas("onnxruntime", "fp32", Caches()) if one.weight_bytes + one.bytes < 1 << 20]


def perceptron(path: Path, *widths: int) -> Path:
    """Write a network of matrix products and activations, and return its file."""
    generator = np.random.default_rng(0)
    names = [f"h{i}" for i in range(len(widths))]
    nodes, weights = [], []
    for i, (before, after) in enumerate(pairwise(widths)):
        weights.append(numpy_helper.from_array(generator.random((before, after), dtype=np.float32), f"w{i}"))
        last = i == len(widths) - 2
        product = names[i + 1] if last else f"m{i}"
        nodes.append(helper.make_node("MatMul", [names[i], f"w{i}"], [product], f"product{i}"))
        if not last:
            nodes.append(helper.make_node("Relu", [product], [names[i + 1]], f"relu{i}"))
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [32, widths[0]])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [32, widths[-1]])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
