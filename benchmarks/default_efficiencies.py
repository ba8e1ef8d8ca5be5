"""Where the default efficiencies in `targets/` come from: published measurements against our own peaks.

    python benchmarks/default_efficiencies.py FOLDER [--dispatch]

FOLDER holds the data of branes-ai/graphs (MIT): `subgraphs.csv.gz`, with a row per fused subgraph that PyTorch ran
eagerly, and `microbenchmarks/*.json`. For each device and precision the script prints a row per kernel class: how many
measurements, and the 10th, 50th and 90th percentile, weighted by time, of the share of peak arithmetic (where our peaks
say that arithmetic binds) and of peak bandwidth (where they say that memory does). A measurement of less than
`SHORTEST` launches is left out, as the launch hides the kernel. `--dispatch` prints what launches cost instead: the
10th percentile, the median and the 90th percentile over trivial subgraphs, of one sort all of them; and the least and
the most that the shipped evidence, fitted to whole campaigns, gives any sort of kernel in FP32.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graphs.calibration.store import SHIPPED, list_evidence
from graphs.targets import Device, load_target

TARGETS = {
    "intel_core_i7_12700k": "intel-core-i7-12700k:pytorch-eager",
    "i7_12700K": "intel-core-i7-12700k:pytorch-eager",
    **{f"jetson_orin{kind}_{mode.lower()}": f"jetson-orin-agx:pytorch-eager@{mode}"
       for kind in ("", "_agx") for mode in ("MAXN", "50W", "30W", "15W")},
}  # fmt: skip
MICROBENCHMARKS = {
    "intel_12th_gen_intelr_coretm_i7_12700k__performance_1109MHz_pytorch": TARGETS["i7_12700K"],
    **{f"jetson_orin_agx_gpu__{name}_": f"jetson-orin-agx:pytorch-eager@{mode}"
       for name, mode in (("MAXN", "MAXN"), ("MODE50W", "50W"), ("MODE30W", "30W"), ("MODE15W", "15W"))},
}  # fmt: skip
SHORTEST = 12
# Medians of `--dispatch`, in seconds, by target
LAUNCH_SECONDS = {
    "intel-core-i7-12700k:pytorch-eager": 7.6e-6,
    "jetson-orin-agx:pytorch-eager@MAXN": 88e-6,
    "jetson-orin-agx:pytorch-eager@50W": 131e-6,
    "jetson-orin-agx:pytorch-eager@30W": 111e-6,
    "jetson-orin-agx:pytorch-eager@15W": 178e-6,
}
DEPTHWISE_INTENSITY = 8.0  # FLOP/B: a 3×3 depthwise convolution has 2.2, a 7×7 at most about 12, others above 10
GROUPED_MODELS = ("regnet", "resnext", "shufflenet")
UNMEASURED = ("conv2d_grouped", "gather")  # sorts that no network of those campaigns has
Share = tuple[float, float]  # of a peak, and the seconds it was reached for
NAMES = (
    ("softmax", ("softmax",)),
    ("window", ("maxpool", "max_pool", "features_2_maxpool")),
    ("reduction", ("avgpool", "avg_pool", "adaptive_avg", "mean")),
    ("normalization", ("ln", "norm", "layer_norm")),
    ("copy", ("cat", "permute", "contiguous", "roll", "transpose", "expand")),
    ("elementwise", ("add", "mul", "relu", "gelu", "hardswish", "hardsigmoid", "sigmoid", "silu")),
)


@dataclass(frozen=True)
class Measurement:
    """One kernel or few: its class and arithmetic, and how long it took."""

    device: str
    kernel_class: str
    precision: str
    flops: float
    nbytes: float
    seconds: float
    launches: int


def main() -> None:
    """Read the folder named on the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dispatch", action="store_true", help="print launch costs instead of efficiencies")
    parser.add_argument("--emulated", action="store_true", help="print the CPUs' rows in half precision, and no others")
    options = parser.parse_args()
    measured = [*subgraphs(options.folder, options.emulated)]
    measured += [] if options.emulated else microbenchmarks(options.folder)
    print_dispatch(measured) if options.dispatch else print_efficiencies(measured)


