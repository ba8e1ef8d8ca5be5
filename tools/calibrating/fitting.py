"""``graphs-calibrate fit``: samples become the evidence that predictions stand on from then on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from ...calibration.errors import CalibrationError
from ...calibration.measure.samples_file import SamplesFile, read_samples
from ...calibration.profile import Profile, write_profile
from ...calibration.sample import Sample, Setting
from ...calibration.store import install
from ...calibration.trials import networks, tried
from ..units import NOTHING
from .console import Console, cell_column, table
from .evidence import environment_of, fitter, now, profile_of
from .figures import text_of, verdict_of
from .progress import Progress, at_its_pace
from .settings import spec_of, target_of_setting

__all__ = ["of_setting", "read_all", "run", "settings_in"]


def run(console: Console, *, samples: tuple[str, ...], output: str | None, holdout: tuple[str, ...]) -> int:
    """Fit each setting that the files have samples of."""
    files = read_all(samples)
    settings = settings_in(files)
    if output is not None and len(settings) > 1:
        raise click.UsageError(f"-o names one file, but there are samples of {len(settings)} settings: "
                               f"{', '.join(f'{spec_of(one)} {one.precision}' for one in settings)}")  # fmt: skip
    for setting in settings:
        rows = of_setting(files, setting)
        if holdout:
            _show_held_out(rows, setting, holdout, console)
        _fit(rows, setting, files, output, set(holdout), console)
    return 0


def read_all(paths: Sequence[str]) -> list[SamplesFile]:
    """Return the files of samples.

    Raises:
        CalibrationError: one cannot be read, or was measured on another machine than the others.
    """
    files = [read_samples(Path(path)) for path in paths]
    for path, file in zip(paths, files, strict=True):
        if file.environment.machine != files[0].environment.machine:
            raise CalibrationError(
                f"{path}: measured on {file.environment.machine}, {paths[0]} on {files[0].environment.machine}",
                help="one machine's samples are no evidence for another: fit them apart",
            )
    return files


def settings_in(files: Sequence[SamplesFile]) -> list[Setting]:
    """Return the settings that there are samples of, in the order in which they come up."""
    return list(dict.fromkeys(setting for file in files for setting in file.settings))


def of_setting(files: Sequence[SamplesFile], setting: Setting) -> list[Sample]:
    """Return all samples of one setting."""
    return [sample for file in files for sample in file.of(setting)]


def _fit(
    rows: Sequence[Sample],
    setting: Setting,
    files: Sequence[SamplesFile],
    output: str | None,
    holdout: set[str],
    console: Console,
) -> None:
    kept = [sample for sample in rows if sample.model not in holdout]
    notes = f"Held out: {', '.join(sorted(holdout))}." if holdout else ""
    console.say(f"fitting {len(kept)} samples of {spec_of(setting)} in {setting.precision}")
    environment = environment_of(files[-1])
    with Progress(f"fitting {spec_of(setting)}", console.quiet) as progress:
        told = at_its_pace(progress, f"{len(kept)} samples")
        profile = profile_of(kept, setting, target_of_setting(setting), environment, notes=notes, progress=told)
    if output is None:
        path = install(profile)
    else:
        path = Path(output)
        write_profile(profile, path)
    console.show(_summary(profile, kept, console))
    console.say(f"evidence for {spec_of(setting)} in {setting.precision} is in {path}")


def _summary(profile: Profile, samples: Sequence[Sample], console: Console) -> str:
    """What was fitted, by operation type."""
    counts: Counter[str] = Counter()
    models: dict[str, set[str]] = {}
    for sample in samples:
        for name in {kernel.operation_type for kernel in sample.kernels}:
            counts[name] += 1
            models.setdefault(name, set()).add(sample.model)
    names = sorted({*counts, *profile.curves, *profile.bandwidth_curves}, key=lambda name: (-counts[name], name))
    fits = [profile.curves.get(name) or profile.bandwidth_curves.get(name) for name in names]
    return table(
        [
            cell_column("operation type", names, right=False),
            cell_column("samples", [str(counts[name]) for name in names]),
            cell_column("models", [str(len(models.get(name, set()) - {""})) for name in names], 1),
            cell_column("curve", [fit.fitted_curve.curve_type if fit else NOTHING for fit in fits], 2, right=False),
            cell_column("over", ["FLOPs" if name in profile.curves else "bytes" for name in names], 4, right=False),
            cell_column("R²", [f"{fit.fitted_curve.r_squared:.2f}" if fit else NOTHING for fit in fits], 1),
            cell_column(
                "residual std", [f"{fit.fitted_curve.residual_std:.3f}" if fit else NOTHING for fit in fits], 3
            ),
        ],
        console,
    )


def _show_held_out(rows: Sequence[Sample], setting: Setting, holdout: tuple[str, ...], console: Console) -> None:
    """Say how well what is left predicts the models that are left out.

    Raises:
        CalibrationError: there are no samples of such a model.
    """
    measured = networks(rows)
    unknown = [name for name in holdout if name not in measured]
    if unknown:
        raise CalibrationError(f'--holdout={unknown[0]}: no samples of such a model',
                               help=f"models in the samples: {', '.join(measured) or 'none'}")  # fmt: skip
    trial = tried(rows, fitter(target_of_setting(setting)), [frozenset(holdout)])
    spec = spec_of(setting)
    title = f"held out of {spec} in {setting.precision}: {', '.join(holdout)} ({now()[:10]})"
    console.show(text_of(verdict_of(trial, setting, title, "held-out", spec), console))
