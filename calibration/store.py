"""Where evidence is: the user's own before what ships with the package, by device, runtime, power mode and precision.

The user's is in ``$XDG_DATA_HOME/graphs/evidence/DEVICE/RUNTIME[@MODE].PRECISION.json``, what ships in ``evidence/``
beside this module, by the same names; either may be compressed (``.json.gz``). What ships for ``host`` is in folders
named by the machine's identity, since there are many kinds of hosts. Where there is none for exactly a
setting, evidence of a neighbouring one may stand in, and that is said; where there is none at all, predictions are from
first principles, and that is said too. A file that cannot be read is an error, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..targets.catalog import user_folder
from .errors import CalibrationError
from .profile import Profile, read_profile, write_profile
from .sample import Setting

__all__ = [
    "FIRST_PRINCIPLES", "HOST", "MACHINE", "SHIPPED", "USER", "Found", "Stored", "evidence_folder", "find", "install",
    "list_evidence", "path_of",
]  # fmt: skip

USER, SHIPPED, FIRST_PRINCIPLES = "user", "shipped", "first principles"
HOST = "host"
MACHINE = "machine"
"""The key of ``environment`` that says on which machine evidence for ``host`` was measured."""

_SUFFIXES = (".json", ".json.gz")
_STANDS_IN: dict[str, tuple[str, ...]] = {"fp16": ("bf16",), "bf16": ("fp16",), "tf32": ("fp32",)}
"""Precisions whose shares of peak are much alike: the same units and bytes, or the same storage."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FILE = re.compile(r"(?P<runtime>[^@]+?)(@(?P<mode>.+))?\.(?P<precision>[a-z0-9]+)\.json(\.gz)?")


@dataclass(frozen=True, slots=True)
class Found:
    """Evidence for a setting, the layer that it is from, and in sentences what was fallen back on.

    ``profile`` is ``None`` where there is none. Its ``setting`` is another than the one asked for where a fallback says
    so; then its shares of peak hold, its times do not.
    """

    profile: Profile | None
    layer: str
    fallbacks: tuple[str, ...] = ()
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of evidence as a list shows it; ``error`` says why it cannot be used."""

    setting: Setting
    layer: str
    path: Path
    profile: Profile | None
    error: str = ""


def evidence_folder(layer: str) -> Path:
    """Return the folder of a layer: ``user`` or ``shipped``."""
    return user_folder() / "evidence" if layer == USER else Path(__file__).parent / "evidence"


def path_of(setting: Setting, layer: str = USER) -> Path:
    """Return where evidence for a setting stands, uncompressed.

    Raises:
        CalibrationError: a part of the setting is no name, so that it could lead out of the folder.
    """
    for what, name in (("device", setting.device), ("runtime", setting.runtime), ("precision", setting.precision)):
        _check_name(what, name)
    if setting.mode:
        _check_name("mode", setting.mode)
    mode = f"@{setting.mode}" if setting.mode else ""
    return evidence_folder(layer) / setting.device / f"{setting.runtime}{mode}.{setting.precision}.json"


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CalibrationError(
            f'{what} "{name}" is no name that evidence can be kept under (letters, digits, dots and dashes)',
            "give the device or runtime a `name`, and keep evidence for a file's target beside it",
        )


def find(setting: Setting, machine: str = "", modes: Sequence[str] = ()) -> Found:
    """Return the evidence for a setting.

    ``machine`` is this machine's identity: evidence for ``host`` that was measured on another is not used. ``modes``
    are the device's power modes whose evidence may stand in, nearest first; by default none may.

    Raises:
        CalibrationError: a file that would be used is damaged, or is of another device, runtime, mode or precision.
    """
    fallbacks: list[str] = []
    others = [replace(setting, precision=name) for name in _STANDS_IN.get(setting.precision, ())]
    others += [replace(setting, mode=mode) for mode in modes if mode != setting.mode]
    for wanted in (setting, *others):
        if not _usable(wanted):
            continue
        for layer, path in _places(wanted, machine):
            profile = _read(path, wanted)
            foreign = _foreign(profile, wanted, machine)
            if foreign:
                fallbacks.append(f"{path}: {foreign}")
                continue
            if wanted != setting:
                fallbacks.append(f"nothing was measured of {_words(setting)}; evidence of {_words(wanted)} stands in")
            if layer == SHIPPED and wanted == setting and fallbacks:
                fallbacks.append(f"evidence for {_words(setting)} that ships with graphs is used instead")
            return Found(profile, layer, tuple(fallbacks), path)
    fallbacks.append(f"nothing was measured of {_words(setting)}: figures are from first principles")
    return Found(None, FIRST_PRINCIPLES, tuple(fallbacks))


def _usable(setting: Setting) -> bool:
    """Whether evidence can be kept for the setting at all: a target from a file may have any name."""
    try:
        path_of(setting)
    except CalibrationError:
        return False
    return True


def _places(wanted: Setting, machine: str) -> Iterator[tuple[str, Path]]:
    """Files that are there for a setting, the user's first; what ships for ``host`` is in a folder for each machine."""
    candidates = [(USER, path_of(wanted, USER)), (SHIPPED, path_of(wanted, SHIPPED))]
    if wanted.device == HOST and _NAME.fullmatch(machine):
        candidates.insert(1, (SHIPPED, path_of(replace(wanted, device=machine), SHIPPED)))
    for layer, path in candidates:
        existing = _existing(path)
        if existing is not None:
            yield layer, existing


