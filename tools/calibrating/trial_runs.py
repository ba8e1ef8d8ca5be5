"""Measuring models as a whole and predicting them from their files: what ``validate`` compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...api import run as run_pipeline
from ...calibration.errors import CalibrationError
from ...calibration.kernel import Kernel
from ...calibration.measure.executed import Executed
from ...calibration.measure.profile import join
from ...calibration.measure.reference import Reading, Reference, baseline_of, drift
from ...calibration.measure.runner import Runner
from ...calibration.sample import Sample
from ...calibration.trials import LEAST_SECONDS, Trial
from ...calibration.validation import Compared
from ...frontends import load
from ...ir import Graph
from ...passes.calibrate import described, kernel_of
from ...passes.cost import Cost
from ...passes.report import Report
from ...targets import Target

__all__ = ["Measured", "Predicted", "compared", "measure", "predict"]

_PIPELINE = "fuse,lower,cost"
_LEAST_ALLOWED = 1.0
_PROFILED_TOO = 2.5
"""A run's time is spent this often: once plain, once with the profiler, and what is between."""
_ATTEMPTS = 4
_BASELINE_READINGS = 5


@dataclass(frozen=True, slots=True)
class Predicted:
    """A model and what the evidence says of it: the report that graphs-opt prints."""

    path: Path
    report: Report

    @property
    def seconds(self) -> float:
        """Predicted latency."""
        assert self.report.total.seconds is not None
        return self.report.total.seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model took: whole runs, and the kernels that could be told apart, at the machine's baseline speed."""

    end_to_end: Sample
    kernels: tuple[Sample, ...]


def predict(path: Path, target: Target, precision: str | None) -> Predicted:
    """Predict a model from its file, as ``graphs-opt`` does.

    Raises:
        GraphsError: the model cannot be read, or something in it has no known work, so that no time can be predicted.
    """
    report = run_pipeline(_PIPELINE, load(path), target, precision, {"*": 1}, in_place=True)
    if report.total.unknown:
        first = report.total.unknown[0]
        raise CalibrationError(f'{path}: {first.operator} "{first.name}" cannot be predicted: {first.reason}')
    if not report.total.seconds:
        raise CalibrationError(f"{path}: nothing in it takes any time")
    return Predicted(path, report)


class Machine:
    """The machine's speed: a baseline, and how far it is from that while something is measured."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._during: list[Reading] = []
        self.baseline = baseline_of([reference.read() for _ in range(_BASELINE_READINGS)])

    def read(self) -> None:
        """Take a reading."""
        self._during.append(self._reference.read())

    def start(self) -> None:
        """Begin with a fresh reading."""
        self._during = []
        self.read()

    def factor(self) -> tuple[float, str]:
        """Return how much slower than at the baseline it was since :meth:`start`, and why that cannot be used."""
        self.read()
        found = drift(self.baseline, self._during)
        return found.factor, found.refusal


def measure(
    model: Predicted, runner: Runner, machine: Machine, runs: int, target: Target, told: Callable[[str], None]
) -> Measured:
    """Run a model until there are ``runs`` runs at a steady speed.

    ``told`` hears of measurements that were thrown away.

    Raises:
        CalibrationError: the runtime cannot run it, or the machine's speed does not come to rest.
    """
    refusal = ""
    for _ in range(_ATTEMPTS):
        machine.start()
        executed = _executed(model, runner, machine, runs)
        factor, refusal = machine.factor()
        if not refusal:
            rows = described(model.report.graph, target)
            joined = join(executed, rows, model.path.stem, factor)
            return Measured(joined.end_to_end, joined.samples)
        told(f"{model.path.name}: measured again: {refusal}")
    raise CalibrationError(f"{model.path}: cannot be measured: {refusal}",
                           help="something else uses this machine: try when it is idle")  # fmt: skip


def _executed(model: Predicted, runner: Runner, machine: Machine, runs: int) -> Executed:
    """As many runs as are asked for, in as few sessions as that takes."""
    done: list[Executed] = []
    allowed = max(_LEAST_ALLOWED, runs * _PROFILED_TOO * model.seconds)
    while sum(len(one.end_to_end) for one in done) < runs and len(done) < _ATTEMPTS:
        done.append(runner.execute(model.path, allowed, pause=machine.read))
    times = tuple(time for one in done for time in one.end_to_end)
    return Executed(done[0].nodes, times)


def compared(pairs: Sequence[tuple[Predicted, Measured]], target: Target) -> Trial:
    """Return predictions beside measurements, of models and of their kernels of 20 µs and more."""
    models: list[Compared] = []
    kernels: list[Compared] = []
    for predicted, measured in pairs:
        name, total = predicted.path.stem, predicted.report.total
        assert total.seconds_low is not None and total.seconds_high is not None
        models.append(Compared(name, predicted.seconds, total.seconds_low, total.seconds_high,
                               measured.end_to_end.seconds.median, name))  # fmt: skip
        kernels += _kernels(name, predicted.report.graph, measured.kernels)
    return Trial(tuple(models), tuple(kernels), ())


def _kernels(model: str, graph: Graph, samples: Sequence[Sample]) -> list[Compared]:
    costs: dict[Kernel, Cost] = {kernel_of(op, graph): op.facts[Cost] for op in graph.body}
    found = []
    for sample in samples:
        if len(sample.kernels) != 1 or sample.seconds.median < LEAST_SECONDS:
            continue
        (kernel,) = sample.kernels
        cost, name = costs[kernel], sample.nodes[0] if sample.nodes else kernel.pattern
        found.append(Compared(name, cost.seconds, cost.low, cost.high, sample.seconds.median, model,
                              kernel.operation_type, kernel.pattern))  # fmt: skip
    return found
