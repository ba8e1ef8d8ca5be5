"""What share of this machine's int8 peak onnxruntime reaches: unsigned activations, signed ones, and ConvInteger.

    python benchmarks/onnxruntime_integers.py

One thread, models of one operator with signed 8-bit weights, the fastest of many runs; the same in FP32 beside it. The
shares are of `host@1-thread`. The rows int8 and int8-signed in `targets/runtimes/onnxruntime-cpu.yaml` are taken from
here, widened.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnxruntime
from onnx import ValueInfoProto, helper, numpy_helper

from graphs.targets import load_target

RUNS = 20
GENERATOR = np.random.default_rng(0)
TYPES = {"unsigned": np.uint8, "signed": np.int8, "fp32": np.float32}


def rate(op_type: str, operands: list[Any], macs: int, **attributes: Any) -> float:
    """MAC/s of one operator; the first operand is its input, the others are constants."""
    data, *constants = (np.asarray(operand) for operand in operands)
    names = ["x", *(f"c{index}" for index in range(len(constants)))]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(data.dtype), data.shape)],
        [ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for array, name in zip(constants, names[1:], strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        session.run(None, {"x": data})
        times.append(time.perf_counter() - begin)
    return macs / min(times)


def numbers(kind: str, *shape: int) -> Any:
    """Small numbers of a type."""
    return GENERATOR.integers(0, 100, shape).astype(TYPES[kind])


def product(kind: str, size: int) -> float:
    """A square product with signed weights."""
    op_type = "MatMul" if kind == "fp32" else "MatMulInteger"
    weight = numbers("fp32" if kind == "fp32" else "signed", size, size)
    return rate(op_type, [numbers(kind, size, size), weight], size**3)


def convolution(kind: str, channels: int, size: int, kernel: int, groups: int, integer: bool = False) -> float:
    """A convolution that keeps its size, requantised; with ``integer`` one that keeps its 32-bit sums."""
    x = numbers(kind, 1, channels, size, size)
    weight = numbers("fp32" if kind == "fp32" else "signed", channels, channels // groups, kernel, kernel)
    macs = size * size * channels * (channels // groups) * kernel * kernel
    attributes = {"group": groups, "pads": [kernel // 2] * 4}
    if kind == "fp32" or integer:
        return rate("ConvInteger" if integer else "Conv", [x, weight], macs, **attributes)
    scale, zero = np.float32(0.02), np.asarray(3, TYPES[kind])
    return rate("QLinearConv", [x, scale, zero, weight, scale, np.int8(0), scale, zero], macs, **attributes)


def main() -> None:
    """Print GMAC/s and shares of the int8 peak."""
    device = load_target("host@1-thread").device
    unit = device.best_unit("contraction", "int8")
    assert unit is not None
    peak = unit.peaks["int8"].value / 2
    print(f"{device.title}: {peak / 1e9:.0f} GMAC/s in int8 on {unit.name}; shares of it in brackets")
    print(f"{'':34}" + "".join(f"{name:>19}" for name in (*TYPES, "ConvInteger")))
    for size in (256, 512, 1024):
        show(f"gemm {size}³", [product(kind, size) for kind in TYPES], peak)
    for channels, size, kernel, groups in (
        (64, 56, 3, 1), (256, 14, 3, 1), (256, 28, 1, 1), (512, 7, 3, 1), (128, 28, 3, 128), (256, 14, 3, 32),
    ):  # fmt: skip
        sizes = channels, size, kernel, groups
        rates = [*(convolution(kind, *sizes) for kind in TYPES), convolution("unsigned", *sizes, integer=True)]
        show(f"conv {channels} {kernel}×{kernel} @{size}, {groups} groups", rates, peak)


def show(label: str, rates: list[float], peak: float) -> None:
    """One line of the table."""
    print(f"{label:34}" + "".join(f"{value / 1e9:10.1f} [{value / peak:.4f}]" for value in rates))


if __name__ == "__main__":
    main()
