"""``graphs-calibrate import``: what others measured becomes evidence here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from ...calibration.analytic import Fitted
from ...calibration.errors import CalibrationError
from ...calibration.importers.latencies import read_latencies, read_runtime_profile
from ...calibration.importers.microbenchmarks import read_microbenchmarks
from ...calibration.measure.environment import machine_id
from ...calibration.measure.profile import join as join_profile
from ...calibration.profile import Profile, SourceDocument, read_profile, write_profile
from ...calibration.sample import Sample, Setting, Statistics
from ...calibration.store import HOST, MACHINE, install, path_of
from ...calibration.strict_json import parse_json, read_text
from ...ir import DType
from ...passes.precision import precision_of
from ...passes.reproducer import precision_named
from ...targets import Target, TargetError, list_targets
from .console import Console
from .evidence import Scalar, profile_of
from .models import Describe, files_of
from .published import subgraph_campaigns
from .settings import setting_of, spec_of, target_named, target_of_setting

__all__ = ["run"]

_NEEDS_MODELS = {"profile": "the model that the profile is of", "latencies": "the models that the latencies are of"}


@dataclass(frozen=True, slots=True)
class _Imported:
    """What a file holds: a finished profile, or samples of a setting and, of some, what was fitted to them."""

    setting: Setting
    samples: tuple[Sample, ...] = ()
    fitted: Fitted | None = None
    profile: Profile | None = None
    sources: tuple[SourceDocument, ...] = ()


def run(
    console: Console,
    *,
    files: tuple[str, ...],
    target: str | None,
    precision: str | None,
    form: str,
    models: tuple[str, ...],
    campaigns: tuple[str, ...],
    sources: tuple[tuple[str, str, str], ...],
    output: str | None,
) -> int:
    """Read the files, add up what is of one setting, and install or write it."""
    wanted = target_named(target) if target else None
    found: dict[Setting, list[_Imported]] = {}
    for name in files:
        path = Path(name)
        for one in _read(path, form, wanted, precision, models, campaigns, console):
            found.setdefault(one.setting, []).append(one)
    if output is not None and len(found) > 1:
        listed = ", ".join(f"{spec_of(setting)} in {setting.precision}" for setting in found)
        raise click.UsageError(f"-o names one file, but there is evidence for {listed}: choose with --precision")
    for setting, parts in found.items():
        if output is None:
            _require_target(setting)
        profile = _together(setting, parts, output is None, wanted, console)
        told = tuple(SourceDocument(*source) for source in sources)
        profile = replace(profile, sources=tuple(dict.fromkeys((*profile.sources, *told))))
        if output is None:
            path = install(profile)
        else:
            path = Path(output)
            write_profile(profile, path)
        kinds = sorted({*profile.curves, *profile.bandwidth_curves})
        count = len(profile.samples)
        console.say(f"{spec_of(setting)} in {setting.precision}: {count} sample{'s' * (count != 1)}, curves of "
                    f"{', '.join(kinds) or 'nothing'}; in {path}")  # fmt: skip
    return 0


def _together(
    setting: Setting, parts: Sequence[_Imported], installing: bool, target: Target | None, console: Console
) -> Profile:
    """One profile of all that was imported and, where it is to be installed, of what the user had of the setting."""
    profiles = [part.profile for part in parts if part.profile is not None]
    own = _own(setting) if installing else None
    if own is not None:
        profiles.insert(0, own)
        console.say(f"put together with the {len(own.samples)} samples of your evidence of {own.calibration_date[:10]}")
    samples = [sample for part in parts for sample in part.samples]
    if len(profiles) == 1 and not samples:
        return _placed_here(profiles[0])
    unsampled = [profile for profile in profiles if not profile.samples]
    if unsampled:
        raise CalibrationError(
            f"evidence for {spec_of(setting)} in {setting.precision} of {unsampled[0].calibration_date[:10]} has no "
            "samples and cannot be put together with other evidence",
            help=f"write this to a file with -o, or move {path_of(setting)} away",
        )
    anew = {(sample.model, sample.source) for sample in samples if sample.model}
    rows = [sample for profile in profiles for sample in profile.samples if (sample.model, sample.source) not in anew]
    environment: dict[str, Scalar] = {key: value for profile in profiles for key, value in profile.environment.items()}
    sources = [source for profile in profiles for source in profile.sources]
    sources += [source for part in parts for source in part.sources]
    notes = " ".join(dict.fromkeys(profile.notes for profile in profiles if profile.notes))
    owner = target or target_of_setting(setting)
    fitted = next((part.fitted for part in parts if part.fitted is not None), None)
    made = profile_of(list(dict.fromkeys([*rows, *samples])), setting, owner, environment,
                      tuple(dict.fromkeys(sources)), notes, fitted)  # fmt: skip
    return _placed_here(_with_curves_of(profiles, made))


def _with_curves_of(profiles: Sequence[Profile], made: Profile) -> Profile:
    """The profile with those curves of the others whose operation types it has none of: STREAM's, say."""
    curves = {name: curve for profile in profiles for name, curve in profile.curves.items()}
    bandwidths = {name: curve for profile in profiles for name, curve in profile.bandwidth_curves.items()}
    return replace(made, curves={**curves, **made.curves}, bandwidth_curves={**bandwidths, **made.bandwidth_curves})


