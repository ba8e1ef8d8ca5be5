"""Times of samples from parameters, with the derivatives that fitting needs.

A kernel: dispatch, and work = max(compute, memory), the maximum being smooth. Compute is FLOPs times the kind's rate,
slower for matrix products of few rows, columns or inner elements. Memory is bytes, from the caches if what the kernel
touches (of weights: what an inference sweeps through) fits there.

On a CPU a sample takes the sum of all dispatches and all work. What PyTorch does element by element runs on as many
threads as there are grains of 32,768 elements (``at::internal::GRAIN_SIZE``). Dispatching takes longer where kernels
before have driven the dispatcher out of the caches.

On a GPU launches are queued: a sample takes dispatch or work, whichever is longer, smoothly. Its clock follows the load
(dynamic frequency scaling): the less work there is for each second of dispatch, of the sample and of its network, the
slower it runs; and launches of library kernels take longer in networks of little work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .parameters import CALLS, KINDS, LIBRARY, NAMES, position
from .table import Kernels, Table

__all__ = ["Model"]

Floats = NDArray[np.float64]

_GRAIN = 32768
_SHARP = 4.0
_LEAST_SECONDS = 1e-9
_LEAST_FLOPS = 4e4
_PRODUCTS = ("conv2d", "conv2d_pointwise", "conv2d_grouped", "matmul", "matmul_activation")
_WHOLE = (*_PRODUCTS, "conv2d_depthwise")
"""Kinds whose kernels share out their work over all cores whatever its size."""


def _load_of(table: Table) -> Floats:
    """Return the logarithm of FLOPs a launch in each run."""
    kernels = table.kernels
    launches = ~np.isin(kernels.kind, [KINDS.index(name) for name in CALLS])
    flops = table.runs @ (table.mixing @ kernels.flops)
    return np.asarray(
        np.log(flops / np.maximum(table.runs @ (table.mixing @ launches.astype(float)), 1.0) + _LEAST_FLOPS)
    )


@dataclass(slots=True)
class _Term:
    """Seconds and their derivatives by all parameters, a row each."""

    seconds: Floats
    slopes: Floats

    def plus(self, other: _Term) -> _Term:
        return _Term(self.seconds + other.seconds, self.slopes + other.slopes)

    def mixed(self, matrix: object) -> _Term:
        return _Term(np.asarray(matrix @ self.seconds), np.asarray(matrix @ self.slopes))  # type: ignore[operator]

    @property
    def relative(self) -> Floats:
        return self.slopes / self.seconds[:, None]


class Model:
    """The model on a table, for a class of device."""

    def __init__(self, table: Table, device_class: str) -> None:
        self.table, self.queued = table, device_class == "gpu"
        kernels = table.kernels
        self._load = _load_of(table)
        self._kinds = kernels.kind
        self._product = _is_in(kernels, _PRODUCTS)
        self._conv = _is_in(kernels, _PRODUCTS[:3])
        self._whole = _is_in(kernels, _WHOLE)
        self._library = _is_in(kernels, LIBRARY).astype(float)

    def logs(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return the logarithm of each sample's time, and its derivatives (samples × parameters)."""
        found = self._queued(parameters) if self.queued else self._in_turn(parameters)
        return np.log(found.seconds), found.relative

    # -- kernels ------------------------------------------------------------------------------------------------------

    def dispatch(self, parameters: Floats) -> _Term:
        """Return the dispatch of each kernel."""
        factor, cold = (_at(parameters, name) for name in ("cold_factor", "cold_bytes"))
        before = self.table.kernels.before
        share = before**2 / (before**2 + cold**2)
        stretch = 1 + factor * share
        seconds = np.exp(parameters[self._kinds]) * stretch
        slopes = _zeros(len(seconds))
        slopes[np.arange(len(seconds)), self._kinds] = seconds
        slopes[:, position("cold_factor")] = seconds * factor * share / stretch
        slopes[:, position("cold_bytes")] = -2 * seconds * factor * share * (1 - share) / stretch
        return _Term(seconds, slopes)

    def work(self, parameters: Floats) -> _Term:
        """Return the work of each kernel: the longer of compute and memory."""
        compute, memory = self._compute(parameters), self._memory(parameters)
        return _longer(compute, memory, _SHARP)

    def _compute(self, parameters: Floats) -> _Term:
        kernels = self.table.kernels
        at = len(KINDS) + self._kinds
        seconds = kernels.work * np.exp(parameters[at]) + _LEAST_SECONDS / 1e3
        logs = _zeros(len(seconds))
        logs[np.arange(len(seconds)), at] = 1.0
        for size, extent in (("rows", kernels.rows), ("columns", kernels.columns), ("inner", kernels.inner)):
            for prefix, chosen in (("conv", self._conv), ("gemm", self._product & ~self._conv)):
                half = np.where(chosen, _at(parameters, f"{prefix}_{size}") / extent, 0.0)
                seconds = seconds * (1 + half)
                logs[:, position(f"{prefix}_{size}")] = half / (1 + half)
        if not self.queued:
            threads, grains = _at(parameters, "threads"), kernels.results / _GRAIN
            seconds = np.where(self._whole, seconds, seconds / np.clip(grains, 1.0, threads))
            logs[:, position("threads")] = np.where(~self._whole & (grains > threads), -1.0, 0.0)
        return _Term(seconds, logs * seconds[:, None])

    def _memory(self, parameters: Floats) -> _Term:
        kernels = self.table.kernels
        far, near, weight = (_at(parameters, name) for name in ("far_byte", "near_byte", "weight_byte"))
        beyond = _beyond(kernels.moved + kernels.weight, _at(parameters, "near_bytes"))
        held = "near_bytes" if self.queued else "swept_bytes"
        swept = beyond if self.queued else _beyond(kernels.swept, _at(parameters, held))
        seconds = kernels.moved * (near + (far - near) * beyond) + kernels.weight * (near + (weight - near) * swept)
        slopes = _zeros(len(seconds))
        slopes[:, position("far_byte")] = kernels.moved * far * beyond
        slopes[:, position("weight_byte")] = kernels.weight * weight * swept
        slopes[:, position("near_byte")] = near * (kernels.moved * (1 - beyond) + kernels.weight * (1 - swept))
        slopes[:, position("near_bytes")] = -2 * kernels.moved * (far - near) * beyond * (1 - beyond)
        slopes[:, position(held)] += -2 * kernels.weight * (weight - near) * swept * (1 - swept)
        return _Term(seconds + _LEAST_SECONDS / 1e3, slopes)

    # -- samples ------------------------------------------------------------------------------------------------------

    def _in_turn(self, parameters: Floats) -> _Term:
        return self._dispatched(parameters).plus(self.work(parameters).mixed(self.table.mixing))

    def _dispatched(self, parameters: Floats) -> _Term:
        """Dispatch of all kernels of each sample, and what a sample costs by itself."""
        found = self.dispatch(parameters).mixed(self.table.mixing)
        once = _at(parameters, "sample")
        found.slopes[:, position("sample")] += once
        return _Term(found.seconds + once, found.slopes)

    def _queued(self, parameters: Floats) -> _Term:
        dispatched, worked = self._dispatched(parameters), self.work(parameters).mixed(self.table.mixing)
        worked.seconds += _LEAST_SECONDS
        slowed = self._slowed(parameters, dispatched, worked)
        launched = dispatched.plus(self._idle(parameters))
        sharp = 1 + _at(parameters, "overlap")
        found = _longer(launched, slowed, sharp)
        shares = [np.log(term.seconds / found.seconds) for term in (launched, slowed)]
        slope = sum(np.exp(sharp * share) * share for share in shares) / sharp * (sharp - 1)
        found.slopes[:, position("overlap")] += found.seconds * slope
        return found

    def _slowed(self, parameters: Floats, dispatched: _Term, worked: _Term) -> _Term:
        """Work at the clock that the load of the sample and of its network makes."""
        own = 1 / (1 + np.exp(-parameters[position("clock_own")]))
        runs, run = self.table.runs, self.table.run
        ratios, slopes = _ratio(worked, dispatched)
        whole, whole_slopes = _ratio(worked.mixed(runs), dispatched.mixed(runs))
        whole, whole_slopes = whole[run], whole_slopes[run]
        load = own * ratios + (1 - own) * whole - parameters[position("clock_load")]
        by_load = own * slopes + (1 - own) * whole_slopes
        by_load[:, position("clock_own")] += (ratios - whole) * own * (1 - own)
        by_load[:, position("clock_load")] -= 1.0
        stretch, logs = _stretch(parameters, "slow_clock", "clock_sharpness", load, by_load)
        return _Term(worked.seconds * stretch, (worked.relative + logs) * (worked.seconds * stretch)[:, None])

    def _idle(self, parameters: Floats) -> _Term:
        """What launches of library kernels take longer in networks of little work."""
        kernels = self.dispatch(parameters)
        library = _Term(kernels.seconds * self._library, kernels.slopes * self._library[:, None])
        found = library.mixed(self.table.mixing)
        load = self._load[self.table.run] - parameters[position("idle_flops")]
        by_load = _zeros(len(load))
        by_load[:, position("idle_flops")] = -1.0
        stretch, logs = _stretch(parameters, "idle_factor", "idle_sharpness", load, by_load)
        more = found.seconds * (stretch - 1)
        return _Term(more, found.slopes * (stretch - 1)[:, None] + (found.seconds * stretch)[:, None] * logs)


