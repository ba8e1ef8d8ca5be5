"""How well measured networks are predicted from the others, with each estimator: the accuracy that the README quotes.

    graphs-calibrate measure --target=host@1-thread --budget=20m --models=MODELS --model-runs -o host.samples.jsonl
    python benchmarks/host_accuracy.py host.samples.jsonl [--splits 5] [--leave-one-out]

For each split a random 40 % of the networks in the file is held out; microbenchmarks and the other networks are fitted;
the held-out ones are predicted from the kernels that our own fusion finds in their files, and compared with their whole
runs. ``microbenchmarks alone`` fits no network at all. Kernels are those of 20 µs and more. What one network's time
differs by from one visit of a campaign to the next is printed first: no prediction can be nearer than that.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from graphs.calibration.curves import CurveEstimator
from graphs.calibration.estimator import fitted
from graphs.calibration.measure.samples_file import read_samples
from graphs.calibration.prediction import Estimator
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Sample, Setting
from graphs.calibration.trials import Trial, splits, tried
from graphs.calibration.validation import Compared
from graphs.targets import load_target
from graphs.tools.calibrating.evidence import profile_of

Fitter = Callable[[Sequence[Sample]], Estimator]


def estimators(setting: Setting) -> dict[str, Fitter]:
    """Each way to predict, as a function of the samples that it may see."""
    spec = f"{setting.device}:{setting.runtime}" + (f"@{setting.mode}" if setting.mode else "")
    target = load_target(spec)
    roofline = Roofline.of(target)

    def curves(samples: Sequence[Sample]) -> Estimator:
        alone = [sample for sample in samples if len(sample.kernels) == 1]
        return CurveEstimator(profile_of(alone, setting, target, {}, estimate=False), roofline)

    def rates(samples: Sequence[Sample]) -> Estimator:
        return replace(fitted(samples, roofline), residuals={})

    return {
        "efficiency curves over FLOPs": curves,
        "rates": rates,
        "rates and shapes": lambda samples: fitted(samples, roofline),
    }


def row(name: str, models: Sequence[Compared], kernels: Sequence[Compared]) -> str:
    """A line of the table: errors of whole networks, how often the interval held, errors of kernels."""
    errors = np.abs([one.predicted / one.measured - 1 for one in models])
    inside = np.mean([one.low <= one.measured <= one.high for one in models])
    single = np.abs([one.predicted / one.measured - 1 for one in kernels])
    return (
        f"{name:44} {100 * errors.mean():7.1f} {100 * np.median(errors):8.1f} {100 * np.mean(errors <= 0.1):9.0f}"
        f" {100 * inside:9.0f} {100 * single.mean():9.1f} {100 * np.median(single):9.1f}"
    )


def repeatability(rows: Sequence[Sample], networks: Sequence[str]) -> str:
    """How far apart the visits of one network were: root mean square of pairs' logarithms over the square root of 2."""
    apart = []
    for name in networks:
        times = [sample.seconds.median for sample in rows if sample.model == name and sample.source == "network"]
        apart += [np.log(one / other) ** 2 / 2 for one, other in combinations(times, 2)]
    if not apart:
        return "each network was visited once"
    return f"one network from visit to visit: ±{100 * np.sqrt(np.mean(apart)):.1f} % ({len(apart)} pairs of visits)"


def worst(models: Sequence[Compared], count: int = 8) -> str:
    """The networks of the largest mean error."""
    by_name: dict[str, list[float]] = {}
    for one in models:
        by_name.setdefault(one.name, []).append(one.predicted / one.measured - 1)
    ordered = sorted(by_name.items(), key=lambda item: -float(np.mean(np.abs(item[1]))))
    return ", ".join(f"{name} {100 * float(np.mean(errors)):+.0f} %" for name, errors in ordered[:count])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--leave-one-out", action="store_true")
    options = parser.parse_args()
    file = read_samples(options.samples)
    rows = file.of(file.setting)
    networks = sorted({sample.model for sample in rows if sample.source == "profile"})
    own = set(networks)
    micro = [sample for sample in rows if sample.model not in own]
    method = "leave-one-model-out" if options.leave_one_out else "held-out"
    print(f"{file.environment.cpu}, {file.environment.threads} threads, {', '.join(file.environment.libraries)}")
    print(f"{len(rows)} samples, {len(networks)} networks; {method}, per cent")
    print(f"{repeatability(rows, networks)}\n")
    print(f"{'':44} {'mean':>7} {'median':>8} {'within 10':>9} {'interval':>9} {'kernels':>9} {'median':>9}")
    for name, fitter in estimators(file.setting).items():
        began = time.perf_counter()
        alone = tried(rows, lambda _, fitter=fitter: fitter(micro), [frozenset(networks)])
        print(row(f"{name}, microbenchmarks alone", alone.models, alone.kernels))
        trial: Trial = tried(rows, fitter, splits(networks, method, options.splits))
        print(row(name, trial.models, trial.kernels))
        print(f"    worst: {worst(trial.models)}")
        print(f"    {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