def _existing(path: Path) -> Path | None:
    return next((file for suffix in _SUFFIXES if (file := path.with_suffix(suffix)).exists()), None)


def _read(path: Path, wanted: Setting) -> Profile:
    try:
        profile = read_profile(path)
        _check_place(profile, wanted, path)
    except CalibrationError as error:
        way_out = f"delete {path}, or write it again: graphs-calibrate fit"
        hint = f"{error.help}{' ' if error.help.endswith('?') else '; '}" if error.help else ""
        raise CalibrationError(str(error), f"{hint}{way_out}") from error
    return profile


def _check_place(profile: Profile, wanted: Setting, path: Path) -> None:
    of_machine = profile.environment.get(MACHINE) == wanted.device
    expected = replace(wanted, device=HOST) if of_machine else wanted
    if profile.setting is not None and profile.setting not in (wanted, expected):
        raise CalibrationError(f"{path}: is evidence for {_words(profile.setting)}, not for {_words(wanted)}")
    if profile.precision.lower() != wanted.precision:
        raise CalibrationError(f"{path}: is evidence for {profile.precision}, not for {wanted.precision.upper()}")


def _foreign(profile: Profile, wanted: Setting, machine: str) -> str:
    """Why evidence for ``host`` is not this machine's; an empty text where it is, or for any other device."""
    if wanted.device != HOST:
        return ""
    measured_on = profile.environment.get(MACHINE)
    if not measured_on:
        return "does not say on which machine it was measured, so it is not used"
    if measured_on != machine:
        return (
            f"was measured on another machine ({measured_on}; this one is {machine or 'not known'}), so it is not used"
        )
    return ""


def _words(setting: Setting) -> str:
    mode = f"@{setting.mode}" if setting.mode else ""
    return f"{setting.device}:{setting.runtime}{mode} in {setting.precision}"


def install(profile: Profile) -> Path:
    """Write evidence to the user's layer, where it is found from now on, and return the file.

    Raises:
        CalibrationError: it does not say what it is evidence for, or cannot be written.
    """
    if profile.setting is None:
        raise CalibrationError(
            f"evidence for {profile.hardware_id} does not say for which device, runtime, mode and precision it is",
            "fit it with a setting, or import it with --target",
        )
    path = path_of(profile.setting)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CalibrationError(f"{path.parent}: cannot make the folder: {error.strerror or error}") from error
    write_profile(profile, path)
    path.with_suffix(".json.gz").unlink(missing_ok=True)
    return path


def list_evidence() -> tuple[Stored, ...]:
    """Return every file of evidence, the user's first; one that cannot be used is listed with its error."""
    return tuple(stored for layer in (USER, SHIPPED) for stored in _stored(layer))


def _stored(layer: str) -> Iterator[Stored]:
    folder = evidence_folder(layer)
    for path in sorted(folder.glob("*/*.json*")) if folder.is_dir() else ():
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        setting = Setting(path.parent.name, match["runtime"], match["mode"] or "", match["precision"])
        try:
            profile = _read(path, setting)
            yield Stored(profile.setting or setting, layer, path, profile)
        except CalibrationError as error:
            yield Stored(setting, layer, path, None, str(error))
