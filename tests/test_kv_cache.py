"""A decoder's caches are found by structure, whatever they are called, and counted apart from activations."""

import csv
import io
import json

import pytest

from graphs.ir import INPUT, OUTPUT, DType, Graph, TensorType, parse
from graphs.passes.base import Context
from graphs.passes.kv_cache import cache_bytes, cache_values, caches
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.memory import memory_plan
from graphs.passes.reporting import build_report
from graphs.targets import load_target
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

HEAD = """
"graphs.graph"() ({
  %q = "graphs.input"() : () -> tensor<2x4x1x8xf32>
  %n = "graphs.input"() : () -> tensor<2x4x1x8xf32>
  %old = "graphs.input"() : () -> tensor<2x4x7x8xf32>
"""
TAIL = '}) {sym_name = "step"} : () -> ()\n'

JOIN = """
  %new = "onnx.Concat"(%old, %n) {axis = 2} : (tensor<2x4x7x8xf32>, tensor<2x4x1x8xf32>) -> tensor<2x4x8x8xf32>
"""
READ = """
  %t = "onnx.Transpose"(%new) {perm = [0, 1, 3, 2]} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %y = "onnx.MatMul"(%q, %t) : (tensor<2x4x1x8xf32>, tensor<2x4x8x8xf32>) -> tensor<2x4x1x8xf32>
  "graphs.output"(%y) : (tensor<2x4x1x8xf32>) -> ()
"""
RETURN = '  "graphs.output"(%new) : (tensor<2x4x8x8xf32>) -> ()\n'

GROUPED = """
  %length = "graphs.input"() : () -> tensor<2xi32>
  %total = "graphs.input"() : () -> tensor<i32>
  %x = "graphs.input"() : () -> tensor<2x1x64xf32>
  %k = "graphs.input"() : () -> tensor<2x1x32xf32>
  %older = "graphs.input"() : () -> tensor<2x4x7x8xf32>
  %y, %new, %newer = "com.microsoft.GroupQueryAttention"(%x, %k, %k, %old, %older, %length, %total)
    {num_heads = 8, kv_num_heads = 4} : (tensor<2x1x64xf32>, tensor<2x1x32xf32>, tensor<2x1x32xf32>,
    tensor<2x4x7x8xf32>, tensor<2x4x7x8xf32>, tensor<2xi32>, tensor<i32>)
    -> (tensor<2x1x64xf32>, tensor<2x4x8x8xf32>, tensor<2x4x8x8xf32>)
  "graphs.output"(%y) : (tensor<2x1x64xf32>) -> ()
  "graphs.output"(%newer) : (tensor<2x4x8x8xf32>) -> ()
"""

PAST, NEW, PRESENT = 4 * 2 * 4 * 7 * 8, 4 * 2 * 4 * 1 * 8, 4 * 2 * 4 * 8 * 8


def graph_of(*lines):
    return parse(HEAD + "".join(lines) + TAIL)


def pairs(graph):
    return [(cache.past.name, cache.present.name) for cache in caches(graph)]


def report_of(graph, pipeline="lower,memory"):
    context = Context(load_target("intel-core-i7-12700k"), None, {})
    PassManager(parse_passes(pipeline)).run(graph, context)
    return build_report(graph, context)


def test_a_concatenation_that_is_read_and_returned_is_a_cache():
    graph = graph_of(JOIN, READ, RETURN)
    assert pairs(graph) == [("old", "new")] and cache_bytes(graph) == PRESENT


def test_a_concatenation_of_pytorch_is_one_as_well():
    graph = graph_of(JOIN.replace("onnx.Concat", "aten.cat").replace("axis = 2", "dim = 2"), READ, RETURN)
    assert pairs(graph) == [("old", "new")]


def test_what_is_joined_with_nothing_before_stays_a_cache():
    empty = """
  %e = "graphs.constant"() : () -> tensor<0xf32>
  %older = "aten.cat"(%e, %old) {dim = 2} : (tensor<0xf32>, tensor<2x4x7x8xf32>) -> tensor<2x4x7x8xf32>
"""
    graph = graph_of(empty, JOIN.replace("(%old,", "(%older,"), READ, RETURN)
    assert pairs(graph) == [("old", "new")]


def test_one_that_is_only_returned_is_a_result():
    assert not pairs(graph_of(JOIN, RETURN))


def test_one_that_is_only_read_is_an_activation():
    assert not pairs(graph_of(JOIN, READ))


def test_a_past_that_is_changed_before_is_no_cache():
    changed = JOIN.replace("(%old,", "(%r,")
    relu = '%r = "onnx.Relu"(%old) : (tensor<2x4x7x8xf32>) -> tensor<2x4x7x8xf32>'
    assert not pairs(graph_of(relu, changed, READ, RETURN))


