"""Which samples stand for all: at most 400 kernels of each family, so that evidence stays small and quick to load."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from .amounts import family
from .kernel import Kernel
from .sample import Sample

__all__ = ["kept", "representatives"]

_MOST = 400
_PREFERRED = "profile"


def kept(weights: Mapping[Kernel, float]) -> list[Kernel]:
    """Return at most 400 kernels: those of most weight, and of equals a random choice that is always the same."""
    order = np.random.default_rng(0).permutation(len(weights))
    weighed = [(-weight, order[i], kernel) for i, (kernel, weight) in enumerate(weights.items())]
    return [kernel for _, _, kernel in sorted(weighed, key=lambda each: each[:2])[:_MOST]]


def representatives(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples that evidence keeps: of each family's kernels those that are kept, of groups of kernels all.

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
    chosen = {kernel for kernels in families.values() for kernel in kept(kernels)}
    in_parts = {sample.model for sample in samples if sample.source != "network"}
    groups = [s for s in samples if len(s.kernels) > 1 and (s.source != "network" or s.model not in in_parts)]
    return (*(sample for kernel, sample in alone.items() if kernel in chosen), *groups)
