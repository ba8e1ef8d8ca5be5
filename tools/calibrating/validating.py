"""``graphs-calibrate validate``: predictions beside measurements, and what that says of all others."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import click

from ... import __version__
from ...calibration import history
from ...calibration.errors import CalibrationError
from ...calibration.measure.samples_file import read_samples
from ...calibration.profile import read_profile
from ...calibration.sample import Setting
from ...calibration.store import install, path_of
from ...calibration.trials import networks, splits, tried
from ...targets import Target
from ..units import percent
from .console import Console, write_file
from .evidence import fitter, now, validation_of
from .figures import Verdict, as_json, text_of, verdict_of
from .machine import bench, cores_withheld
from .models import models_of
from .progress import Progress, State, at_its_pace
from .settings import measured_runtime, setting_of, spec_of, target_named, target_of_setting
from .trial_runs import Measured, Predicted, compared, measure, monitor_of, predict

__all__ = ["run"]

_LIBRARIES = ("onnxruntime", "torch")
_MEASURED = "measured"


def run(
    console: Console,
    *,
    paths: tuple[str, ...],
    target: str | None,
    runtime: str | None,
    precision: str | None,
    models: tuple[str, ...],
    inputs: tuple[str, ...],
    runs: int,
    samples: str | None,
    method: str,
    splits: int,
    fail_above: float | None,
    json_path: str | None,
    history: bool,
) -> int:
    """Validate against models that are measured now, or against samples; the exit code is 1 above ``fail_above``."""
    if history:
        from .remembering import run as remember

        return remember(console, target=target)
    named = (*paths, *models)
    if samples is not None and named:
        raise click.UsageError("--samples has the networks in it: leave out the models")
    if samples is None and not named:
        raise click.UsageError("name models to measure (--models), or a file of samples (--samples)")
    if samples is not None:
        verdict = _held_out(Path(samples), target, runtime, precision, method, splits, console)
    else:
        verdict = _measured(named, inputs, target_named(target or "host", runtime), precision, runs, console)
    return _finish(verdict, fail_above, json_path, console)


# -- against samples ---------------------------------------------------------------------------------------------------


def _held_out(
    path: Path,
    target: str | None,
    runtime: str | None,
    precision: str | None,
    method: str,
    count: int,
    console: Console,
) -> Verdict:
    file = read_samples(path)
    setting = _chosen(path, list(file.settings), target_named(target, runtime) if target else None, precision)
    rows = file.of(setting)
    held = list(splits(list(networks(rows)), method, count))
    spec = spec_of(setting)
    splitting = f"{len(held)} split{'s' * (len(held) != 1)}"
    with Progress(f"validating {spec}", console.quiet) as progress:
        told, finished = at_its_pace(progress, f"{splitting}, {len(rows)} samples"), list[int]()
        fit = fitter(target_of_setting(setting), lambda share: told((len(finished) + share) / len(held)))
        trial = tried(rows, fit, held, finished.append)
    how = splitting if method == "held-out" else "each left out in turn"
    title = f"validation of {spec} in {setting.precision}: {len(networks(rows))} networks, {how}"
    return verdict_of(trial, setting, title, method, spec)


def _chosen(path: Path, settings: list[Setting], target: Target | None, precision: str | None) -> Setting:
    """The one setting of a file that the options leave.

    Raises:
        CalibrationError: they leave none, or several.
    """
    left = [one for one in settings if (precision is None or one.precision == precision)
            and (target is None or setting_of(target, one.precision) == one)]  # fmt: skip
    if len(left) == 1:
        return left[0]
    there = ", ".join(f"{spec_of(one)} in {one.precision}" for one in settings) or "none"
    raise CalibrationError(f"{path}: {'several settings' if left else 'no such setting'} in it",
                           help=f"choose one with --target and --precision: {there}")  # fmt: skip


# -- against what is measured now --------------------------------------------------------------------------------------


def _measured(
    names: tuple[str, ...],
    inputs: tuple[str, ...],
    target: Target,
    precision: str | None,
    runs: int,
    console: Console,
) -> Verdict:
    torch = measured_runtime(target) == "pytorch"
    if withheld := cores_withheld(target):
        console.messages.warning(withheld)
    predicted = [
        predict(model, target, precision) for model in models_of(names, inputs, torch, console.messages.warning)
    ]
    precisions = sorted({one.report.precision for one in predicted})
    if len(precisions) > 1:
        raise CalibrationError(f"models of several precisions: {', '.join(precisions)}", help="validate them apart")
    setting, source = setting_of(target, precisions[0]), predicted[0].report.evidence
    for fallback in source.fallbacks if source else ():
        console.messages.warning(fallback)
    profile = read_profile(Path(source.file)) if source and source.file else None
    environment = profile.environment if profile is not None else {}
    known = {sample.model for sample in profile.samples if sample.source != "microbenchmark"} if profile else set()
    seen = [one.name for one in predicted if one.name in known]
    if seen:
        console.messages.warning(f"the evidence was fitted on {', '.join(seen)}: how well these are predicted says "
                                 "little about others")  # fmt: skip
    with bench(target) as ready:
        monitor = monitor_of(ready, environment)
        pairs: list[tuple[Predicted, Measured]] = []
        with Progress(f"validating {target.spec}", console.quiet) as progress:
            for number, one in enumerate(predicted):
                left = sum(max(2.5 * runs * rest.seconds, 1.0) for rest in predicted[number:])
                progress.show(State(number / len(predicted), left, one.name, counts=f"{number} networks measured"))
                try:
                    pairs.append((one, measure(one, ready, monitor, runs, target, console.messages.note)))
                except CalibrationError as error:
                    if number + 1 == len(predicted) and not pairs:
                        raise
                    console.messages.warning(str(error))
    evidence = ", ".join(part for part in (source.layer, source.date[:10]) if part) if source else "first principles"
    title = f"validation of {target.spec} in {setting.precision}: {len(pairs)} networks measured ({evidence})"
    return verdict_of(compared(pairs), setting, title, _MEASURED, target.spec)


# -- what becomes of it ------------------------------------------------------------------------------------------------


def _finish(verdict: Verdict, fail_above: float | None, json_path: str | None, console: Console) -> int:
    date = now()
    console.show(text_of(verdict, console))
    if json_path:
        figures = json.dumps(as_json(verdict, date), indent=1, ensure_ascii=False, allow_nan=False)
        write_file(Path(json_path), figures + "\n")
    evidence = _write_block(verdict, console)
    history.append(_entry(verdict, date, evidence), history.history_path())
    if fail_above is not None and verdict.models.mape > fail_above:
        console.messages.error(
            f"the mean absolute error is {percent(verdict.models.mape)}, above --fail-above={percent(fail_above)}"
        )
        return 1
    return 0


def _write_block(verdict: Verdict, console: Console) -> str:
    """Write the ``validation`` block into the user's evidence for the setting, if there is any; return its date."""
    files = (path_of(verdict.setting).with_suffix(suffix) for suffix in (".json", ".json.gz"))
    path = next((file for file in files if file.exists()), None)
    if path is None:
        console.say("no evidence of yours for this setting: the figures are in no profile")
        return ""
    profile = read_profile(path)
    where = install(replace(profile, validation=validation_of(verdict.models)))
    console.say(f"the figures are in {where}")
    return profile.calibration_date


def _entry(verdict: Verdict, date: str, evidence: str) -> history.Entry:
    setting, models = verdict.setting, verdict.models
    versions = [f"graphs {__version__}"]
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return history.Entry(
        date, setting.device, setting.runtime, setting.mode, setting.precision, verdict.method, models.n, models.mape,
        models.median, models.within, models.bias.mean if models.bias else models.worst, models.inside.share,
        ", ".join(versions), verdict.kernels.mape if verdict.kernels else None, evidence,
    )  # fmt: skip
