"""How far predictions can be trusted: errors, bias, and whether the intervals promise what they hold.

Everything here is a function of what was predicted and what was measured; :mod:`.trials` finds both. A prediction is a
log-normal distribution, so a deviation is ``ln(measured / predicted)`` in units of its standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import CalibrationError
from .prediction import NORMAL_95

__all__ = [
    "Accuracy", "Bias", "Breakdown", "Compared", "Group", "Proportion", "Spread", "accuracy", "bias_test", "breakdown",
    "by_group", "interval_share", "recommendations", "spread_test",
]  # fmt: skip

SIGNIFICANT = 0.05
NEAR = 0.10
"""Relative error that counts as "within ±10 %"."""
_GRADES = (0.10, 0.20, 0.50)
"""Errors up to which a prediction is called excellent, good, fair; above, poor."""

_FEW_MODELS = 8
_NOTABLE_BIAS = 0.02
_NOTABLE_ERROR = 0.12
_NOTABLE_SHARE = 0.10

K = TypeVar("K")
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """One model or kernel: what was predicted, with its 95 % interval, and what was measured, in seconds.

    A name may come up several times, once for each split in which it was held out.

    Raises:
        CalibrationError: a time is not a positive number, or the interval does not hold the prediction.
    """

    name: str
    predicted: float
    low: float
    high: float
    measured: float
    model: str = ""
    operation_type: str = ""
    pattern: str = ""
    split: int = 0

    def __post_init__(self) -> None:
        times = (self.predicted, self.low, self.high, self.measured)
        if not all(0.0 < time < float("inf") for time in times):
            raise CalibrationError(f"{self.name}: predicted {self.predicted!r} s, measured {self.measured!r} s: "
                                   "expected times above zero")  # fmt: skip
        if not self.low <= self.predicted <= self.high:
            raise CalibrationError(f"{self.name}: the interval {self.low!r} to {self.high!r} s does not hold the "
                                   f"prediction of {self.predicted!r} s")  # fmt: skip

    @property
    def error(self) -> float:
        """Relative error, positive where the prediction is too long."""
        return self.predicted / self.measured - 1.0

    @property
    def inside(self) -> bool:
        """Whether the truth lies in the 95 % interval."""
        return self.low <= self.measured <= self.high

    @property
    def deviation(self) -> float:
        """``ln(measured / predicted)`` in standard deviations; infinite for an error that the interval rules out."""
        residual = log(self.measured / self.predicted)
        std = log(self.high / self.low) / (2.0 * NORMAL_95)
        if std > 0.0:
            return residual / std
        return 0.0 if residual == 0.0 else float("inf") if residual > 0.0 else -float("inf")


@dataclass(frozen=True, slots=True)
class Bias:
    """Mean signed relative error with its 95 % interval, and Student's t against none; ``p`` is two-sided."""

    mean: float
    low: float
    high: float
    t: float
    p: float

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Spread:
    """Whether the predicted variance is the true one: the sum of squared deviations is chi-squared if so.

    ``ratio`` is true over predicted variance: above 1, intervals are too narrow. ``p`` is two-sided.
    """

    chi_squared: float
    degrees: int
    ratio: float
    p: float

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of ``n`` with its 95 % Clopper-Pearson interval."""

    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """How many are excellent (up to 10 %), good (20 %), fair (50 %) and poor (more)."""

    excellent: int
    good: int
    fair: int
    poor: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The figures of many comparisons. ``bias`` and ``spread`` need two names at least and are ``None`` otherwise."""

    n: int
    mape: float
    median: float
    worst: float
    within: float
    inside: Proportion
    bias: Bias | None
    spread: Spread | None
    breakdown: Breakdown


@dataclass(frozen=True, slots=True)
class Group:
    """The comparisons of one operation type or pattern; ``share`` is their part of all seconds of error."""

    name: str
    n: int
    mape: float
    bias: float
    seconds: float
    share: float


def accuracy(compared: Sequence[Compared]) -> Accuracy:
    """Return the figures of ``compared``.

    The tests count each name once: a network that was held out in several splits is one network still.

    Raises:
        CalibrationError: there is nothing to compare.
    """
    if not compared:
        raise CalibrationError("nothing to compare: no prediction has a measurement beside it")
    errors = np.array([one.error for one in compared])
    sizes = np.abs(errors)
    names = _by(compared, lambda one: (one.model, one.name))
    signed = np.array([np.mean([one.error for one in same]) for same in names.values()])
    squares = np.array([np.mean([one.deviation**2 for one in same]) for same in names.values()])
    return Accuracy(
        n=len(names),
        mape=float(sizes.mean()),
        median=float(np.median(sizes)),
        worst=float(errors[int(sizes.argmax())]),
        within=float((sizes <= NEAR).mean()),
        inside=interval_share([one.inside for one in compared], len(names)),
        bias=bias_test(signed) if len(names) > 1 else None,
        spread=spread_test(squares) if len(names) > 1 else None,
        breakdown=breakdown(np.array([np.mean([abs(one.error) for one in same]) for same in names.values()])),
    )


