"""Predicting measured networks with evidence that lacks them: leave one model out, or random held-out splits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from statistics import median

from .errors import CalibrationError
from .prediction import NORMAL_95, Estimator, Quality
from .sample import Sample
from .timings import timings_of
from .validation import Compared

__all__ = [
    "LEAST_SECONDS", "METHODS", "Fitter", "Trial", "compare_kernels", "compare_network", "kernel_times", "networks",
    "splits", "tried",
]  # fmt: skip

METHODS = ("held-out", "leave-one-model-out")
LEAST_SECONDS = 20e-6
"""Kernels shorter than this are left out of per-kernel errors: the clock and the launch are most of their time."""

FIT_SHARE = 0.6

Fitter = Callable[[Sequence[Sample]], Estimator]
"""Makes an estimator from samples: how the held-out networks are to be predicted."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of predicting networks that were held out: networks and their kernels, and what nothing predicted."""

    models: tuple[Compared, ...]
    kernels: tuple[Compared, ...]
    missing: tuple[str, ...]


def networks(samples: Iterable[Sample]) -> dict[str, tuple[Sample, ...]]:
    """Return each network's samples that make up its time: the whole, if that was measured, else its parts in a row."""
    whole: dict[str, list[Sample]] = {}
    parts: dict[str, list[Sample]] = {}
    synthetic = {sample.model for sample in samples if sample.source == "microbenchmark"}
    for sample in samples:
        if sample.model in synthetic:
            continue
        if sample.model and sample.source == "network":
            whole.setdefault(sample.model, []).append(sample)
        elif sample.model and sample.source in ("subgraph", "profile"):
            parts.setdefault(sample.model, []).append(sample)
    found = {model: tuple(rows) for model, rows in {**parts, **whole}.items()}
    return dict(sorted(found.items()))


def splits(names: Sequence[str], method: str, count: int = 5, seed: int = 0) -> Iterator[frozenset[str]]:
    """Yield the names that each split holds out: every one alone, or a random 40 %, the same for the same seed.

    Raises:
        CalibrationError: there are fewer than two names, or no such method.
    """
    if len(names) < 2:
        raise CalibrationError(f"{len(names)} measured networks: holding one out needs two at least",
                               help="measure networks: graphs-calibrate measure --models …")  # fmt: skip
    if method == "leave-one-model-out":
        yield from (frozenset({name}) for name in names)
        return
    if method != "held-out":
        raise CalibrationError(f'no method "{method}": there are {", ".join(METHODS)}')
    fitted = min(max(round(FIT_SHARE * len(names)), 1), len(names) - 1)
    draw = random.Random(seed)
    for _ in range(count):
        yield frozenset(names) - frozenset(draw.sample(sorted(names), fitted))


def tried(
    samples: Sequence[Sample],
    fit: Fitter,
    held_out: Iterable[frozenset[str]],
    progress: Callable[[int], None] = lambda done: None,
) -> Trial:
    """Predict each split's networks with what is fitted on all samples but theirs.

    ``progress`` is called with the number of splits done.
    """
    times = networks(samples)
    models: list[Compared] = []
    kernels: list[Compared] = []
    missing: dict[str, None] = {}
    for number, held in enumerate(held_out):
        estimator = fit([sample for sample in samples if sample.model not in held])
        for name in sorted(held):
            whole = compare_network(name, times[name], estimator, number)
            if whole is None:
                missing[name] = None
            else:
                models.append(whole)
        kernels += compare_kernels([sample for sample in samples if sample.model in held], estimator, number)
        progress(number + 1)
    return Trial(tuple(models), tuple(kernels), tuple(missing))


def compare_network(name: str, times: Sequence[Sample], estimator: Estimator, split: int = 0) -> Compared | None:
    """Return a network's predicted time beside its measured one; ``None`` where a kernel of it has no evidence.

    Of repeated measurements of the whole it is their median, parts are added up.
    """
    whole = times[0].source == "network"
    rows = times[:1] if whole else times
    kernels = [kernel for sample in rows for kernel in sample.kernels]
    if any(prediction.quality is Quality.MISSING for prediction in estimator.predict(kernels)):
        return None
    total = estimator.total(kernels)
    each = [sample.seconds.median for sample in times]
    measured = median(each) if whole else sum(each)
    return Compared(name, total.seconds, total.low, total.high, measured, name, split=split)


def compare_kernels(samples: Sequence[Sample], estimator: Estimator, split: int = 0) -> list[Compared]:
    """Return the kernels, of those measured alone and for 20 µs at least, that can be predicted."""
    times = kernel_times(samples)
    predictions = estimator.predict([sample.kernels[0] for sample, _ in times])
    found = []
    for (sample, seconds), prediction in zip(times, predictions, strict=True):
        if prediction.quality is Quality.MISSING:
            continue
        reach = exp(NORMAL_95 * prediction.std)
        (kernel,) = sample.kernels
        found.append(Compared(
            sample.nodes[0] if sample.nodes else kernel.pattern, prediction.seconds, prediction.seconds / reach,
            prediction.seconds * reach, seconds, sample.model, kernel.operation_type, kernel.pattern, split,
        ))  # fmt: skip
    return found


def kernel_times(samples: Sequence[Sample]) -> list[tuple[Sample, float]]:
    """Return the networks' samples of single kernels of 20 µs and more, with their times as evidence takes them.

    Those are without what a profiler adds to each kernel, in tune with the time of the whole; of kernels that were
    measured several times their medians.
    """
    found: list[tuple[Sample, float]] = []
    for model in dict.fromkeys(sample.model for sample in samples if sample.model):
        rows = [sample for sample in samples if sample.model == model and sample.source != "network"]
        wholes = [sample for sample in samples if sample.model == model and sample.source == "network"]
        timings = timings_of([*rows, *wholes]) if rows else []
        visits: dict[object, list[tuple[Sample, float]]] = {}
        for place, (sample, timing) in enumerate(zip(rows, timings[: len(rows)], strict=True)):
            if len(sample.kernels) == 1:
                visits.setdefault(sample.nodes or place, []).append((sample, timing.seconds))
        measured = [(same[0][0], median(seconds for _, seconds in same)) for same in visits.values()]
        found += [(sample, seconds) for sample, seconds in measured if seconds >= LEAST_SECONDS]
    return found
