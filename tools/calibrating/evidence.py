"""From samples to evidence: curves over sizes, the estimator on top of them, and what they were measured in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import exp
from typing import TYPE_CHECKING

from ... import __version__
from ...calibration.curve import Curve
from ...calibration.errors import CalibrationError
from ...calibration.fitting import fit_curves
from ...calibration.measure.reference import Reading
from ...calibration.observations import Observation, observations_of
from ...calibration.prediction import NORMAL_95, Estimator
from ...calibration.profile import Breakdown, Profile, SourceDocument, Validation
from ...calibration.roofline import Roofline
from ...calibration.sample import Sample, Setting
from ...calibration.trials import Fitter
from ...calibration.validation import Accuracy, Compared, accuracy
from ...targets import Target

if TYPE_CHECKING:
    from ...calibration.analytic import Fitted
    from ...calibration.measure.samples_file import SamplesFile

__all__ = ["Scalar", "environment_of", "fitter", "now", "profile_of", "speed_of", "validation_of"]

_DEVICE_TYPES = {"cpu": "cpu", "gpu": "gpu", "mcu": "cpu", "npu": "kpu"}
"""Classes of devices as the published schema calls them."""

_GEMM, _STREAM, _HANDOVER = "reference_gemm_seconds", "reference_stream_seconds", "reference_handover"
"""Keys of the environment that say how fast the machine was: the times of the reference kernels, and how many times as
long as a copy handing data to another core took."""

Scalar = str | int | float | bool | None


def now() -> str:
    """The time, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment_of(file: SamplesFile) -> dict[str, Scalar]:
    """Return what samples were measured in as evidence keeps it: lists as texts, and the machine's speed."""
    found: dict[str, Scalar] = {}
    for field in dataclasses.fields(file.environment):
        value = getattr(file.environment, field.name)
        found[field.name] = ", ".join(map(str, value)) if isinstance(value, tuple) else value
    if file.typical is not None:
        usual = file.typical
        found.update({_GEMM: usual.gemm, _STREAM: usual.stream})
        found.update({_HANDOVER: usual.handover} if usual.handover else {})
    return found


def speed_of(environment: Mapping[str, Scalar]) -> Reading | None:
    """Return the machine's speed when evidence was measured, if its environment says."""
    gemm, stream, handover = (environment.get(key) for key in (_GEMM, _STREAM, _HANDOVER))
    if not isinstance(gemm, float) or not isinstance(stream, float):
        return None
    return Reading(0.0, gemm, stream, handover if isinstance(handover, float) else 0.0)


def profile_of(
    samples: Sequence[Sample],
    setting: Setting,
    target: Target,
    environment: Mapping[str, Scalar],
    sources: tuple[SourceDocument, ...] = (),
    notes: str = "",
    fitted: Fitted | None = None,
    estimate: bool = True,
    progress: Callable[[float], None] = lambda share: None,
) -> Profile:
    """Return the evidence that samples make for a setting, with an estimator that was ``fitted`` to their campaign
    where one was; curves alone where ``estimate`` is false. ``progress`` is told the share that is done.

    Raises:
        CalibrationError: there are none, or they cannot be fitted.
    """
    from ...calibration.representatives import representatives

    if not samples:
        raise CalibrationError(f"no samples of {setting.device}:{setting.runtime} in {setting.precision} to fit")
    roofline = Roofline.of(target)
    compute, memory = observations_of(samples, roofline)
    device = target.device
    estimator = _estimator(samples, roofline, fitted, progress) if estimate else {}
    return Profile(
        hardware_id=device.name,
        hardware_name=str(environment.get("cpu") or device.title),
        device_type=_DEVICE_TYPES[device.device_class],
        precision=setting.precision.upper(),
        calibration_date=now(),
        calibration_tool_version=f"graphs {__version__}",
        curves=fit_curves(compute, _peaks(samples, roofline)),
        bandwidth_curves=_bandwidth_curves(memory, target),
        notes=notes,
        setting=setting,
        environment=environment,
        samples=representatives(samples),
        validation=validation_of(accuracy(_left_out(fitted))) if fitted is not None and fitted.left_out else None,
        estimator=estimator,
        sources=sources,
    )


def _estimator(
    samples: Sequence[Sample], roofline: Roofline, fitted: Fitted | None, progress: Callable[[float], None]
) -> Mapping[str, object]:
    from ...calibration import analytic
    from ...calibration.estimator import fit

    return fit(samples, roofline, progress) if fitted is None else analytic.to_json(fitted.estimator)


def _left_out(fitted: Fitted) -> list[Compared]:
    """Networks that were left out, beside their predictions."""
    reach = exp(NORMAL_95 * fitted.estimator.shared_std)
    return [
        Compared(name, one.predicted, one.predicted / reach, one.predicted * reach, one.measured, name)
        for name, one in fitted.left_out.items()
    ]


def validation_of(models: Accuracy) -> Validation:
    """Return the block of evidence that says how accurate it proved on models."""
    grades = models.breakdown
    return Validation(models.n, 100.0 * models.mape, 100.0 * abs(models.worst),
                      Breakdown(grades.excellent, grades.good, grades.fair, grades.poor))  # fmt: skip


def _bandwidth_curves(memory: Sequence[Observation], target: Target) -> dict[str, Curve]:
    return fit_curves(memory, target.device.memories[-1].bandwidth)


def _peaks(samples: Sequence[Sample], roofline: Roofline) -> dict[str, float]:
    """The peak that each operation type's efficiency is a share of: the highest among its kernels' units."""
    peaks: dict[str, float] = {}
    for sample in samples:
        for kernel in sample.kernels:
            peak = roofline.bounds(kernel).peak
            if peak:
                peaks[kernel.operation_type] = max(peak, peaks.get(kernel.operation_type, 0.0))
    return peaks


def fitter(target: Target, progress: Callable[[float], None] = lambda share: None) -> Fitter:
    """Return what makes an estimator from samples, as ``graphs-opt`` would have it from their evidence.

    ``progress`` is told the share that is done of each fit.
    """
    from ...calibration import estimator

    roofline = Roofline.of(target)

    def fitted(samples: Sequence[Sample]) -> Estimator:
        return estimator.fitted(samples, roofline, progress)

    return fitted
