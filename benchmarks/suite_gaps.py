"""What measured networks spend their time in and the suite hardly measures: where to add benchmarks.

    graphs-calibrate measure --target=host --budget=15m --models=MODELS --model-runs -o host.samples.jsonl
    python benchmarks/suite_gaps.py host.samples.jsonl [MORE.samples.jsonl ...] [--below 20]

A row for each sort of kernels (family and pattern) that networks run and fewer than 20 microbenchmarks are of: how many
those are, how many timings of networks are, and the time that they take as a share of their network's, summed
over the networks. Ordered by that share for each microbenchmark that there is: what would gain most comes first.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphs.calibration.amounts import family
from graphs.calibration.kernel import Kernel
from graphs.calibration.measure.samples_file import read_samples
from graphs.calibration.sample import Sample

Sort = tuple[str, str]
"""A family of kernels and the pattern of their operators."""

_SHOWN = 40
_LEAST_SHARE = 0.005


@dataclass
class Spent:
    """What networks have of one sort: timings, and their time as a share of their network's."""

    timings: int = 0
    share: float = 0.0
    networks: set[str] = field(default_factory=set)


def sort_of(kernel: Kernel) -> Sort:
    """What tells kernels of a suite apart from those that it lacks."""
    return family(kernel), kernel.pattern


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path, nargs="+")
    parser.add_argument("--below", type=int, default=20, help="microbenchmarks from which a sort counts as measured")
    options = parser.parse_args()
    files = [read_samples(path) for path in options.samples]
    alone = [row for file in files for row in file.of(file.setting) if len(row.kernels) == 1]
    made_up = {row.kernels[0] for row in alone if row.source == "microbenchmark"}
    measured = Counter(sort_of(kernel) for kernel in made_up)
    spent = times_by_sort([row for row in alone if row.source == "profile"])
    print(f"{'microbenchmarks':>15} {'timings':>8} {'time':>8}  sort, networks")
    lacking = [name for name in spent if measured[name] < options.below and spent[name].share >= _LEAST_SHARE]
    for name in sorted(lacking, key=lambda name: -spent[name].share / (1 + measured[name]))[:_SHOWN]:
        one = spent[name]
        row = f"{measured[name]:>15} {one.timings:>8} {one.share:>8.1%}  {' '.join(name)}"
        print(f"{row}: {', '.join(sorted(one.networks))}")


def times_by_sort(rows: Sequence[Sample]) -> dict[Sort, Spent]:
    """What each sort takes in the networks that it is in."""
    whole: dict[str, float] = defaultdict(float)
    for row in rows:
        whole[row.model] += row.seconds.median
    found: dict[Sort, Spent] = defaultdict(Spent)
    for row in rows:
        one = found[sort_of(row.kernels[0])]
        one.timings += 1
        one.share += row.seconds.median / whole[row.model]
        one.networks.add(row.model)
    return found


if __name__ == "__main__":
    main()