def subgraphs(folder: Path, emulated: bool) -> Iterator[Measurement]:
    """Rows of the subgraph campaigns whose class is plain, and whose precision runs natively unless ``emulated``."""
    with gzip.open(folder / "subgraphs.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            native = row["hardware"].startswith("jetson") or row["precision"] == "FP32"
            kernel_class = classify(row)
            if row["hardware"] in TARGETS and native is not emulated and kernel_class:
                yield Measurement(
                    row["hardware"], kernel_class, row["precision"].lower(), float(row["flops"]),
                    float(row["total_bytes"]), float(row["latency_mean_ms"]) / 1e3, len(row["node_names"].split()),
                )  # fmt: skip


def classify(row: dict[str, str]) -> str | None:
    """The kernel class of a subgraph, by its pattern, its intensity and its nodes' names; None for mixtures."""
    pattern, flops, nbytes = row["fusion_pattern"], float(row["flops"]), float(row["total_bytes"])
    if pattern.startswith("Conv2d") and "more" not in pattern:
        if flops / nbytes < DEPTHWISE_INTENSITY:
            return "conv_depthwise"
        grouped = row["model"].startswith(GROUPED_MODELS) and "b_0" in row["node_names"]
        return "conv_grouped" if grouped else "conv"
    if pattern == "add_ReLU":
        return "elementwise"
    if pattern in ("Linear_Dropout", "Linear_ReLU_Dropout"):
        return "gemm"
    if pattern != "Unfused" or not nbytes:
        return None
    last = row["node_names"].split()[0]
    if flops > 2e6 and last.split("_")[-1] in ("fc", "1", "6", "head", "reduction"):
        return "gemm"
    return next((name for name, starts in NAMES if any(last == s or last.startswith(f"{s}_") or last.endswith(f"_{s}")
                                                       for s in starts)), None)  # fmt: skip


def microbenchmarks(folder: Path) -> Iterator[Measurement]:
    """STREAM and BLAS rows of the devices that we describe."""
    for path in sorted((folder / "microbenchmarks").glob("*.json")):
        target = next((spec for stem, spec in MICROBENCHMARKS.items() if path.name.startswith(stem)), None)
        if target is None:
            continue
        profiles = json.loads(path.read_text(encoding="utf-8"))["operation_profiles"]
        for profile in profiles.values():
            yield from microbenchmark(target, profile)


def microbenchmark(target: str, profile: dict) -> Iterator[Measurement]:
    """One profile: a STREAM kernel is a copy or elementwise, a GEMM is one for each precision."""
    kind, extra = profile["operation_type"], profile["extra_params"]
    if kind in ("stream_copy", "stream_scale", "stream_add"):
        seconds = profile["mean_latency_ms"] / 1e3
        nbytes = profile["achieved_bandwidth_gbps"] * 1e9 * seconds
        name = "copy" if kind == "stream_copy" else "elementwise"
        yield Measurement(target, name, "fp32", nbytes / 8, nbytes, seconds, 1)
    if kind == "blas3_gemm":
        size, cpu = extra["size"], target.startswith("intel")
        for precision, found in profile["precision_results"].items():
            if found.get("measured_gops") and precision in (
                ("fp32", "fp64") if cpu else ("fp32", "tf32", "fp16", "bf16")
            ):
                width = {"fp64": 8, "fp16": 2, "bf16": 2}.get(precision, 4)
                yield Measurement(target, "gemm", precision, 2.0 * size**3, 3.0 * width * size**2,
                                  found["mean_latency_ms"] / 1e3, 1)  # fmt: skip


def shares(found: Measurement, spec: str, device: Device) -> tuple[str, float] | None:
    """What binds by our own peaks, and the share of it that was reached; None for what a launch hides."""
    launch = LAUNCH_SECONDS[spec]
    if found.seconds < SHORTEST * launch or not found.seconds:
        return None
    conv_like = found.kernel_class.startswith(("conv", "gemm"))
    precision = "tf32" if found.precision == "fp32" and found.kernel_class.startswith("conv") else found.precision
    unit = device.best_unit("contraction" if conv_like else "elementwise", precision)
    unit = unit or device.best_unit("elementwise", found.precision) or device.best_unit("contraction", "fp32")
    peak = unit.peak(precision) or unit.peak(found.precision) or unit.peak("fp32") if unit else None
    fitting = [level for level in device.memories if level.size and level.size >= found.nbytes] or [device.memories[-1]]
    busy = found.seconds - launch
    compute, memory = found.flops / peak if peak else 0.0, found.nbytes / fitting[0].bandwidth
    return ("compute", compute / busy) if compute >= memory else ("memory", memory / busy)


def print_efficiencies(measured: list[Measurement]) -> None:
    """The table: device, precision, class; then count and percentiles of each share."""
    devices: dict[str, Device] = {}
    grouped: dict[tuple[str, str, str], dict[str, list[Share]]] = defaultdict(lambda: defaultdict(list))
    for found in measured:
        spec = TARGETS.get(found.device, found.device)
        device = devices.setdefault(spec, load_target(spec).device)
        share = shares(found, spec, device)
        if share is not None:
            grouped[(spec, found.precision, found.kernel_class)][share[0]].append((share[1], found.seconds))
    print(f"{'target':44} {'prec':5} {'class':15} {'n':>5} {'compute 10/50/90 %':22} {'n':>5} {'memory 10/50/90 %'}")
    for (spec, precision, kernel_class), sides in sorted(grouped.items()):
        cells = [f"{len(sides[side]):5} {spread(sides[side]):22}" for side in ("compute", "memory")]
        print(f"{spec:44} {precision:5} {kernel_class:15} {' '.join(cells)}")


def spread(values: list[Share]) -> str:
    """The shares below which a tenth, half and nine tenths of the time were spent."""
    if len(values) < 3:
        return "—"
    total, passed, wanted, found = sum(seconds for _, seconds in values), 0.0, [0.1, 0.5, 0.9], []
    for share, seconds in sorted(values):
        passed += seconds
        while wanted and passed >= wanted[0] * total:
            found.append(share)
            wanted.pop(0)
    return " ".join(f"{share:.3f}" for share in found)


def print_dispatch(measured: list[Measurement]) -> None:
    """Seconds for one launch: the 10th, 50th and 90th percentile over subgraphs of under 100 kB."""
    by_device: dict[str, list[float]] = defaultdict(list)
    for found in measured:
        if found.nbytes < 1e5 and found.flops < 1e5 and found.seconds > 0:
            by_device[TARGETS.get(found.device, found.device)].append(found.seconds / max(1, found.launches))
    print(f"{'target':44} {'n':>5} {'10 %':>9} {'50 %':>9} {'90 %':>9}")
    for spec, seconds in sorted(by_device.items()):
        tenths = statistics.quantiles(seconds, n=10, method="inclusive")
        cells = (tenths[0], statistics.median(seconds), tenths[-1])
        print(f"{spec:44} {len(seconds):5} {' '.join(f'{1e6 * cell:7.1f}us' for cell in cells)}")
    print(f"\n{'fitted, by sort of kernel':44} {'n':>5} {'least':>31} {'most':>31}")
    for spec, sorts in sorted(fitted_dispatch().items()):
        cells = (f"{min(sorts.values()) * 1e6:7.1f}us {min(sorts, key=sorts.__getitem__):21}",
                 f"{max(sorts.values()) * 1e6:7.1f}us {max(sorts, key=sorts.__getitem__):21}")  # fmt: skip
        print(f"{spec:44} {len(sorts):5} {' '.join(cells)}")


def fitted_dispatch() -> dict[str, dict[str, float]]:
    """Seconds of a launch by sort of kernel, of each setting in FP32; sorts that stand at what was expected are out."""
    found = {}
    for stored in list_evidence():
        estimator = stored.profile.estimator if stored.profile and stored.layer == SHIPPED else {}
        if estimator.get("method") != "analytic" or stored.setting.precision != "fp32":
            continue
        name, mode = f"{stored.setting.device}:{stored.setting.runtime}", stored.setting.mode
        parts = ((key.partition(" "), seconds) for key, seconds in estimator["parameters"].items())
        found[name + (f"@{mode}" if mode else "")] = {
            sort: seconds
            for (what, _, sort), seconds in parts
            if what == "dispatch" and not sort.endswith("_call") and sort not in UNMEASURED
        }
    return found


if __name__ == "__main__":
    main()
