"""What rates leave over, as a function of a kernel's shape: a Gaussian process for each family of kernels.

Measured time = rates' time · exp(f). The covariance of f at two kernels of a family is Matérn-5/2 in their features,
each with a length of its own, less between kernels of different categories; a category may be off as a whole, and so
may the family. Lengths and amplitudes maximise the marginal likelihood under weak log-normal priors, found once on at
most 200 samples; measurements that lie further off than three standard deviations, given all others, get their
deviation as noise (a machine that was disturbed while one kernel ran says nothing of that kernel). Rasmussen and
Williams, "Gaussian Processes for Machine Learning" (2006), chapters 2, 4 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import Features
from .strict_json import Entry

__all__ = ["Points", "Residual", "ResidualData", "fit_residual", "residual_from_json", "residual_to_json"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_TUNED_ON = 200
_STEPS = 15
_FAMILY_STD = 0.3
_OUTLIER = 3.0
_JITTER = 1e-6
_MARGIN = 0.25
"""How far beyond the range of what was measured still counts as within, in powers of two."""

_ALIKE = 6e-6
"""Coordinates that differ by less than this share are the same: a file holds six digits of them."""

_TILE = 32768
"""Covariances that are computed at a time where only a sum of them is wanted: those fit in a cache."""

_LIMIT = 1.5
"""No residual is believed beyond a factor of exp(1.5) = 4.5."""

_PRIOR = ((-1.2, 0.7), (-3.2, 0.5), (0.5, 1.5), (-2.0, 0.7))
_LENGTH_PRIOR = (1.5, 0.8)
"""Means and standard deviations of the hyperparameters' logarithms (the third's logit): amplitude of shape, noise,
correlation across categories, amplitude of category; and each feature's length."""

_LOWEST, _HIGHEST = (-10.0, -10.0, -10.0, -10.0), (3.0, 3.0, 10.0, 3.0)
_SHORTEST_LENGTH, _LONGEST_LENGTH = -3.0, 10.0
_LARGEST_VALUE = 1000.0
_MOST = 4096
"""What is believed of hyperparameters, coordinates, values and samples; beyond it are no measurements but mistakes."""


@dataclass(frozen=True, slots=True)
class ResidualData:
    """What a residual was learned from and how: all that a file must hold to make it again.

    ``values`` are log(measured / rates), ``noise`` their variances beyond the fitted one. ``hyperparameters`` are the
    logarithms of amplitude, noise, (logit of) correlation across categories, amplitude of category, then the lengths.
    """

    vectors: Floats
    categories: tuple[str, ...]
    values: Floats
    noise: Floats
    hyperparameters: Floats


@dataclass(frozen=True, slots=True)
class Points:
    """Kernels as a process sees them; ``squared`` are their distances to each of its samples, in lengths, squared."""

    vectors: Floats
    categories: Integers
    squared: Floats


