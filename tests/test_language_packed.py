"""Decoders as onnxruntime's model builder writes them: contrib operators, packed weights, experts as one operator."""

from __future__ import annotations

from functools import cache

import onnx
import pytest
from decoder_models import BLOCK, Decoder, as_built, as_exported

from graphs.frontends.onnx import load_onnx
from graphs.ir import parse
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.report import Report
from graphs.passes.reporting import build_report
from graphs.targets import load_target

DENSE = Decoder(layers=2, hidden=96, heads=6, kv_heads=2, head=32, vocab=320, dense_ffn=160)
MIXED = Decoder(4, 96, 6, 2, 32, 320, 160, ffn=64, experts=8, chosen=2, shared=True, moe_step=2)
SHAPES = {"dense": DENSE, "mixed": MIXED}
FORMS = {
    "exported": as_exported,
    "packed attention": as_built,
    "apart": lambda shape: as_built(shape, packed_attention=False),
    "4 bits": lambda shape: as_built(shape, bits=4),
    "8 bits": lambda shape: as_built(shape, bits=8, packed_attention=False),
}
POSITIONS = 131072
SCALARS = 8

every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@cache
def model_of(form: str, shape: Decoder) -> onnx.ModelProto:
    return FORMS[form](shape)


def analysed(form: str, shape: Decoder, batch: int, tokens: int, past: int) -> Report:
    graph = load_onnx(model_of(form, shape))
    context = Context(load_target("intel-core-i7-12700k"), None, {"batch": batch, "seq": tokens, "past": past})
    PassManager(parse_passes("fuse,lower,memory")).run(graph, context)
    return build_report(graph, context)


def packed(k: int, n: int, bits: int) -> int:
    """Bytes of a packed matrix: weights, a half-precision scale and a packed zero point for each block."""
    blocks = k // BLOCK
    return n * k * bits // 8 + 2 * n * blocks + n * -(-blocks * bits // 8)


def packed_bytes(shape: Decoder, bits: int) -> int:
    """Bytes of all weights, packed in ``bits``: tables, norms and routers stay in half precision."""
    query, key = shape.heads * shape.head, shape.kv_heads * shape.head
    attention = sum(packed(shape.hidden, n, bits) for n in (query, key, key)) + packed(query, shape.hidden, bits)

    def gated(ffn: int) -> int:
        return 2 * packed(shape.hidden, ffn, bits) + packed(ffn, shape.hidden, bits)

    shared = gated(shape.ffn) if shape.shared else 0
    mixture = shape.experts * expert_bytes(shape, bits) + shared + 2 * shape.hidden * shape.experts
    networks = shape.mixtures * mixture + (shape.layers - shape.mixtures) * gated(shape.dense_ffn)
    tables = shape.vocab * shape.hidden + 2 * POSITIONS * shape.head // 2 + (2 * shape.layers + 1) * shape.hidden
    return shape.layers * attention + networks + packed(shape.hidden, shape.vocab, bits) + 2 * tables


def expert_bytes(shape: Decoder, bits: int) -> int:
    """Bytes of one expert of QMoE, which has no zero points here."""
    return 3 * shape.hidden * shape.ffn * bits // 8 + 2 * 3 * shape.hidden * shape.ffn // BLOCK


@every_shape
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [pytest.param((1, 7, 0), marks=pytest.mark.slow), (2, 1, 11)], ids=str)
def test_every_form_does_the_same_work_on_the_same_cache(shape: Decoder, form: str, step: tuple[int, int, int]) -> None:
    total = analysed(form, shape, *step).total
    assert not total.unknown
    assert total.macs == shape.macs(*step)
    assert total.kv_cache_bytes == shape.cache_bytes(step[0], step[1] + step[2])


@every_shape
def test_plain_weights_count_as_they_are(shape: Decoder) -> None:
    tables = 2 * POSITIONS * shape.head // 2
    assert analysed("exported", shape, 1, 1, 3).total.weight_bytes == 2 * shape.parameters
    built = analysed("apart", shape, 1, 1, 3).total.weight_bytes
    assert 0 <= built - 2 * (shape.parameters + tables) <= SCALARS


@every_shape
@pytest.mark.parametrize(("form", "bits"), [("4 bits", 4), ("8 bits", 8)])
def test_packed_weights_count_with_scales_and_zero_points(shape: Decoder, form: str, bits: int) -> None:
    found = analysed(form, shape, 1, 1, 3).total.weight_bytes
    assert 0 <= found - packed_bytes(shape, bits) <= SCALARS


@pytest.mark.parametrize(("form", "each"), [("4 bits", expert_bytes(MIXED, 4)), ("apart", 3 * 96 * 64 * 2)])
@pytest.mark.parametrize(("tokens", "used"), [(1, 2), (3, 6), (50, 8)])
def test_experts_that_are_not_in_use_are_not_read(form: str, each: int, tokens: int, used: int) -> None:
    kernels = [k for k in analysed(form, MIXED, 1, tokens, 3).kernels if "MoE" in k.pattern]
    assert [kernel.weight_bytes for kernel in kernels] == [used * each] * MIXED.mixtures


