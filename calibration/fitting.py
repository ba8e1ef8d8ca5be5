"""Fitting efficiency curves to observations: three forms, weighted, and the one that cross-validation prefers.

Each observation weighs 1/s², s² being the variance that its timings' spread makes plus that of kernels in its bin.
Three forms are fitted (linear between the bins, a straight line over log10 of the size, and a sigmoid of it) and the
one that errs least about what it was not fitted to is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log, log10, sqrt

import numpy as np
from numpy.typing import NDArray

from .curve import Curve, DataPoint, FittedCurve, Parameter
from .observations import Observation, bin_of, data_points

__all__ = ["cross_validation_folds", "fit_curve", "fit_curves"]

Array = NDArray[np.float64]
_FOLDS = 5
_FEWEST_MODELS = 3
_MOST_FOLDS = 10
_LOWEST = 1e-9
_SIGMOID_STEP = 0.1
"""Decades between the breakpoints that a sigmoid is written as: linear between them, it is off by less than 0.2 %."""

_MOST_STEEP = 12.0


def fit_curves(observations: Iterable[Observation], peak: float | Mapping[str, float]) -> dict[str, Curve]:
    """Return the curve of each operation type in ``observations``; ``peak`` is one number or one for each type.

    For bandwidth curves hand in observations over bytes and the peak bandwidth. The outcome does not depend on the
    order of the observations.
    """
    by_type: dict[str, list[Observation]] = {}
    for observation in observations:
        by_type.setdefault(observation.operation_type, []).append(observation)
    return {
        name: fit_curve(name, rows, peak if isinstance(peak, int | float) else peak[name])
        for name, rows in sorted(by_type.items())
    }


def fit_curve(name: str, observations: Sequence[Observation], peak: float) -> Curve:
    """Return the curve of one operation type: data points by bin, and the form that cross-validation prefers."""
    rows = sorted(observations, key=lambda row: (row.size, row.model, row.subgraph, row.seconds))
    points = data_points(rows, peak)
    table = _Table.of(rows, points, peak)
    errors = _held_out_errors(rows, peak)
    chosen = min(errors, key=lambda form: errors[form])
    fitted = _FORMS[chosen](table) or _piecewise(table)
    models = tuple(sorted({row.model for row in rows if row.model}))
    compared = ", ".join(f"{form} {error:.1%}" for form, error in errors.items() if error < float("inf"))
    return Curve(
        name,
        f"Measured efficiency of {name} kernels",
        points,
        _judged(fitted, table),
        rows[0].size,
        rows[-1].size,
        models,
        f"{len(rows)} kernels of {len(models)} models" + (f"; held-out error of {compared}" if compared else ""),
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """Observations as arrays: log10 of the sizes, efficiencies, standard deviations; and the bins' centres.

    ``known`` says whether any spread was measured; without one all weigh the same.
    """

    sizes: Array
    efficiencies: Array
    stds: Array
    knots: Array
    start: Array
    known: bool

    @staticmethod
    def of(rows: Sequence[Observation], points: Sequence[DataPoint], peak: float) -> _Table:
        spread = {bin_of(point.flops): point.efficiency_std for point in points}
        stds = [sqrt(row.variance(peak) + spread[bin_of(row.size)] ** 2) for row in rows]
        efficiencies = np.array([row.efficiency(peak) for row in rows])
        # An observation without any known spread must not outweigh all others: it counts as the least exact of them.
        known = [std for std in stds if std > 0]
        unknown = max(known, default=1.0)
        return _Table(
            np.array([log10(row.size) for row in rows]),
            efficiencies,
            np.array([std or unknown for std in stds]),
            np.array([log10(point.flops) for point in points]),
            np.array([point.efficiency_mean for point in points]),
            bool(known),
        )


@dataclass(frozen=True, slots=True)
class _Fit:
    curve_type: str
    breakpoints: tuple[tuple[float, float], ...]
    parameters: tuple[Parameter, ...]

    def at(self, sizes: Array) -> Array:
        logs = np.array([log10(size) for size, _ in self.breakpoints])
        values: Array = np.interp(sizes, logs, np.array([efficiency for _, efficiency in self.breakpoints]))
        return values


# -- the three forms --------------------------------------------------------------------------------------------------


def _piecewise(table: _Table) -> _Fit:
    """Weighted least squares for the efficiencies at the bins' centres, linear between them."""
    knots = table.knots
    basis = np.stack([np.interp(table.sizes, knots, row) for row in np.eye(len(knots))], axis=1)
    values, stds = _least_squares(basis, table)
    values = np.where(values > 0, values, table.start)  # an efficiency below zero says that the bin's mean is better
    breakpoints = tuple((_size(knot), float(value)) for knot, value in zip(knots, values, strict=True))
    names = [f"efficiency_at_{10.0**knot:.3g}" for knot in knots]
    return _Fit("piecewise_linear", breakpoints, _parameters(names, values, stds))


