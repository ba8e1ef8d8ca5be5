"""How closely evidence matches a primitive: measured, between what was measured, beyond it, or something else's word.

Entries are what was measured of single kernels, by the primitive that each is named after, and the points of curves.

- EXACT: an entry of the same operation type, precision and sizes.
- SIZE_INTERPOLATED: same type and precision, and each size (m, n, k; channels, pixels, window; …) lies between the
  smallest and the largest measured of that size; for curves, the FLOPs lie inside the curve's range.
- SIZE_EXTRAPOLATED: same type and precision, outside that.
- OP_APPROXIMATED: a proxy of ``proxies.yaml`` that has entries or a curve.
- MISSING: nothing of all this; the first proxy says what to measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, hypot, log, log1p, prod, sqrt
from operator import le

import numpy as np
from numpy.typing import NDArray

from ..ir.primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Unknown,
    Window,
    flops,
)
from .curve import Curve
from .curves import Share, share_of
from .kernel import entry, operation_type
from .prediction import Confidence, Quality
from .profile import Profile
from .proxies import proxies_of
from .roofline import Roofline

__all__ = ["Entry", "Evidence", "Match", "match", "moved_bytes", "sizes_of"]

Array = NDArray[np.float64]
_NEAREST = 4
_CONFIDENCE = {
    Quality.EXACT: Confidence.CALIBRATED,
    Quality.SIZE_INTERPOLATED: Confidence.CALIBRATED,
    Quality.SIZE_EXTRAPOLATED: Confidence.INTERPOLATED,
    Quality.OP_APPROXIMATED: Confidence.INTERPOLATED,
    Quality.MISSING: Confidence.THEORETICAL,
}


@dataclass(frozen=True, slots=True)
class Match:
    """What evidence says of a primitive.

    ``entry`` names the measurement nearest to it (or the curve), ``efficiency`` the share of its roofline that kernels
    like it reach and ``std`` that share's standard deviation; both are ``None`` where nothing says so. ``proxy`` is
    what stands in, or for MISSING what would; ``reason`` why that is sensible.
    """

    quality: Quality
    entry: str = ""
    efficiency: float | None = None
    std: float | None = None
    proxy: str = ""
    reason: str = ""
    confidence: Confidence = Confidence.THEORETICAL


@dataclass(frozen=True, slots=True)
class Entry:
    """What was measured of one primitive: the share of its roofline, and the relative spread of that.

    ``sizes`` and ``work`` (FLOPs and bytes) are logarithms.
    """

    name: str
    sizes: tuple[float, ...]
    work: tuple[float, float]
    efficiency: float
    spread: float


@dataclass(frozen=True, slots=True)
class _Near:
    """What the entries nearest to a place say: the first one's name, the mean efficiency, its relative deviation."""

    name: str
    efficiency: float
    std: float


class _Group:
    """Entries of one operation type and precision, and where they lie in their sizes and in their work."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        by_name: dict[str, Entry] = {}
        for made in entries:  # of several with one name, the one that spreads least
            if made.name not in by_name or made.spread < by_name[made.name].spread:
                by_name[made.name] = made
        self.by_name = by_name
        self.entries = list(by_name.values())
        self.sizes = np.array([made.sizes for made in self.entries])
        self.work = np.array([made.work for made in self.entries])
        self.low, self.high = tuple(self.sizes.min(axis=0)), tuple(self.sizes.max(axis=0))

    def inside(self, sizes: tuple[float, ...]) -> bool:
        """Whether each size lies in the measured range."""
        return all(map(le, self.low, sizes)) and all(map(le, sizes, self.high))

    def near(self, places: Array, place: tuple[float, ...]) -> _Near:
        """What the nearest entries say, the nearer the heavier. ``places`` is ``sizes`` or ``work``."""
        distances = np.square(places - place).sum(axis=1)
        count = min(_NEAREST, len(distances))
        nearest = np.argpartition(distances, count - 1)[:count]
        rows = sorted((float(distances[i]), self.entries[i].name, int(i)) for i in nearest)
        weights = [1.0 / (distance + 1e-9) for distance, _, _ in rows]
        logs = [log(self.entries[i].efficiency) for _, _, i in rows]
        mean = sum(w * value for w, value in zip(weights, logs, strict=True)) / sum(weights)
        apart = sum(w * (value - mean) ** 2 for w, value in zip(weights, logs, strict=True)) / sum(weights)
        noise = max(log1p(self.entries[i].spread ** 2) for _, _, i in rows)
        return _Near(rows[0][1], exp(mean), sqrt(apart + noise))


class Evidence:
    """A profile's entries and curves, indexed; what was asked once is remembered."""

    def __init__(self, profile: Profile, roofline: Roofline) -> None:
        self.curves: Mapping[str, Curve] = profile.curves
        self.bandwidth_curves: Mapping[str, Curve] = profile.bandwidth_curves
        self.precision = profile.precision.lower()
        self._known: dict[Primitive, Match] = {}
        entries: dict[tuple[str, str], list[Entry]] = {}
        for sample in profile.samples:
            main = sample.kernels[0].main if len(sample.kernels) == 1 else None
            if main is None or isinstance(main, Unknown):
                continue
            bounds, seconds = roofline.bounds(sample.kernels[0]), sample.seconds
            least = max(bounds.compute_seconds, bounds.memory_seconds)
            if least:
                made = Entry(
                    entry(main), sizes_of(main), _work(main), least / seconds.median, seconds.std / seconds.mean
                )
                entries.setdefault((operation_type(main), main.dtype.precision), []).append(made)
        self._groups = {key: _Group(rows) for key, rows in entries.items()}

    def match(self, primitive: Primitive) -> Match:
        """Return how closely the evidence matches ``primitive``."""
        if primitive not in self._known:
            self._known[primitive] = self._match(primitive)
        return self._known[primitive]

    def _match(self, primitive: Primitive) -> Match:
        name = operation_type(primitive)
        if isinstance(primitive, Unknown):
            return Match(Quality.MISSING, reason=primitive.reason)
        group = self._groups.get((name, primitive.dtype.precision))
        if group is not None:
            return _of_entries(primitive, group)
        share = self._share(name, primitive)
        if share is not None and share.proxy is None:
            return _of_share(share)
        for proxy in proxies_of(name):
            parts = {part: self._groups.get((part, primitive.dtype.precision)) for part, _ in proxy.use}
            near = {part: group.near(group.work, _work(primitive)) for part, group in parts.items() if group}
            efficiency = proxy.efficiency({part: row.efficiency for part, row in near.items()})
            if efficiency is not None:
                std = efficiency * hypot(proxy.std, *(row.std for row in near.values()))
                return Match(Quality.OP_APPROXIMATED, " + ".join(row.name for row in near.values()), efficiency, std,
                             proxy.name, proxy.reason, Confidence.INTERPOLATED)  # fmt: skip
        if share is not None:
            return _of_share(share)
        wanted = next(iter(proxies_of(name)), None)
        return Match(Quality.MISSING, proxy=wanted.name if wanted else "", reason=wanted.reason if wanted else "")

    def _share(self, name: str, primitive: Primitive) -> Share | None:
        """What curves say: those over FLOPs where the primitive computes, those over bytes else."""
        if primitive.dtype.precision != self.precision:
            return None
        if flops(primitive):
            found = share_of(self.curves, name, flops(primitive))
            if found is not None:
                return found
        size = moved_bytes(primitive)
        return share_of(self.bandwidth_curves, name, size, "generic_bandwidth") if size else None


