"""What to measure first: whatever takes most off the predicted intervals of the user's models for its time.

A measured kernel tells of another one of its family by how near their shapes are; what it tells takes that share off
the other's variance. Benchmarks are picked greedily, each time the one of the largest gain for its time given what was
picked before; those that tell nothing keep the suite's order, which is balanced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...calibration.features import features
from ...calibration.kernel import Kernel

__all__ = ["Offer", "Wanted", "ranked", "wanted_of"]

_REACH = 2.0
"""Distance between shapes, in factors of two, at which a measurement still tells exp(-1/2) of what it could."""
_MOST_TOLD = 0.9
"""The share of a kernel's variance that measuring its very like takes off: machines and neighbours differ."""
_NEGLIGIBLE = 1e-4

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kernel of the user's, and the standard deviation of its predicted time, all its copies together, in seconds."""

    kernel: Kernel
    std_seconds: float


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be measured: its name, what measuring it costs, and the kernels that it tells of."""

    name: str
    seconds: float
    kernels: tuple[Kernel, ...]


def wanted_of(kernels: Sequence[Kernel], seconds: Sequence[float], stds: Sequence[float]) -> list[Wanted]:
    """Return each kernel once; the errors of its copies add up, since they are one error."""
    summed: dict[Kernel, float] = {}
    for kernel, time, std in zip(kernels, seconds, stds, strict=True):
        summed[kernel] = summed.get(kernel, 0.0) + time * std
    return [Wanted(kernel, std) for kernel, std in summed.items() if std > 0.0]


def ranked(wanted: Sequence[Wanted], offers: Sequence[Offer]) -> list[str]:
    """Return the names of the offers, the one to measure first first."""
    left = np.array([one.std_seconds**2 for one in wanted], dtype=np.float64)
    if not len(left) or not offers:
        return [offer.name for offer in offers]
    families = _families(wanted)
    told = np.stack([_told(offer, families, len(wanted)) for offer in offers])
    costs = np.array([max(offer.seconds, 1e-3) for offer in offers])
    start, order, open_ = float(left.sum()), list[int](), np.ones(len(offers), dtype=bool)
    while open_.any():
        gains = np.where(open_, told @ left / costs, -1.0)
        best = int(gains.argmax())
        if gains[best] * costs[best] < _NEGLIGIBLE * start:
            break
        order.append(best)
        open_[best] = False
        left = left * (1.0 - told[best])
    order += [place for place in range(len(offers)) if open_[place]]
    return [offers[place].name for place in order]


def _families(wanted: Sequence[Wanted]) -> Mapping[str, tuple[list[int], Array]]:
    """The user's kernels by family: their places and coordinates."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(wanted):
        places.setdefault(features(one.kernel).family, []).append(place)
    return {
        name: (rows, np.array([features(wanted[row].kernel).vector for row in rows])) for name, rows in places.items()
    }


def _told(offer: Offer, families: Mapping[str, tuple[list[int], Array]], count: int) -> Array:
    """The share of each wanted kernel's variance that measuring ``offer`` takes off: by the nearest of its kernels."""
    told: Array = np.zeros(count)
    by_family: dict[str, set[tuple[float, ...]]] = {}
    for kernel in offer.kernels:
        found = features(kernel)
        if found.family in families:
            by_family.setdefault(found.family, set()).add(found.vector)
    for name, vectors in by_family.items():
        rows, theirs = families[name]
        own = np.array(sorted(vectors))
        squares = ((theirs[:, None, :] - own[None, :, :]) ** 2).sum(axis=2).min(axis=1)
        told[rows] = _MOST_TOLD * np.exp(-squares / _REACH**2)
    return told