def _placed_here(profile: Profile) -> Profile:
    """What the user says is of ``host`` is of this machine; evidence for ``host`` is used on no other."""
    if profile.setting is None or profile.setting.device != HOST or profile.environment.get(MACHINE):
        return profile
    return replace(profile, environment={**profile.environment, MACHINE: machine_id(profile.setting.runtime)})


def _require_target(setting: Setting) -> None:
    """Refuse to install what no target would ever look for.

    Raises:
        CalibrationError: there is no target of the setting's name.
    """
    try:
        target_of_setting(setting)
    except TargetError:
        raise CalibrationError(
            f"measured on {spec_of(setting)}, which is no target here",
            help=f"say with --target which one it is {_likely(setting)}, or write it to a file with -o",
        ) from None


def _likely(setting: Setting) -> str:
    """The target whose name's words are all in the measured device's, if there is one; else how to list them."""
    words = set(setting.device.split("-"))
    for target in list_targets():
        if set(target.name.split("-")) <= words and setting.runtime in target.runtimes:
            return f"(--target={spec_of(replace(setting, device=target.name))}?)"
    return "(graphs-opt --list-targets)"


def _own(setting: Setting) -> Profile | None:
    files = (path_of(setting).with_suffix(suffix) for suffix in (".json", ".json.gz"))
    path = next((file for file in files if file.exists()), None)
    return read_profile(path) if path is not None else None


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(
    path: Path,
    form: str,
    target: Target | None,
    precision: str | None,
    models: tuple[str, ...],
    campaigns: tuple[str, ...],
    console: Console,
) -> list[_Imported]:
    form = form if form != "auto" else _told_by_content(path)
    console.messages.note(f"{path}: {form}")
    if form in _NEEDS_MODELS and not models:
        raise click.UsageError(f"{path}: name {_NEEDS_MODELS[form]} with --models")
    if form == "microbenchmarks":
        profiles = read_microbenchmarks(path, target)
        return [_Imported(_known(one, path), profile=one) for one in profiles
                if precision in (None, one.precision.lower())]  # fmt: skip
    if form == "subgraphs":
        made = subgraph_campaigns(path, files_of(models), target, precision, campaigns, console)
        return [_Imported(setting, one.samples, one.fitted) for setting, one in made.items()]
    if form == "evidence":
        return [_evidence(path, target)]
    if target is None:
        raise _unnamed(path)
    read = _runtime_profile if form == "profile" else _latencies
    return read(path, files_of(models), target, precision)


