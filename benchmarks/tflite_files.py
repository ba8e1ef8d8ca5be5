"""TFLite files beside what others say of them, and beside the same networks by the ONNX door.

    python benchmarks/tflite_files.py macs [FILE ...]     # ethos-u-vela's report, operator by operator
    python benchmarks/tflite_files.py arena [FILE ...]    # tflite-micro's recording allocator
    python benchmarks/tflite_files.py shapes [FILE ...]   # LiteRT's interpreter, run with another batch
    python benchmarks/tflite_files.py onnx                # the networks written in PyTorch and exported
    python benchmarks/tflite_files.py speed               # file to cost table, beside ONNX

`macs` needs ethos-u-vela, `arena` tflite-micro (give the interpreter of an environment that has it by --python),
`shapes` ai-edge-litert, `onnx` and `speed` torch. Files are MLPerf Tiny's, in examples/models, unless others are named.
The process exits with 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from time import perf_counter

import graphs
from graphs.ir import Kind, kind_of
from graphs.passes.lower import Work
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

MODELS = Path(__file__).parents[1] / "examples" / "models"
TARGET = "nucleo-l4r5zi"
CONTRACTIONS = ("Conv2D", "DepthwiseConv2D", "FullyConnected", "Conv2DBackpropInput", "TransposeConv")
POOLS = ("AvgPool", "MaxPool")
MOST_OF_ONNX = 1.5
MOST_ARENA_ERROR = 0.1
REPEATS = 15

RECORD = """
import sys, numpy as np
from tflite_micro.python.tflite_micro import runtime
made = runtime.Interpreter.from_file(sys.argv[1])
told = made.get_input_details(0)
made.set_input(np.zeros(told["shape"], told["dtype"]), 0)
made.invoke()
made.print_allocations()
"""


# -- multiply-accumulates ----------------------------------------------------------------------------------------------


def vela_macs(path: Path) -> dict[tuple[str, str], int]:
    """What vela counts for each operator, by its result's name: MACs of contractions, elements of pools' windows."""
    command = shutil.which("vela") or str(Path(sys.executable).with_name("vela"))
    with tempfile.TemporaryDirectory() as folder:
        options = ["--accelerator-config", "ethos-u55-128", "--verbose-performance", "--output-dir", folder]
        subprocess.run([command, *options, str(path)], check=True, capture_output=True)
        with (Path(folder) / f"{path.stem}_per-layer.csv").open() as file:
            rows = list(csv.DictReader(file))
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        work = "macs" if row["NNG Operator"] in CONTRACTIONS else "window"
        if row["NNG Operator"] in (*CONTRACTIONS, *POOLS) and row["Original Operator"] != "Softmax":
            counts[row["Name"], work] += int(float(row["MAC Count"]))
    return dict(counts)


def our_macs(path: Path) -> dict[tuple[str, str], int]:
    graph = graphs.run("lower", graphs.load(path), target=TARGET).graph
    counts = {}
    for op in graph.body:
        name, work = op.results[0].name, op.facts[Work]
        if kind_of(op) is Kind.CONTRACTION:
            counts[name, "macs"] = work.macs
        elif kind_of(op) is Kind.WINDOW:
            counts[name, "window"] = work.primitives[0].ops
    return counts


def compare_macs(paths: Iterable[Path]) -> bool:
    good = True
    for path in paths:
        ours, theirs = our_macs(path), vela_macs(path)
        wrong = {key: (ours.get(key), count) for key, count in theirs.items() if ours.get(key) != count}
        macs = sum(count for (_, work), count in ours.items() if work == "macs")
        print(f"{path.name}: {macs:,} MACs, {len(theirs) - len(wrong)} of vela's {len(theirs)} operators equal")
        for (name, work), (mine, count) in wrong.items():
            print(f"  {name[:60]} ({work}): {mine} here, {count} there")
        good &= not wrong
    return good


# -- arenas -----------------------------------------------------------------------------------------------------------


def compare_arenas(paths: Iterable[Path], python: str) -> bool:
    good = True
    for path in paths:
        done = subprocess.run([python, "-c", RECORD, str(path)], capture_output=True, text=True, check=False)
        recorded = dict(re.findall(r"Arena allocation (\w+) (\d+) bytes", done.stdout + done.stderr))
        if "head" not in recorded:
            print(f"{path.name}: the micro interpreter does not run it: {done.stderr.strip().splitlines()[-1:]}")
            continue
        made = graphs.run("fuse,lower,memory,cost", graphs.load(path), target=TARGET).total.footprint
        head = int(recorded["head"])
        error = made.arena_bytes / head - 1
        rest = f"upkeep {made.upkeep_bytes:,} for pointers of 4 bytes, {int(recorded['tail']):,} recorded with 8"
        print(f"{path.name}: arena {made.arena_bytes:,} B, recorded {head:,} B ({error:+.1%}); {rest}")
        good &= abs(error) <= MOST_ARENA_ERROR
    return good


# -- shapes -----------------------------------------------------------------------------------------------------------


def executed_shapes(path: Path, extent: int) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Open dimensions of the inputs, each bound to ``extent``, and the shape of every tensor after a run."""
    import numpy as np
    from ai_edge_litert import interpreter as litert

    made = litert.Interpreter(
        str(path),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    indices = {told["name"]: told["index"] for told in made.get_input_details()}
    dims: dict[str, int] = {}
    for op in graphs.load(path).inputs:
        shape = op.result.type.shape
        opened = [str(dim) for dim in shape if not isinstance(dim, int)]
        if opened:
            dims.update(dict.fromkeys(opened, extent))
            wanted = [dim if isinstance(dim, int) else extent for dim in shape]
            made.resize_tensor_input(indices[op.result.name], wanted)
    made.allocate_tensors()
    for told in made.get_input_details():
        made.set_tensor(told["index"], np.full(told["shape"], 2).astype(told["dtype"]))
    made.invoke()
    shapes = {}
    for told in made.get_tensor_details():
        with contextlib.suppress(ValueError):  # what an operator keeps to itself cannot be read
            shapes[told["name"]] = tuple(map(int, made.get_tensor(told["index"]).shape))
    return dims, shapes


def compare_shapes(paths: Iterable[Path]) -> bool:
    good = True
    for path in paths:
        dims, shapes = executed_shapes(path, 3)
        graph = graphs.run("shape", graphs.load(path), target=TARGET, dims=dims).graph
        values = [value for op in graph.body for value in op.results if value.name in shapes]
        wrong = [value for value in values if value.type.static and value.type.dims != shapes[value.name]]
        known = sum(value.type.static for value in values)
        print(f"{path.name}: {known - len(wrong)} of {len(values)} shapes equal, {len(values) - known} open, {dims}")
        good &= not wrong
    return good


# -- the ONNX door ----------------------------------------------------------------------------------------------------


def _exported(folder: Path) -> Iterable[tuple[Path, Path]]:
    from tiny_networks import NETWORKS, export

    for name in NETWORKS:
        path = folder / f"{name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export(name, str(path))
        yield MODELS / f"{name}.tflite", path


def _by_class(path: Path) -> dict[str, int]:
    graph = graphs.run("fuse,lower", graphs.load(path), target=TARGET).graph
    counts: Counter[str] = Counter()
    for op in graph.body:
        for primitive in op.facts[Work].primitives:
            if primitive.macs:
                counts[primitive.work_class] += primitive.macs
    return dict(counts)


def compare_with_onnx() -> bool:
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for ours, theirs in _exported(Path(folder)):
            first, second = _by_class(ours), _by_class(theirs)
            print(f"{ours.stem}: {first}" + ("" if first == second else f", but {second} by ONNX"))
            good &= first == second
    return good


def _seconds(path: Path) -> float:
    started = perf_counter()
    report = graphs.run("default", graphs.load(path), target=TARGET)
    emit("table", [report], View())
    return perf_counter() - started


def compare_speed() -> bool:
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for ours, theirs in _exported(Path(folder)):
            laps = [(_seconds(ours), _seconds(theirs)) for _ in range(REPEATS + 2)][2:]
            here, there = (median(column) for column in zip(*laps, strict=True))
            print(
                f"{ours.stem}: {here / there:.2f} times, {here * 1e3:.1f} ms from TFLite, {there * 1e3:.1f} from ONNX"
            )
            good &= here < MOST_OF_ONNX * there
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claim", choices=["macs", "arena", "shapes", "onnx", "speed"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has tflite-micro")
    given = parser.parse_args()
    files = given.files or sorted(path for path in MODELS.glob("*.tflite") if "float32" not in path.name)
    match given.claim:
        case "macs":
            return 0 if compare_macs(files) else 1
        case "arena":
            return 0 if compare_arenas(files, given.python) else 1
        case "shapes":
            return 0 if compare_shapes(files) else 1
        case "onnx":
            return 0 if compare_with_onnx() else 1
        case _:
            return 0 if compare_speed() else 1


if __name__ == "__main__":
    sys.exit(main())