def match(primitive: Primitive, evidence: Evidence) -> Match:
    """Return how closely ``evidence`` matches ``primitive``."""
    return evidence.match(primitive)


def _of_entries(primitive: Primitive, group: _Group) -> Match:
    """The entry of the same sizes; else those nearest in the logarithms of the sizes, the nearer the heavier."""
    own = group.by_name.get(entry(primitive))
    if own is not None:
        return Match(Quality.EXACT, own.name, own.efficiency, own.efficiency * own.spread,
                     confidence=Confidence.CALIBRATED)  # fmt: skip
    sizes = sizes_of(primitive)
    near = group.near(group.sizes, sizes)
    quality = Quality.SIZE_INTERPOLATED if group.inside(sizes) else Quality.SIZE_EXTRAPOLATED
    return Match(quality, near.name, near.efficiency, near.efficiency * near.std, confidence=_CONFIDENCE[quality])


def _of_share(share: Share) -> Match:
    proxy = share.proxy
    return Match(
        share.quality,
        f"curve {share.curve}",
        share.efficiency,
        share.efficiency * share.std,
        proxy.name if proxy else "",
        proxy.reason if proxy else "",
        _CONFIDENCE[share.quality],
    )


def _work(primitive: Primitive) -> tuple[float, float]:
    """Logarithms of FLOPs and of bytes: what primitives of different types can be compared by."""
    return log1p(flops(primitive)), log1p(moved_bytes(primitive))


def sizes_of(primitive: Primitive) -> tuple[float, ...]:
    """Return the logarithms of a primitive's sizes, as many for all primitives of one operation type."""
    return tuple(log(max(size, 1)) for size in _sizes(primitive))


def _sizes(primitive: Primitive) -> tuple[int, ...]:
    match primitive:
        case Gemm(m=m, n=n, k=k, batch=batch, steps=steps):
            return m, n, k, batch, steps
        case Conv():
            stride = prod(primitive.strides) if primitive.strides else 1
            return (primitive.batch, primitive.in_channels, primitive.out_channels, prod(primitive.out_size),
                    prod(primitive.kernel), stride, primitive.groups)  # fmt: skip
        case Softmax(rows=rows, columns=columns):
            return rows, columns
        case Normalization(groups=groups, size=size):
            return groups, size
        case Reduction(elements=elements, results=results):
            return elements, results
        case Window(results=results, window=window):
            return results, window
        case Gather(rows=rows, row_elements=elements):
            return rows, elements
        case Elementwise(elements=elements) | Copy(elements=elements) | Scan(elements=elements):
            return (elements,)
        case Unknown():
            return ()


def moved_bytes(primitive: Primitive) -> int:
    """Return the bytes that a primitive moves at least: each operand read once, each result written once.

    One operand is counted for elementwise arithmetic; padding and what a kernel reads twice are not.
    """
    match primitive:
        case Gemm(m=m, n=n, k=k, batch=batch, steps=steps):
            elements = (m * k + k * n + m * n) * batch * steps
        case Conv():
            planes = primitive.in_channels * prod(primitive.in_size) + primitive.out_channels * prod(primitive.out_size)
            weights = primitive.in_channels // primitive.groups * primitive.out_channels * prod(primitive.kernel)
            elements = primitive.batch * planes + weights
        case Softmax(rows=rows, columns=columns):
            elements = 2 * rows * columns
        case Normalization(groups=groups, size=size):
            elements = 2 * groups * size
        case Reduction(elements=read, results=results):
            elements = read + results
        case Window(results=results, window=window):
            elements = results * (1 + window)
        case Gather(rows=rows, row_elements=row):
            elements = 2 * rows * row
        case Elementwise(elements=count) | Copy(elements=count) | Scan(elements=count):
            elements = 2 * count
        case Unknown():
            elements = 0
    return elements * primitive.dtype.bits // 8