def test_a_scatter_into_a_buffer_is_a_cache():
    put = """
  %at = "graphs.input"() : () -> tensor<2xi64>
  %new = "onnx.TensorScatter"(%old, %n, %at) : (tensor<2x4x7x8xf32>, tensor<2x4x1x8xf32>, tensor<2xi64>)
    -> tensor<2x4x7x8xf32>
"""
    shorter = [text.replace("2x4x8x8", "2x4x7x8") for text in (READ, RETURN)]
    graph = graph_of(put, *shorter)
    assert pairs(graph) == [("old", "new")] and cache_bytes(graph) == PAST


def test_attention_operators_say_which_operands_they_continue():
    graph = graph_of(GROUPED, RETURN)
    assert pairs(graph) == [("older", "newer"), ("old", "new")] and cache_bytes(graph) == 2 * PRESENT


@pytest.mark.parametrize("name", ["graphs.kernel", "onnx.If"])
def test_branches_and_kernels_are_looked_into(name):
    inner = graph_of(JOIN, READ, RETURN)
    outer = Graph("step")
    values = [outer.add(INPUT, [], [(op.result.name, op.result.type)]).result for op in inner.inputs]
    results = [(op.operands[0].name, op.operands[0].type) for op in inner.outputs]
    condition = outer.add(INPUT, [], [("c", TensorType(DType.BOOL, ()))]).result
    before = [condition] if name == "onnx.If" else []
    made = outer.add(name, [*before, *values], results, {"captures": len(values)}, regions=[inner])
    for value in made.results:
        outer.add(OUTPUT, [value])
    assert pairs(outer) == [("old", "new")]


def test_a_cache_is_no_activation_and_views_of_it_lie_in_it():
    view = """
  %s = "graphs.constant"() {value = dense<[8, 8, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = "onnx.Reshape"(%new, %s) : (tensor<2x4x8x8xf32>, tensor<3xi64>) -> tensor<8x8x8xf32>
  %z = "onnx.Relu"(%flat) : (tensor<8x8x8xf32>) -> tensor<8x8x8xf32>
  "graphs.output"(%z) : (tensor<8x8x8xf32>) -> ()
"""
    graph = graph_of(JOIN, view, READ, RETURN)
    assert {value.name for value in cache_values(graph)} == {"old", "new", "flat"}
    plan = memory_plan(graph)
    held = [storage for storage in plan.storages if {"old", "new"} & {value.name for value in storage.values}]
    assert [storage.bytes for storage in held] == [0, 0]
    assert plan.peak_bytes == PRESENT + PRESENT + 2 * NEW  # z and t, the query and y


def test_the_report_has_its_size_and_what_is_moved():
    graph = graph_of(JOIN, READ, RETURN)
    report = report_of(graph)
    total = report.total
    assert (total.kv_cache_bytes, total.kv_cache_bytes_moved) == (PRESENT, PAST + PRESENT + PRESENT)
    record = json.loads(emit("json", [report], View()))
    assert (record["total"]["kv_cache_bytes"], record["total"]["kv_cache_bytes_moved"]) == (PRESENT, PAST + 2 * PRESENT)
    rows = list(csv.DictReader(io.StringIO(emit("csv", [report], View()))))
    assert [int(row["kv_cache_bytes"]) for row in rows] == [PAST + PRESENT, PRESENT, 0]
    table = emit("table", [report], View())
    assert "KV cache 2.05 kB" in table and "activations" in table


def test_past_and_present_of_grouped_attention_share_a_buffer():
    total = report_of(graph_of(GROUPED, RETURN)).total
    assert total.kv_cache_bytes_moved == 2 * (PAST + NEW)


@pytest.mark.parametrize("shared", [0, 1])
def test_decoder_attention_copies_the_cache_unless_it_shares_a_buffer(shared):
    text = """
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x1x32xf32>
  %w = "graphs.constant"() : () -> tensor<32x96xf32>
  %b = "graphs.constant"() : () -> tensor<96xf32>
  %old = "graphs.input"() : () -> tensor<2x2x4x7x8xf32>
  %y, %new = "com.microsoft.Attention"(%x, %w, %b, %old) {num_heads = 4, past_present_share_buffer = SHARED,
    operandSegmentSizes = [1, 1, 1, 0, 1]} : (tensor<2x1x32xf32>, tensor<32x96xf32>, tensor<96xf32>,
    tensor<2x2x4x7x8xf32>) -> (tensor<2x1x32xf32>, tensor<2x2x4x8x8xf32>)
  "graphs.output"(%y) : (tensor<2x1x32xf32>) -> ()
  "graphs.output"(%new) : (tensor<2x2x4x8x8xf32>) -> ()
}) {sym_name = "step"} : () -> ()
"""
    graph = parse(text.replace("SHARED", str(shared)))
    assert pairs(graph) == [("old", "new")]
    moved = report_of(graph).total.kv_cache_bytes_moved
    assert moved == 2 * PAST + 2 * (NEW if shared else PRESENT)
