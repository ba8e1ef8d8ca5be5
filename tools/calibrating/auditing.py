"""``graphs-calibrate audit``: what evidence there is, how good it is, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ...calibration.errors import CalibrationError
from ...calibration.measure.environment import machine_id
from ...calibration.profile import Profile, read_profile
from ...calibration.sample import Setting
from ...calibration.store import MACHINE, Stored, evidence_folder, list_evidence
from ...targets import parse_target
from ..emit.layout import styled
from ..units import NOTHING
from .console import Console, cell_column, table
from .settings import spec_of

__all__ = ["machine_words", "run"]

_SAMPLES = ".jsonl"


def run(console: Console, *, subject: str | None) -> int:
    """List all evidence, that of one target, or check a file; the exit code is 1 where something is wrong."""
    if subject is not None and (Path(subject).exists() or Path(subject).suffix in (".json", ".gz", _SAMPLES)):
        return _check(Path(subject), console)
    stored = [one for one in list_evidence() if subject is None or _is_of(one, subject)]
    if not stored:
        console.say(f"no evidence{f' of {subject}' if subject else ''}: every figure is from first principles")
        console.say(f"yours would be in {evidence_folder('user')}; make it with graphs-calibrate measure and fit")
        return 0
    console.show(_listing(stored, console))
    for one in stored:
        if one.error:
            console.messages.error(one.error, f"delete {one.path}, or write it again: graphs-calibrate fit")
    return 1 if any(one.error for one in stored) else 0


def _is_of(stored: Stored, subject: str) -> bool:
    name, setting = parse_target(subject), stored.setting
    return (name.device, name.runtime or setting.runtime, name.mode or setting.mode) == (
        setting.device, setting.runtime, setting.mode,
    )  # fmt: skip


def _listing(stored: Sequence[Stored], console: Console) -> str:
    profiles = [one.profile for one in stored]
    return table(
        [
            cell_column("evidence for", [_words(one.setting) for one in stored], right=False),
            cell_column("layer", [one.layer for one in stored], 1, right=False),
            cell_column("schema", [_of(profile, lambda one: one.schema_version) for profile in profiles], 4),
            cell_column("date", [_of(profile, lambda one: one.calibration_date[:10]) for profile in profiles], 2),
            cell_column("samples", [_of(profile, lambda one: str(len(one.samples))) for profile in profiles], 1),
            cell_column("types", [_of(profile, lambda one: str(len(_types(one)))) for profile in profiles], 3),
            cell_column("error", [_of(profile, _error) for profile in profiles], 1),
            cell_column("state", [_state(one) for one in stored], right=False),
            cell_column("machine", [_of(profile, machine_words) for profile in profiles], 5, False, 12),
            cell_column("file", [str(one.path) for one in stored], 6, False, 24),
        ],
        console,
    )


def _words(setting: Setting) -> str:
    return f"{spec_of(setting)} {setting.precision}"


def _of(profile: Profile | None, text: Callable[[Profile], str]) -> str:
    return text(profile) if profile is not None else NOTHING


def _types(profile: Profile) -> list[str]:
    measured = {kernel.operation_type for sample in profile.samples for kernel in sample.kernels}
    return sorted({*profile.curves, *profile.bandwidth_curves, *measured})


def _error(profile: Profile) -> str:
    found = profile.validation
    return f"{found.mape:.1f} % of {found.models_tested}" if found else NOTHING


def machine_words(profile: Profile) -> str:
    """Say whether evidence was measured on this machine."""
    measured_on = profile.environment.get(MACHINE)
    if not measured_on:
        return NOTHING
    runtime = profile.setting.runtime if profile.setting else ""
    return "this one" if measured_on == machine_id(runtime) else str(measured_on)


def _state(stored: Stored) -> str:
    if stored.error:
        return "damaged"
    assert stored.profile is not None
    foreign = stored.setting.device == "host" and machine_words(stored.profile) != "this one"
    return "not used" if foreign else "good"


# -- one file ----------------------------------------------------------------------------------------------------------


def _check(path: Path, console: Console) -> int:
    """Read a file strictly and say what is in it.

    Raises:
        CalibrationError: what is wrong with it.
    """
    if path.suffix == _SAMPLES:
        return _check_samples(path, console)
    profile = read_profile(path)
    types = Counter(kernel.operation_type for sample in profile.samples for kernel in sample.kernels)
    rows = [
        ("schema", profile.schema_version),
        ("evidence for", spec_of(profile.setting) if profile.setting else f"{profile.hardware_id}, runtime not said"),
        ("hardware", f"{profile.hardware_name} ({profile.device_type})"),
        ("precision", profile.precision),
        ("date", f"{profile.calibration_date}, by {profile.calibration_tool_version}"),
        ("machine", machine_words(profile)),
        ("samples", f"{len(profile.samples)} of {len({one.model for one in profile.samples if one.model})} models"),
        ("validation", _error(profile) if profile.validation else "none so far"),
        *[("source", f"{source.title} ({source.licence}) {source.url}") for source in profile.sources],
        *[("environment", f"{key}: {value}") for key, value in profile.environment.items()],
    ]  # fmt: skip
    console.show(styled(str(path), "bold", console.color))
    console.show("".join(f"  {label:<14}{text}\n" for label, text in rows))
    curves = {**profile.curves, **{f"{name} (bandwidth)": curve for name, curve in profile.bandwidth_curves.items()}}
    names = sorted({*curves, *types})
    fits = [curves[name].fitted_curve if name in curves else None for name in names]
    counts = [len(curves[name].data_points) if name in curves else 0 for name in names]
    columns = [
        cell_column("operation type", names, right=False),
        cell_column("kernels measured", [str(types[name]) if types[name] else NOTHING for name in names]),
        cell_column("curve", [fit.curve_type if fit else NOTHING for fit in fits], 1, right=False),
        cell_column("points", [str(count) if count else NOTHING for count in counts], 2),
        cell_column("R²", [f"{fit.r_squared:.2f}" if fit else NOTHING for fit in fits], 2),
    ]
    console.show(table(columns, console))
    return 0


def _check_samples(path: Path, console: Console) -> int:
    from ...calibration.measure.samples_file import read_samples

    found = read_samples(path)
    if not found.samples:
        raise CalibrationError(f"{path}: no samples in it")
    console.show(f"{path}: {len(found.samples)} samples of {spec_of(found.setting)}, {len(found.refused)} refused\n")
    return 0
