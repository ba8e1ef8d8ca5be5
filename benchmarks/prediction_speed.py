"""How long evidence takes to load, kernels to predict, and a network's coverage to tell, on one core.

    python benchmarks/prediction_speed.py [MODEL...] [--evidence FILE] [--repeat 5]

Two claims: 10,000 kernels that all differ are predicted in less than a second, and from a loaded graph to its printed
coverage (fusion, lowering, evidence read from its file, predictions, intervals, gaps) it is less than one too. The
evidence is that of FILE, as ``graphs-calibrate fit -o FILE`` writes it. Without one it is made up: every kernel of as
many operators and synthetic networks as twenty minutes of measuring get to takes what its roofline says, by a factor
that varies smoothly with its size; how long all this takes depends on how much was measured and not on what came out.
A FILE that is not there yet is written, so that it can be used again. Times are the
process's own, which is what a core that it has to itself takes. It exits with 1 if a claim does not hold; medians are
compared.
"""

# ruff: noqa: E402 - how many threads there are to be is read when numpy is imported

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from math import exp, log2, sin
from pathlib import Path
from statistics import median
from time import process_time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np

import graphs
from graphs.calibration import amounts, features
from graphs.calibration import kernel as kernel_module
from graphs.calibration.estimator import estimator_for
from graphs.calibration.kernel import Kernel
from graphs.calibration.profile import Profile, read_profile, write_profile
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Sample, Setting, Statistics
from graphs.calibration.suite import suite
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.reporting import build_report
from graphs.targets import load_target
from graphs.tools.calibrating.evidence import profile_of
from graphs.tools.calibrating.models import Describe
from graphs.tools.emit import coverage
from graphs.tools.emit.view import View

MODELS = Path(__file__).parents[1] / "examples" / "models"
NETWORKS = ("bert_base", "swin_t", "resnet50")
TARGET = "host@1-thread"
SETTING = Setting("host", "onnxruntime-cpu", "1-thread", "fp32")
SUITE_SECONDS = 330.0
KERNELS = 10_000
MOST_SECONDS = 1.0


# -- evidence ---------------------------------------------------------------------------------------------------------


def made_up() -> Profile:
    """Evidence from about 40,000 samples, with times that are made up."""
    target = load_target(TARGET)
    roofline, describe, samples = Roofline.of(target), Describe(target), list[Sample]()
    for benchmark in suite("onnxruntime", seconds=SUITE_SECONDS):
        kernels = tuple(described.kernel for described in describe(benchmark.build()))
        seconds = [_seconds(kernel, roofline) for kernel in kernels]
        samples += [Sample((kernel,), _timed(time), "microbenchmark", benchmark.name, (f"{number}",))
                    for number, (kernel, time) in enumerate(zip(kernels, seconds, strict=True))]  # fmt: skip
        if benchmark.group == "networks":
            samples.append(Sample(kernels, _timed(sum(seconds)), "network", benchmark.name))
    return profile_of(samples, SETTING, target, {})


def _seconds(kernel: Kernel, roofline: Roofline) -> float:
    size = log2(1 + kernel.bytes) + 0.5 * log2(1 + kernel.flops)
    return roofline.bounds(kernel).default_seconds * exp(0.3 * sin(size))


def _timed(seconds: float) -> Statistics:
    return Statistics(10, seconds, seconds, 0.0, seconds, seconds, seconds, seconds)


def kernels_of(profile: Profile) -> list[Kernel]:
    """So many kernels that all differ: those that were measured alone, in other sizes."""
    random = np.random.default_rng(0)
    known = [sample.kernels[0] for sample in profile.samples if len(sample.kernels) == 1]
    found: dict[Kernel, None] = {}
    while len(found) < KERNELS:
        found[_resized(known[int(random.integers(len(known)))], random)] = None
    return list(found)