# -- pieces -----------------------------------------------------------------------------------------------------------


def _is_in(kernels: Kernels, names: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.isin(kernels.kind, [KINDS.index(name) for name in names])


def _at(parameters: Floats, name: str) -> float:
    return float(np.exp(parameters[position(name)]))


def _zeros(rows: int) -> Floats:
    return np.zeros((rows, len(NAMES)))


def _beyond(size: Floats, held: float) -> Floats:
    """The share of what comes from beyond a memory that holds ``held`` bytes."""
    return np.asarray(size**2 / (size**2 + held**2))


def _longer(left: _Term, right: _Term, sharp: float) -> _Term:
    """The longer of two, smoothly: the ``sharp``-norm."""
    most = np.maximum(left.seconds, right.seconds)
    seconds = most * ((left.seconds / most) ** sharp + (right.seconds / most) ** sharp) ** (1 / sharp)
    shares = [(term.seconds / seconds) ** (sharp - 1) for term in (left, right)]
    return _Term(seconds, left.slopes * shares[0][:, None] + right.slopes * shares[1][:, None])


def _ratio(above: _Term, below: _Term) -> tuple[Floats, Floats]:
    return np.log(above.seconds / below.seconds), above.relative - below.relative


def _stretch(parameters: Floats, factor: str, sharpness: str, load: Floats, by_load: Floats) -> tuple[Floats, Floats]:
    """1 + factor where the load is low, 1 where it is high; and the derivatives of its logarithm."""
    most, sharp = _at(parameters, factor), _at(parameters, sharpness)
    low = 1 / (1 + np.exp(np.clip(sharp * load, -60, 60)))
    stretch = 1 + most * low
    logs = -(most * low * (1 - low) * sharp / stretch)[:, None] * by_load
    logs[:, position(factor)] += most * low / stretch
    logs[:, position(sharpness)] -= most * low * (1 - low) * sharp * load / stretch
    return stretch, logs