def _told_by_content(path: Path) -> str:
    """The format of a file, by what is in it.

    Raises:
        CalibrationError: it is none of those that are known.
    """
    text = read_text(path)
    head = text.lstrip("\ufeff \t\r\n")[:1]
    if head == "[":
        return "profile"
    if head == "{":
        root = parse_json(text, str(path))
        if "operation_profiles" in root:
            return "microbenchmarks"
        if "curves" in root:
            return "evidence"
        raise CalibrationError(f"{path}: neither microbenchmarks nor evidence", help="say what it is with --format")
    columns = {name.strip().lower() for name in text.partition("\n")[0].split(",")}
    if "subgraph_id" in columns:
        return "subgraphs"
    if "model" in columns:
        return "latencies"
    raise CalibrationError(f"{path}: not a format that is known", help="say what it is with --format")


def _known(profile: Profile, path: Path) -> Setting:
    if profile.setting is None:
        raise CalibrationError(f"{path}: does not say on what it was measured", help="name it with --target")
    return profile.setting


def _unnamed(path: Path) -> click.UsageError:
    return click.UsageError(f"{path} does not say what it was measured on: name it with --target")


def _evidence(path: Path, target: Target | None) -> _Imported:
    """A file of the published schema: what it is evidence for is what the user says, if it does not say so itself.

    Raises:
        CalibrationError: it says something else.
        click.UsageError: nobody says it.
    """
    profile = read_profile(path)
    if target is None and profile.setting is None:
        raise _unnamed(path)
    setting = setting_of(target, profile.precision.lower()) if target is not None else profile.setting
    assert setting is not None
    if profile.setting not in (None, setting):
        assert profile.setting is not None
        said = spec_of(profile.setting)
        raise CalibrationError(f"{path}: is evidence for {said} in {profile.setting.precision}, not for "
                               f"{spec_of(setting)}", help=f"--target={said}")  # fmt: skip
    return _Imported(setting, profile=replace(profile, setting=setting, schema_version="1.1"))


def _runtime_profile(path: Path, models: Sequence[Path], target: Target, precision: str | None) -> list[_Imported]:
    if len(models) != 1:
        raise click.UsageError(f"{path}: a profile is of one model, and --models names {len(models)}")
    describe = Describe(target, _dtype(precision))
    executed = read_runtime_profile(path)
    joined = join_profile(executed, describe(models[0]), models[0].stem)
    setting = setting_of(target, precision or _precision(models[0], describe))
    return [_Imported(setting, (*joined.samples, joined.end_to_end))]


def _latencies(path: Path, models: Sequence[Path], target: Target, precision: str | None) -> list[_Imported]:
    """Latencies of whole models: evidence that their kernels take so long together."""
    files, describe = {file.stem: file for file in models}, Describe(target, _dtype(precision))
    found: dict[Setting, list[Sample]] = {}
    for name, seconds in read_latencies(path).items():
        file = files.get(name) or files.get(Path(name).stem)
        if file is None:
            raise CalibrationError(f'{path}: no file of the model "{name}"',
                                   help=f"--models has {', '.join(files)}")  # fmt: skip
        kernels = tuple(one.kernel for one in describe(file))
        once = Statistics(1, seconds, seconds, 0.0, seconds, seconds, seconds, seconds)
        setting = setting_of(target, precision or _precision(file, describe))
        found.setdefault(setting, []).append(Sample(kernels, once, "network", name))
    return [_Imported(setting, tuple(samples)) for setting, samples in found.items()]


def _dtype(precision: str | None) -> DType | None:
    return precision_named(precision) if precision else None


def _precision(model: Path, describe: Describe) -> str:
    found = precision_of(describe.graph(model))
    if found is None:
        raise CalibrationError(f"{model}: has no values whose precision could be told", help="name it with --precision")
    return found.precision
