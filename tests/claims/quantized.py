"""What the tool says of a network that onnxruntime's own quantisers quantised, in each of their three formats.

- It does as many multiply-accumulates as the float network.
- Its quantised weights take a quarter of the bytes: each 8-bit tensor of more than one dimension as many bytes as its
  float original has numbers. Biases are 32-bit as before; they, scales and zero
  points are what the whole has beyond a quarter.
- Its kernels are those of onnxruntime's optimised graph: all of them by kind and shape, as for float networks, and the
  integer ones among them by operator and shape, so that a product run in floats is told from one on integers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from kernels import Kernel, executed_kernels, f1
from quantise import FORMATS, quantise

import graphs
from graphs.ir import Graph, Op, TensorType
from graphs.passes.fuse import main_op

from .claim import Claim, Row
from .kernels import Key, is_view, key_of_executed, predicted_key
from .models import label

__all__ = ["CLAIM", "Agreement", "agreement", "is_integer", "weight_shares"]

LEAST_ON_AVERAGE = 0.95
LEAST_ON_EACH = 0.85
RUNTIME = "host:onnxruntime-cpu"

_INTEGER = ("QLinear", "QGemm", "QAttention", "MatMulInteger", "ConvInteger", "DynamicQuantize", "MatMulNBits")
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, slots=True)
class Agreement:
    """F1 of all kernels by kind and shape, F1 of the integer ones by operator and shape, how many were predicted."""

    all_kernels: float
    integer_kernels: float
    predicted: int


def is_integer(op_type: str) -> bool:
    """Whether an operator computes on quantised integers, or converts to or from them."""
    return op_type.startswith(_INTEGER) or op_type in _CONVERSIONS


def agreement(path: Path) -> Agreement:
    """Predicted kernels of a quantised file against those that run."""
    graph = graphs.run("fuse", graphs.load(path), target=RUNTIME).graph
    predicted = [op for op in graph.body if not is_view(op)]
    executed = [kernel for kernel in executed_kernels(path) if not kernel.is_view]
    return Agreement(
        f1([predicted_key(graph, op) for op in predicted], [key_of_executed(kernel) for kernel in executed]),
        f1(_integer_kernels(graph, predicted), _executed_integer_kernels(executed)),
        len(predicted),
    )


def _integer_kernels(graph: Graph, ops: Iterable[Op]) -> list[Key]:
    named = ((main_op(op).base_name, predicted_key(graph, op)[1]) for op in ops)
    return [(name, shape) for name, shape in named if is_integer(name)]


def _executed_integer_kernels(kernels: Iterable[Kernel]) -> list[Key]:
    return [(kernel.op_type, kernel.shape) for kernel in kernels if is_integer(kernel.op_type)]


def weight_shares(original: Path, quantised: Path) -> tuple[float, float]:
    """Bytes of the quantised weights over those of the same float tensors, and of all weights over all."""
    before, after = _weights(original), _weights(quantised)
    floats = sum(before[_original(name)] for name in after if name.endswith("_quantized"))
    integers = sum(size for name, size in after.items() if name.endswith("_quantized"))
    whole = _all_weight_bytes(quantised) / _all_weight_bytes(original)
    return integers / floats, whole


def _original(name: str) -> str:
    """The float tensor that a quantised one was made from; a Gemm's is transposed first, as large as it was."""
    return name.removesuffix("_quantized").removesuffix("_Transposed")


def _weights(path: Path) -> dict[str, int]:
    """Bytes of the constants of more than one dimension that something reads, by name."""
    values = (value for op in graphs.load(path).body for value in op.inputs if value.is_constant)
    return {v.name: v.bytes or 0 for v in values if isinstance(v.type, TensorType) and (v.type.rank or 0) > 1}


def _all_weight_bytes(path: Path) -> int:
    return graphs.run("fuse,lower", graphs.load(path), target=RUNTIME).total.weight_bytes


def _check(path: Path) -> Row:
    figures: list[float | int] = []
    faults: list[str] = []
    macs = graphs.run("fuse,lower", graphs.load(path), target=RUNTIME).total.macs
    with tempfile.TemporaryDirectory(prefix="quantised-") as folder:
        for how in FORMATS:
            file = quantise(path, how, Path(folder) / f"{path.stem}.{how}.onnx")
            report = graphs.run("fuse,lower", graphs.load(file), target=RUNTIME)
            found = agreement(file)
            quarter, whole = weight_shares(path, file)
            figures += [round(found.all_kernels, 3), round(found.integer_kernels, 3), round(whole, 4)]
            if report.total.macs != macs:
                faults.append(f"{how}: {report.total.macs:,} MAC, not {macs:,}")
            if quarter != 0.25:
                faults.append(f"{how}: quantised weights have {quarter:.4f} of their bytes")
            if min(found.all_kernels, found.integer_kernels) < LEAST_ON_EACH:
                faults.append(f"{how}: F1 {found.all_kernels:.3f}, of integer kernels {found.integer_kernels:.3f}")
            file.unlink()
    return Row(label(path), tuple(figures), tuple(faults))


def _overall(rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
    scores = [float(row.figures[3 * index]) for row in rows for index in range(len(FORMATS))]
    integer = [float(row.figures[3 * index + 1]) for row in rows for index in range(len(FORMATS))]
    average = mean(scores)
    faults = (f"mean F1 {average:.3f} is below {LEAST_ON_AVERAGE}",) if average < LEAST_ON_AVERAGE else ()
    says = f"mean F1 {average:.3f}, least {min(scores):.3f}"
    return f"{says}; of integer kernels {mean(integer):.3f}, least {min(integer):.3f}", faults


CLAIM = Claim(
    "quantized",
    "quantised by onnxruntime (QDQ, QOperator, dynamic): MACs as in floats, quantised weights a quarter of the bytes, "
    "kernels those of the optimised graph (F1 of all, F1 of the integer ones, share of all weight bytes)",
    tuple(f"{how} {what}" for how in FORMATS for what in ("F1", "int F1", "bytes")),
    _check,
    _overall,
)