def test_the_model_builders_names_of_dimensions_are_understood() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(model_of("apart", DENSE))
    names = {"batch": "batch_size", "seq": "sequence_length", "past": "past_sequence_length"}
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = names.get(dim.dim_param, "total_sequence_length")
    graph, step = load_onnx(model), (2, 1, 11)
    context = Context(load_target("intel-core-i7-12700k"), None, dict(zip(names.values(), step, strict=True)))
    PassManager(parse_passes("lower")).run(graph, context)
    total = build_report(graph, context).total
    assert not context.diagnostics
    assert (total.macs, total.kv_cache_bytes) == (DENSE.macs(*step), DENSE.cache_bytes(2, 12))


def test_grouped_attention_reads_the_past_and_writes_what_is_new() -> None:
    step, cached = (2, 1, 11), DENSE.cache_bytes(2, 1)
    assert analysed("apart", DENSE, *step).total.kv_cache_bytes_moved == 11 * cached + cached
    # written out: concatenation reads the past and writes the present, which is read once more to repeat its heads
    assert analysed("exported", DENSE, *step).total.kv_cache_bytes_moved == (11 + 12 + 12) * cached


def test_a_packed_table_is_read_by_rows() -> None:
    text = """
"graphs.graph"() ({
  %w = "graphs.constant"() : () -> tensor<1000x64xui8>
  %i = "graphs.input"() : () -> tensor<1x3xi64>
  %s = "graphs.constant"() : () -> tensor<1000x4xf16>
  %z = "graphs.constant"() : () -> tensor<1000x2xui8>
  %y = "com.microsoft.GatherBlockQuantized"(%w, %i, %s, %z) {bits = 4, block_size = 32, quantize_axis = 1}
    : (tensor<1000x64xui8>, tensor<1x3xi64>, tensor<1000x4xf16>, tensor<1000x2xui8>) -> tensor<1x3x128xf16>
  "graphs.output"(%y) : (tensor<1x3x128xf16>) -> ()
}) {sym_name = "embedding"} : () -> ()
"""
    total = totals_of(text)
    assert total.weight_bytes == 1000 * (64 + 4 * 2 + 2)
    assert total.weight_bytes_read == 3 * (64 + 4 * 2 + 2)


def test_bits_and_bytes_weights_are_packed_by_four_bits() -> None:
    text = """
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<5x96xf16>
  %w = "graphs.constant"() : () -> tensor<1920xui8>
  %m = "graphs.constant"() : () -> tensor<60xf16>
  %y = "com.microsoft.MatMulBnb4"(%x, %w, %m) {K = 96, N = 40, block_size = 64, quant_type = 1, transB = 1}
    : (tensor<5x96xf16>, tensor<1920xui8>, tensor<60xf16>) -> tensor<5x40xf16>
  "graphs.output"(%y) : (tensor<5x40xf16>) -> ()
}) {sym_name = "product"} : () -> ()
"""
    total = totals_of(text)
    assert (total.macs, total.weight_bytes, total.weight_bytes_read) == (5 * 96 * 40, 2040, 2040)
    other = text.replace("tensor<5x96", "tensor<5xk").replace("tensor<5x40", "tensor<5x96").replace("5xk", "5x40")
    assert totals_of(other.replace("transB = 1", "transB = 0")).macs == 5 * 96 * 40


def test_block_wise_quantised_weights_count_packed_whatever_kernel_reads_them() -> None:
    text = """
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<5x128xf32>
  %w = "graphs.constant"() : () -> tensor<128x40xi4>
  %s = "graphs.constant"() : () -> tensor<4x40xf32>
  %z = "graphs.constant"() : () -> tensor<4x40xi4>
  %d = "onnx.DequantizeLinear"(%w, %s, %z) {axis = 0, block_size = 32}
    : (tensor<128x40xi4>, tensor<4x40xf32>, tensor<4x40xi4>) -> tensor<128x40xf32>
  %y = "onnx.MatMul"(%x, %d) : (tensor<5x128xf32>, tensor<128x40xf32>) -> tensor<5x40xf32>
  "graphs.output"(%y) : (tensor<5x40xf32>) -> ()
}) {sym_name = "product"} : () -> ()
"""
    for pipeline in ("lower", "fuse,lower"):
        total = totals_of(text, pipeline)
        assert (total.macs, total.weight_bytes) == (5 * 128 * 40, 128 * 40 // 2 + 4 * 40 * 4 + 4 * 40 // 2)


def totals_of(text: str, pipeline: str = "lower"):  # type: ignore[no-untyped-def]
    context = Context(load_target("intel-core-i7-12700k"), None, {})
    graph = parse(text)
    PassManager(parse_passes(pipeline)).run(graph, context)
    return build_report(graph, context).total
