"""Fitting parameters to measured networks, of several settings at once.

What one setting's few networks cannot tell, others can: a parameter is the sum of what all of a device have in common,
what a power mode or a precision adds, and what the setting has of its own, each held near zero by its spread. The sum
of squares of logarithmic errors, robust against outliers, is minimised by Levenberg and Marquardt's method over all
settings together; since every setting sees the same kind of sum, the normal equations are built from one small matrix
for each setting.

Samples weigh by their part of their network's time to the power 3/4, since it is networks that are to be predicted.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .model import Model
from .parameters import NAMES, STATE, position, prior
from .table import Run, table_of

__all__ = ["Level", "Measured", "fit"]

Floats = NDArray[np.float64]
K = TypeVar("K", bound=Hashable)

_SIGMA = 0.25
"""Errors of samples that are usual; beyond twice this they count linearly."""

_EXPONENT = 0.75
_MOST_WEIGHT = 20.0
_ROUNDS = 25
_TRIES = 8
_LONGEST_STEP = 1.5
_CONVERGED = 1e-4
_LEAST_SPREAD = 1e-4


@dataclass(frozen=True, slots=True)
class Level:
    """What settings of one ``name`` share: ``spread`` (and ``state_spread`` of what a power mode changes) is how far it
    may be from what the levels above say, in units of the prior's own spread."""

    name: str
    spread: float
    state_spread: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured in one setting, and the levels that it belongs to, most general first."""

    device_class: str
    precision: str
    runs: tuple[Run, ...]
    levels: tuple[Level, ...]


def fit(settings: Mapping[K, Measured]) -> dict[K, Floats]:
    """Return the parameters of each setting."""
    problem = _Problem(list(settings.values()))
    shifts = np.zeros(problem.size)
    value, damping = problem.value(shifts), 1e-2
    for _ in range(_ROUNDS):
        curvature, gradient = problem.equations(shifts)
        better = _better(problem, shifts, value, curvature, gradient, damping)
        if better is None:
            break
        shifts, found, damping = better
        value, before = found, value
        if before - value < _CONVERGED * max(1.0, value):
            break
    return {key: problem.parameters(index, shifts) for index, key in enumerate(settings)}


def _better(
    problem: _Problem, shifts: Floats, value: float, curvature: Floats, gradient: Floats, damping: float
) -> tuple[Floats, float, float] | None:
    """The next point, its value and the damping to go on with; ``None`` where no step goes down."""
    for _ in range(_TRIES):
        step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
        moved = shifts + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        found = problem.value(moved)
        if found < value:
            return moved, found, max(damping / 4, 1e-6)
        damping *= 4
    return None


class _Problem:
    """The sum of squares over all settings, as a function of the shifts of all levels."""

    def __init__(self, settings: Sequence[Measured]) -> None:
        self._models = [Model(table_of(one.runs, one.device_class == "cpu"), one.device_class) for one in settings]
        self._logs = [np.log(model.table.seconds) for model in self._models]
        self._weights = [_weights(model.table.share) for model in self._models]
        self._means = [prior(one.device_class, one.precision)[0] for one in settings]
        places: dict[str, int] = {}
        self._levels = [[places.setdefault(level.name, len(places)) for level in one.levels] for one in settings]
        self.size = len(places) * len(NAMES)
        self._held = np.zeros(self.size)
        for one in settings:
            spread = prior(one.device_class, one.precision)[1]
            for level in one.levels:
                self._held[_block(places[level.name])] = _precision(level, spread)

    def parameters(self, index: int, shifts: Floats) -> Floats:
        """Return the parameters of a setting."""
        return np.asarray(self._means[index] + sum(shifts[_block(place)] for place in self._levels[index]))

    def value(self, shifts: Floats) -> float:
        """Return the sum of squares, robust, with what holds the shifts."""
        total = 0.5 * float(self._held @ shifts**2)
        for index, model in enumerate(self._models):
            logs, _ = model.logs(self.parameters(index, shifts))
            errors = (logs - self._logs[index]) / _SIGMA
            total += float(self._weights[index] @ (2 * (np.sqrt(1 + errors**2 / 2) - 1)))
        return total

    def equations(self, shifts: Floats) -> tuple[Floats, Floats]:
        """Return the curvature and the gradient of the sum of squares."""
        curvature, gradient = np.diag(self._held), self._held * shifts
        for index, model in enumerate(self._models):
            logs, slopes = model.logs(self.parameters(index, shifts))
            errors = logs - self._logs[index]
            weights = self._weights[index] / (np.sqrt(1 + (errors / _SIGMA) ** 2 / 2) * _SIGMA**2)
            weighted = slopes * weights[:, None]
            own, pull = slopes.T @ weighted, weighted.T @ errors
            for one in self._levels[index]:
                gradient[_block(one)] += pull
                for other in self._levels[index]:
                    curvature[_block(one), _block(other)] += own
        return curvature, gradient


def _block(place: int) -> slice:
    return slice(place * len(NAMES), (place + 1) * len(NAMES))


def _precision(level: Level, spread: Floats) -> Floats:
    factors = np.full(len(NAMES), level.spread)
    factors[[position(name) for name in STATE]] = level.state_spread
    return np.asarray(1 / np.maximum(spread * factors, _LEAST_SPREAD) ** 2)


def _weights(share: Floats) -> Floats:
    weights = np.minimum((100 * share) ** _EXPONENT, _MOST_WEIGHT)
    return np.asarray(weights / weights.mean())
