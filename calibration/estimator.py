"""The estimator: rates for the work that kernels are made of, and on top of them what shapes still explain.

    time = Σ rate · amount · exp(f(shape))        rates: calibration/rates.py     f: calibration/residual.py

Each falls back to the one below: without a sample of a family there is no f, without one of the kind of work there is
no rate, and the prediction is of quality MISSING. The variance of a total has three parts: of f, with its covariances
within a family (errors of like kernels have the same sign); of single kernels about f, independent; and an error that
all kernels of one network share, found by predicting measured networks from the others.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import analytic, representatives
from .amounts import family, wider_family
from .curves import CurveEstimator
from .errors import CalibrationError
from .features import coordinates, features
from .kernel import Kernel, entry
from .prediction import NORMAL_95, Estimator, Prediction, Quality, Total
from .processor import Processor
from .profile import Profile
from .rates import Rates, Timing, fit_rates
from .residual import Residual, fit_residual, residual_from_json, residual_to_json
from .roofline import Roofline
from .sample import Sample
from .strict_json import Entry
from .timings import networks_of, timings_of

__all__ = ["METHOD", "RatesEstimator", "estimator_for", "fit"]

Floats = NDArray[np.float64]

METHOD = "rates"

_FEWEST_SAMPLES = 6
_CLOCK_SECONDS = 4e-7
"""What a profiler's clock leaves uncertain of each kernel."""

_NEAR = 1.0
_UNSEEN_STD = 0.5
"""Standard deviation of the logarithm where a family was not measured and rates of other families stand in."""

_AT_ONCE = 400
"""Kernels that are predicted together: their covariances with the samples fit in a cache."""

_FOLDS = 5
_FIRST_FIT = 0.5
"""The share of the time that the fit to all samples takes; the rest are those without a fold."""

_FEWEST_NETWORKS = 5
_UNTRIED_STD = 0.08
_SMALLEST_STD = 0.01
_LARGEST_STD = 10.0
_LARGEST_CACHE, _MOST_LANES = 1 << 50, 1 << 12


_MOST_REMEMBERED = 256
_Asked = tuple[str, tuple[tuple[Kernel, int], ...]]
"""Kernels of a family and how often each runs."""


