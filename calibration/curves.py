"""Predicting kernels from efficiency curves alone: what a file of schema 1.0 can say.

A kernel's time is that of its slower term. Compute: FLOPs / (peak × efficiency at these FLOPs). Memory: bytes /
(bandwidth of the memory farthest from the cores × efficiency at these bytes); weights are looked up at the bytes of all
weights that one inference sweeps through, since they come from wherever those fit. Efficiencies are shares of whole
measured times, launch included, so a launch is added only where no curve speaks, and no kernel takes less than its
launches. A term that no curve speaks for is at the target's default efficiency, or where the other term was measured of
this very operation type, at its bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, hypot, inf, log, log1p, sqrt

from .curve import Curve
from .kernel import Kernel
from .prediction import Prediction, Quality, Total
from .profile import Profile
from .proxies import Proxy, proxies_of
from .roofline import Bounds, Roofline

__all__ = ["CurveEstimator", "Share", "Terms", "share_of"]

NORMAL_95 = 1.959963984540054
GENERIC, GENERIC_TINY, GENERIC_BANDWIDTH = "generic", "generic_tiny", "generic_bandwidth"
_SAME_SIZE = 1e-6


@dataclass(frozen=True, slots=True)
class Share:
    """The share of peak that evidence gives a size: ``std`` is of its logarithm, ``proxy`` what stood in for it."""

    efficiency: float
    std: float
    quality: Quality
    curve: str
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a kernel's predicted time comes about; ``compute`` and ``memory`` are the shares of peak that were used."""

    compute_seconds: float
    memory_seconds: float
    dispatch_seconds: float
    compute: Share | None
    memory: Share | None
    bounds: Bounds

    @property
    def seconds(self) -> float:
        """The slower term, and no less than the launches."""
        return max(self.compute_seconds, self.memory_seconds, self.dispatch_seconds)

    @property
    def ruling(self) -> Share | None:
        """The share that the slower term was made with; ``None`` where the target's default one was."""
        return self.compute if self.compute_seconds >= self.memory_seconds else self.memory


def share_of(curves: Mapping[str, Curve], operation_type: str, size: float, general: str = GENERIC) -> Share | None:
    """Return the share of peak at a size: of the type's own curve, of its proxies', else of the generic curve.

    ``generic_tiny`` goes before ``generic`` up to the largest size that it was measured at. ``general`` names the list
    of proxies that ends every type's own.
    """
    if operation_type in curves:
        return _own(curves[operation_type], size)
    tiny = GENERIC_TINY in curves and (GENERIC not in curves or size <= curves[GENERIC_TINY].max_flops)
    for proxy in (*proxies_of(operation_type), *proxies_of(GENERIC_TINY if tiny else general)):
        parts = {name: curves[name] for name, _ in proxy.use if name in curves}
        efficiency = proxy.efficiency({name: part.efficiency(size) for name, part in parts.items()})
        if efficiency is not None:
            spread = max(part.relative_std(size) for part in parts.values())
            std = hypot(_log_std(spread), proxy.std)
            return Share(efficiency, std, Quality.OP_APPROXIMATED, proxy.name, proxy)
    return None


def _own(curve: Curve, size: float) -> Share:
    quality = Quality.SIZE_INTERPOLATED if curve.holds(size) else Quality.SIZE_EXTRAPOLATED
    if any(p.num_observations == 1 and abs(p.flops / size - 1.0) < _SAME_SIZE for p in curve.data_points):
        quality = Quality.EXACT
    return Share(curve.efficiency(size), _log_std(curve.relative_std(size)), quality, curve.operation_type)


def _log_std(relative: float) -> float:
    """The standard deviation of a log-normal's logarithm, from the relative one."""
    return sqrt(log1p(relative * relative))


@dataclass(frozen=True, slots=True)
class CurveEstimator:
    """Predicts kernels by their operation type's efficiency at their size, on the target of ``roofline``."""

    profile: Profile
    roofline: Roofline
    _known: dict[Kernel, Prediction] = field(default_factory=dict, repr=False, compare=False)

    def predict(self, kernels: Sequence[Kernel]) -> Sequence[Prediction]:
        """Return a prediction for each kernel; where no curve speaks for it, first principles, of quality MISSING."""
        for kernel in kernels:
            if kernel not in self._known:
                self._known[kernel] = self._predict(kernel)
        return [self._known[kernel] for kernel in kernels]

    def total(self, kernels: Sequence[Kernel]) -> Total:
        """Return the time of all kernels in a row, without those that nothing was measured of.

        Kernels that stand on one curve err together, and their errors add; those of different curves are independent.
        """
        spread: dict[str, float] = {}
        seconds = 0.0
        for row in self.predict(kernels):
            if row.quality is not Quality.MISSING:
                seconds += row.seconds
                spread[row.curve] = spread.get(row.curve, 0.0) + row.seconds * row.std
        if not seconds:
            return Total(0.0, 0.0, 0.0)
        reach = exp(NORMAL_95 * hypot(*spread.values()) / seconds)
        return Total(seconds, seconds / reach, seconds * reach)

    def terms(self, kernel: Kernel) -> Terms:
        """Return how the kernel's time comes about."""
        bounds, name = self.roofline.bounds(kernel), kernel.operation_type
        compute = share_of(self.profile.curves, name, kernel.flops) if bounds.compute_seconds else None
        memory, memory_seconds = self._memory(kernel)
        # What was measured as a whole had its other term in it: that one is held against no more than its bound.
        if compute is not None:
            compute_seconds = bounds.compute_seconds / compute.efficiency
        elif name in self.profile.bandwidth_curves:
            compute_seconds = bounds.compute_seconds
        else:
            compute_seconds = bounds.default_compute_seconds + bounds.dispatch_seconds
        if memory is None:
            measured = compute is not None and compute.proxy is None
            memory_seconds = (
                bounds.memory_seconds if measured else bounds.default_memory_seconds + bounds.dispatch_seconds
            )
        return Terms(compute_seconds, memory_seconds, bounds.dispatch_seconds, compute, memory, bounds)

    def _memory(self, kernel: Kernel) -> tuple[Share | None, float]:
        """The share of the farthest memory's bandwidth, of the weights where they are most of it; and the seconds."""
        curves, bandwidth = self.profile.bandwidth_curves, self.roofline.target.device.memories[-1].bandwidth
        activations = kernel.read_bytes + kernel.write_bytes
        parts = ((kernel.weight_bytes, max(kernel.swept_bytes, kernel.weight_bytes)), (activations, kernel.bytes))
        ruling: Share | None = None
        seconds = longest = 0.0
        for moved, size in parts:
            share = share_of(curves, kernel.operation_type, size, GENERIC_BANDWIDTH) if moved else None
            if moved and share is None:
                return None, 0.0
            if share is not None:
                own = moved / (bandwidth * share.efficiency)
                seconds += own
                if own > longest:
                    ruling, longest = share, own
        return ruling, seconds

    def _predict(self, kernel: Kernel) -> Prediction:
        terms = self.terms(kernel)
        ruling = terms.ruling
        if ruling is None:
            efficiency, other = terms.bounds.efficiency, terms.compute or terms.memory
            std = log(efficiency.high / efficiency.low) / (2.0 * NORMAL_95) if efficiency.low > 0 else inf
            quality = Quality.MISSING if other is None else Quality.OP_APPROXIMATED
            return Prediction(terms.seconds, std, quality, other.curve if other else terms.bounds.work_class)
        return Prediction(terms.seconds, ruling.std, ruling.quality, ruling.curve)
