"""A Gaussian process over kernels, observed through weighted sums of them.

What physics leaves over is a function f of a kernel's shape: measured time = physics · exp(f). A sample of one kernel
observes f of it; a sample of several observes the sum of their f, each weighted by its share of the predicted time,
which is the first-order expansion of log Σ t·exp(f) about f = 0. So single kernels, subgraphs and whole networks are all
linear observations, and means, variances and covariances of any sum follow exactly.

The covariance of two kernels: what all have in common, what a family (an operation type) has in common, and a Matérn-3/2
of the distance of their shapes within the family and, weaker, across families. Rasmussen and Williams, "Gaussian
Processes for Machine Learning" (2006): chapter 2 for the posterior, section 5.4.2 for leaving groups out in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hyperparameters", "Inputs", "Observations", "Posterior", "condition", "score", "tune"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_JITTER = 1e-9


@dataclass(frozen=True, slots=True)
class Inputs:
    """Kernels as the process sees them: ``features`` (kernels × features, of order one) and the index of their
    ``families``."""

    features: Floats
    families: Integers

    def __len__(self) -> int:
        return len(self.families)


@dataclass(frozen=True, slots=True)
class Observations:
    """What was observed: ``values[s]`` = Σ ``weights[e]`` · f(``kernels[e]``) over the entries e of sample s, with
    standard deviation ``noise[s]``. ``groups`` (a network each, say) are what is left out together in :func:`score`."""

    samples: Integers
    kernels: Integers
    weights: Floats
    values: Floats
    noise: Floats
    groups: Integers


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Standard deviations of the covariance's terms, and the distance over which a family's kernels resemble each other.

    ``noise`` multiplies each observation's own; ``group`` is the error that all samples of one group have in common (a
    machine's state while one network was measured). ``scales`` divides each feature, 1 by default.
    """

    common: float = 0.10
    family: float = 0.15
    shape: float = 0.25
    across: float = 0.05
    length: float = 1.0
    noise: float = 1.0
    group: float = 0.0
    scales: tuple[float, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Posterior:
    """The process given observations; prediction of ``n`` kernels costs n × samples."""

    hyperparameters: Hyperparameters
    inputs: Inputs
    mixing: Floats
    factor: Floats
    solved: Floats

    def mean(self, inputs: Inputs) -> Floats:
        """Return the expected f of each kernel."""
        return self._cross(inputs) @ self.solved

    def std(self, inputs: Inputs) -> Floats:
        """Return the standard deviation of f of each kernel."""
        explained = self._whitened(self._cross(inputs))
        prior = _variance(self.hyperparameters)
        return np.sqrt(np.maximum(prior - (explained**2).sum(axis=0), 0.0))

    def combined(self, inputs: Inputs, weights: Floats) -> tuple[float, float]:
        """Return mean and standard deviation of Σ weight · f, correlations included."""
        unique, index = _distinct(inputs)
        summed = np.bincount(index, weights, len(unique))
        cross = summed @ self._cross(unique)
        prior = float(summed @ _covariance(unique, unique, self.hyperparameters) @ summed)
        explained = self._whitened(cross[None, :])
        return float(cross @ self.solved), float(np.sqrt(max(prior - float((explained**2).sum()), 0.0)))

    def _cross(self, inputs: Inputs) -> Floats:
        return _covariance(inputs, self.inputs, self.hyperparameters) @ self.mixing.T

    def _whitened(self, cross: Floats) -> Floats:
        from scipy.linalg import solve_triangular

        whitened: Floats = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        return whitened


def condition(inputs: Inputs, observations: Observations, hyperparameters: Hyperparameters) -> Posterior:
    """Return the posterior of the process given observations of sums of ``inputs``."""
    from scipy.linalg import cho_solve, cholesky

    mixing = _mixing(observations, len(inputs))
    factor = cholesky(_observed(inputs, observations, mixing, hyperparameters), lower=True, check_finite=False)
    solved = cho_solve((factor, True), observations.values, check_finite=False)
    return Posterior(hyperparameters, inputs, mixing, factor, solved)


def score(inputs: Inputs, observations: Observations, hyperparameters: Hyperparameters, importance: Floats) -> float:
    """Return the mean log density of each group's samples given all other groups', weighted by ``importance``.

    Leaving a group out costs no further factorisation: with P the inverse covariance and P_g its block, the residual of
    the group is P_g⁻¹ (P y)_g and its covariance P_g⁻¹.
    """
    mixing = _mixing(observations, len(inputs))
    inverse = np.linalg.inv(_observed(inputs, observations, mixing, hyperparameters))
    solved = inverse @ observations.values
    total = 0.0
    for group in np.unique(observations.groups):
        members = np.flatnonzero(observations.groups == group)
        covariance = np.linalg.inv(inverse[np.ix_(members, members)])
        residual, variance = covariance @ solved[members], np.maximum(np.diag(covariance), _JITTER)
        density = -0.5 * (residual**2 / variance + np.log(2 * np.pi * variance))
        total += float(density @ importance[members])
    return total / float(importance.sum())


def tune(
    inputs: Inputs,
    observations: Observations,
    start: Hyperparameters,
    importance: Floats,
    rounds: int = 2,
    steps: Sequence[float] = (0.5, 2.0),
) -> Hyperparameters:
    """Return hyperparameters that predict left-out groups better than ``start``: a coordinate search on a log grid."""
    best, reached = start, score(inputs, observations, start, importance)
    for _ in range(rounds):
        before = reached
        for candidate_of in _directions(best):
            for step in steps:
                while True:
                    candidate = candidate_of(best, step)
                    found = score(inputs, observations, candidate, importance)
                    if found <= reached + 1e-4:
                        break
                    best, reached = candidate, found
        if reached - before < 1e-3:
            break
    return best


class _Direction:
    """One hyperparameter, to be multiplied by a step."""

    def __init__(self, name: str, index: int | None = None) -> None:
        self.name, self.index = name, index

    def __call__(self, base: Hyperparameters, step: float) -> Hyperparameters:
        if self.index is None:
            return replace(base, **{self.name: getattr(base, self.name) * step})
        scales = list(base.scales)
        scales[self.index] *= step
        return replace(base, scales=tuple(scales))


def _directions(base: Hyperparameters) -> Iterator[_Direction]:
    for one in fields(base):
        if one.name == "scales":
            yield from (_Direction("scales", index) for index in range(len(base.scales)))
        elif getattr(base, one.name) > 0:
            yield _Direction(one.name)


# -- covariances ------------------------------------------------------------------------------------------------------


def _variance(hyperparameters: Hyperparameters) -> float:
    one = hyperparameters
    return one.common**2 + one.family**2 + one.shape**2 + one.across**2


def _covariance(left: Inputs, right: Inputs, hyperparameters: Hyperparameters) -> Floats:
    """Prior covariance of f, left × right; a block for each family keeps the distances few."""
    one = hyperparameters
    scale = np.asarray(one.scales, dtype=np.float64) if one.scales else np.ones(left.features.shape[1])
    a, b = left.features / (scale * one.length), right.features / (scale * one.length)
    result = np.full((len(left), len(right)), one.common**2)
    if one.across:
        result += one.across**2 * _matern(a, b)
    for family in np.intersect1d(left.families, right.families):
        rows, columns = np.flatnonzero(left.families == family), np.flatnonzero(right.families == family)
        result[np.ix_(rows, columns)] += one.family**2 + one.shape**2 * _matern(a[rows], b[columns])
    return result


def _matern(a: Floats, b: Floats) -> Floats:
    """Matérn covariance of smoothness 3/2 and unit variance."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * (a @ b.T)
    distance = np.sqrt(3.0 * np.maximum(squared, 0.0))
    return np.asarray((1.0 + distance) * np.exp(-distance))


def _mixing(observations: Observations, kernels: int) -> Floats:
    mixing = np.zeros((len(observations.values), kernels))
    np.add.at(mixing, (observations.samples, observations.kernels), observations.weights)
    return mixing


def _observed(inputs: Inputs, observations: Observations, mixing: Floats, hyperparameters: Hyperparameters) -> Floats:
    """Covariance of the observed values."""
    covariance = mixing @ _covariance(inputs, inputs, hyperparameters) @ mixing.T
    if hyperparameters.group:
        covariance += hyperparameters.group**2 * (observations.groups[:, None] == observations.groups[None, :])
    noise = (hyperparameters.noise * observations.noise) ** 2 + _JITTER
    covariance[np.diag_indices_from(covariance)] += noise
    return np.asarray(covariance)


def _distinct(inputs: Inputs) -> tuple[Inputs, Integers]:
    """The distinct kernels among ``inputs``, and which of them each is."""
    keys = np.column_stack([inputs.families.astype(np.float64), inputs.features])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return Inputs(inputs.features[first], inputs.families[first]), np.asarray(index, dtype=np.int64).reshape(-1)
