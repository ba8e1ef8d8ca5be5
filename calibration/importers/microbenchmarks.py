"""Microbenchmarks in the "hardware registry" format: STREAM and BLAS over sizes and precisions, as evidence.

What was timed is what the format's own benchmarks run, which is more than their names say: STREAM's triad is a scaling
and an addition, and BLAS kernels with factors are written out (``C[:] = alpha * (A @ B) + beta * C``), so a GEMM's time
is that of a product, two scalings, an addition and a copy. Samples list all of these kernels; curves over FLOPs count
the product's FLOPs only, as the format does.

Traps of the format: figures of an operation as a whole are those of its fastest precision, so only the rows of single
precisions are read; sizes are in MiB where they say MB; ``tf32`` on a CPU is fp32 once more; theoretical peaks are
those of the device's highest power mode.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from pathlib import Path

from ...ir import DType
from ...ir.primitives import Copy, Elementwise, Gemm, Primitive, Reduction
from ...targets import Target
from ..fitting import fit_curves
from ..kernel import Kernel
from ..observations import Observation
from ..profile import Profile, SourceDocument
from ..sample import Sample, Setting, Statistics
from ..strict_json import Entry, read_json

__all__ = ["read_microbenchmarks"]

_RUNTIMES = {"pytorch": "pytorch-eager"}
_DTYPES = {"fp32": DType.F32, "tf32": DType.F32, "fp16": DType.F16, "bf16": DType.BF16, "int8": DType.I8}
_TIMES = ("mean_latency_ms", "std_latency_ms", "min_latency_ms", "max_latency_ms")
_STREAM = re.compile(r"stream_(copy|scale|add|triad)")
_BLAS = re.compile(r"blas[123]_(dot|axpy|gemv|gemm)")
_ARRAYS = {"copy": 2, "scale": 2, "add": 3, "triad": 3, "dot": 2, "axpy": 3}
_STREAM_KERNELS = ("copy", "scale", "add", "triad")
_AGREEMENT = 0.05
"""How far a row's GFLOP/s may be from its own size over its own time before one of them must be wrong."""

