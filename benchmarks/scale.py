"""Whether the tool scales: seconds per operation and peak memory on networks of 1,000 to 100,000 operations.

    python benchmarks/scale.py [--family residual] [--sizes 1000,10000,100000] [--repeat 3]
    python benchmarks/scale.py --decoder

Every network is structure only: its weights are external and absent. Each is analysed in a process of its own, on one
core: loaded, run through `fuse,lower,memory,cost,coverage`, reported on and laid out as a table, with Python's garbage
collector set as `graphs-opt` sets it. Seconds are the process's own (CPU time), so that what else runs on the machine
counts less. What comes first (imports, and a run over 100 operations that reads the rules and operators in) does not
count: it is the same for every size. `--decoder` takes a 70-billion-parameter Llama-like decoder instead, and compares
its weights and multiply-accumulates with the closed form.

Claims: seconds per operation at the largest size are at most 1.5 times those at the smallest; peak memory stays below
2 GB (1 GB for the decoder). The process exits with 1 if one of them does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "oracles"))

from synthetic import FAMILIES, LLAMA_70B, decoder_model

PIPELINE = "fuse,lower,memory,cost,coverage"
TARGET = "intel-core-i7-12700k"
MOST_PER_OP = 1.5
MOST_BYTES = 2_000_000_000
MOST_DECODER_BYTES = 1_000_000_000
DECODER_RUNS = (("static 1×128", 1, 128), ("symbolic batch and sequence", "batch", "sequence"))

ANALYSE = """
import json, resource, sys, time
started = time.process_time()
import graphs
from graphs.passes.base import Context
from graphs.passes.instrumentation import Timing, Verification
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.reporting import build_report
from graphs.tools.emit import emit
from graphs.tools.emit.view import View
from graphs.tools.opt import collect_rarely

collect_rarely()
path, warm_up, pipeline, target, dims = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5])
context = Context(graphs.load_target(target), None, dims)
if warm_up:
    PassManager(parse_passes(pipeline)).run(graphs.load(warm_up), context)
steps, begin = {"import": time.process_time() - started}, time.process_time()

def lap(name):
    global begin
    now = time.process_time()
    steps[name] = now - begin
    begin = now

graph = graphs.load(path)
ops = len(graph.body)
lap("load")
timing = Timing()
PassManager(parse_passes(pipeline), (Verification(), timing), original=lambda: graphs.load(path)).run(graph, context)
lap("run")
report = build_report(graph, context, ops, pipeline)
lap("report")
emit("table", [report], View(width=120))
lap("table")
print(json.dumps({
    "ops": ops, "kernels": len(report.kernels), "steps": steps, "passes": timing.seconds,
    "seconds": sum(v for name, v in steps.items() if name != "import"),
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "weight_bytes": report.total.weight_bytes, "macs": report.total.macs,
    "unknown": len(report.total.unknown),
}))
"""


def analysed(path: Path, warm_up: Path | None, dims: dict[str, int]) -> dict:
    """Analyse a model in a fresh process, after running over ``warm_up``, whose time does not count."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [str(path), str(warm_up or ""), PIPELINE, TARGET, json.dumps(dims)]
    run = subprocess.run(
        [sys.executable, "-c", ANALYSE, *arguments], env=environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(run.stdout)


def show(name: str, found: dict) -> None:
    steps = [*((k, v) for k, v in found["steps"].items() if k not in ("import", "run")), *found["passes"]]
    laps = "  ".join(f"{step} {seconds:.2f}" for step, seconds in steps if seconds > 0.02 * found["seconds"])
    print(
        f"{name:28} {found['ops']:7,} ops {found['seconds']:8.3f} s {found['seconds'] / found['ops'] * 1e6:7.1f} µs/op"
        f" {found['peak_bytes'] / 2**20:7.0f} MiB   {laps}",
        flush=True,
    )


def _verdict(holds: bool) -> str:
    return "ok" if holds else "MISSED"


def scale(family: str, sizes: list[int], repeat: int, folder: Path) -> bool:
    """Run one family at every size; whether both claims hold."""
    warm_up = folder / f"{family}_100.onnx"
    warm_up.write_bytes(FAMILIES[family](100).SerializeToString())
    per_op, peaks = [], []
    for size in sizes:
        path = folder / f"{family}_{size}.onnx"
        path.write_bytes(FAMILIES[family](size).SerializeToString())
        runs = sorted((analysed(path, warm_up, {}) for _ in range(repeat)), key=lambda found: found["seconds"])
        show(f"{family} {size:,}", runs[len(runs) // 2])
        per_op.append(median(found["seconds"] / found["ops"] for found in runs))
        peaks.append(max(found["peak_bytes"] for found in runs))
    ratio, peak = per_op[-1] / per_op[0], max(peaks)
    holds = ratio <= MOST_PER_OP and peak < MOST_BYTES
    print(
        f"{family}: per op at {sizes[-1]:,} over at {sizes[0]:,}: {ratio:.2f} (at most {MOST_PER_OP});"
        f" peak {peak / 1e9:.2f} GB (below {MOST_BYTES / 1e9:.0f}): {_verdict(holds)}"
    )
    return holds


def decoder(folder: Path) -> bool:
    """Analyse the decoder with numbers and with symbols for batch and sequence; whether all claims hold."""
    holds = True
    for name, batch, sequence in DECODER_RUNS:
        path = folder / "decoder.onnx"
        path.write_bytes(decoder_model(LLAMA_70B, batch, sequence).SerializeToString())
        dims = {"batch": 4, "sequence": 2048} if isinstance(batch, str) else {}
        found = analysed(path, None, dims)
        show(f"decoder, {name}", found)
        weights, macs = 2 * LLAMA_70B.parameters, LLAMA_70B.macs(*(dims.values() or (batch, sequence)))
        same = (found["weight_bytes"], found["macs"], found["unknown"]) == (weights, macs, 0)
        fits = found["peak_bytes"] < MOST_DECODER_BYTES
        print(
            f"  weights {found['weight_bytes']:,} B, closed form {weights:,};"
            f" MACs {found['macs']:,}, closed form {macs:,}; {found['unknown']} unknown: {_verdict(same and fits)}"
        )
        holds = holds and same and fits
    return holds


def main() -> int:
    """Read the arguments and run; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="repeatable; all by default")
    parser.add_argument("--sizes", default="1000,10000,100000", help="numbers of operations")
    parser.add_argument("--repeat", type=int, default=3, help="processes for each size; the median counts")
    parser.add_argument("--decoder", action="store_true", help="the 70-billion-parameter decoder instead")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        if arguments.decoder:
            return 0 if decoder(Path(name)) else 1
        sizes = [int(size) for size in arguments.sizes.split(",")]
        results = [scale(family, sizes, arguments.repeat, Path(name)) for family in arguments.family or FAMILIES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
