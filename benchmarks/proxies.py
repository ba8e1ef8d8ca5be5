"""How far a stand-in's word can be trusted: what proxies.yaml states beside what a file of samples says.

    python benchmarks/proxies.py host.samples.jsonl

For each operation type that was measured, every stand-in of ``calibration/proxies.yaml`` that was measured too is asked
what share of their rooflines the type's kernels reach, by size, as the coverage pass asks where nothing of the type is
known. ``found`` is the confidence that is true of these samples: in two cases of three the measured efficiency is
within a factor of 1 / found of what the stand-in says. ``stated`` is the file's. ``bias`` is the median of measured
time over that at the stand-in's efficiency: above one where the type is slower than what stands in for it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from graphs.calibration.kernel import Kernel, operation_type
from graphs.calibration.lookup import moved_bytes
from graphs.calibration.measure.samples_file import read_samples
from graphs.calibration.proxies import proxies_of
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Sample
from graphs.ir.primitives import Primitive, Unknown, flops
from graphs.tools.calibrating.settings import target_of_setting

_FEWEST = 20
_NEAREST = 4
_TWO_OF_THREE = 200 / 3

Places = list[tuple[float, float]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("samples", type=Path)
    file = read_samples(parser.parse_args().samples)
    roofline = Roofline.of(target_of_setting(file.setting))
    places: dict[str, Places] = defaultdict(list)
    reached: dict[str, list[float]] = defaultdict(list)
    for kernel, seconds in _alone(file.of(file.setting)):
        main_part, bounds = kernel.main, roofline.bounds(kernel)
        least = max(bounds.compute_seconds, bounds.memory_seconds)
        if main_part is not None and not isinstance(main_part, Unknown) and least:
            places[operation_type(main_part)].append(_place(main_part))
            reached[operation_type(main_part)].append(float(np.log(least / seconds)))
    print(f"{'operation type':20} {'stand-in':42} {'kernels':>7} {'stated':>7} {'found':>6} {'bias':>6}")
    for name in sorted(places):
        for proxy in proxies_of(name) if len(places[name]) >= _FEWEST else ():
            if not all(len(places[part]) >= _FEWEST for part, _ in proxy.use):
                continue
            known = {part: _said(places[part], reached[part], places[name]) for part, _ in proxy.use}
            times = sum(count for _, count in proxy.use)
            said = np.log(times / sum(count / np.exp(known[part]) for part, count in proxy.use))
            off = said - np.array(reached[name])
            found = np.exp(-np.percentile(np.abs(off), _TWO_OF_THREE))
            print(f"{name:20} {proxy.name:42} {len(off):7} {proxy.confidence:7.2f} {found:6.2f} "
                  f"{np.exp(np.median(off)):6.2f}")  # fmt: skip


def _alone(samples: Iterable[Sample]) -> Iterator[tuple[Kernel, float]]:
    """Each kernel that was measured alone, and the median of its times."""
    times: dict[Kernel, list[float]] = defaultdict(list)
    for sample in samples:
        if len(sample.kernels) == 1:
            times[sample.kernels[0]].append(sample.seconds.median)
    for kernel, each in times.items():
        yield kernel, float(np.median(each))


def _place(primitive: Primitive) -> tuple[float, float]:
    return float(np.log1p(flops(primitive))), float(np.log1p(moved_bytes(primitive)))


def _said(places: Places, logs: list[float], asked: Places) -> np.ndarray:
    """The logarithm of the efficiency at each place that is asked for: of the nearest ones, the nearer the heavier."""
    found = []
    here, values = np.array(places), np.array(logs)
    for place in asked:
        distances = np.square(here - place).sum(axis=1)
        nearest = np.argsort(distances)[:_NEAREST]
        weights = 1 / (distances[nearest] + 1e-9)
        found.append(float(weights @ values[nearest] / weights.sum()))
    return np.array(found)


if __name__ == "__main__":
    main()