def bias_test(errors: Array) -> Bias:
    """Return the mean of signed errors and Student's t-test against a mean of zero.

    Errors without any spread have no t: identical ones that are not zero are certain to be biased.
    """
    from scipy import stats

    mean, n = float(errors.mean()), len(errors)
    standard_error = float(errors.std(ddof=1)) / n**0.5
    if standard_error <= abs(mean) * 1e-12:
        return Bias(mean, mean, mean, 0.0 if mean == 0.0 else float("inf"), 1.0 if mean == 0.0 else 0.0)
    t = mean / standard_error
    reach = float(stats.t.ppf(0.975, n - 1)) * standard_error
    return Bias(mean, mean - reach, mean + reach, t, float(2.0 * stats.t.sf(abs(t), n - 1)))


def spread_test(squares: Array) -> Spread:
    """Return the chi-squared test of squared deviations: their sum has as many degrees of freedom as there are.

    The predicted mean is part of what is tested, so none is taken off for it.
    """
    from scipy import stats

    degrees, chi_squared = len(squares), float(squares.sum())
    if not np.isfinite(chi_squared):
        return Spread(chi_squared, degrees, chi_squared, 0.0)
    tail = min(float(stats.chi2.cdf(chi_squared, degrees)), float(stats.chi2.sf(chi_squared, degrees)))
    return Spread(chi_squared, degrees, chi_squared / degrees, min(1.0, 2.0 * tail))


def interval_share(inside: Sequence[bool], n: int | None = None) -> Proportion:
    """Return the share of truths inside their interval; ``n`` is how many of them are independent (default: all)."""
    from scipy import stats

    n = len(inside) if n is None else n
    share = sum(inside) / len(inside)
    hits = share * n
    low = float(stats.beta.ppf(0.025, hits, n - hits + 1.0)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1.0, n - hits)) if hits < n else 1.0
    return Proportion(share, low, high, n)


def breakdown(sizes: Array) -> Breakdown:
    """Return how many absolute relative errors are of which grade."""
    grades = np.searchsorted(np.array(_GRADES), sizes, side="left")
    counts = np.bincount(grades, minlength=len(_GRADES) + 1)
    return Breakdown(*(int(count) for count in counts))


def by_group(compared: Iterable[Compared], key: Callable[[Compared], str]) -> tuple[Group, ...]:
    """Return a row for each value of ``key``, the largest part of the error first."""
    groups = _by(compared, key)
    off = {name: sum(abs(one.predicted - one.measured) for one in rows) for name, rows in groups.items()}
    whole = sum(off.values())
    rows = [
        Group(
            name=name,
            n=len(rows),
            mape=float(np.mean([abs(one.error) for one in rows])),
            bias=sum(one.predicted for one in rows) / sum(one.measured for one in rows) - 1.0,
            seconds=sum(one.measured for one in rows),
            share=off[name] / whole if whole else 0.0,
        )
        for name, rows in groups.items()
    ]
    return tuple(sorted(rows, key=lambda group: (-group.share, group.name)))


def _by(compared: Iterable[Compared], key: Callable[[Compared], K]) -> dict[K, list[Compared]]:
    groups: dict[K, list[Compared]] = {}
    for one in compared:
        groups.setdefault(key(one), []).append(one)
    return groups


def recommendations(models: Accuracy, types: Sequence[Group], target: str) -> tuple[str, ...]:
    """Return what to do about it, in sentences; ``types`` are the kernels' groups by operation type."""
    says = []
    if models.n < _FEW_MODELS:
        says.append(f"{models.n} models tell little about others: name more")
    bias = models.bias
    if bias is not None and bias.significant and abs(bias.mean) > _NOTABLE_BIAS:
        way = "long" if bias.mean > 0 else "short"
        says.append(f"Predictions are {abs(bias.mean):.1%} too {way} on the whole (p = {bias.p:.2g}): measure some of "
                    f"these models as well (graphs-calibrate measure --target={target} --models …)")  # fmt: skip
    spread = models.spread
    if spread is not None and spread.significant:
        how = "narrow" if spread.ratio > 1 else "wide"
        says.append(f"Intervals are too {how}: errors are {spread.ratio**0.5:.2g} times what they promise "
                    f"(p = {spread.p:.2g})")  # fmt: skip
    for group in types:
        if group.share > _NOTABLE_SHARE and group.mape > _NOTABLE_ERROR:
            says.append(f"{group.name} errs by {group.mape:.0%} and makes {group.share:.0%} of the kernels' error: "
                        f"graphs-calibrate measure --target={target} --only={group.name}")  # fmt: skip
    return tuple(says)
