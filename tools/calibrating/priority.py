"""What to measure first: whatever takes most off the predicted intervals of the user's models for its time.

A measured kernel tells of another one of its family by how near their shapes are; what it tells takes that share off
the other's variance. Benchmarks of one sort are draws of the same shapes, so one of them stands for all. Sorts are
picked greedily, each time the one of the largest gain for its next benchmark's time given what was picked before;
what tells nothing keeps the suite's order, which is balanced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...calibration.amounts import family
from ...calibration.features import features
from ...calibration.kernel import Kernel
from ...calibration.processor import Processor

__all__ = ["Offer", "Wanted", "ranked", "wanted_of"]

_REACH = 2.0
"""Distance between shapes, in factors of two, at which a measurement still tells exp(-1/2) of what it could."""
_MOST_TOLD = 0.9
"""The share of a kernel's variance that measuring its very like takes off: machines and neighbours differ."""
_NEGLIGIBLE = 1e-4
_LEAST_SECONDS = 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kernel of the user's, and the standard deviation of its predicted time, all its copies together, in seconds."""

    kernel: Kernel
    std_seconds: float


@dataclass(frozen=True, slots=True)
class Offer:
    """Benchmarks of one sort in the suite's order, what measuring each costs, and the kernels that any tells of."""

    benchmarks: tuple[tuple[str, float], ...]
    kernels: tuple[Kernel, ...]


def wanted_of(kernels: Sequence[Kernel], seconds: Sequence[float], stds: Sequence[float]) -> list[Wanted]:
    """Return each kernel once; the errors of its copies add up, since they are one error."""
    summed: dict[Kernel, float] = {}
    for kernel, time, std in zip(kernels, seconds, stds, strict=True):
        summed[kernel] = summed.get(kernel, 0.0) + time * std
    return [Wanted(kernel, std) for kernel, std in summed.items() if std > 0.0]


def ranked(
    wanted: Sequence[Wanted], offers: Sequence[Offer], processor: Processor, done: Collection[str] = ()
) -> list[str]:
    """Return the names of benchmarks worth measuring for ``wanted``, first things first; ``done`` are measured already.

    What would take less than a ten-thousandth off the variance is left to the suite's own order.
    """
    left = np.array([one.std_seconds**2 for one in wanted], dtype=np.float64)
    if not len(left) or not offers:
        return []
    families = _families(wanted, processor)
    told = np.stack([_told(offer, families, processor, len(wanted)) for offer in offers])
    queues = []
    for place, offer in enumerate(offers):
        queues.append([one for one in offer.benchmarks if one[0] not in done])
        left = left * (1.0 - told[place]) ** (len(offer.benchmarks) - len(queues[-1]))
    start, order = float(left.sum()), list[str]()
    while any(queues):
        costs = np.array([max(queue[0][1], _LEAST_SECONDS) if queue else np.inf for queue in queues])
        gains = np.where(np.isfinite(costs), told @ left, 0.0)
        best = int((gains / costs).argmax())
        if gains[best] <= _NEGLIGIBLE * start:
            break
        order.append(queues[best].pop(0)[0])
        left = left * (1.0 - told[best])
    return order


_Place = tuple[str, int]


def _families(wanted: Sequence[Wanted], processor: Processor) -> Mapping[_Place, tuple[list[int], Array]]:
    """The user's kernels by family and length of their coordinates: their places in ``wanted``, and coordinates."""
    places: dict[_Place, list[int]] = {}
    for place, one in enumerate(wanted):
        places.setdefault(_place(one.kernel, processor), []).append(place)
    vectors = [features(one.kernel, processor).vector for one in wanted]
    return {key: (rows, np.array([vectors[row] for row in rows])) for key, rows in places.items()}


def _place(kernel: Kernel, processor: Processor) -> _Place:
    return family(kernel), len(features(kernel, processor).vector)


def _told(offer: Offer, families: Mapping[_Place, tuple[list[int], Array]], processor: Processor, count: int) -> Array:
    """The share of each wanted kernel's variance that measuring ``offer`` takes off: by the nearest of its kernels."""
    told: Array = np.zeros(count)
    by_family: dict[_Place, set[tuple[float, ...]]] = {}
    for kernel in offer.kernels:
        place = _place(kernel, processor)
        if place in families:
            by_family.setdefault(place, set()).add(features(kernel, processor).vector)
    for key, vectors in by_family.items():
        rows, theirs = families[key]
        own = np.array(sorted(vectors))
        squares = ((theirs[:, None, :] - own[None, :, :]) ** 2).sum(axis=2).min(axis=1)
        told[rows] = _MOST_TOLD * np.exp(-squares / (2.0 * _REACH**2))
    return told
