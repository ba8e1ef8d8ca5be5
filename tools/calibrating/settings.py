"""What is being calibrated: the target that the options name, and the setting that its evidence is found by."""

from __future__ import annotations

import click

from ...calibration.errors import CalibrationError
from ...calibration.sample import Setting
from ...targets import Target, load_target, parse_target

__all__ = ["RUNTIME_NAMES", "measured_runtime", "setting_of", "spec_of", "target_named", "target_of_setting"]

RUNTIME_NAMES = {"onnxruntime": "onnxruntime-cpu", "pytorch": "pytorch-eager"}
"""The runtimes that can be measured, as targets call them."""


def target_named(text: str, runtime: str | None = None) -> Target:
    """Return the target that ``--target`` and ``--runtime`` name together.

    Raises:
        click.UsageError: both name a runtime, and not the same.
        TargetError: there is no such target.
    """
    name = parse_target(text)
    wanted = RUNTIME_NAMES[runtime] if runtime else None
    if wanted and name.runtime and name.runtime != wanted:
        raise click.UsageError(f"--target={text} names the runtime {name.runtime}, --runtime another")
    chosen = name.runtime or wanted
    parts = [name.device, f":{chosen}" if chosen else "", f"@{name.mode}" if name.mode else ""]
    return load_target("".join(parts))


def measured_runtime(target: Target) -> str:
    """Return what measures a target's runtime: ``onnxruntime`` or ``pytorch``.

    Raises:
        CalibrationError: nothing here can measure it.
    """
    for word, name in RUNTIME_NAMES.items():
        if target.runtime.name == name:
            return word
    raise CalibrationError(f"{target.spec}: {target.runtime.name} cannot be measured from here",
                           help=f"these can: {', '.join(RUNTIME_NAMES.values())}")  # fmt: skip


def setting_of(target: Target, precision: str) -> Setting:
    """Return what evidence for ``target`` at ``precision`` is found by."""
    return Setting(target.device.name, target.runtime.name, target.mode or "", precision)


def spec_of(setting: Setting) -> str:
    """Return a setting's target as it is written on the command line."""
    return f"{setting.device}:{setting.runtime}" + (f"@{setting.mode}" if setting.mode else "")


def target_of_setting(setting: Setting) -> Target:
    """Return the target that a setting is of.

    Raises:
        TargetError: there is no such target.
    """
    return load_target(spec_of(setting))