_STUDENT_95 = 1.959963984540054
SUITE = SourceDocument(
    "branes-ai/graphs, hardware registry: STREAM and BLAS microbenchmarks", "https://github.com/branes-ai/graphs", "MIT"
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One measurement: the benchmark (``gemm``), its size (elements, or the matrix's side), its precision and times."""

    benchmark: str
    size: int
    precision: str
    seconds: Statistics

    @property
    def flops(self) -> int:
        """FLOPs as the format counts them: those of the product alone."""
        per_element = {"copy": 0, "scale": 1, "add": 1, "triad": 2, "dot": 2, "axpy": 2}
        if self.benchmark in per_element:
            return per_element[self.benchmark] * self.size
        return 2 * self.size**2 if self.benchmark == "gemv" else 2 * self.size**3

    @property
    def bytes(self) -> int:
        """Bytes as the format counts them: each array once."""
        width = _DTYPES[self.precision].bits // 8
        if self.benchmark in _ARRAYS:
            return _ARRAYS[self.benchmark] * self.size * width
        return (self.size**2 + 2 * self.size if self.benchmark == "gemv" else 3 * self.size**2) * width


@dataclass(slots=True)
class _Read:
    """The rows of a file, and how many were left out for which reason."""

    rows: list[_Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def read_microbenchmarks(path: Path, target: Target | None = None) -> tuple[Profile, ...]:
    """Return the evidence in a microbenchmark file: a profile for each precision of the schema that was measured.

    Efficiencies are against the peaks of ``target``, the device and power mode that the file is from; without one,
    against those that the file itself states.

    Raises:
        CalibrationError: not such a file, or of another device class or power mode than ``target``.
    """
    root = read_json(path)
    meta = root["metadata"]
    framework, on_gpu = meta["framework"].text, meta["device_type"].choice(("cpu", "cuda")) == "cuda"
    mode = _power_mode(meta)
    if target is not None:
        _check_target(root, target, on_gpu, mode)
    read = _Read()
    for name, operation in root["operation_profiles"].items():
        _read_operation(name, operation, on_gpu, read)
    stream = [row for row in read.rows if row.benchmark in _STREAM_KERNELS]
    measured = dict[str, tuple[_Peaks, list[_Row]]]()
    for precision in _DTYPES:
        rows = [row for row in read.rows if row.precision == precision]
        peaks = _peaks(root, target, precision)
        if rows and peaks.compute is None:
            read.left_out[f"no peak for {precision}"] += len(rows)
        elif len(rows) > len([row for row in rows if row in stream]):
            measured[precision] = (peaks, rows)
    if not measured:
        raise root.fail("no row in it that can be used", f"left out: {_counted(read.left_out) or 'none; it is empty'}")
    runtime = _RUNTIMES.get(framework, framework)
    profiles = (
        _profile(root, _setting(root, target, runtime, mode, precision), peaks, (rows, stream), _notes(path, read))
        for precision, (peaks, rows) in measured.items()
    )
    return tuple(profiles)


def _power_mode(meta: Entry) -> str:
    """``30W`` for MODE_30W; an empty text for a processor without power modes."""
    if "gpu_clock" not in meta or "power_mode_name" not in meta["gpu_clock"]:
        return ""
    return meta["gpu_clock"]["power_mode_name"].text.removeprefix("MODE_").removeprefix("MODE")


def _check_target(root: Entry, target: Target, on_gpu: bool, mode: str) -> None:
    if (target.device.device_class == "gpu") != on_gpu:
        raise root.fail(f"was measured on a {'GPU' if on_gpu else 'CPU'}, and {target.spec} is none")
    if mode and mode != (target.mode or ""):
        raise root.fail(
            f"was measured in power mode {mode}, and {target.spec} is another", "name the mode: DEVICE@MODE"
        )


# -- rows -------------------------------------------------------------------------------------------------------------


def _read_operation(name: str, operation: Entry, on_gpu: bool, read: _Read) -> None:
    """Read one benchmark's rows; STREAM's are fp32, BLAS has one for each precision."""
    kind = operation["operation_type"].text
    stream, blas = _STREAM.fullmatch(kind), _BLAS.fullmatch(kind)
    if stream:
        shape = operation["input_shape"].each(lambda size: size.count)
        _add(read, stream[1], shape[0] if shape else 0, "fp32", operation, operation["measured_gflops"])
    elif blas:
        for precision, row in operation["precision_results"].items():
            if precision not in _DTYPES:
                read.left_out["a precision that evidence is not kept for"] += 1
            elif not row["supported"].flag:
                read.left_out["not supported or timed out"] += 1
            elif precision == "tf32" and not on_gpu:
                read.left_out["tf32 on a CPU, which is fp32"] += 1
            else:
                _add(read, blas[1], row["test_size"].count, precision, row, row["measured_gops"])
    else:
        read.left_out[f"{kind}, which is no kernel"] += 1


def _add(read: _Read, benchmark: str, size: int, precision: str, row: Entry, rate: Entry) -> None:
    """Keep a row, or count why it cannot have been measured so."""
    values = [row[key].value for key in _TIMES]
    if not all(isinstance(value, int | float) and 0 <= value < inf for value in values) or not values[0] or not size:
        read.left_out["no time, or one of zero or below"] += 1
        return
    mean, std, low, high = (value * 1e-3 for value in values)
    trials = row["num_trials"].count
    if std > mean:
        read.left_out["a spread wider than the time"] += 1
        return
    if not 0 < low <= mean * 1.001 or not mean * 0.999 <= high or not trials:
        read.left_out["a mean outside its range"] += 1
        return
    made = _Row(benchmark, size, precision, _statistics(trials, mean, std, min(low, mean), max(high, mean)))
    stated = rate.number * 1e9
    if made.flops and abs(made.flops / mean / stated - 1.0 if stated else 1.0) > _AGREEMENT:
        read.left_out["a rate that its own size and time do not give"] += 1
        return
    read.rows.append(made)


def _statistics(n: int, mean: float, std: float, low: float, high: float) -> Statistics:
    """The format keeps no median: the mean stands for it, with its own interval."""
    reach = _STUDENT_95 * std / sqrt(n)
    return Statistics(n, mean, mean, std, low, high, max(mean - reach, low), min(mean + reach, high))


# -- profiles ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Peaks:
    """FLOP/s and bytes per second that efficiencies are shares of, and a remark on them."""

    compute: float | None
    bandwidth: float
    remark: str


def _peaks(root: Entry, target: Target | None, precision: str) -> _Peaks:
    own = root["precision_matrix"]["theoretical_peaks"]
    stated = own[precision].share * 1e9 if precision in own else 0.0
    bandwidth = root["theoretical_bandwidth_gbps"].positive * 1e9
    if target is None:
        return _Peaks(stated or None, bandwidth, "Peaks are those that the file states.")
    found = target.device.arithmetic("contraction", precision)
    remarks = [f"Peaks are those of {target.spec}."]
    if found is None:
        return _Peaks(None, bandwidth, "")
    unit, computed_in = found
    peak, ours = unit.peaks[computed_in].value, target.device.memories[-1].bandwidth
    if computed_in != precision:
        remarks.append(f"The device has no {precision} arithmetic: shares are of its {computed_in} peak.")
    if stated and abs(stated / peak - 1.0) > _AGREEMENT:
        remarks.append(f"The file states {stated / 1e9:g} GFLOP/s, the target {peak / 1e9:g}.")
    if abs(bandwidth / ours - 1.0) > _AGREEMENT:
        remarks.append(f"The file states {bandwidth / 1e9:g} GB/s, the target {ours / 1e9:g}.")
    return _Peaks(peak, ours, " ".join(remarks))


def _setting(root: Entry, target: Target | None, runtime: str, mode: str, precision: str) -> Setting:
    named = re.sub(r"[^a-z0-9]+", "-", root["metadata"]["hardware_name"].text.lower()).strip("-")
    device = target.device.name if target else named
    return Setting(device, runtime, (target.mode or "") if target else mode, precision)


def _notes(path: Path, read: _Read) -> list[str]:
    """What is to be said of every profile of the file."""
    notes = [
        f"Imported from {path.name}.",
        "No medians were recorded; the means stand for them.",
        "A gemm's or gemv's time includes its scalings, its addition and its copy.",
    ]
    return [*notes, f"Rows left out: {_counted(read.left_out)}."] if read.left_out else notes


def _profile(
    root: Entry, setting: Setting, peaks: _Peaks, measured: tuple[list[_Row], list[_Row]], notes: list[str]
) -> Profile:
    """The evidence of one precision: its own rows, and STREAM's for the bandwidth."""
    assert peaks.compute is not None
    meta, (rows, stream) = root["metadata"], measured
    if setting.precision != "fp32" and stream:
        notes = [*notes, "STREAM's bandwidths are of fp32 arrays."]
    traffic = rows if setting.precision == "fp32" else [*rows, *stream]
    return Profile(
        f"{setting.device}@{setting.mode}" if setting.mode else setting.device,
        meta["hardware_name"].text,
        "gpu" if meta["device_type"].text == "cuda" else "cpu",
        setting.precision.upper(),
        meta["calibration_date"].text,
        f"hardware registry {meta['calibration_tool_version'].text}",
        fit_curves(_compute_observations(rows), peaks.compute),
        fit_curves(_memory_observations(traffic), peaks.bandwidth),
        notes=" ".join([*notes, peaks.remark]),
        setting=setting,
        environment=_environment(meta, peaks),
        samples=() if setting.precision == "tf32" else tuple(_sample(row) for row in rows),
        sources=(SUITE,),
    )


def _counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in sorted(left_out.items()))


def _compute_observations(rows: list[_Row]) -> Iterator[Observation]:
    names = {"gemm": "matmul", "gemv": "gemv", "dot": "dot", "axpy": "axpy"}
    for row in rows:
        if row.benchmark in names:
            yield _observation(names[row.benchmark], row.flops, row)


def _memory_observations(rows: list[_Row]) -> Iterator[Observation]:
    """Bandwidth by benchmark, and of all STREAM kernels together as ``generic``."""
    for row in rows:
        if row.benchmark in ("gemv", "dot", "axpy"):
            yield _observation(row.benchmark, row.bytes, row)
        elif row.benchmark != "gemm":
            yield _observation(f"stream_{row.benchmark}", row.bytes, row)
            yield _observation("generic", row.bytes, row)


def _observation(name: str, size: int, row: _Row) -> Observation:
    return Observation(name, size, row.seconds.mean, row.seconds.std, row.seconds.n, "", f"{row.benchmark} {row.size}")


def _environment(meta: Entry, peaks: _Peaks) -> Mapping[str, str | int | float | bool | None]:
    kept = ("cpu_model", "cpu_count", "python_version", "pytorch_version", "numpy_version", "framework",
            "num_warmup_runs", "platform_architecture")  # fmt: skip
    made = {key: meta[key].scalar() for key in kept if key in meta}
    for key in ("cpu_clock", "gpu_clock"):
        if key in meta:
            clock = meta[key]
            made |= {
                f"{key}.{name}": value.scalar() for name, value in clock.items() if not isinstance(value.value, list)
            }
    return made | {"peak_flops": peaks.compute, "peak_bandwidth": peaks.bandwidth}


# -- samples ----------------------------------------------------------------------------------------------------------


def _sample(row: _Row) -> Sample:
    return Sample(tuple(_kernels(row)), row.seconds, "microbenchmark", "", (f"{row.benchmark}_{row.size}",))


def _kernels(row: _Row) -> Iterator[Kernel]:
    """The kernels that the benchmark runs one after the other; nothing in it is a constant."""
    dtype, n = _DTYPES[row.precision], row.size
    if row.benchmark == "copy":
        yield _kernel("Copy", Copy(n, dtype), n, n)
    elif row.benchmark == "dot":
        yield _kernel("Dot", Reduction("sum", n, 1, dtype, 2), 2 * n, 1)
    elif row.benchmark in ("gemm", "gemv"):
        columns = n if row.benchmark == "gemm" else 1
        results = n * columns
        yield _kernel("MatMul", Gemm(n, columns, n, dtype), n * n + results, results)
        yield from (_scaled(results, dtype), _scaled(results, dtype), _added(results, dtype))
        yield _kernel("Copy", Copy(results, dtype), results, results)
    else:
        if row.benchmark in ("scale", "triad", "axpy"):
            yield _scaled(n, dtype)
        if row.benchmark in ("add", "triad", "axpy"):
            yield _added(n, dtype)
        if row.benchmark == "axpy":
            yield _kernel("Copy", Copy(n, dtype), n, n)


def _scaled(elements: int, dtype: DType) -> Kernel:
    return _kernel("Mul", Elementwise("Mul", elements, dtype), elements, elements)


def _added(elements: int, dtype: DType) -> Kernel:
    return _kernel("Add", Elementwise("Add", elements, dtype), 2 * elements, elements)


def _kernel(pattern: str, primitive: Primitive, reads: int, writes: int) -> Kernel:
    width = primitive.dtype.bits // 8
    return Kernel(pattern, (primitive,), 0, reads * width, writes * width)
