"""Efficiency curves: the share of peak that kernels of one operation type reach, over their size.

**Efficiency** is FLOPs / (measured seconds × peak FLOP/s), and for bandwidth curves bytes / (measured seconds × peak
bytes per second of the memory farthest from the cores). The measured time is the whole of it, launch included, so small
kernels have small efficiencies. It may exceed one: peaks are written down with caution, and caches are faster than the
memory behind them.

Between its breakpoints a curve is linear in log10 of the size, and level outside them. That holds for every curve type:
``curve_type`` says what was fitted, and the breakpoints are samples of that, close enough to interpolate between.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from math import hypot, log10

from .strict_json import Entry

__all__ = [
    "CURVE_TYPES", "POINT_SOURCES", "Curve", "DataPoint", "FittedCurve", "Parameter", "encode_curve", "interpolated",
    "read_curve",
]  # fmt: skip

CURVE_TYPES = ("piecewise_linear", "log_linear", "sigmoid")
POINT_SOURCES = ("legacy_hardcoded", "measured", "interpolated")
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class DataPoint:
    """What kernels of about one size reached: ``flops`` is that size (bytes in a bandwidth curve).

    ``efficiency_std`` is the spread of kernels, within and between models; ``ci_lower`` to ``ci_upper`` the mean's 95 %
    interval, which may reach below zero. ``num_samples`` counts timings where ``num_observations`` counts kernels.
    """

    flops: float
    efficiency_mean: float
    efficiency_std: float
    efficiency_min: float
    efficiency_max: float
    ci_lower: float
    ci_upper: float
    num_observations: int
    source: str
    source_subgraphs: tuple[str, ...] = ()
    source_models: tuple[str, ...] = ()
    num_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A fitted parameter with its 95 % confidence interval."""

    name: str
    value: float
    ci_lower: float
    ci_upper: float


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """A curve as its breakpoints (size, efficiency), and how well it fits; ``parameters`` are those of the fit."""

    curve_type: str
    breakpoints: tuple[tuple[float, float], ...]
    r_squared: float
    residual_std: float
    max_residual: float
    parameters: tuple[Parameter, ...] = ()
    _logs: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _efficiencies: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_logs", tuple(log10(size) for size, _ in self.breakpoints))
        object.__setattr__(self, "_efficiencies", tuple(efficiency for _, efficiency in self.breakpoints))

    def at(self, size: float) -> float:
        """Return the efficiency at a size above zero."""
        return interpolated(self._logs, self._efficiencies, log10(size))

    def slope_outside(self, size: float) -> float:
        """Return by how much the efficiency would differ at ``size`` if the curve did not end before it."""
        if len(self.breakpoints) < 2:
            return 0.0
        where = log10(size)
        ends = (0, 1) if where < self._logs[0] else (-1, -2)
        beyond = max(self._logs[0] - where, where - self._logs[-1], 0.0)
        first, second = ends
        run = abs(self._logs[first] - self._logs[second])
        return beyond * abs(self.breakpoints[first][1] - self.breakpoints[second][1]) / run


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of one operation type, with the data that it was fitted to and the sizes that were measured."""

    operation_type: str
    description: str
    data_points: tuple[DataPoint, ...]
    fitted_curve: FittedCurve
    min_flops: float
    max_flops: float
    calibration_models: tuple[str, ...] = ()
    notes: str = ""
    _logs: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _means: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _spreads: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        points, residual = self.data_points, self.fitted_curve.residual_std
        logs = tuple(log10(point.flops) for point in points)
        object.__setattr__(self, "_logs", logs)
        object.__setattr__(self, "_means", tuple(point.efficiency_mean for point in points))
        object.__setattr__(self, "_spreads", tuple(_spread(points, logs, i, residual) for i in range(len(points))))

    def efficiency(self, size: float) -> float:
        """Return the efficiency at a size (FLOPs, or bytes in a bandwidth curve)."""
        return self.fitted_curve.at(size)

    def holds(self, size: float) -> bool:
        """Whether the size lies inside the measured range."""
        return self.min_flops <= size <= self.max_flops

    def relative_std(self, size: float) -> float:
        """Return the standard deviation of kernels' efficiencies at a size, as a share of the efficiency there.

        What the data points near that size spread by (a file without data points: as much as the fit's residuals) and
        how far the curve passes from them; outside the measured range also what the curve would have changed by, had it
        gone on. Of a point that is a single kernel no spread is known: it is taken to be as uncertain as the line
        between its neighbours would have been wrong about it.
        """
        efficiency = self.efficiency(size)
        outside = self.fitted_curve.slope_outside(size)
        if not self.data_points:
            return hypot(self.fitted_curve.residual_std, outside) / efficiency
        where = log10(size)
        spread = interpolated(self._logs, self._spreads, where)
        mean = interpolated(self._logs, self._means, where)
        return hypot(spread, mean - efficiency, outside) / efficiency


def _spread(points: tuple[DataPoint, ...], logs: tuple[float, ...], place: int, residual: float) -> float:
    """The standard deviation of efficiencies at a data point; see :meth:`Curve.relative_std`."""
    point = points[place]
    if point.num_observations > 1:
        return point.efficiency_std
    if len(points) < 3:
        return max(point.efficiency_std, residual)
    inner = min(max(place, 1), len(points) - 2)
    ends = (logs[inner - 1], logs[inner + 1])
    line = interpolated(ends, (points[inner - 1].efficiency_mean, points[inner + 1].efficiency_mean), logs[inner])
    wrong = abs(points[inner].efficiency_mean - line) / points[inner].efficiency_mean
    return max(point.efficiency_std, wrong * point.efficiency_mean)


def interpolated(logs: tuple[float, ...], values: tuple[float, ...], where: float) -> float:
    """Return the value at ``where``: linear between the neighbours in ``logs``, level outside them."""
    if where <= logs[0]:
        return values[0]
    if where >= logs[-1]:
        return values[-1]
    above = bisect_right(logs, where)
    low, high = logs[above - 1], logs[above]
    return values[above - 1] + (where - low) / (high - low) * (values[above] - values[above - 1])


# -- files ------------------------------------------------------------------------------------------------------------

_POINT_KEYS = (
    "flops", "efficiency_mean", "efficiency_std", "efficiency_min", "efficiency_max", "ci_lower", "ci_upper",
    "num_observations", "source", "source_subgraphs", "source_models",
)  # fmt: skip
_FIT_KEYS = ("curve_type", "breakpoints", "r_squared", "residual_std", "max_residual")
_CURVE_KEYS = ("operation_type", "description", "data_points", "fitted_curve")
_CURVE_EXTRAS = ("min_flops", "max_flops", "calibration_models", "notes")


def read_curve(entry: Entry, name: str) -> Curve:
    """Return the curve that stands under ``name`` in a file. Raises :class:`CalibrationError`."""
    entry.only(_CURVE_KEYS, _CURVE_EXTRAS)
    if entry["operation_type"].text != name:
        raise entry["operation_type"].expected(f'"{name}", the key that the curve stands under')
    points = entry["data_points"].each(_read_point)
    for earlier, later, place in zip(points, points[1:], list(entry["data_points"].elements())[1:], strict=False):
        if later.flops <= earlier.flops:
            raise place["flops"].expected(f"more than the point before it has ({earlier.flops:g})")
    fitted = _read_fit(entry["fitted_curve"])
    low = entry["min_flops"].share if "min_flops" in entry else fitted.breakpoints[0][0]
    high = entry["max_flops"].share if "max_flops" in entry else fitted.breakpoints[-1][0]
    if high < low:
        raise entry["max_flops"].expected(f"at least min_flops ({low:g})")
    return Curve(
        name,
        entry["description"].text,
        points,
        fitted,
        low,
        high,
        entry["calibration_models"].each(lambda model: model.text) if "calibration_models" in entry else (),
        entry["notes"].text if "notes" in entry else "",
    )


def _read_point(entry: Entry) -> DataPoint:
    entry.only(_POINT_KEYS, ("num_samples",))
    point = DataPoint(
        entry["flops"].positive,
        entry["efficiency_mean"].positive,
        entry["efficiency_std"].share,
        entry["efficiency_min"].share,
        entry["efficiency_max"].share,
        entry["ci_lower"].number,
        entry["ci_upper"].number,
        entry["num_observations"].count,
        entry["source"].choice(POINT_SOURCES),
        entry["source_subgraphs"].each(lambda name: name.text),
        entry["source_models"].each(lambda name: name.text),
        entry["num_samples"].count if "num_samples" in entry else None,
    )
    room = _ROUNDING * point.efficiency_mean
    if not point.efficiency_min - room <= point.efficiency_mean <= point.efficiency_max + room:
        raise entry["efficiency_mean"].expected("a mean between efficiency_min and efficiency_max")
    if not point.ci_lower - room <= point.efficiency_mean <= point.ci_upper + room:
        raise entry["ci_lower"].expected("an interval that holds efficiency_mean")
    return point


def _read_fit(entry: Entry) -> FittedCurve:
    entry.only(_FIT_KEYS, ("parameters",))
    breakpoints = entry["breakpoints"].each(_read_breakpoint)
    if not breakpoints:
        raise entry["breakpoints"].expected("at least one breakpoint")
    for (earlier, _), (later, _), place in zip(
        breakpoints, breakpoints[1:], list(entry["breakpoints"].elements())[1:], strict=False
    ):
        if later <= earlier:
            raise place.expected(f"a size above the one before it ({earlier:g}); breakpoints rise")
    return FittedCurve(
        entry["curve_type"].choice(CURVE_TYPES),
        breakpoints,
        entry["r_squared"].number,
        entry["residual_std"].share,
        entry["max_residual"].share,
        entry["parameters"].each(_read_parameter) if "parameters" in entry else (),
    )


def _read_breakpoint(entry: Entry) -> tuple[float, float]:
    pair = tuple(entry.elements())
    if len(pair) != 2:
        raise entry.expected("a pair [size, efficiency]")
    return pair[0].positive, pair[1].positive


def _read_parameter(entry: Entry) -> Parameter:
    entry.only(("name", "value", "ci_lower", "ci_upper"))
    return Parameter(entry["name"].text, entry["value"].number, entry["ci_lower"].number, entry["ci_upper"].number)


def encode_curve(curve: Curve, extended: bool) -> dict[str, object]:
    """Return a curve as it stands in a file; ``extended`` writes what schema 1.0 has no key for."""
    fitted = curve.fitted_curve
    encoded: dict[str, object] = {
        "curve_type": fitted.curve_type,
        "breakpoints": [list(pair) for pair in fitted.breakpoints],
        "r_squared": fitted.r_squared,
        "residual_std": fitted.residual_std,
        "max_residual": fitted.max_residual,
    }
    if extended and fitted.parameters:
        encoded["parameters"] = [
            {"name": row.name, "value": row.value, "ci_lower": row.ci_lower, "ci_upper": row.ci_upper}
            for row in fitted.parameters
        ]
    return {
        "operation_type": curve.operation_type,
        "description": curve.description,
        "data_points": [_encode_point(point) for point in curve.data_points],
        "fitted_curve": encoded,
        "min_flops": curve.min_flops,
        "max_flops": curve.max_flops,
        "calibration_models": list(curve.calibration_models),
        "notes": curve.notes,
    }


def _encode_point(point: DataPoint) -> dict[str, object]:
    encoded: dict[str, object] = {}
    for key in _POINT_KEYS:
        value = getattr(point, key)
        encoded[key] = list(value) if isinstance(value, tuple) else value
    return encoded if point.num_samples is None else {**encoded, "num_samples": point.num_samples}
