"""How far the uncalibrated predictions for this machine are from what onnxruntime takes here, model by model.

    python benchmarks/latency.py [--runs N] MODEL.onnx|FOLDER ...

One thread, made-up weights, median of N runs after a warm-up. Prints predicted and measured latency, their ratio, and
whether the measured one lies in the predicted interval; then the median ratio, the median absolute error and how often
the interval held. No network was fitted on: predictions are peaks and typical efficiencies from the targets' files,
which onnxruntime_efficiencies.py measured with one-operator models on one kind of machine; on that kind it is no test
of how they carry over to another.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracles"))

import onnx
from execution import cpu_session
from materialise import materialised, random_inputs
from onnxruntime import GraphOptimizationLevel

import graphs

WARM_UP = 3


def measured_seconds(path: Path, runs: int) -> float:
    """Median seconds of one inference on one thread, weights made up where the file has none."""
    inputs = random_inputs(onnx.load(path, load_external_data=False))
    with materialised(path) as complete:
        session = cpu_session(complete, GraphOptimizationLevel.ORT_ENABLE_ALL)
        seconds = []
        for run in range(WARM_UP + runs):
            start = time.perf_counter()
            session.run(None, inputs)
            if run >= WARM_UP:
                seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def models(arguments: list[str]) -> list[Path]:
    """The files named, and those in the folders named."""
    paths = [Path(argument) for argument in arguments]
    return [file for path in paths for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]


def main() -> None:
    """Print a row for each model and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    ratios, inside = [], 0
    print(f"{'model':28} {'predicted':>12} {'interval':>21} {'measured':>12} {'ratio':>6}")
    for path in models(options.models):
        total = graphs.run("fuse,lower,cost", graphs.load(path), target="host@1-thread").total
        seconds = measured_seconds(path, options.runs)
        holds = total.seconds_low <= seconds <= total.seconds_high
        interval = f"{total.seconds_low * 1e3:.2f} to {total.seconds_high * 1e3:.2f}"
        predicted = f"{total.seconds * 1e3:.2f} ms"
        measured = f"{seconds * 1e3:.2f} ms"
        ratio = total.seconds / seconds
        print(f"{path.stem:28} {predicted:>12} {interval:>21} {measured:>12} {ratio:6.2f} {'' if holds else 'outside'}")
        ratios.append(ratio)
        inside += holds
    error = statistics.median(abs(ratio - 1) for ratio in ratios)
    print(
        f"{len(ratios)} models: median ratio {statistics.median(ratios):.2f}, median absolute error {error:.0%},"
        f" interval held for {inside} of {len(ratios)}"
    )


if __name__ == "__main__":
    main()
