"""Whether binding the open dimensions of a network gives every value the type that onnxruntime's run shows.

    python benchmarks/dynamic_shapes.py [--keep FOLDER] [--exporter torchscript] NETWORKS ...

NETWORKS are model files, folders of them, `bundled`, `light`, `zoo`, or `zoo:NAME,NAME`.

`zoo` stands for the architectures of `benchmarks/zoo`, exported with open dimensions (kept in FOLDER, where they are
found again); they are bound three ways each. In model files the batch, an image's size and a sequence's length are
opened, as far as onnxruntime still runs them; those that it runs at their own extents only are left out, and named. A
row has, for each binding, the number of values, how many have the type that the run shows, how many are open because
their extents follow from data, and how many are wrong. The process exits with 1 if any is.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracles"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import onnx
from claims.dynamic import Comparison, open_inputs, when_bound
from claims.models import label, model_files
from execution import executed_shapes
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from zoo import ARCHITECTURES, EXPORTERS, exported

Bindings = tuple[Mapping[str, int], ...]
SHOWN_FAULTS = 5
REFUSALS = (Fail, InvalidArgument, RuntimeException)
EXTENTS: dict[str, tuple[int, int, int]] = {
    "batch": (1, 2, 3),
    "height": (224, 96, 160),
    "width": (224, 128, 96),
    "seq": (16, 7, 33),
}
OPENINGS = (("batch", "height", "width", "seq"), ("height", "width", "seq"), ("batch",))
"""What is opened in a file that was made with fixed extents: as much as the runtime still runs."""


def from_files(paths: list[Path], folder: Path) -> Iterator[tuple[str, Path, Bindings]]:
    """Open what the runtime can run at other extents."""
    for path in paths:
        for names in OPENINGS:
            opened = open_inputs(path, folder / f"{label(path).replace('/', '-')}-{names[0]}.onnx", names)
            bindings = tuple({name: EXTENTS[name][way] for name in names} for way in range(3))
            if opened is not None and _runs(opened, bindings[1]):
                has = {dim for value in onnx.load(opened, load_external_data=False).graph.input for dim in _open(value)}
                yield label(path), opened, tuple({n: e for n, e in dims.items() if n in has} for dims in bindings)
                break
        else:
            print(f"{label(path)}: left out, onnxruntime runs it at its own extents only", file=sys.stderr)


def _open(value: onnx.ValueInfoProto) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim if dim.dim_param]


def _runs(path: Path, dims: Mapping[str, int]) -> bool:
    try:
        executed_shapes(path, dims=dims)
    except REFUSALS:
        return False
    return True


def compared(name: str, path: Path, bindings: Bindings) -> list[Comparison]:
    """Compare a network under each binding that the runtime runs, printing a row for each and what is wrong."""
    found = []
    for dims in bindings:
        bound = " ".join(f"{dim}={extent}" for dim, extent in dims.items())
        try:
            found.append(when_bound(path, dims))
        except REFUSALS as error:
            print(f"{name} at {bound}: left out, onnxruntime does not run it: {error}", file=sys.stderr)
            continue
        comparison = found[-1]
        figures = (comparison.values, comparison.equal, comparison.open, len(comparison.faults))
        print(f"{name:34}  {bound:38}", *(f"{figure:>6,}" for figure in figures), flush=True)
        for fault in comparison.faults[:SHOWN_FAULTS]:
            print(f"    {fault}")
    return found


def networks(sources: list[str], folder: Path, exporter: str) -> Iterator[tuple[str, Path, Bindings]]:
    """The networks that the command line names, with the ways to bind each."""
    for source in sources:
        if source.partition(":")[0] == "zoo":
            names = source[4:].split(",") if source[4:] else list(ARCHITECTURES)
            for architecture, path in exported(names, folder, exporter):
                yield architecture.name, path, architecture.bindings
        else:
            yield from from_files(model_files([source]), folder)


def main() -> int:
    """Compare every network named, bound three ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--keep", type=Path, help="folder where exported networks are kept and found again")
    parser.add_argument("--exporter", choices=EXPORTERS, default=EXPORTERS[0])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(f"{'network':34}  {'bound':38} values  equal   open  wrong")
    found: list[list[Comparison]] = []
    with tempfile.TemporaryDirectory(prefix="networks-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, path, bindings in networks(options.networks, folder, options.exporter):
            found.append(compared(name, path, bindings))
    every = [comparison for row in found for comparison in row]
    values, equal, still_open = (sum(getattr(c, name) for c in every) for name in ("values", "equal", "open"))
    faults = sum(len(comparison.faults) for comparison in every)
    ways = [len(row) for row in found]
    print(f"{ways.count(3)} networks bound three ways, {ways.count(1) + ways.count(2)} in fewer:")
    print(f"{values:,} values, {equal:,} equal, {still_open:,} open, {faults} wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
