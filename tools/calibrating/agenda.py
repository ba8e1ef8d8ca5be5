"""What a campaign measures, in which order: the suite and the user's models, by what they take off intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import TYPE_CHECKING

from ...calibration.kernel import Kernel
from ...calibration.measure.campaign import Measurable, UserModel
from ...calibration.prediction import NORMAL_95, Estimator
from ...calibration.processor import Processor
from ...calibration.roofline import Roofline
from ...ir.errors import GraphsError
from ...passes.evidence import find_evidence
from .models import Describe, Named
from .priority import Offer, Wanted, ranked, wanted_of

if TYPE_CHECKING:
    from ...calibration.suite import Benchmark

__all__ = ["Agenda", "agenda_of"]

_RUNS = 25
_SESSION_SECONDS = 0.5
_LEAST_SHARE = 0.05
"""The least share of a benchmark's time that an operation type must have for the benchmark to tell of it."""


@dataclass(frozen=True)
class Agenda:
    """What is to be measured, first things first."""

    items: Sequence[Measurable]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each by its name."""
        return {item.name: place for place, item in enumerate(self.items)}


def agenda_of(
    benchmarks: Sequence[Benchmark],
    models: Sequence[Named],
    only: Collection[str],
    describe: Describe,
    precision: str,
    done: Collection[str],
    warn: Callable[[str], None],
) -> Agenda:
    """Return the order: for the user's models what tells most of them, then the rest in the suite's order.

    A model that cannot be read is told to ``warn`` and left out.
    """
    roofline = Roofline.of(describe.target)
    sorts = _sorts(benchmarks, describe) if models or only else {}
    if only:
        telling = {name for name, kernels in sorts.items() if _share(kernels, only, roofline) >= _LEAST_SHARE}
        benchmarks = [one for one in benchmarks if _sort(one) in telling]
    own = _models(models, describe, roofline, warn)
    if not own:
        return Agenda(benchmarks)
    wanted = _wanted([kernel for _, kernels in own for kernel in kernels], describe, precision, roofline, warn)
    if only:
        wanted = [one for one in wanted if one.kernel.operation_type in only]
    offers = [Offer(((model.name, model.seconds),), kernels) for model, kernels in own]
    for name, kernels in sorts.items():
        same = tuple((one.name, one.seconds) for one in benchmarks if _sort(one) == name)
        offers += [Offer(same, kernels)] if same else []
    items: list[Measurable] = [*(model for model, _ in own), *benchmarks]
    by_name = {one.name: one for one in items}
    order = ranked(wanted, offers, Processor.of(describe.target), done)
    rest = [name for name in by_name if name not in set(order)]
    return Agenda([by_name[name] for name in (*order, *rest)])


def _sort(benchmark: Benchmark) -> str:
    return f"{benchmark.group}/{'/'.join(benchmark.covers)}"


def _sorts(benchmarks: Sequence[Benchmark], describe: Describe) -> dict[str, tuple[Kernel, ...]]:
    """The kernels of each sort of benchmarks, by those of the first of them."""
    found: dict[str, tuple[Kernel, ...]] = {}
    for one in benchmarks:
        if _sort(one) not in found:
            found[_sort(one)] = tuple(row.kernel for row in describe(one.build()))
    return found


def _share(kernels: Sequence[Kernel], types: Collection[str], roofline: Roofline) -> float:
    """The share of the kernels' time, as first principles have it, that is of some operation types."""
    seconds = [(kernel.operation_type in types, roofline.bounds(kernel).default_seconds) for kernel in kernels]
    whole = sum(time for _, time in seconds)
    return sum(time for wanted, time in seconds if wanted) / whole if whole else 0.0


def _models(
    models: Sequence[Named], describe: Describe, roofline: Roofline, warn: Callable[[str], None]
) -> list[tuple[UserModel, tuple[Kernel, ...]]]:
    found = []
    for model in models:
        try:
            kernels = tuple(row.kernel for row in Describe(describe.target)(model))
        except GraphsError as error:
            warn(f"left out: {error}")
            continue
        run = sum(roofline.bounds(kernel).default_seconds for kernel in kernels)
        precisions = [kernel.precision for kernel in kernels if kernel.flops]
        precision = max(sorted(set(precisions)), key=precisions.count) if precisions else "fp32"
        found.append((UserModel(model, precision, _SESSION_SECONDS + _RUNS * run), kernels))
    return found


def _wanted(
    kernels: Sequence[Kernel], describe: Describe, precision: str, roofline: Roofline, warn: Callable[[str], None]
) -> list[Wanted]:
    """The user's kernels with how uncertain present evidence is of them; without any, first principles' range is."""
    estimator = _estimator(describe, warn)
    if estimator is not None:
        made = estimator.predict(kernels)
        return wanted_of(kernels, [one.seconds for one in made], [one.std for one in made])
    bounds = [roofline.bounds(kernel) for kernel in kernels]
    stds = [log(one.efficiency.high / one.efficiency.low) / (2.0 * NORMAL_95) for one in bounds]
    return wanted_of(kernels, [one.default_seconds for one in bounds], stds)


def _estimator(describe: Describe, warn: Callable[[str], None]) -> Estimator | None:
    try:
        return find_evidence(describe.target, describe.precision).estimator
    except GraphsError as error:
        warn(f"present evidence is left out of account: {error}")
        return None