class Residual:
    """The process given its data; predicting n kernels costs n × samples². It is solved when it is first asked."""

    def __init__(self, given: ResidualData) -> None:
        self.given = given
        self._names = {name: index for index, name in enumerate(dict.fromkeys(given.categories))}
        self._center = given.vectors.mean(axis=0)
        self._level = float(np.median(given.values))
        self._categories = self._indices(given.categories)
        self._lengths = np.exp(given.hyperparameters[4:])

    @cached_property
    def _factor(self) -> Floats:
        given = self.given
        covariance = self._covariance(given.vectors, self._categories, given.vectors, self._categories)
        covariance[np.diag_indices_from(covariance)] += self.noise_variance + given.noise + _JITTER
        return _factored(covariance)

    @cached_property
    def _solved(self) -> Floats:
        from scipy.linalg import cho_solve

        solved: Floats = cho_solve((self._factor, True), self.given.values - self._level, check_finite=False)
        return solved

    @property
    def noise_variance(self) -> float:
        """Variance of one kernel's time about the process: what shape does not explain."""
        return float(np.exp(2 * self.given.hyperparameters[1]))

    @property
    def prior_variance(self) -> float:
        """Variance of f where nothing was measured."""
        return float(np.exp(2 * self.given.hyperparameters[0]) + np.exp(2 * self.given.hyperparameters[3]))

    def points(self, features: Sequence[Features]) -> Points:
        """Return kernels as the process sees them, which is most of the work of all that can be asked of them."""
        vectors = np.array([one.vector for one in features])
        return Points(
            vectors,
            self._indices([one.category for one in features]),
            self._squared(vectors, self.given.vectors),
        )

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return the expected f of each kernel, and its variance."""
        mean, cross = self._mean(points)
        whole = self.prior_variance + _FAMILY_STD**2
        return mean, np.maximum(whole - (self._whitened(cross.T) ** 2).sum(axis=0), 0.0)

    def combined(self, points: Points, weights: Floats) -> tuple[Floats, float]:
        """Return the expected f of each kernel, and the variance of the sum of ``weights`` · exp(f).

        It is no less than with independent errors: those of shapes on either side of a sample have opposite signs if
        the covariance is just as supposed, and that is not relied upon.
        """
        mean, cross = self._mean(points)
        weights = weights * np.exp(mean)
        prior = self._summed_covariance(points.vectors, points.categories, weights)
        explained = self._whitened(cross.T)
        alone = self.prior_variance + _FAMILY_STD**2 - (explained**2).sum(axis=0)
        independent = float(weights**2 @ np.maximum(alone, 0.0))
        return mean, max(independent, prior - float(((explained @ weights) ** 2).sum()))

    def _summed_covariance(self, vectors: Floats, categories: Integers, weights: Floats) -> float:
        """The prior variance of a weighted sum, of which no n × n table is kept: some rows at a time, right of the
        diagonal."""
        total, start, count = 0.0, 0, len(weights)
        while start < count:
            stop = min(count, start + max(1, _TILE // (count - start)))
            block = self._covariance(vectors[start:stop], categories[start:stop], vectors[start:], categories[start:])
            sums, own = weights[start:stop] @ block, stop - start
            total += float(sums[:own] @ weights[start:stop] + 2 * (sums[own:] @ weights[stop:]))
            start = stop
        return total

    def _mean(self, points: Points) -> tuple[Floats, Floats]:
        """The expected f of each kernel, and its covariances with the samples."""
        same = points.categories[:, None] == self._categories[None, :]
        cross = _kernel(points.squared, same, self.given.hyperparameters)
        return np.clip(cross @ self._solved + self._level, -_LIMIT, _LIMIT), cross

    def _whitened(self, covariances: Floats) -> Floats:
        from scipy.linalg import solve_triangular

        whitened: Floats = solve_triangular(self._factor, covariances, lower=True, check_finite=False)
        return whitened

    def nearest(self, points: Points, within: float) -> tuple[NDArray[np.bool_], Integers, Integers]:
        """Return whether each kernel is the sample nearest to it, which one that is, and how many are near.

        Another category is as far as one length.
        """
        squared = points.squared + (points.categories[:, None] != self._categories[None, :])
        index = np.asarray(squared.argmin(axis=1), dtype=np.int64)
        alike = np.isclose(points.vectors, self.given.vectors[index], rtol=_ALIKE, atol=_ALIKE).all(axis=1)
        same = alike & (points.categories == self._categories[index])
        return same, index, np.asarray((squared < within**2).sum(axis=1))

    def inside(self, points: Points) -> NDArray[np.bool_]:
        """Whether each kernel lies within the range of what was measured, in every one of its coordinates."""
        vectors = points.vectors
        low, high = self.given.vectors.min(axis=0) - _MARGIN, self.given.vectors.max(axis=0) + _MARGIN
        return np.asarray(((vectors >= low) & (vectors <= high)).all(axis=1))

    def left_out(self) -> tuple[Floats, Floats]:
        """Return each sample's residual given all others, and its standard deviation (section 5.4.2)."""
        from scipy.linalg import cho_solve

        inverse = cho_solve((self._factor, True), np.eye(len(self._solved)), check_finite=False)
        precision = np.diag(inverse)
        return self._solved / precision, 1 / np.sqrt(precision)

    def _indices(self, categories: Sequence[str]) -> Integers:
        return np.array([self._names.get(name, -1) for name in categories], dtype=np.int64)

    def _covariance(self, left: Floats, of_left: Integers, right: Floats, of_right: Integers) -> Floats:
        same = of_left[:, None] == of_right[None, :]
        return _kernel(self._squared(left, right), same, self.given.hyperparameters)

    def _squared(self, left: Floats, right: Floats) -> Floats:
        return _squared((left - self._center) / self._lengths, (right - self._center) / self._lengths)


