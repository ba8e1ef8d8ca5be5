"""Which samples stand for all, so that evidence stays small and quick to load.

The estimator learns from at most 800 kernels of a family, as numbers. As samples, whole, a file of evidence keeps 50 of
a family: enough to look sizes up and to see what was measured; all of them are in the file of samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import log

from .amounts import family
from .kernel import Kernel, rank
from .sample import Sample

__all__ = ["kept", "representatives"]

_MOST = 800
_MOST_WRITTEN = 50
_PREFERRED = "profile"


def kept(weights: Mapping[Kernel, float], seconds: Mapping[Kernel, float], most: int = _MOST) -> list[Kernel]:
    """Return at most ``most`` kernels: those of most weight, and of equals a random choice that is always the same.

    A kernel is chosen with a likelihood in proportion to its time (Efraimidis and Spirakis, "Weighted random sampling
    with a reservoir", 2006): small ones are many, and what they take in all is little.
    """
    return sorted(weights, key=lambda kernel: (-weights[kernel], _draw(kernel) / seconds[kernel]))[:most]


def _draw(kernel: Kernel) -> float:
    """An exponentially distributed number that is always the same for a kernel."""
    return -log((int.from_bytes(rank(kernel), "big") + 1) / 2**64)


def representatives(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples that evidence keeps: of each family's kernels the chosen ones, of groups of kernels all.

    A whole network is left out where its kernels were measured one by one.
    """
    alone: dict[Kernel, Sample] = {}
    for sample in samples:
        if len(sample.kernels) == 1:
            known = alone.setdefault(sample.kernels[0], sample)
            if sample.source == _PREFERRED and known.source != _PREFERRED:
                alone[sample.kernels[0]] = sample
    families: dict[str, dict[Kernel, float]] = defaultdict(dict)
    for kernel, sample in alone.items():
        families[family(kernel)][kernel] = float(sample.source == _PREFERRED)
    seconds = {kernel: sample.seconds.median for kernel, sample in alone.items()}
    chosen = {kernel for kernels in families.values() for kernel in kept(kernels, seconds, _MOST_WRITTEN)}
    in_parts = {sample.model for sample in samples if sample.source != "network"}
    groups = [s for s in samples if len(s.kernels) > 1 and (s.source != "network" or s.model not in in_parts)]
    return (*(sample for kernel, sample in alone.items() if kernel in chosen), *groups)
