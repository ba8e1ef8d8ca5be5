"""Whether what the tool says of networks is right, checked against onnxruntime and against counts made apart from it.

    python benchmarks/correctness.py all MODEL.onnx|FOLDER|bundled|light ...
    python benchmarks/correctness.py macs,shapes examples/models

`bundled` stands for the project's own models, `light` for the real networks inside the onnx package. Weights that a
file does not have are made up. For each claim a row per model, what contradicts it, and a verdict; progress goes to
stderr. The process exits with 1 if a claim does not hold, with 2 if it was called wrongly.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracles"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from claims.claim import Claim, Row
from claims.models import label, model_files

ALL = ("unknown", "roundtrip", "macs", "shapes", "kernels", "memory", "arena")
NAMES = (*ALL, "quantized")
SHOWN_FAULTS = 5


def checked(claim: Claim, paths: Iterable[Path]) -> list[Row]:
    """Check the claim on every model; one that cannot be checked is a fault, not the end."""
    rows = []
    for path in paths:
        started = time.perf_counter()
        try:
            row = claim.check(path)
        except Exception as error:  # whatever a runtime or the tool itself raises
            row = Row(label(path), ("-",) * len(claim.columns), (f"{type(error).__name__}: {error}",))
        rows.append(row)
        mark = "ok" if not row.faults else f"{len(row.faults)} faults"
        print(f"{claim.name}: {row.model}: {mark} ({time.perf_counter() - started:.1f} s)", file=sys.stderr)
    return rows


def _cell(figure: str | int | float) -> str:
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.3f}" if isinstance(figure, float) else figure


def report(claim: Claim, rows: list[Row]) -> bool:
    """Print the table and the verdict; return whether the claim holds."""
    cells = [(row.model, *map(_cell, row.figures)) for row in rows]
    widths = [max(map(len, column)) for column in zip(("model", *claim.columns), *cells, strict=True)]
    print(f"\n{claim.name}: {claim.says}\n")
    for line in (("model", *claim.columns), *cells):
        figures = (f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        print(f"{line[0]:{widths[0]}}", *figures, sep="  ")
    for row in rows:
        for fault in row.faults[:SHOWN_FAULTS]:
            print(f"  {row.model}: {fault}")
        if len(row.faults) > SHOWN_FAULTS:
            print(f"  {row.model}: and {len(row.faults) - SHOWN_FAULTS} more")
    counted = [row for row in rows if "-" not in row.figures]
    summary, faults = claim.overall(counted) if counted else ("", ())
    for fault in faults:
        print(f"  {fault}")
    failed = sum(bool(row.faults) for row in rows)
    holds = not failed and not faults
    verdict = f"{claim.name}: {'holds' if holds else 'DOES NOT HOLD'}, on {len(rows) - failed} of {len(rows)} models"
    print("; ".join(filter(None, (verdict, summary))), flush=True)
    return holds


def main() -> int:
    """Check the claims named on the models named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", help=f"all (but quantized), or some of {','.join(NAMES)}")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    options = parser.parse_args()
    names = ALL if options.claims == "all" else tuple(options.claims.split(","))
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no claim is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    try:
        paths = model_files(options.models)
    except FileNotFoundError as error:
        parser.error(str(error))
    claims: list[Claim] = [import_module(f"claims.{name}").CLAIM for name in names]
    held = [report(claim, checked(claim, paths)) for claim in claims]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
