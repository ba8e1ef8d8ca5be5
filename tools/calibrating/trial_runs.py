"""Measuring models as a whole and predicting them from their files: what ``validate`` compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep

from ...api import run as run_pipeline
from ...calibration.errors import CalibrationError
from ...calibration.kernel import Kernel
from ...calibration.measure.profile import join
from ...calibration.measure.reference import Monitor
from ...calibration.measure.runner import UnsteadyError
from ...calibration.sample import Sample
from ...calibration.trials import Trial, kernel_times
from ...calibration.validation import Compared
from ...passes.calibrate import described, together
from ...passes.cost import Cost
from ...passes.report import Report
from ...targets import Target
from .evidence import Scalar, speed_of
from .machine import Bench
from .models import Named, graph_of, label_of, title_of

__all__ = ["Measured", "Predicted", "compared", "measure", "monitor_of", "predict"]

_PIPELINE = "fuse,lower,cost"
_LEAST_ALLOWED, _ALLOWANCE = 2.0, 6.0
"""Seconds for a model's runs: at least so many, or so many times the predicted time of the runs asked for, since each
is run with the profiler too, and predictions may be short."""

_ATTEMPTS = 4
_PATIENCE, _DOZE = 10.0, 0.2


@dataclass(frozen=True, slots=True)
class Predicted:
    """A model and what the evidence says of it: the report that graphs-opt prints."""

    model: Named
    report: Report

    @property
    def name(self) -> str:
        """What samples call it."""
        return title_of(self.model)

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


def predict(model: Named, target: Target, precision: str | None) -> Predicted:
    """Predict a model from its file, or as it was captured, as ``graphs-opt`` does.

    Raises:
        GraphsError: the model cannot be read, or something in it has no known work, so that no time can be predicted.
    """
    report = run_pipeline(_PIPELINE, graph_of(model), target, precision, {"*": 1}, in_place=True)
    if report.total.unknown:
        first = report.total.unknown[0]
        raise CalibrationError(
            f'{label_of(model)}: {first.operator} "{first.name}" cannot be predicted: {first.reason}'
        )
    if not report.total.seconds:
        raise CalibrationError(f"{label_of(model)}: nothing in it takes any time")
    return Predicted(model, report)


def monitor_of(ready: Bench, evidence: Mapping[str, Scalar]) -> Monitor:
    """Return what watches the machine's speed, against that of the time when the evidence was measured, if it says.

    Times are then those of a machine as fast as it was, and errors are the prediction's, not the neighbours'.
    """
    return Monitor.starting(ready.reference, speed_of(evidence), ready.runner.on_processor)


def measure(
    model: Predicted, ready: Bench, monitor: Monitor, runs: int, target: Target, told: Callable[[str], None]
) -> Measured:
    """Run a model until there are ``runs`` runs at a steady speed.

    ``told`` hears of measurements that were thrown away.

    Raises:
        CalibrationError: the runtime cannot run it, or the machine's speed does not come to rest.
    """
    allowed, refusal = max(_LEAST_ALLOWED, _ALLOWANCE * runs * model.seconds), ""
    for _ in range(_ATTEMPTS):
        _wait_for_calm(monitor)
        monitor.begin()
        try:
            executed = ready.runner.execute(model.model, allowed, fewest=runs, pause=monitor.pause)
        except UnsteadyError as error:
            refusal = str(error)
        else:
            drift = monitor.drift()
            refusal = drift.refusal
            if not refusal:
                joined = join(executed, described(model.report.graph, target), model.name, drift.factor)
                return Measured(joined.end_to_end, joined.samples)
        told(f"{label_of(model.model)}: measured again: {refusal}")
    raise CalibrationError(f"{label_of(model.model)}: cannot be measured: {refusal}",
                           help="something else uses this machine: try when it is idle")  # fmt: skip


def _wait_for_calm(monitor: Monitor) -> None:
    """Let a slow spell of the machine pass, if it does within some seconds."""
    until = perf_counter() + _PATIENCE
    while not monitor.calm() and perf_counter() < until:
        sleep(_DOZE)


def compared(pairs: Sequence[tuple[Predicted, Measured]]) -> Trial:
    """Return predictions beside measurements, of models and of their kernels of 20 µs and more."""
    models: list[Compared] = []
    kernels: list[Compared] = []
    for predicted, measured in pairs:
        name, total = predicted.name, predicted.report.total
        assert total.seconds_low is not None and total.seconds_high is not None
        models.append(Compared(name, predicted.seconds, total.seconds_low, total.seconds_high,
                               measured.end_to_end.seconds.median, name))  # fmt: skip
        kernels += _kernels(name, predicted.report, measured)
    return Trial(tuple(models), tuple(kernels), ())


def _kernels(model: str, report: Report, measured: Measured) -> list[Compared]:
    assert report.context is not None
    graph, target = report.graph, report.context.target
    costs: dict[Kernel, Cost] = {together(op, graph, target): op.facts[Cost] for op in graph.body}
    found = []
    for sample, seconds in kernel_times([*measured.kernels, measured.end_to_end]):
        (kernel,) = sample.kernels
        cost, name = costs[kernel], sample.nodes[0] if sample.nodes else kernel.pattern
        found.append(Compared(name, cost.seconds, cost.low, cost.high, seconds, model, kernel.operation_type,
                              kernel.pattern))  # fmt: skip
    return found