def fit_residual(
    features: Sequence[Features], values: Floats, noise: Floats, hyperparameters: Floats | None = None
) -> Residual:
    """Return the process that explains ``values`` (log measured over rates), of variances ``noise``, best.

    ``hyperparameters`` are those of an earlier fit to like samples, to save finding them again.
    """
    vectors = np.array([one.vector for one in features])
    categories = tuple(one.category for one in features)
    if hyperparameters is None:
        hyperparameters = _tuned(vectors, categories, values, noise)
    extra = noise
    residual = Residual(ResidualData(vectors, categories, values, extra, hyperparameters))
    for _ in range(2):
        off, std = residual.left_out()
        variance = std**2 - (extra - noise)  # what was added for an outlier must not make it pass the next time
        extra = noise + np.where(off**2 > _OUTLIER**2 * variance, off**2, 0.0)
        residual = Residual(ResidualData(vectors, categories, values, extra, hyperparameters))
    return residual


def _tuned(vectors: Floats, categories: Sequence[str], values: Floats, noise: Floats) -> Floats:
    """Hyperparameters of the greatest posterior density."""
    from scipy.optimize import minimize

    start = np.array([mean for mean, _ in _PRIOR] + [_LENGTH_PRIOR[0]] * vectors.shape[1])
    chosen = np.arange(len(values))
    if len(values) > _TUNED_ON:
        chosen = np.sort(np.random.default_rng(0).permutation(len(values))[:_TUNED_ON])
    names = {name: index for index, name in enumerate(dict.fromkeys(categories))}
    indices = np.array([names[categories[int(i)]] for i in chosen])
    same = indices[:, None] == indices[None, :]
    points = vectors[chosen]
    squares = (points.T[:, :, None] - points.T[:, None, :]) ** 2
    wanted = values[chosen] - np.median(values)
    found = minimize(
        _misfit,
        start,
        args=(squares, same, wanted, noise[chosen]),
        method="L-BFGS-B",
        bounds=list(zip(*_bounds(len(start)), strict=True)),
        options={"maxiter": _STEPS},
    )
    return _believable(found.x)


def _factored(covariance: Floats) -> Floats:
    """The Cholesky factor; where rounding leaves a matrix not quite positive definite, of one with more noise."""
    level = float(np.diag(covariance).mean())
    for noise in (0.0, 1e-6, 1e-3):
        try:
            return np.asarray(np.linalg.cholesky(covariance + noise * level * np.eye(len(covariance))), float)
        except np.linalg.LinAlgError:
            continue
    return np.asarray(np.linalg.cholesky(covariance + level * np.eye(len(covariance))), float)


def _misfit(logs: Floats, squares: Floats, same: NDArray[np.bool_], values: Floats, noise: Floats) -> float:
    """Negative log marginal likelihood and priors, up to a constant."""
    from scipy.linalg import solve_triangular

    squared = np.tensordot(np.exp(-2 * logs[4:]), squares, axes=1)
    covariance = _kernel(squared, same, logs)
    covariance[np.diag_indices_from(covariance)] += np.exp(2 * logs[1]) + noise + _JITTER
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return 1e9
    whitened = solve_triangular(factor, values, lower=True, check_finite=False)
    likelihood = 0.5 * whitened @ whitened + np.log(np.diag(factor)).sum()
    priors = sum(((log - mean) / std) ** 2 for log, (mean, std) in zip(logs, _PRIOR, strict=False))
    priors += float((((logs[4:] - _LENGTH_PRIOR[0]) / _LENGTH_PRIOR[1]) ** 2).sum())
    return float(likelihood + 0.5 * priors)