def _resized(kernel: Kernel, random: np.random.Generator) -> Kernel:
    """The kernel over an eighth to 64 times as many rows, images or elements; weights stay as they are."""
    factor = 2 ** float(random.uniform(-3, 6))

    def scaled(size: int) -> int:
        return max(1, round(size * factor)) if size else 0

    primitives = tuple(
        replace(one, **{name: scaled(getattr(one, name)) for name in _LEADING.get(one.tag, ())})
        for one in kernel.primitives
    )
    return replace(kernel, primitives=primitives, read_bytes=scaled(kernel.read_bytes),
                   write_bytes=scaled(kernel.write_bytes))  # fmt: skip


_LEADING = {
    "gemm": ("m",), "conv": ("batch",), "elementwise": ("elements",), "reduction": ("elements", "results"),
    "softmax": ("rows",), "normalization": ("groups",), "copy": ("elements",), "gather": ("rows",),
    "window": ("results",), "scan": ("elements",),
}  # fmt: skip
"""The extents of each primitive that grow with the batch."""


# -- what is timed ----------------------------------------------------------------------------------------------------

Laps = dict[str, list[float]]


def predicted(path: Path, kernels: list[Kernel], repeat: int) -> Laps:
    """Seconds of reading evidence and of predicting kernels by it, alone and with their total's interval."""
    laps: Laps = {"read the evidence": [], "predict": [], "and total": []}
    for _ in range(repeat):
        _forget()
        began = process_time()
        profile = read_profile(path)
        estimator = estimator_for(profile, Roofline.of(load_target(TARGET)))
        read = process_time()
        estimator.predict(kernels)
        done = process_time()
        estimator.total(kernels)
        laps["read the evidence"].append(read - began)
        laps["predict"].append(done - read)
        laps["and total"].append(process_time() - done)
    return laps


def covered(path: Path, model: Path, repeat: int) -> Laps:
    """Seconds of loading a model, and from there to its printed coverage."""
    laps: Laps = {"load the model": [], "passes": [], "report": []}
    target = load_target(TARGET)
    for _ in range(repeat):
        _forget()
        began = process_time()
        graph = graphs.load(model)
        loaded = process_time()
        context = Context(target)
        passes = f"fuse,lower,calibrate{{evidence={path}}},cost,coverage"
        PassManager(parse_passes(passes), ()).run(graph, context)
        ran = process_time()
        assert "Calibration coverage" in coverage.emit([build_report(graph, context)], View())
        laps["load the model"].append(loaded - began)
        laps["passes"].append(ran - loaded)
        laps["report"].append(process_time() - ran)
    return laps


def _forget() -> None:
    """Empty what is remembered of kernels, as a new process finds it."""
    for remembered in (amounts.family, amounts.amounts, features.features, features.inside_share, kernel_module.rank):
        remembered.cache_clear()


def line(name: str, laps: Laps, claimed: tuple[str, ...]) -> bool:
    """Print the parts' medians; whether those that the claim is of are together below a second."""
    seconds = median(map(sum, zip(*(laps[part] for part in claimed), strict=True)))
    parts = " + ".join(f"{part} {1e3 * median(times):.0f}" for part, times in laps.items())
    print(f"{name:32} {1e3 * seconds:6.0f} ms (below {1e3 * MOST_SECONDS:.0f})   {parts}", flush=True)
    return seconds < MOST_SECONDS


def main() -> int:
    """Read the arguments and run; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", type=Path, help="networks; some of examples/models if none are named")
    parser.add_argument("--evidence", type=Path, help="evidence to predict by, written where it is not there yet")
    parser.add_argument("--repeat", type=int, default=5, help="timed repetitions")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
        path = (options.evidence or Path(folder) / "made-up.json").resolve()
        if not path.exists():
            write_profile(made_up(), path)
        profile = read_profile(path)
        learned = sum(len(one["values"]) for one in profile.estimator["residuals"].values())
        families = len(profile.estimator["residuals"])
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {learned} kernels in {families} families, "
              f"{len(profile.samples)} samples\n")  # fmt: skip
        held = [line(f"{KERNELS} kernels", predicted(path, kernels_of(profile), options.repeat), ("predict",))]
        for model in options.models or [MODELS / f"{name}.onnx" for name in NETWORKS]:
            held.append(line(model.stem, covered(path, model, options.repeat), ("passes", "report")))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
