"""Whether the multiply-accumulates of exported networks are those that PyTorch's FlopCounterMode counts.

    python benchmarks/torch_flops.py [--keep FOLDER] [--exporter torchscript] [--binding 1|2|3] [NAME ...]

Every architecture of the zoo, or those named, is exported with open dimensions (into FOLDER, where it is found again),
bound, and compared with what the counter sees when the module itself runs at the same extents: as many convolutions
and matrix products of each size. Listed is what differs, and why. The process exits with 1 if a reason is missing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracles"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from claims.torch_macs import CLASSES, Agreement, agreement, lowered_macs
from flop_counter import counted
from zoo import ARCHITECTURES, EXPORTERS, Architecture, exported


def compared(architecture: Architecture, path: Path, binding: int) -> Agreement:
    """Count a network on both sides."""
    dims = architecture.bindings[binding]
    return agreement(counted(architecture.module(), architecture.arguments(dims)), *lowered_macs(path, dims))


def show(name: str, found: Agreement) -> None:
    """Print one row, and under it what differs."""
    figures = (figure for name in CLASSES for figure in (found.theirs[name], found.ours[name]))
    cells = " ".join(f"{figure:>15,}" for figure in figures)
    print(f"{name:32} {cells} {found.equal:>6} {len(found.differences):>8} {len(found.faults):>6}", flush=True)
    for line in (*found.differences, *found.faults):
        print(f"    {line}")


def main() -> int:
    """Compare every architecture named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--keep", type=Path, help="folder where exported networks are kept and found again")
    parser.add_argument("--exporter", choices=EXPORTERS, default=EXPORTERS[0])
    parser.add_argument("--binding", type=int, choices=(1, 2, 3), default=1)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in ARCHITECTURES]:
        parser.error(f"no architecture is called {unknown[0]!r}")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(f"{'':32} {'conv, torch':>15} {'here':>15} {'matmul, torch':>15} {'here':>15}  equal  differ  wrong")
    all_found: list[Agreement] = []
    with tempfile.TemporaryDirectory(prefix="networks-") as temporary:
        folder, names = options.keep or Path(temporary), options.names or ARCHITECTURES
        for architecture, path in exported(names, folder, options.exporter):
            all_found.append(compared(architecture, path, options.binding - 1))
            show(architecture.name, all_found[-1])
    same = sum(not (found.differences or found.faults) for found in all_found)
    wrong = sum(bool(found.faults) for found in all_found)
    equal = sum(found.equal for found in all_found)
    differ = len(all_found) - same - wrong
    print(f"{len(all_found)} architectures, {equal:,} operators of equal MACs: {same} equal in every operator,")
    print(f"{differ} differ for the reasons given, {wrong} for none")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