def _kernel(squared: Floats, same: NDArray[np.bool_], logs: Floats) -> Floats:
    """Covariance of f from squared distances in lengths."""
    distance = np.sqrt(5 * squared)
    shape = (1 + distance + 5 * squared / 3) * np.exp(-distance)
    across = 1 / (1 + np.exp(-logs[2]))
    covariance = np.exp(2 * logs[0]) * shape * np.where(same, 1.0, across)
    return np.asarray(covariance + np.exp(2 * logs[3]) * same + _FAMILY_STD**2)


def _squared(left: Floats, right: Floats) -> Floats:
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * left @ right.T
    return np.asarray(np.maximum(squared, 0.0))


def residual_to_json(residual: Residual) -> dict[str, Any]:
    """Return what :func:`residual_from_json` makes the same process of; numbers are rounded to six digits."""
    given = residual.given
    names = list(dict.fromkeys(given.categories))
    place = {name: index for index, name in enumerate(names)}
    return {
        "vectors": [[_rounded(x) for x in row] for row in given.vectors],
        "names": names,
        "categories": [place[name] for name in given.categories],
        "values": [_rounded(x) for x in given.values],
        "noise": [_rounded(x) for x in given.noise],
        "hyperparameters": [_rounded(x) for x in given.hyperparameters],
    }


def residual_from_json(entry: Entry, coordinates: int) -> Residual:
    """Return the process that was written, of kernels with so many ``coordinates``.

    Raises:
        CalibrationError: numbers are missing, no numbers, beyond all measure, or not as many as they must be.
    """
    values = entry["values"].numbers(-_LARGEST_VALUE, _LARGEST_VALUE)
    count = len(values)
    if not 0 < count <= _MOST:
        raise entry["values"].fail(f"{count} samples; there must be some, and at most {_MOST}")
    noise = entry["noise"].numbers(0.0, _LARGEST_VALUE**3)
    rows, names, places = entry["vectors"].list_of(list), entry["names"].list_of(str), entry["categories"].list_of(int)
    if not len(rows) == len(noise) == len(places) == count:
        raise entry.fail("its vectors, values, noise and categories differ in number")
    if not 0 <= min(places) <= max(places) < len(names):
        raise entry["categories"].fail(f"expected places in the list of {len(names)} names")
    if any(len(row) != coordinates for row in rows):
        raise entry["vectors"].fail(f"expected lists of {coordinates} numbers, which this version describes kernels by")
    flat = Entry(list(chain.from_iterable(rows)), entry.file, entry["vectors"].path)
    vectors = np.array(flat.numbers(-_LARGEST_VALUE, _LARGEST_VALUE)).reshape(count, coordinates)
    logs = np.array(entry["hyperparameters"].numbers(-_LARGEST_VALUE, _LARGEST_VALUE))
    if len(logs) != 4 + coordinates:
        raise entry["hyperparameters"].fail(f"expected {4 + coordinates} numbers, got {len(logs)}")
    if (logs != _believable(logs)).any():
        raise entry["hyperparameters"].fail("they are beyond what fitting gives")
    categories = tuple(names[place] for place in places)
    return Residual(ResidualData(vectors, categories, np.array(values), np.array(noise), logs))


def _bounds(count: int) -> tuple[Floats, Floats]:
    """The least and the most that is believed of so many hyperparameters."""
    lengths = count - len(_LOWEST)
    return np.array((*_LOWEST, *[_SHORTEST_LENGTH] * lengths)), np.array((*_HIGHEST, *[_LONGEST_LENGTH] * lengths))


def _believable(logs: Floats) -> Floats:
    return np.clip(logs, *_bounds(len(logs)))


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
