"""Whether the tool scales: seconds per operation and peak memory on networks of 1,000 to 100,000 operations.

    python benchmarks/scale.py [--family residual] [--sizes 1000,10000,100000] [--repeat 3]
    python benchmarks/scale.py --decoder

Every network is structure only: its weights are external and absent. Each is analysed in a process of its own, on one
core: loaded, run through every pass, reported on, laid out as a table and written in every other format, with Python's
garbage collector set as `graphs-opt` sets it. Seconds are the process's own (CPU time), so that what else runs on the
machine counts less. What comes first (imports, and a run over 100 operations that reads the rules and operators in)
does not count: it is the same for every size. `--decoder` takes decoders of 1, 70 and 400 billion parameters (the
last a mixture of experts) instead, as exporters and as onnxruntime's model builder write them, and compares work and
cache of a step with the closed form.

Claims: seconds per operation at the largest size are at most 1.5 times those at the smallest; peak memory stays below
2 GB. Decoders take less than 15 seconds and 1 GB each. The process exits with 1 if one of them does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "oracles"))

from decoder_models import LLAMA_1B, LLAMA_70B, MAVERICK_400B, Decoder, as_built, as_exported
from synthetic import FAMILIES

PIPELINE = "bind,shape,fuse,lower,memory,calibrate,cost,coverage"
TARGET = "intel-core-i7-12700k"
MOST_PER_OP = 1.5
MOST_BYTES = 2_000_000_000
MOST_DECODER_BYTES = 1_000_000_000
MOST_DECODER_SECONDS = 15
ANSWER = ("import", "load", "run", "report", "table")
"""What `graphs-opt` does for a table; the other formats count towards the seconds per operation only."""
DECODERS = {"Llama 1B": LLAMA_1B, "Llama 70B": LLAMA_70B, "Maverick 400B": MAVERICK_400B}
SMALL = Decoder(2, 96, 6, 2, 24, 320, 160, 64, 8, 2, shared=True, moe_step=2)
FORMS = {"as exported": as_exported, "as built": as_built, "as built, 4 bits": partial(as_built, bits=4)}

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
for form in ("json", "csv", "text", "dot", "coverage-csv"):
    emit(form, [report], View())
    lap(form)
print(json.dumps({
    "ops": ops, "kernels": len(report.kernels), "steps": steps, "passes": timing.seconds,
    "seconds": sum(v for name, v in steps.items() if name != "import"),
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "weight_bytes": report.total.weight_bytes, "kv_cache_bytes": report.total.kv_cache_bytes, "macs": report.total.macs,
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


def decoders(repeat: int, folder: Path) -> bool:
    """Analyse each decoder in each form for one step of decoding; whether all claims hold."""
    holds = True
    dims = {"batch": 1, "seq": 1, "past": 4095}
    for form, make in FORMS.items():
        warm_up = folder / f"{form}_small.onnx"
        warm_up.write_bytes(make(SMALL).SerializeToString())
        least = None
        for name, shape in DECODERS.items():
            path = folder / f"{form}.onnx"
            path.write_bytes(make(shape).SerializeToString())
            runs = [analysed(path, warm_up, dims) for _ in range(repeat)]
            found = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
            show(f"{form}, {name}", found)
            per_op = found["seconds"] / found["ops"]
            least = least or per_op
            expected = (shape.macs(*dims.values()), shape.cache_bytes(1, 4096), 0)
            same = (found["macs"], found["kv_cache_bytes"], found["unknown"]) == expected
            seconds = sum(found["steps"][step] for step in ANSWER)
            peak = max(run["peak_bytes"] for run in runs)
            fits = per_op <= MOST_PER_OP * least and peak < MOST_DECODER_BYTES and seconds < MOST_DECODER_SECONDS
            print(
                f"  {shape.parameters / 1e9:.1f} G parameters, weights {found['weight_bytes'] / 1e9:.1f} GB;"
                f" {seconds:.1f} s with imports, {peak / 1e6:.0f} MB, per op {per_op / least:.2f} of the smallest's;"
                f" MACs {found['macs']:,} and cache {found['kv_cache_bytes']:,} B"
                f" {'are' if same else 'ARE NOT'} the closed form: {_verdict(same and fits)}",
                flush=True,
            )
            holds = holds and same and fits
    return holds


def main() -> int:
    """Read the arguments and run; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="repeatable; all by default")
    parser.add_argument("--sizes", default="1000,10000,100000", help="numbers of operations")
    parser.add_argument("--repeat", type=int, default=3, help="processes for each size; the median counts")
    parser.add_argument("--decoder", action="store_true", help="decoders of 1, 70 and 400 billion parameters instead")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        if arguments.decoder:
            return 0 if decoders(arguments.repeat, Path(name)) else 1
        sizes = [int(size) for size in arguments.sizes.split(",")]
        results = [scale(family, sizes, arguments.repeat, Path(name)) for family in arguments.family or FAMILIES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
