"""Experts written out one by one: how many rows each gets depends on data, how many all get does not."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto
from synthetic import Network

from graphs.frontends.onnx import load_onnx
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.report import Report
from graphs.passes.reporting import build_report
from graphs.targets import load_target

WIDTH, INNER, EXPERTS, CHOSEN = 32, 48, 4, 2


def masked(experts: int = EXPERTS, one_hot: int = EXPERTS) -> onnx.ModelProto:
    """The form of torch.onnx.export(dynamo=False): each expert finds its tokens in a mask."""
    net = Network("masked")
    weights = net.op("TopK", net.op("MatMul", "x", net.weight(WIDTH, one_hot)), net.ints(CHOSEN), outputs=2, axis=-1)
    hot = net.op("OneHot", f"{weights}.1", net.ints(one_hot), net.ints(0, 1), axis=-1)
    masks, parts = net.op("Transpose", hot, perm=[2, 1, 0]), []
    for expert in range(experts):
        mask = net.op("Cast", net.op("Gather", masks, net.number(expert), axis=0), to=TensorProto.BOOL)
        found = net.op(
            "Split", net.op("Transpose", net.op("NonZero", mask), perm=[1, 0]), net.ints(1, 1), outputs=2, axis=1
        )
        tokens = net.op("Squeeze", f"{found}.1", net.ints(1))
        inner = net.op("Relu", net.op("MatMul", net.op("Gather", "x", tokens, axis=0), net.weight(WIDTH, INNER)))
        parts.append(net.op("MatMul", inner, net.weight(INNER, WIDTH)))
    return net.model([("x", TensorProto.FLOAT, ("tokens", WIDTH))], [net.op("Concat", *parts, axis=0)])


def ranged(start: int = 0, step: int = 1) -> onnx.ModelProto:
    """The form of transformers' exporter: each expert takes the rows after those of the one before."""
    net = Network("ranged")
    ends = net.op("Split", "ends", outputs=EXPERTS, num_outputs=EXPERTS)
    begin, parts = net.number(start), []
    for expert in range(EXPERTS):
        end = net.op("Squeeze", f"{ends}.{expert}" if expert else ends, net.ints(0))
        rows = net.op("Gather", "x", net.op("Range", begin, end, net.number(step)), axis=0)
        parts.append(net.op("MatMul", rows, net.weight(WIDTH, INNER)))
        begin = end
    inputs = [("x", TensorProto.FLOAT, ("tokens", WIDTH)), ("ends", TensorProto.INT64, (EXPERTS,))]
    return net.model(inputs, [net.op("Concat", *parts, axis=0)])


def analysed(model: onnx.ModelProto, tokens: int) -> tuple[Report, Context]:
    graph, context = load_onnx(model), Context(load_target("intel-core-i7-12700k"), None, {"tokens": tokens})
    PassManager(parse_passes("lower")).run(graph, context)
    return build_report(graph, context), context


def experts_of(report: Report) -> list[int]:
    """Multiply-accumulates of each product of an expert, in order."""
    return [kernel.macs for kernel in report.kernels if kernel.pattern == "MatMul" and kernel.name.startswith("matmul")]


@pytest.mark.parametrize("tokens", [1, 3, 5, 64])
def test_masks_share_out_as_many_rows_as_are_chosen(tokens: int) -> None:
    report, context = analysed(masked(), tokens)
    router = tokens * WIDTH * EXPERTS
    assert report.total.exact
    assert report.total.macs == router + tokens * CHOSEN * 2 * WIDTH * INNER
    assert report.kernels[-1].output == (tokens * CHOSEN, WIDTH)
    assert any("4 experts" in item.message and "evenly" in item.message for item in context.diagnostics)


@pytest.mark.parametrize("tokens", [1, 3, 5, 64])
def test_ranges_share_out_all_rows(tokens: int) -> None:
    report, _ = analysed(ranged(), tokens)
    assert report.total.exact
    assert report.total.macs == tokens * WIDTH * INNER
    shares = [macs // (WIDTH * INNER) for macs in experts_of(report)]
    assert sum(shares) == tokens and max(shares) - min(shares) <= 1
    read = [kernel.weight_bytes for kernel in report.kernels if kernel.pattern == "MatMul"]
    assert read == [4 * WIDTH * INNER if share else 0 for share in shares]


@pytest.mark.parametrize(
    "model", [masked(experts=3), masked(experts=4, one_hot=5), ranged(start=1), ranged(step=2)],
    ids=["an expert without rows", "more choices than experts", "not from the first row", "not every row"],
)  # fmt: skip
def test_what_is_no_mixture_stays_open(model: onnx.ModelProto) -> None:
    report, context = analysed(model, 5)
    assert not report.total.exact or any(dim.depends_on_data for dim in report.open_dimensions)
    assert not any("evenly" in item.message for item in context.diagnostics)
