"""What is known of a target from measurements: an estimator, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..calibration.errors import CalibrationError
from ..calibration.prediction import Estimator
from ..calibration.roofline import Roofline
from ..calibration.sample import Setting
from ..ir import DType
from ..ir.primitives import Primitive
from ..targets import Target
from .report import EvidenceSource

if TYPE_CHECKING:
    from ..calibration import store
    from ..calibration.lookup import Match

__all__ = ["BEST", "FIRST_PRINCIPLES", "NONE", "Evidence", "Predictor", "find_evidence", "setting_of", "setting_words"]

BEST = "best"
NONE = "none"
FIRST_PRINCIPLES = "first principles"
_FILE = "file"
_LAYER_WORDS = {"user": "your own", "shipped": "shipped"}


@dataclass(frozen=True, slots=True)
class Predictor:
    """What measurements say: of kernels, the time; of primitives, how closely anything that was measured matches."""

    estimator: Estimator
    match: Callable[[Primitive], Match]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where predictions come from; ``predictor`` is ``None`` where there are only first principles."""

    source: EvidenceSource
    predictor: Predictor | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should be warned of: that something else stands in, or that what there is cannot be used.

        That there is nothing at all is the state in which everybody starts, and no warning.
        """
        fallbacks = self.source.fallbacks
        return fallbacks if self.predictor or len(fallbacks) > 1 else ()

    @property
    def estimator(self) -> Estimator | None:
        """What predicts kernels, if there is anything."""
        return self.predictor.estimator if self.predictor else None


def setting_of(target: Target, precision: DType | None) -> Setting:
    """Return what evidence for ``target`` is found by."""
    name = (precision or DType.UNKNOWN).precision
    return Setting(target.device.name, target.runtime.name, target.mode or "", name)


def find_evidence(target: Target, precision: DType | None, wanted: str = BEST) -> Evidence:
    """Return the evidence that ``wanted`` stands for: the best there is, none at all, or that of a file.

    Raises:
        CalibrationError: the file, or the one found, cannot be used.
    """
    setting = setting_of(target, precision)
    if wanted == NONE or not setting.precision:
        return Evidence(EvidenceSource(FIRST_PRINCIPLES))
    found = _found(target, setting) if wanted == BEST else _read(Path(wanted), target, setting)
    if found.profile is None:
        return Evidence(EvidenceSource(FIRST_PRINCIPLES, fallbacks=found.fallbacks))
    from ..calibration import lookup
    from ..calibration.estimator import estimator_for

    roofline = Roofline.of(target)
    source = EvidenceSource(
        _LAYER_WORDS.get(found.layer, found.layer),
        str(found.path or ""),
        setting_words(found.profile.setting or setting),
        found.profile.calibration_date,
        found.fallbacks,
    )
    predictor = Predictor(estimator_for(found.profile, roofline), lookup.Evidence(found.profile, roofline).match)
    return Evidence(source, predictor)


def _found(target: Target, setting: Setting) -> store.Found:
    """What the layers have: for the machine that this runs on, only what was measured on it."""
    from ..calibration import store
    from ..calibration.measure.environment import machine_id

    machine = machine_id(setting.runtime) if setting.device == store.HOST else ""
    return store.find(setting, machine, _nearest_modes(target))


def _nearest_modes(target: Target) -> Sequence[str]:
    """Power modes whose evidence may stand in: those that the device's file lists on either side, the nearer first."""
    modes, mode = target.device.modes, target.mode
    if mode not in modes:
        return ()
    here = modes.index(mode)
    return sorted((other for other in modes if other != mode), key=lambda other: abs(modes.index(other) - here))


def _read(path: Path, target: Target, setting: Setting) -> store.Found:
    """The evidence of a file that the user named.

    That it was made for another runtime, mode or precision is said, not refused; and so for another device where it has
    nothing but curves, which are shares of a peak.

    Raises:
        CalibrationError: it has times of another device, which say nothing of this one.
    """
    from ..calibration import store
    from ..calibration.profile import read_profile

    profile = read_profile(path)
    made_for = profile.setting
    if made_for is not None and made_for.device != setting.device and profile.estimator:
        raise CalibrationError(
            f"{path}: has times of {setting_words(made_for)}, which say nothing of {setting_words(setting)}",
            help=f"name the device that it is of (--target={made_for.device}), or leave the evidence out",
        )
    remarks = []
    if made_for is not None and made_for != setting:
        remarks.append(
            f"{path} was measured on {setting_words(made_for)}, and is used for {setting_words(setting)} as you asked"
        )
    elif profile.precision.lower() != setting.precision:
        remarks.append(f"{path} was measured in {profile.precision.lower()}, and is used for {setting.precision}")
    return store.Found(profile, _FILE, tuple(remarks), path)


def setting_words(setting: Setting) -> str:
    """Return a setting as reports name it: ``jetson-orin-agx:tensorrt@30W in fp16``."""
    mode = f"@{setting.mode}" if setting.mode else ""
    return f"{setting.device}:{setting.runtime}{mode} in {setting.precision}"
