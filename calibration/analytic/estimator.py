"""Predicts networks from fitted parameters, and says how sure it is: errors found by leaving each network out.

What was measured are pieces of networks, each timed by itself, so this predicts the time of a network cut into pieces
of as many launches as were measured together on average; a kernel's time is its part of its piece's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import Kernel, entry
from ..prediction import NORMAL_95, Prediction, Quality, Total
from ..strict_json import Entry
from .model import Model
from .parameters import CALLS, NAMES, kind_of_kernel
from .table import Run, pieces_of

__all__ = ["METHOD", "AnalyticEstimator", "Kind", "from_json", "kinds_of", "launches_of", "to_json"]

Floats = NDArray[np.float64]

METHOD = "analytic"

_CLASSES = ("cpu", "gpu")
_MOST_ENTRIES = 40
_NEAR = 2.0
"""Sizes within this factor count as near."""

_LARGEST_STD = 10.0
_LEAST, _MOST = 1e-40, 1e40
"""Bounds of parameters in a file, whatever they stand for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Which kernels of a kind were measured: sizes are (work, bytes), ``entries`` those of the distinct ones."""

    samples: int
    least: tuple[float, float]
    most: tuple[float, float]
    entries: tuple[tuple[str, float, float], ...]

    def quality(self, work: float, moved: float, name: str) -> Quality:
        """How near a kernel is to what was measured of its kind."""
        if any(known == (name, work, moved) for known in self.entries):
            return Quality.EXACT
        sizes = zip((work, moved), self.least, self.most, strict=True)
        inside = all(least <= size <= most for size, least, most in sizes)
        return Quality.SIZE_INTERPOLATED if inside else Quality.SIZE_EXTRAPOLATED

    def nearest(self, work: float, moved: float) -> tuple[str, int]:
        """Return the entry nearest in size, and how many are near."""
        distances = [max(_apart(work, known), _apart(moved, size)) for _, known, size in self.entries]
        if not distances:
            return "", 0
        return self.entries[int(np.argmin(distances))][0], sum(apart <= math.log(_NEAR) for apart in distances)


def _apart(one: float, other: float) -> float:
    return abs(math.log(max(one, 1.0) / max(other, 1.0)))


@dataclass(frozen=True, slots=True)
class AnalyticEstimator:
    """Predicts from parameters (logarithms, as :data:`.parameters.NAMES`).

    ``launches`` is how many were timed together, ``shared_std`` the error that all kernels of a network share and
    ``kernel_std`` that of single pieces about it, of logarithms. ``kinds`` has what was measured.
    """

    device_class: str
    parameters: Floats
    launches: float
    shared_std: float
    kernel_std: float
    kinds: Mapping[str, Kind]

    def predict(self, kernels: Sequence[Kernel]) -> Sequence[Prediction]:
        """Return a prediction for each kernel of a network, in the order in which they run."""
        return [
            self._prediction(kernel, float(seconds))
            for kernel, seconds in zip(kernels, self.seconds(kernels), strict=True)
        ]

    def total(self, kernels: Sequence[Kernel]) -> Total:
        """Return the time of all kernels in a row; those without evidence are left out."""
        times = self.seconds(kernels)
        known = np.array([kind_of_kernel(kernel) in self.kinds for kernel in kernels], dtype=bool)
        seconds = float(times[known].sum())
        if not seconds:
            return Total(0.0, 0.0, 0.0)
        alone = self.kernel_std**2 * float((times[known] ** 2).sum()) * max(self.launches, 1.0) / seconds**2
        reach = math.exp(NORMAL_95 * math.sqrt(alone + self.shared_std**2))
        return Total(seconds, seconds / reach, seconds * reach)

    def seconds(self, kernels: Sequence[Kernel]) -> Floats:
        """Return the time of each kernel of a network, in the order in which they run."""
        if not kernels:
            return np.zeros(0)
        pieces = pieces_of(kernels, self.launches, self.device_class == "cpu")
        model = Model(pieces.table, self.device_class)
        logs, _ = model.logs(self.parameters)
        own = model.dispatch(self.parameters).seconds + model.work(self.parameters).seconds
        mine = own[pieces.row]
        return np.asarray(np.exp(logs)[pieces.piece] * mine / np.bincount(pieces.piece, mine)[pieces.piece])

    def _prediction(self, kernel: Kernel, seconds: float) -> Prediction:
        name = kind_of_kernel(kernel)
        std = math.hypot(self.kernel_std, self.shared_std)
        kind = self.kinds.get(name)
        if kind is None:
            return Prediction(seconds, std, Quality.MISSING, kernel.operation_type)
        size = _size(kernel)
        nearest, near = kind.nearest(*size)
        return Prediction(seconds, std, kind.quality(*size, _entry(kernel)), kernel.operation_type, nearest, near)


def _size(kernel: Kernel) -> tuple[float, float]:
    """FLOPs and bytes."""
    return float(kernel.flops), float(kernel.bytes)


def _entry(kernel: Kernel) -> str:
    return entry(kernel.main) if kernel.main else kernel.pattern


# -- what was measured ------------------------------------------------------------------------------------------------


def launches_of(runs: Iterable[Run]) -> float:
    """Return how many kernels samples that launch anything have on average."""
    counts = [
        sum(kind_of_kernel(kernel) not in CALLS for kernel in sample.kernels) for run in runs for sample in run.samples
    ]
    launching = [count for count in counts if count]
    return float(np.mean(launching)) if launching else 1.0


def kinds_of(runs: Iterable[Run]) -> dict[str, Kind]:
    """Return which kernels of each kind samples have."""
    found: dict[str, dict[tuple[str, float, float], int]] = {}
    for run in runs:
        for sample in run.samples:
            for kernel in sample.kernels:
                counts = found.setdefault(kind_of_kernel(kernel), {})
                key = (_entry(kernel), *_size(kernel))
                counts[key] = counts.get(key, 0) + 1
    return {name: _kind(counts) for name, counts in sorted(found.items())}


def _kind(counts: Mapping[tuple[str, float, float], int]) -> Kind:
    """The entries kept are spread evenly over the sizes."""
    known = sorted(counts, key=lambda key: (key[1], key[2], key[0]))
    step = max(1.0, len(known) / _MOST_ENTRIES)
    kept = dict.fromkeys(known[int(index * step)] for index in range(min(len(known), _MOST_ENTRIES)))
    least, most = ((edge(key[1] for key in known), edge(key[2] for key in known)) for edge in (min, max))
    return Kind(sum(counts.values()), least, most, tuple(kept))


# -- from and to files ------------------------------------------------------------------------------------------------


def to_json(estimator: AnalyticEstimator) -> dict[str, Any]:
    """Return the estimator as evidence keeps it: parameters as they are, not their logarithms."""
    return {
        "method": METHOD,
        "device_class": estimator.device_class,
        "launches": round(estimator.launches, 3),
        "shared_std": round(estimator.shared_std, 4),
        "kernel_std": round(estimator.kernel_std, 4),
        "parameters": {
            name: float(f"{math.exp(value):.5g}") for name, value in zip(NAMES, estimator.parameters, strict=True)
        },
        "kinds": {
            name: {
                "samples": kind.samples,
                "least": list(kind.least),
                "most": list(kind.most),
                "entries": [list(each) for each in kind.entries],
            }
            for name, kind in estimator.kinds.items()
        },
    }


def from_json(written: Entry) -> AnalyticEstimator:
    """Return the estimator that evidence holds. Raises :class:`CalibrationError` where it cannot be one."""
    named = written["parameters"].only(NAMES)
    return AnalyticEstimator(
        written["device_class"].choice(_CLASSES),
        np.log([_within(named[name], _LEAST, _MOST) for name in NAMES]),
        written["launches"].positive,
        _within(written["shared_std"], 0.0, _LARGEST_STD),
        _within(written["kernel_std"], 0.0, _LARGEST_STD),
        {name: _kind_from(each) for name, each in written["kinds"].items()},
    )


def _within(written: Entry, low: float, high: float) -> float:
    if not low <= written.number <= high:
        raise written.expected(f"a number from {low:g} to {high:g}")
    return written.number


def _kind_from(written: Entry) -> Kind:
    least, most = (_pair(written[name]) for name in ("least", "most"))
    entries = tuple(_entry_from(each) for each in written["entries"].elements())
    return Kind(written["samples"].count, least, most, entries)


def _pair(written: Entry) -> tuple[float, float]:
    numbers = written.numbers(0.0, _MOST)
    if len(numbers) != 2:
        raise written.expected("FLOPs and bytes")
    return numbers[0], numbers[1]


def _entry_from(written: Entry) -> tuple[str, float, float]:
    parts = list(written.elements())
    if len(parts) != 3:
        raise written.expected("a name, FLOPs and bytes")
    return parts[0].text, _within(parts[1], 0.0, _MOST), _within(parts[2], 0.0, _MOST)