def _log_linear(table: _Table) -> _Fit | None:
    """Weighted least squares for intercept + slope · log10(size)."""
    if len(table.knots) < 2:
        return None
    basis = np.stack([np.ones_like(table.sizes), table.sizes], axis=1)
    values, stds = _least_squares(basis, table)
    ends = (float(table.sizes.min()), float(table.sizes.max()))
    line = [(end, float(values[0] + values[1] * end)) for end in ends]
    if min(efficiency for _, efficiency in line) <= _LOWEST:
        return None
    breakpoints = tuple((_size(end), efficiency) for end, efficiency in line)
    return _Fit("log_linear", breakpoints, _parameters(["intercept", "slope"], values, stds))


def _sigmoid(table: _Table) -> _Fit | None:
    """low + (high - low) / (1 + exp(-steepness · (log10(size) - middle))), by weighted nonlinear least squares."""
    if len(table.knots) < 4 or len(table.sizes) < 5:
        return None
    from scipy.optimize import curve_fit

    low, high = float(table.efficiencies.min()), float(table.efficiencies.max())
    first, last = float(table.sizes.min()), float(table.sizes.max())
    bounds = ([_LOWEST, _LOWEST, 0.1, first - 1.0], [2.0 * high, 2.0 * high, _MOST_STEEP, last + 1.0])
    try:
        values, covariance = curve_fit(
            _logistic, table.sizes, table.efficiencies, [low, high, 2.0, (first + last) / 2.0], table.stds,
            absolute_sigma=False, bounds=bounds, maxfev=2000,
        )  # fmt: skip
    except RuntimeError:  # it did not converge: this is not the form
        return None
    stds = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    if not np.isfinite(stds).all() or values[1] < values[0]:
        return None
    steps = max(int(np.ceil((last - first) / _SIGMOID_STEP)), 1)
    places = np.linspace(first, last, steps + 1)
    heights = _logistic(places, *values)
    if heights.min() <= _LOWEST:
        return None
    breakpoints = tuple((_size(place), float(height)) for place, height in zip(places, heights, strict=True))
    return _Fit("sigmoid", breakpoints, _parameters(["low", "high", "steepness", "middle"], values, stds))


def _size(where: float) -> float:
    """The size whose log10 this is, without the last digits' noise."""
    return float(f"{10.0 ** float(where):.12g}")


def _logistic(sizes: Array, low: float, high: float, steepness: float, middle: float) -> Array:
    return low + (high - low) / (1.0 + np.exp(-steepness * (sizes - middle)))


_FREE: dict[str, Callable[[_Table], int]] = {
    "piecewise_linear": lambda table: len(table.knots),
    "log_linear": lambda table: 2,
    "sigmoid": lambda table: 4,
}
"""How many parameters each form has."""

_FORMS: dict[str, Callable[[_Table], _Fit | None]] = {
    "piecewise_linear": _piecewise,
    "log_linear": _log_linear,
    "sigmoid": _sigmoid,
}


