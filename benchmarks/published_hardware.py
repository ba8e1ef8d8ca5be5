"""How well networks measured on other people's machines are predicted from other networks measured there.

    python benchmarks/published_hardware.py subgraphs.csv.gz --models MODELS

The table has what eager PyTorch took for pieces of ten networks on three devices; MODELS is a folder of the networks'
structures, with module paths, named as in the table. Each network is left out in turn, with all its batches,
precisions and power modes; the model of ``graphs.calibration.analytic`` is fitted to the others. What is compared is
the sum of the network's pieces at batch 1: ``pieces`` predicts each piece that was timed, ``graph`` the network from
what its file shows, as graphs-opt does. ``curve`` is an efficiency over FLOPs for
each kind of operation, fitted to the same rows.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from graphs.calibration.curves import CurveEstimator
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Setting
from graphs.tools.calibrating.console import Console
from graphs.tools.calibrating.evidence import profile_of
from graphs.tools.calibrating.published import Published, subgraph_campaigns
from graphs.tools.calibrating.settings import spec_of, target_of_setting
from graphs.tools.terminal import Messages

CAMPAIGNS = {
    "fp32": ("i7_12700K", "ryzen_9_8945hs"),
    None: ("jetson_orin_agx_*",),
}
"""What is fitted together: of the CPUs one precision (the others are emulated there), of Orin all that there is."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    files = sorted(options.models.glob("*.onnx"))
    console = Console(Messages(2, False), 120, False, False)
    by_device: dict[str, list[Errors]] = defaultdict(list)
    print(f"{'per cent, mean over networks (worst)':36} {'pieces':>28} {'graph':>28} {'curve':>8}")
    for precision, campaigns in CAMPAIGNS.items():
        found = subgraph_campaigns(options.table, files, None, precision, campaigns, console)
        for setting, published in found.items():
            errors = errors_of(setting, published)
            print(row(f"{spec_of(setting)} {setting.precision}", errors), flush=True)
            by_device[setting.device].append(errors)
    print()
    for device, settings in by_device.items():
        print(summary(device, settings))
    print(summary("mean of all settings", [errors for settings in by_device.values() for errors in settings]))
    print(summary("mean of devices", [together(settings) for settings in by_device.values()]))


Errors = dict[str, dict[str, float]]
"""Relative error of each network by each way to predict it."""


def errors_of(setting: Setting, published: Published) -> Errors:
    """The errors in one setting."""
    left_out = published.fitted.left_out
    return {
        "pieces": {name: one.pieced / one.measured - 1 for name, one in left_out.items()},
        "graph": {name: one.error for name, one in left_out.items()},
        "curve": {name: curve_error(setting, published, name) for name in left_out},
    }


def curve_error(setting: Setting, published: Published, name: str) -> float:
    """The error of curves fitted to the other networks."""
    target = target_of_setting(setting)
    rest = [sample for sample in published.samples if sample.model != name]
    curves = CurveEstimator(profile_of(rest, setting, target, {}, estimate=False), Roofline.of(target))
    held = next(run.samples for run in published.runs if run.network == name and run.batch == 1)
    kernels = [kernel for sample in held for kernel in sample.kernels if kernel.launches]
    predicted = sum(prediction.seconds for prediction in curves.predict(kernels))
    return predicted / sum(sample.seconds.mean for sample in held) - 1


def row(name: str, errors: Errors) -> str:
    """A line of the table."""
    cells = [f"{mean(errors[way]):6.1f} {worst(errors[way]):>21}" for way in ("pieces", "graph")]
    return f"{name:36} {' '.join(cells)} {mean(errors['curve']):8.0f}"


def mean(errors: Mapping[str, float]) -> float:
    """The mean absolute error, per cent."""
    return 100 * float(np.mean(np.abs(list(errors.values()))))


def worst(errors: Mapping[str, float]) -> str:
    """The network of the largest error, and that."""
    name = max(errors, key=lambda name: abs(errors[name]))
    return f"({name} {100 * errors[name]:+.0f})"


def together(settings: Sequence[Errors]) -> Errors:
    """Mean absolute errors over settings, as if they were one network's."""
    return {way: {"": float(np.mean([mean(one[way]) for one in settings])) / 100} for way in settings[0]}


def summary(name: str, settings: Sequence[Errors]) -> str:
    """A line with means over settings."""
    found = together(settings)
    cells = " ".join(f"{mean(found[way]):6.1f} {'':21}" for way in ("pieces", "graph"))
    return f"{name:36} {cells} {mean(found['curve']):8.0f}"


if __name__ == "__main__":
    main()
