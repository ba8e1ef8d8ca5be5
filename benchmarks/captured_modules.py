"""Networks captured from PyTorch, measured call by call: how much of their time joins, and how well others predict one.

    python benchmarks/captured_modules.py [NAME …] [--seconds 5] [--busy]

Those of `benchmarks/small_modules.py`, on one thread of this machine. For each: the calls that ran, the share of their
time that belongs to a kernel which was predicted by name (views left out of account), what the calls take together
beside a run of the module. Then each network is predicted, as `graphs-calibrate fit` and `graphs-opt` do it, from all
the others, and from the others of its kind.

Runs that something else disturbs are left out, as in a campaign. With `--busy`, for a machine that is never quiet, all
count, in the processor's time of this thread; others' use of the caches is in it still.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from time import thread_time

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from small_modules import INPUTS

from graphs.calibration.errors import CalibrationError
from graphs.calibration.measure.profile import Joined, join
from graphs.calibration.measure.pytorch import PyTorch
from graphs.calibration.measure.reference import Monitor, RuntimeReference
from graphs.calibration.measure.runner import UnsteadyError
from graphs.calibration.sample import Sample
from graphs.calibration.trials import compare_network, networks
from graphs.frontends.torch_factory import parse_input
from graphs.targets import load_target
from graphs.tools.calibrating.evidence import fitter
from graphs.tools.calibrating.models import Describe
from graphs.tools.calibrating.torch_networks import network_of_factory

TARGET = load_target("host:pytorch-eager@1-thread")
ATTEMPTS = 5


def measured(name: str, seconds: float, monitor: Monitor | None) -> Joined:
    """Measure a network while the machine holds still, and join its calls to our kernels."""
    network = network_of_factory(f"small_modules:{name}", [parse_input(INPUTS[name])])
    if monitor is None:
        executed = PyTorch(1, clock=thread_time).execute(network, seconds)
        return join(executed, Describe(TARGET)(network), name)
    runner, refusal = PyTorch(1), ""
    for _ in range(ATTEMPTS):
        monitor.begin()
        try:
            executed = runner.execute(network, seconds, pause=monitor.pause)
        except UnsteadyError as error:
            refusal = str(error)
            continue
        drift = monitor.drift()
        refusal = drift.refusal
        if not refusal:
            return join(executed, Describe(TARGET)(network), name, drift.factor)
    raise CalibrationError(f"{name}: {refusal}")


def predicted(name: str, samples: Sequence[Sample], like: bool) -> float:
    """Predicted over measured time, from the samples of the other networks, or of those of the same kind."""
    kind = name.partition("_")[0]
    seen = [one for one in samples if one.model != name and (not like or one.model.partition("_")[0] == kind)]
    trial = compare_network(name, networks(samples)[name], fitter(TARGET)(seen))
    assert trial is not None
    return trial.predicted / trial.measured


def main() -> int:
    """Measure, then predict each from the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks; all by default")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each network")
    parser.add_argument("--busy", action="store_true", help="count all runs, in the processor's time")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names, samples = options.names or list(INPUTS), list[Sample]()
    monitor = None if options.busy else Monitor.starting(RuntimeReference(1))
    for name in names:
        try:
            found = measured(name, options.seconds, monitor)
        except CalibrationError as error:
            print(f"{name:14} not measured: {error}", flush=True)
            continue
        samples += [*found.samples, found.end_to_end]
        whole, calls = found.end_to_end.seconds, found.executed
        print(
            f"{name:14} {len(found.samples):3} kernels, {found.matched_share:.1%} of the time joined by name, "
            f"{len(found.unexecuted)} without a call; run {whole.median * 1e3:.2f} ms, calls {calls.median * 1e3:.2f}",
            flush=True,
        )
    errors: dict[bool, list[float]] = {False: [], True: []}
    for name in networks(samples):
        ratios = {like: predicted(name, samples, like) for like in errors}
        for like, ratio in ratios.items():
            errors[like].append(abs(ratio - 1))
        print(f"{name:14} predicted from all others {ratios[False] - 1:+.1%}, from its kind {ratios[True] - 1:+.1%}")
    for like, text in ((False, "all others"), (True, "its kind")):
        if errors[like]:
            print(f"from {text}: mean error {mean(errors[like]):.1%}, median {median(errors[like]):.1%}")
    return 0 if len(errors[False]) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