def _least_squares(basis: Array, table: _Table) -> tuple[Array, Array]:
    """Return the weighted solution and its standard errors, infinite where nothing tells them.

    The errors are scaled by the residuals' reduced chi-squared where that is above one, since the fit knows no better
    than it fits, and always where the weights are unknown.
    """
    weighted = basis / table.stds[:, None]
    solved = np.linalg.lstsq(weighted, table.efficiencies / table.stds, rcond=None)
    values = np.asarray(solved[0], dtype=np.float64)
    covariance = np.linalg.pinv(weighted.T @ weighted)
    freedom = len(table.sizes) - basis.shape[1]
    residuals = (table.efficiencies - basis @ values) / table.stds
    if freedom > 0:
        scale = max(float(residuals @ residuals) / freedom, 1.0 if table.known else 0.0)
    else:
        scale = 1.0 if table.known else np.inf
    errors: Array = np.sqrt(np.clip(np.diag(covariance), 0.0, None) * scale)
    return values, errors


def _parameters(names: Sequence[str], values: Array, stds: Array) -> tuple[Parameter, ...]:
    """Parameters with their intervals; none where there are too few observations for any."""
    reach = 1.959963984540054
    if not np.isfinite(stds).all():
        return ()
    return tuple(
        Parameter(name, float(value), float(value - reach * std), float(value + reach * std))
        for name, value, std in zip(names, values, stds, strict=True)
    )


# -- choosing and judging ---------------------------------------------------------------------------------------------


def cross_validation_folds(rows: Sequence[Observation]) -> tuple[tuple[int, ...], ...]:
    """Return which rows are held out together.

    Where there are three models, the rows of each in turn, or of every tenth where there are more than ten: a campaign
    has thousands, and the time would grow with their square. Else every fifth row.
    """
    models = sorted({row.model for row in rows})
    if len(models) >= _FEWEST_MODELS:
        fold_of = {model: place % _MOST_FOLDS for place, model in enumerate(models)}
        held: list[list[int]] = [[] for _ in range(min(len(models), _MOST_FOLDS))]
        for i, row in enumerate(rows):
            held[fold_of[row.model]].append(i)
        return tuple(map(tuple, held))
    folds = min(_FOLDS, len(rows))
    return tuple(tuple(range(fold, len(rows), folds)) for fold in range(folds)) if folds > 1 else ()


def _held_out_errors(rows: Sequence[Observation], peak: float) -> dict[str, float]:
    """Each form's mean error in the time of rows that it was not fitted to; infinite where it cannot be fitted."""
    errors: dict[str, list[float]] = {form: [] for form in _FORMS}
    unfit: set[str] = set()
    for held in cross_validation_folds(rows):
        out = set(held)
        rest = [row for i, row in enumerate(rows) if i not in out]
        table = _Table.of(rest, data_points(rest, peak), peak)
        sizes = np.array([log10(rows[i].size) for i in held])
        for form, fit in _FORMS.items():
            fitted = fit(table) if form not in unfit else None
            if fitted is None:
                unfit.add(form)
                continue
            errors[form] += [
                exp(abs(log(rows[i].efficiency(peak) / predicted))) - 1.0
                for i, predicted in zip(held, fitted.at(sizes).tolist(), strict=True)
            ]
    unheld = {form: 0.0 if fit is _piecewise else float("inf") for form, fit in _FORMS.items()}
    return {
        form: float("inf") if form in unfit else fsum(each) / len(each) if each else unheld[form]
        for form, each in errors.items()
    }


def _judged(fitted: _Fit, table: _Table) -> FittedCurve:
    """The fit with R², the residuals' standard deviation and the largest of them, over the observations."""
    residuals = table.efficiencies - fitted.at(table.sizes)
    weights = table.stds**-2
    mean = float(np.average(table.efficiencies, weights=weights))
    total = float(weights @ (table.efficiencies - mean) ** 2)
    left = float(weights @ residuals**2)
    freedom = max(len(residuals) - _FREE[fitted.curve_type](table), 1)
    return FittedCurve(
        fitted.curve_type,
        fitted.breakpoints,
        1.0 - left / total if total > 0 else 1.0,
        sqrt(float(residuals @ residuals) / freedom),
        float(np.abs(residuals).max()),
        fitted.parameters,
    )
