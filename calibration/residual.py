"""What rates leave over, as a function of a kernel's shape: a Gaussian process for each family of kernels.

Measured time = rates' time · exp(f). The covariance of f at two kernels of a family is Matérn-5/2 in their features,
each with a length of its own, less between kernels of different categories; a category may be off as a whole, and so
may the family. Lengths and amplitudes maximise the marginal likelihood under weak log-normal priors, found once on at
most 200 samples; measurements that lie further off than three standard deviations, given all others, get their
deviation as noise (a machine that was disturbed while one kernel ran says nothing of that kernel). Rasmussen and
Williams, "Gaussian Processes for Machine Learning" (2006), chapters 2, 4 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import Features

__all__ = ["Residual", "ResidualData", "fit_residual", "residual_from_json", "residual_to_json"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_TUNED_ON = 200
_STEPS = 15
_FAMILY_STD = 0.3
_OUTLIER = 3.0
_JITTER = 1e-6
_MARGIN = 0.25
"""How far beyond the range of what was measured still counts as within, in powers of two."""

_LIMIT = 1.5
"""No residual is believed beyond a factor of exp(1.5) = 4.5."""

_PRIOR = ((-1.2, 0.7), (-3.2, 0.5), (0.5, 1.5), (-2.0, 0.7))
_LENGTH_PRIOR = (1.5, 0.8)
"""Means and standard deviations of the hyperparameters' logarithms (the third's logit): amplitude of shape, noise,
correlation across categories, amplitude of category; and each feature's length."""


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


class Residual:
    """The process given its data; predicting n kernels costs n × samples²."""

    def __init__(self, given: ResidualData) -> None:
        from scipy.linalg import cho_solve

        self.given = given
        self._names = {name: index for index, name in enumerate(dict.fromkeys(given.categories))}
        self._center = given.vectors.mean(axis=0)
        self._level = float(np.median(given.values))
        self._categories = self._indices(given.categories)
        covariance = self._covariance(given.vectors, self._categories, given.vectors, self._categories)
        covariance[np.diag_indices_from(covariance)] += self.noise_variance + given.noise + _JITTER
        self._factor = np.linalg.cholesky(covariance)
        self._solved: Floats = cho_solve((self._factor, True), given.values - self._level, check_finite=False)

    @property
    def noise_variance(self) -> float:
        """Variance of one kernel's time about the process: what shape does not explain."""
        return float(np.exp(2 * self.given.hyperparameters[1]))

    @property
    def prior_variance(self) -> float:
        """Variance of f where nothing was measured."""
        return float(np.exp(2 * self.given.hyperparameters[0]) + np.exp(2 * self.given.hyperparameters[3]))

    def predict(self, features: Sequence[Features]) -> tuple[Floats, Floats]:
        """Return the expected f of each kernel, and its variance."""
        mean, explained, _, _ = self._explained(features)
        whole = self.prior_variance + _FAMILY_STD**2
        return mean, np.maximum(whole - (explained**2).sum(axis=0), 0.0)

    def combined(self, features: Sequence[Features], weights: Floats) -> tuple[Floats, float]:
        """Return the expected f of each kernel, and the variance of the weighted sum of all of them."""
        mean, explained, vectors, categories = self._explained(features)
        prior = self._covariance(vectors, categories, vectors, categories)
        weights = weights * np.exp(mean)
        return mean, max(0.0, float(weights @ prior @ weights - ((explained @ weights) ** 2).sum()))

    def _explained(self, features: Sequence[Features]) -> tuple[Floats, Floats, Floats, Integers]:
        from scipy.linalg import solve_triangular

        vectors = np.array([one.vector for one in features])
        categories = self._indices([one.category for one in features])
        cross = self._covariance(vectors, categories, self.given.vectors, self._categories)
        mean = np.clip(cross @ self._solved + self._level, -_LIMIT, _LIMIT)
        explained: Floats = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        return mean, explained, vectors, categories

    def nearest(self, features: Sequence[Features], within: float) -> tuple[Floats, Integers, Integers]:
        """Return each kernel's distance to the sample nearest to it, in lengths, which that is, and how many are near.

        Another category is as far as one length.
        """
        lengths = np.exp(self.given.hyperparameters[4:])
        vectors = np.array([one.vector for one in features])
        categories = self._indices([one.category for one in features])
        squared = _squared(vectors / lengths, self.given.vectors / lengths)
        squared = squared + (categories[:, None] != self._categories[None, :])
        index = squared.argmin(axis=1)
        closest = np.sqrt(squared[np.arange(len(index)), index])
        return closest, np.asarray(index, dtype=np.int64), np.asarray((squared < within**2).sum(axis=1))

    def inside(self, features: Sequence[Features]) -> NDArray[np.bool_]:
        """Whether each kernel lies within the range of what was measured, in every one of its coordinates."""
        vectors = np.array([one.vector for one in features])
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
        lengths = np.exp(self.given.hyperparameters[4:])
        squared = _squared((left - self._center) / lengths, (right - self._center) / lengths)
        same = of_left[:, None] == of_right[None, :]
        return _kernel(squared, same, self.given.hyperparameters)


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
        extra = noise + np.where(np.abs(off) > _OUTLIER * std, off**2, 0.0)
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
        options={"maxiter": _STEPS},
    )
    return np.asarray(found.x)


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


def residual_from_json(written: Mapping[str, Any]) -> Residual:
    """Return the process that was written.

    Raises:
        ValueError: numbers are missing, not finite, or not as many as they must be.
    """
    vectors, values = np.array(written["vectors"], dtype=float), np.array(written["values"], dtype=float)
    noise, logs = np.array(written["noise"], dtype=float), np.array(written["hyperparameters"], dtype=float)
    categories = tuple(str(written["names"][index]) for index in written["categories"])
    count = len(values)
    if vectors.ndim != 2 or not count == len(vectors) == len(noise) == len(categories):
        raise ValueError("its vectors, values, noise and categories differ in number")
    if len(logs) != 4 + vectors.shape[1]:
        raise ValueError(f"it has {len(logs)} hyperparameters for {vectors.shape[1]} features")
    if not all(np.isfinite(each).all() for each in (vectors, values, noise, logs)) or (noise < 0).any():
        raise ValueError("it has numbers that are not finite, or a negative variance")
    return Residual(ResidualData(vectors, categories, values, noise, logs))


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
