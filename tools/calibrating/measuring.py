"""``graphs-calibrate measure``: times kernels on this machine, most telling first, into a file of samples."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import click

from ...calibration.errors import CalibrationError
from ...calibration.kernel import OPERATION_TYPES
from ...calibration.measure.campaign import Campaign, Event, Measurable, Summary
from ...calibration.measure.samples_writer import SamplesWriter
from ...calibration.suite import FULL_SECONDS, QUICK_SECONDS, suite
from ...passes.base import closest
from ...passes.reproducer import precision_named
from ...targets import Target
from .agenda import Agenda, agenda_of
from .console import Console
from .machine import Bench, bench, caches_of, cores_withheld
from .models import Describe, Named, models_of
from .progress import Progress, State
from .settings import measured_runtime, setting_of, target_named

__all__ = ["run"]

_BUDGETS = {False: 900.0, True: 120.0}
_SUITE_SHARE = 0.85
"""The part of the budget that the suite is made for: the rest is for estimates that fall short."""
_MODELS = "models"


def run(
    console: Console,
    *,
    target: str,
    runtime: str | None,
    precision: str,
    budget: float | None,
    quick: bool,
    models: tuple[str, ...],
    inputs: tuple[str, ...],
    only: tuple[str, ...],
    model_runs: bool,
    output: str | None,
) -> int:
    """Measure until the budget is gone; the exit code is 130 if the user stopped it, 1 if nothing could be measured."""
    for name in only:
        if name not in OPERATION_TYPES:
            raise click.UsageError(f"--only={name}: no such operation type{closest(name, list(OPERATION_TYPES))}")
    if model_runs and not models:
        raise click.UsageError("--model-runs times the models of --models: name some")
    wanted = target_named(target, runtime)
    torch = measured_runtime(wanted) == "pytorch"
    named = models_of(models, inputs, torch, console.messages.warning)
    path = Path(output or f"{wanted.device.name}.samples.jsonl")
    budget = budget or _BUDGETS[quick]
    if withheld := cores_withheld(wanted):
        console.messages.warning(withheld)
    with bench(wanted) as ready:
        setting = setting_of(wanted, precision)
        with SamplesWriter(path, setting, ready.environment) as writer:
            console.messages.note(f"this machine is {ready.environment.machine}")
            agenda = _agenda(wanted, precision, budget, quick, named, only, writer, console)
            done = _measure(wanted, ready, writer, agenda, budget, model_runs, console)
            return _finish(done, path, writer, console)


def _agenda(
    target: Target,
    precision: str,
    budget: float,
    quick: bool,
    models: Sequence[Named],
    only: tuple[str, ...],
    writer: SamplesWriter,
    console: Console,
) -> Agenda:
    """What is to be measured, and in which order."""
    usual = QUICK_SECONDS if quick else FULL_SECONDS
    seconds = usual if budget == _BUDGETS[quick] else _SUITE_SHARE * budget
    benchmarks = suite(measured_runtime(target), [precision], quick=quick, caches=caches_of(target), seconds=seconds)
    describe = Describe(target, precision_named(precision))
    done = {name for name, _ in writer.found.done} if writer.found is not None else set()
    agenda = agenda_of(benchmarks, models, only, describe, precision, done, console.messages.warning)
    if not agenda.items:
        raise CalibrationError(f"nothing measures {', '.join(only)} in {precision}")
    return agenda


def _measure(
    target: Target,
    ready: Bench,
    writer: SamplesWriter,
    agenda: Agenda,
    budget: float,
    model_runs: bool,
    console: Console,
) -> Summary:
    def whole(one: Measurable) -> bool:
        return one.group == "networks" or (model_runs and one.group == _MODELS)

    with Progress(_title(target, ready), console.quiet) as progress:
        campaign = Campaign(
            ready.runner, ready.reference, Describe(target), writer, budget, progress=_teller(progress), whole=whole
        )
        places = agenda.places

        def priority(one: Measurable) -> float:
            """The agenda's order, whatever a benchmark costs: the cost is in the order already."""
            return (len(places) - places[one.model]) * campaign.cost(one)

        campaign.priority = priority
        return campaign.run(agenda.items)


def _teller(progress: Progress) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        progress.show(State(event.share, event.seconds_left, event.current, event.last, event.drift, event.kept,
                            event.refused))  # fmt: skip

    return tell


def _title(target: Target, ready: Bench) -> str:
    """``measuring host · onnxruntime 1.31 · 1 thread``."""
    library = {"onnxruntime": "onnxruntime", "pytorch": "torch"}[measured_runtime(target)]
    version = ".".join(metadata.version(library).partition("+")[0].split(".")[:2])
    threads = "1 thread" if ready.threads == 1 else f"{ready.threads} threads"
    return f"measuring {target.device.name} · {library} {version} · {threads}"


def _finish(done: Summary, path: Path, writer: SamplesWriter, console: Console) -> int:
    before = len(writer.found.rows) if writer.found is not None else 0
    kept = f"{before + done.kept} samples are in {path}"
    for name, why in done.refused:
        console.messages.note(f"{name}: refused: {why}")
    if done.stopped:
        console.say(f"stopped; {kept}; the same command goes on from there")
        return 130
    if done.refused and not done.measured:
        name, why = done.refused[0]
        raise CalibrationError(f"none of {len(done.refused)} benchmarks could be measured; {name}: {why}")
    left = f"; the budget was not enough for {done.left} benchmarks more" if done.left else ""
    refused = f", {len(done.refused)} benchmarks refused (-v says why)" if done.refused else ""
    console.say(f"{kept}{refused}{left}")
    console.say(f"next: graphs-calibrate fit {shlex.quote(str(path))}")
    return 0