@dataclass(slots=True)
class RatesEstimator:
    """Predicts from rates and residuals; ``shared_std`` is the error that all kernels of one network share."""

    rates: Rates
    residuals: Mapping[str, Residual]
    shared_std: float
    entries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _summed: dict[_Asked, tuple[float, float]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def predict(self, kernels: Sequence[Kernel]) -> Sequence[Prediction]:
        """Return a prediction for each kernel; what is alike is predicted once."""
        found: dict[Kernel, Prediction] = {}
        for name, members in self._by_family(kernels).items():
            for start in range(0, len(members), _AT_ONCE):
                some = members[start : start + _AT_ONCE]
                found.update(zip(some, self._of_family(name, some), strict=True))
        return [found[kernel] for kernel in kernels]

    def total(self, kernels: Sequence[Kernel]) -> Total:
        """Return the time of all kernels in a row; those without evidence are left out."""
        seconds, variance = self.moments(kernels)
        if not seconds:
            return Total(0.0, 0.0, 0.0)
        reach = math.exp(NORMAL_95 * math.sqrt(variance / seconds**2 + self.shared_std**2))
        return Total(seconds, seconds / reach, seconds * reach)

    def moments(self, kernels: Sequence[Kernel]) -> tuple[float, float]:
        """Return the sum of the kernels' times and its variance, the shared error left out."""
        counts = Counter(kernels)
        seconds = variance = 0.0
        for name, members in self._by_family(counts).items():
            asked = name, tuple((kernel, counts[kernel]) for kernel in members)
            if asked not in self._summed:  # a report asks for the sums of each operation type and of all others
                if len(self._summed) >= _MOST_REMEMBERED:
                    self._summed.clear()
                self._summed[asked] = self._moments_of_family(*asked)
            seconds += self._summed[asked][0]
            variance += self._summed[asked][1]
        return seconds, variance

    def _by_family(self, kernels: Iterable[Kernel]) -> dict[str, list[Kernel]]:
        """Kernels, each once, by the family whose residual is theirs: their own, or the one that it was part of."""
        found: dict[str, list[Kernel]] = defaultdict(list)
        for kernel in dict.fromkeys(kernels):
            name = family(kernel)
            found[name if name in self.residuals else wider_family(name)].append(kernel)
        return found

    def _moments_of_family(self, name: str, members: Sequence[tuple[Kernel, int]]) -> tuple[float, float]:
        """The sum of a family's kernels, each so many times, and its variance; none of those without evidence."""
        counted = [pair for pair in members if name in self.residuals or self.rates.know(pair[0])]
        if not counted:
            return 0.0, 0.0
        known = [kernel for kernel, _ in counted]
        each = np.array([count for _, count in counted], dtype=float)
        times = np.array([self.rates.seconds(kernel) for kernel in known])
        residual = self.residuals.get(name)
        if residual is None:
            return float(each @ times), (_UNSEEN_STD * float(each @ times)) ** 2
        shapes = residual.points([features(kernel, self.rates.processor) for kernel in known])
        mean, through_shape = residual.combined(shapes, each * times)
        times = times * np.exp(mean)
        guessed = np.array([self.rates.guess_std(kernel) for kernel in known])
        alone = float(each @ times**2) * residual.noise_variance + float((each**2) @ guessed**2)
        return float(each @ times), through_shape + alone

    def _of_family(self, name: str, kernels: Sequence[Kernel]) -> list[Prediction]:
        residual = self.residuals.get(name)
        if residual is None:
            return [self._without_residual(kernel) for kernel in kernels]
        times = np.array([self.rates.seconds(kernel) for kernel in kernels])
        guessed = np.array([self.rates.guess_std(kernel) for kernel in kernels]) / times
        shapes = residual.points([features(kernel, self.rates.processor) for kernel in kernels])
        mean, through_shape = residual.predict(shapes)
        times, stds = times * np.exp(mean), np.sqrt(through_shape + residual.noise_variance + guessed**2)
        same, nearest, near = residual.nearest(shapes, _NEAR)
        inside = residual.inside(shapes)
        curve = _operation_type(name)
        return [
            Prediction(
                float(times[i]),
                float(stds[i]),
                _quality(self.rates.complete(kernels[i]), bool(same[i]), bool(inside[i])),
                curve,
                self._entry(name, int(nearest[i])),
                int(near[i]),
            )
            for i in range(len(kernels))
        ]

    def _without_residual(self, kernel: Kernel) -> Prediction:
        time, quality = self.rates.seconds(kernel), Quality.MISSING
        if self.rates.know(kernel):
            quality = Quality.OP_APPROXIMATED
        return Prediction(time, _UNSEEN_STD, quality, kernel.operation_type)

    def _entry(self, name: str, index: int) -> str:
        entries = self.entries.get(name, ())
        return entries[index] if index < len(entries) else ""


def _quality(known: bool, same: bool, inside: bool) -> Quality:
    """How near a kernel is to what was measured of its family, where the rates of all its work are known."""
    if not known:
        return Quality.OP_APPROXIMATED
    if same:
        return Quality.EXACT
    return Quality.SIZE_INTERPOLATED if inside else Quality.SIZE_EXTRAPOLATED


def _operation_type(name: str) -> str:
    """The operation type in a family's name."""
    return name.partition(":")[0].partition("/")[0]


# -- from and to files ------------------------------------------------------------------------------------------------


def estimator_for(profile: Profile, roofline: Roofline) -> Estimator:
    """Return what predicts from a profile: the estimator that it holds, or its curves where it has nothing else.

    Raises:
        CalibrationError: what the profile says of its estimator cannot be used.
    """
    if not profile.estimator:
        return CurveEstimator(profile, roofline)
    where = f"evidence for {profile.hardware_id} in {profile.precision.lower()}"
    written = Entry(dict(profile.estimator), where, "estimator")
    try:
        if written["method"].choice((METHOD, analytic.METHOD)) == analytic.METHOD:
            return analytic.from_json(written)
        return _from_json(written)
    except CalibrationError as error:
        raise CalibrationError(
            str(error), help="fit the samples again with this version: graphs-calibrate fit"
        ) from None


def _from_json(written: Entry) -> RatesEstimator:
    families = written["rates"]["families"].items()
    rates = Rates(
        _processor_from(written),
        _rates_from(written["rates"]["common"]),
        {name: _rates_from(each) for name, each in families},
    )
    residuals, entries = {}, {}
    for name, each in written["residuals"].items():
        residuals[name] = residual_from_json(each, coordinates(_operation_type(name)))
        entries[name] = each["entries"].list_of(str)
    (shared,) = Entry([written["shared_std"].value], written.file, "estimator.shared_std").numbers(0.0, _LARGEST_STD)
    return RatesEstimator(rates, residuals, shared, entries)


def _processor_from(written: Entry) -> Processor:
    """The processor that was fitted for; earlier versions took all to have 16 lanes."""
    near = written["near_bytes"]
    if near.count > _LARGEST_CACHE:
        raise near.expected(f"at most {_LARGEST_CACHE}")
    if "lanes" not in written:
        return Processor(near.count)
    lanes = written["lanes"]
    if not 0 < lanes.count <= _MOST_LANES:
        raise lanes.expected(f"from 1 to {_MOST_LANES}")
    return Processor(near.count, lanes.count)


def _rates_from(written: Entry) -> dict[str, float]:
    return {name: rate.share for name, rate in written.items()}


def _to_json(estimator: RatesEstimator) -> dict[str, Any]:
    rates = estimator.rates
    return {
        "method": METHOD,
        "near_bytes": rates.processor.near_bytes,
        "lanes": rates.processor.lanes,
        "shared_std": estimator.shared_std,
        "rates": {
            "common": dict(rates.common),
            "families": {name: dict(each) for name, each in rates.families.items()},
        },
        "residuals": {
            name: {**residual_to_json(residual), "entries": list(estimator.entries[name])}
            for name, residual in estimator.residuals.items()
        },
    }


# -- fitting ----------------------------------------------------------------------------------------------------------


Progress = Callable[[float], None]
"""Told the share that is done."""


def _untold(share: float) -> None:
    """Tell nobody."""


def fit(samples: Sequence[Sample], roofline: Roofline, progress: Progress = _untold) -> dict[str, Any]:
    """Return the estimator that samples make, as evidence keeps it."""
    return _to_json(fitted(samples, roofline, progress))


def fitted(samples: Sequence[Sample], roofline: Roofline, progress: Progress = _untold) -> RatesEstimator:
    """Return the estimator that samples make; the same samples make the same one."""
    processor = Processor.of(roofline.target)
    estimator = _fitted(timings_of(samples), processor, {}, lambda share: progress(_FIRST_FIT * share))
    shared = _shared_std(samples, estimator, processor, lambda share: progress(_FIRST_FIT + (1 - _FIRST_FIT) * share))
    return replace(estimator, shared_std=shared)


def _fitted(
    timings: Sequence[Timing], processor: Processor, known: Mapping[str, Residual], progress: Progress = _untold
) -> RatesEstimator:
    """Rates and residuals; hyperparameters are those of the residuals that are ``known``, where they are."""
    rates = fit_rates(timings, processor)
    chosen: dict[str, dict[Kernel, list[Timing]]] = defaultdict(lambda: defaultdict(list))
    for timing in timings:
        if len(timing.kernels) == 1:
            chosen[family(timing.kernels[0])][timing.kernels[0]].append(timing)
    residuals, entries = {}, {}
    for number, (name, kernels) in enumerate(sorted(chosen.items())):
        progress(number / len(chosen))
        if len(kernels) < _FEWEST_SAMPLES:
            continue
        kept = representatives.kept(
            {kernel: max(row.weight for row in rows) for kernel, rows in kernels.items()},
            {kernel: min(row.seconds for row in rows) for kernel, rows in kernels.items()},
        )
        logs = known[name].given.hyperparameters if name in known else None
        residuals[name] = _residual(rates, kept, kernels, logs)
        entries[name] = [entry(kernel.main) if kernel.main else kernel.pattern for kernel in kept]
    return RatesEstimator(rates, residuals, _UNTRIED_STD, entries)


def _residual(
    rates: Rates, kept: Sequence[Kernel], kernels: Mapping[Kernel, Sequence[Timing]], logs: Floats | None
) -> Residual:
    seconds = np.array([np.median([row.seconds for row in kernels[kernel]]) for kernel in kept])
    predicted = np.array([rates.seconds(kernel) for kernel in kept])
    errors = np.array([np.mean([row.error**2 for row in kernels[kernel]]) / len(kernels[kernel]) for kernel in kept])
    noise = (_CLOCK_SECONDS / seconds) ** 2 + errors
    shapes = [features(kernel, rates.processor) for kernel in kept]
    return fit_residual(shapes, np.log(seconds / predicted), noise, logs)


def _shared_std(
    samples: Sequence[Sample], estimator: RatesEstimator, processor: Processor, progress: Progress
) -> float:
    """The error that networks have beyond what their kernels' variances explain, by predicting each from the others."""
    networks = networks_of(samples)
    if len(networks) < _FEWEST_NETWORKS:
        return _UNTRIED_STD
    names = sorted(networks)
    errors, variances = [], []
    for fold in range(_FOLDS):
        progress(fold / _FOLDS)
        held = set(names[fold::_FOLDS])
        rest = [sample for sample in samples if sample.model not in held]
        part = _fitted(timings_of(rest), processor, estimator.residuals)
        for name in sorted(held):
            kernels, measured = networks[name]
            seconds, variance = part.moments(kernels)
            if seconds:
                errors.append(math.log(seconds / measured))
                variances.append(variance / seconds**2)
    return _excess(np.array(errors), np.array(variances)) if errors else _UNTRIED_STD


def _excess(errors: Floats, variances: Floats) -> float:
    """The standard deviation that, added to ``variances``, makes ``errors`` most likely; outliers count linearly."""
    candidates = np.geomspace(_SMALLEST_STD, 1.0, 60)

    def misfit(std: float) -> float:
        total = variances + std**2
        squares = errors**2 / total
        return float((np.log(total) + np.where(squares < 9, squares, 6 * np.sqrt(squares) - 9)).sum())

    return float(min(candidates, key=misfit))
