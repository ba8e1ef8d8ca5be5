"""What share of this machine's described peaks onnxruntime reaches, per kernel class, and what a kernel launch costs.

    python benchmarks/onnxruntime_efficiencies.py

One thread, FP32, models of one operator. The shares are of `host@1-thread`, so they hold the error of that
description too; the defaults in `targets/runtimes/onnxruntime-cpu.yaml` are taken from here, widened. Launch costs are
the slope of latency over the length of a chain of operators on next to nothing: of one element for the typical cost, of
operators of each sort for what it varies in. `--launches` prints those alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from graphs.targets import load_target

REPEATS = 15
BUDGET_SECONDS = 0.4


@dataclass(frozen=True)
class Case:
    """A one-operator model: its kernel class, its work, and its compulsory traffic."""

    kernel_class: str
    label: str
    model: onnx.ModelProto
    flops: float
    nbytes: float


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", action="store_true", help="print what launches cost, and no more")
    if parser.parse_args().launches:
        print_launches()
        return
    device = load_target("host@1-thread").device
    print(f"{device.title}: {device.units[0].origin('fp32')}; {device.memories[-1].bandwidth / 1e9:.3g} GB/s assumed")
    print_launches()
    print(f"{'class':15} {'case':26} {'time':>10} {'GFLOP/s':>8} {'GB/s':>7} {'compute':>8} {'memory':>7}  binds")
    for case in cases():
        seconds = fastest(case.model)
        compute = case.flops / device.units[0].peaks["fp32"].value
        level = next((m for m in device.memories if m.size and m.size >= case.nbytes), device.memories[-1])
        memory = case.nbytes / level.bandwidth
        binds = "compute" if compute >= memory else level.name
        print(
            f"{case.kernel_class:15} {case.label:26} {seconds * 1e6:8.1f}us {case.flops / seconds / 1e9:8.1f} "
            f"{case.nbytes / seconds / 1e9:7.1f} {compute / seconds:8.3f} {memory / seconds:7.3f}  {binds}"
        )


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def fastest(model: onnx.ModelProto) -> float:
    """The median of the fastest third of the runs."""
    run = session(model)
    random = np.random.default_rng(0)
    feeds = {}
    for value in run.get_inputs():
        integer = "int64" in value.type
        feeds[value.name] = random.integers(0, 64, value.shape) if integer else random.random(value.shape, np.float32)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < REPEATS or time.perf_counter() - started < BUDGET_SECONDS:
        begin = time.perf_counter()
        run.run(None, feeds)
        times.append(time.perf_counter() - begin)
    return statistics.median(sorted(times)[: max(3, len(times) // 3)])


def print_launches() -> None:
    """The cost of one launch, and of each sort that there is."""
    usual = launch_seconds("one element")
    print(f"launch of one kernel: {usual * 1e6:.2f} us")
    costs = sorted((own_seconds(sort, usual), sort) for sort in LAUNCHES if sort != "one element")
    print("of each sort, in us: " + ", ".join(f"{sort} {seconds * 1e6:.2f}" for seconds, sort in costs))


def own_seconds(sort: str, usual: float) -> float:
    """What a launch of a sort costs without the one-element operator that it takes turns with."""
    slope = launch_seconds(sort)
    return 2 * slope - usual if len(LAUNCHES[sort][1]) > 1 and sort != "two operands" else slope


def launch_seconds(sort: str) -> float:
    """The slope of latency over the number of kernels of a sort that cannot fuse."""
    short, long = 50, 450
    return (fastest(chain(sort, long)) - fastest(chain(sort, short))) / (long - short)


Launch = tuple[str, tuple[str, ...], dict[str, object]]
"""An operator, the weights that it reads besides, and its attributes."""

LAUNCHES: dict[str, tuple[tuple[int, ...], list[Launch]]] = {
    "one element": ((1,), [("Exp", (), {}), ("Neg", (), {}), ("Sin", (), {}), ("Abs", (), {})]),
    "two operands": ((1, 1), [("Mul", ("w",), {}), ("Max", ("w",), {})]),
    "product": ((1, 1), [("MatMul", ("w",), {})]),
    "convolution": ((1, 1, 1, 1), [("Conv", ("k",), {"kernel_shape": [1, 1]}), ("Sin", (), {})]),
    "softmax": ((1, 4), [("Softmax", (), {"axis": -1})]),
    "normalisation": ((1, 4), [("LayerNormalization", ("s",), {"axis": -1})]),
    "pooling": ((1, 1, 2, 2), [("MaxPool", (), {"kernel_shape": [3, 3], "pads": [1] * 4}), ("Sin", (), {})]),
    "reduction": ((1, 1), [("ReduceMean", (), {"axes": [1], "keepdims": 1}), ("Sin", (), {})]),
}
"""Sorts of launches on next to nothing: the shape, and operators that take turns so that no optimiser merges them."""

WEIGHTS = {"w": (1, 1), "k": (1, 1, 1, 1), "s": (4,)}


def chain(sort: str, length: int) -> onnx.ModelProto:
    """So many operators in a row."""
    shape, operators = LAUNCHES[sort]
    names, nodes = ["x", *(f"v{i}" for i in range(length - 1)), "y"], []
    for i in range(length):
        name, weights, attributes = operators[i % len(operators)]
        nodes.append(helper.make_node(name, [names[i], *weights], [names[i + 1]], **attributes))
    used = {weight for _, weights, _ in operators for weight in weights}
    return build(nodes, {"x": shape}, {name: WEIGHTS[name] for name in sorted(used)})


def build(nodes: list, inputs: dict[str, tuple], weights: dict[str, tuple], integers: tuple = ()) -> onnx.ModelProto:
    """A model whose weights are random; the last node's output is `y`."""
    random = np.random.default_rng(1)
    given = [helper.make_tensor_value_info(n, TensorProto.INT64 if n in integers else TensorProto.FLOAT, s)
             for n, s in inputs.items()]  # fmt: skip
    constants = [onnx.numpy_helper.from_array(random.random(s, np.float32), n) for n, s in weights.items()]
    graph = helper.make_graph(
        nodes, "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def cases() -> Iterator[Case]:
    """The kernels that the defaults stand on."""
    for m, n, k in ((256, 256, 256), (1024, 1024, 1024), (196, 768, 3072), (1, 1000, 2048), (64, 768, 768)):
        node = helper.make_node("MatMul", ["a", "w"], ["y"])
        model = build([node], {"a": (m, k)}, {"w": (k, n)})
        yield Case("gemm", f"{m}×{k}×{n}", model, 2.0 * m * n * k, 4.0 * (m * k + k * n + m * n))
    for name, channels, out, size, kernel, group, stride in (
        ("conv", 64, 64, 56, 3, 1, 1), ("conv", 256, 256, 14, 3, 1, 1), ("conv", 256, 64, 56, 1, 1, 1),
        ("conv", 512, 512, 7, 3, 1, 1), ("conv", 3, 64, 224, 7, 1, 2), ("conv", 96, 24, 56, 1, 1, 1),
        ("conv_depthwise", 96, 96, 112, 3, 96, 2), ("conv_depthwise", 384, 384, 14, 3, 384, 1),
        ("conv_depthwise", 240, 240, 28, 5, 240, 1), ("conv_grouped", 256, 256, 28, 3, 32, 1),
        ("conv_grouped", 512, 512, 14, 3, 8, 1),
    ):  # fmt: skip
        yield conv(name, channels, out, size, kernel, group, stride)
    yield from streaming()


def conv(name: str, channels: int, out: int, size: int, kernel: int, group: int, stride: int) -> Case:
    """A convolution with padding that keeps the size (over the stride)."""
    weights = (out, channels // group, kernel, kernel)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=group, strides=[stride] * 2, pads=[kernel // 2] * 4,
                            kernel_shape=[kernel] * 2)  # fmt: skip
    pixels = (size // stride) ** 2
    flops = 2.0 * pixels * out * (channels // group) * kernel**2
    nbytes = 4.0 * (channels * size**2 + out * pixels + float(np.prod(weights)))
    label = f"{channels}→{out} {kernel}×{kernel} @{size} g{group}"
    return Case(name, label, build([node], {"x": (1, channels, size, size)}, {"w": weights}), flops, nbytes)


def streaming() -> Iterator[Case]:
    """Kernels that memory binds, at a size that fits the caches and one that does not."""
    for shape in ((1, 64, 56, 56), (8, 256, 56, 56)):
        elements = float(np.prod(shape))
        for name, op, flops, inputs, attributes in (
            ("elementwise", "Add", 1, 2, {}), ("elementwise", "Relu", 1, 1, {}), ("elementwise", "Sigmoid", 1, 1, {}),
            ("elementwise", "Erf", 1, 1, {}), ("copy", "Transpose", 0, 1, {"perm": [0, 2, 3, 1]}),
            ("copy", "Concat", 0, 2, {"axis": 1}), ("softmax", "Softmax", 5, 1, {"axis": -1}),
            ("window", "MaxPool", 9, 1, {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [1, 1]}),
            ("reduction", "GlobalAveragePool", 1, 1, {}), ("reduction", "ReduceMean", 1, 1, {"axes": [1]}),
        ):  # fmt: skip
            names = ["a", "b"][:inputs]
            model = build([helper.make_node(op, names, ["y"], **attributes)], dict.fromkeys(names, shape), {})
            out = {"Concat": 2.0, "GlobalAveragePool": 0.0, "ReduceMean": 0.0}.get(op, 1.0)
            yield Case(name, f"{op} {int(elements)}", model, flops * elements, 4.0 * elements * (inputs + out))
        rows, columns = int(elements) // 768, 768
        node = helper.make_node("LayerNormalization", ["a", "s", "t"], ["y"], axis=-1)
        model = build([node], {"a": (rows, columns)}, {"s": (columns,), "t": (columns,)})
        yield Case("normalization", f"LayerNorm {rows}×768", model, 7.0 * rows * columns, 8.0 * rows * columns)
    node = helper.make_node("Gather", ["w", "i"], ["y"], axis=0)
    yield Case("gather", "30522×768, 512 rows", build([node], {"i": (512,)}, {"w": (30522, 768)}, ("i",)), 0.0,
               8.0 * 512 * 768)  # fmt: skip


if __name__ == "__main__":
    main()
