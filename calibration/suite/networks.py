"""Synthetic networks: random chains of kernels in the company that they keep in real networks.

A kernel's time depends on what runs around it: its input was just written, its weights have been swept out of the
caches by the rest of the network, its data lie in the layout that the kernel before it left. So besides operators
alone, whole networks are measured, each of whose kernels is one sample. Shapes are drawn at random from what networks
might have; none is a published network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from math import log

from . import convolutional, sequences, transformers
from .benchmark import Benchmark, opset_for
from .blocks import BLOCKS
from .builder import Builder
from .draws import Draw

__all__ = ["FAMILIES", "networks"]

Family = Callable[[Builder, Draw], None]

_CLASSIFIERS = {name: partial(convolutional.classifier, family=name) for name in (*BLOCKS, "mixed")}

FAMILIES: dict[str, Family] = {
    **_CLASSIFIERS,
    **{name: getattr(convolutional, name) for name in convolutional.__all__ if name != "classifier"},
    **{name: getattr(transformers, name) for name in transformers.__all__},
    **{name: getattr(sequences, name) for name in sequences.__all__},
}
"""Every family of networks by name."""

_COMMON = (
    "basic", "vision", "inverted", "encoder", "bottleneck", "pyramid", "windowed", "shuffle", "plain", "decoder",
    "grouped", "large_kernel", "inception", "unet", "llama", "dense", "recurrent", "mixed", "spatial", "inverted",
    "mixer", "segmenter", "ghost", "speech", "partial", "vision", "perceptron", "separable", "bottleneck", "hybrid",
    "encoder", "waves", "mixed",
)  # fmt: skip
_RARE = (
    "branched", "super_resolution", "pooling", "points", "normalized", "scene_text", "fire", "volume", "recommender",
    "style_transfer", "fused_inverted", "dilated",
)  # fmt: skip
"""The order in which families come round, a few rare ones each time: any beginning of the list is a fair sample."""

_RARE_A_ROUND = 4
_ATTEMPTS = 12
_CLOSE = 0.3
"""A draw whose time is within this (of the logarithm) of what was wanted ends the search."""
_MOST_WEIGHTS = 40e6
"""Bytes beyond which a network is made up less willingly: its session takes longer than its runs are worth."""
_OLDER_OPSET_SHARE = 0.25


def _misfit(benchmark: Benchmark, wanted: float) -> float:
    """How far a draw is from what is wanted: its time, and too many weights."""
    return abs(log(benchmark.run_seconds / wanted)) + max(0.0, log(benchmark.weight_bytes / _MOST_WEIGHTS))


def _recipe(builder: Builder, family: str, seed: str) -> None:
    FAMILIES[family](builder, Draw(seed))


def network(family: str, index: int, precision: str, fewest_seconds: float, most_seconds: float) -> Benchmark:
    """Return the family's network of this number: of several draws, the one that takes closest to a drawn time."""
    name = f"{family}-{precision}-{index}"
    draw = Draw(f"{name}-{fewest_seconds}-{most_seconds}")
    opset = opset_for(precision, 18) if draw.chance(_OLDER_OPSET_SHARE) else opset_for(precision)
    wanted = draw.between(fewest_seconds, most_seconds)
    drawn = []
    for attempt in range(_ATTEMPTS):
        recipe = partial(_recipe, family=family, seed=f"{name}-{attempt}")
        drawn.append(Benchmark(name, "networks", precision, recipe, (family,), opset))
        if _misfit(drawn[-1], wanted) < _CLOSE:
            return drawn[-1]
    return min(drawn, key=lambda benchmark: _misfit(benchmark, wanted))


def networks(precision: str, fewest_seconds: float = 1.5e-3, most_seconds: float = 50e-3) -> Iterator[Benchmark]:
    """Yield networks without end, families in turn; a run of each takes about so many seconds."""
    counts: dict[str, int] = {}
    for turn in count():
        first = turn * _RARE_A_ROUND % len(_RARE)
        for family in (*_COMMON, *_RARE[first : first + _RARE_A_ROUND]):
            counts[family] = counts.get(family, -1) + 1
            yield network(family, counts[family], precision, fewest_seconds, most_seconds)
