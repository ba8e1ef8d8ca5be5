"""Arenas as TensorFlow Lite Micro plans them, its kernels' working memory, and what a microcontroller must hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")

from tiny_tflite import INT8, INT32, RESOURCE, Operator, Subgraph, Tensor, model

import graphs
from graphs.passes.footprint import footprint
from graphs.passes.memory import Scratch
from graphs.targets import Quantity, Target, load_target
from graphs.targets.arena import Upkeep
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

MODELS = Path(graphs.__file__).parent / "examples" / "models"

# What the RecordingMicroAllocator reports (PyPI tflite-micro 0.dev20261023182759, x86-64, reference kernels):
# the head of the arena, where activations and working memory lie, and the whole with the tail, where state stays.
RECORDED = {
    "ad01_int8": (768, 3984),
    "kws_ref_model": (16000, 24272),
    "pretrainedResnet_quant": (49152, 55984),
    "vww_96_int8": (73728, 103680),
}


def run(name: str, target: str | Target = "nucleo-l4r5zi", passes: str = "fuse,lower,memory,cost") -> graphs.Report:
    return graphs.run(passes, graphs.load(MODELS / f"{name}.tflite"), target=target)


@pytest.mark.parametrize("name", RECORDED)
def test_the_arena_is_what_the_micro_allocator_plans(name: str) -> None:
    head, _ = RECORDED[name]
    assert run(name).total.arena_bytes == head
    assert run(name, passes="fuse,lower,cost").total.arena_bytes == head, "without the memory pass too"


def _loop() -> bytes:
    """``while (i < 5) { i += 1; x = x @ w }``."""
    count = Tensor("i", (), INT32)
    limit, one = (Tensor(name, (), INT32, data=np.int32(value).tobytes()) for name, value in (("limit", 5), ("one", 1)))
    zero = Tensor("zero", (), INT32, data=bytes(4))
    main = [count, Tensor("x", (4, 8)), Tensor("i_out", (), INT32), Tensor("y", (4, 8)), zero]
    loop = Operator("WHILE", [4, 1], [2, 3], "WhileOptions", {"CondSubgraphIndex": 1, "BodySubgraphIndex": 2})
    condition = [count, Tensor("x", (4, 8)), limit, Tensor("more", (), 6)]
    body = [count, Tensor("x", (4, 8)), one, Tensor("next", (), INT32), Tensor("w", (8, 8), data=bytes(256))]
    steps = [
        Operator("ADD", [0, 2], [3], "AddOptions"),
        Operator("FULLY_CONNECTED", [1, 4], [5], "FullyConnectedOptions"),
    ]
    return model(
        Subgraph(main, [loop], [1], [3]),
        Subgraph(condition, [Operator("LESS", [0, 2], [3])], [0, 1], [3]),
        Subgraph([*body, Tensor("xw", (4, 8))], steps, [0, 1], [3, 5]),
    )


def _choice() -> bytes:
    """``x @ w if c else relu(x)``."""
    x, y, weight = Tensor("x", (4, 8)), Tensor("y", (4, 8)), Tensor("w", (8, 8), data=bytes(256))
    choice = Operator("IF", [0, 1], [2], "IfOptions", {"ThenSubgraphIndex": 1, "ElseSubgraphIndex": 2})
    product = Operator("FULLY_CONNECTED", [0, 1], [2], "FullyConnectedOptions")
    return model(
        Subgraph([Tensor("c", (), 6), x, y], [choice], [0, 1], [2]),
        Subgraph([x, weight, y], [product], [0], [2]),
        Subgraph([x, y], [Operator("RELU", [0], [1])], [0], [1]),
    )


@pytest.mark.parametrize(("content", "head"), [(_loop(), 544), (_choice(), 528)], ids=["WHILE", "IF"])
def test_bodies_have_buffers_of_their_own_in_the_micro_arena(tmp_path: Path, content: bytes, head: int) -> None:
    """As recorded; where memory is shared, a body reads and writes what lies outside of it."""
    path = tmp_path / "control.tflite"
    path.write_bytes(content)
    graph = graphs.load(path)
    micro = graphs.run("fuse,lower,memory,cost", graph, target="nucleo-l4r5zi").total.arena_bytes
    shared = graphs.run("fuse,lower,memory,cost", graph, target="host:litert-xnnpack").total.arena_bytes
    assert micro == pytest.approx(head, rel=0.03)
    assert shared < micro


@pytest.mark.parametrize("name", RECORDED)
def test_upkeep_is_what_the_micro_allocator_keeps(name: str) -> None:
    """With the structures' sizes on the machine that recorded: pointers of eight bytes instead of four."""
    target = load_target("nucleo-l4r5zi")
    sizes = (Quantity(float(value), "B", None, "recorded") for value in (24, 64, 72, 8, 1050, 16000))
    wide = replace(target.runtime, arena=replace(target.runtime.arena, upkeep=Upkeep(*sizes)))
    head, whole = RECORDED[name]
    report = run(name)
    made = footprint(report.graph, replace(target, runtime=wide), head, report.total.weight_bytes)
    assert made is not None
    assert made.sram_bytes == pytest.approx(whole, rel=0.1)
    assert report.total.footprint is not None
    assert report.total.footprint.sram_bytes < whole


def test_flash_is_the_file_and_the_runtime() -> None:
    total = run("kws_ref_model").total
    made = total.footprint
    assert made is not None
    assert made.model_bytes == (MODELS / "kws_ref_model.tflite").stat().st_size
    assert made.flash_bytes == made.model_bytes + 16000
    assert (made.sram_size, made.flash_size) == (640 * 1024, 2 * 1024 * 1024)


def test_table_and_json_say_what_fits() -> None:
    report = run("kws_ref_model")
    assert "SRAM 23.0 kB of 655 kB (16.0 kB arena + " in emit("table", [report], View(width=120))
    written = json.loads(emit("json", [report], View()))["total"]["footprint"]
    assert written["arena_bytes"] == 16000
    assert written["sram_bytes"] == written["arena_bytes"] + written["upkeep_bytes"]
    assert json.loads(emit("json", [run("kws_ref_model", "host")], View()))["total"]["footprint"] is None


def scratch(folder: Path, name: str, tensors: list[Tensor], table: str, **options: object) -> int:
    """Working memory of one operator under CMSIS-NN."""
    path = folder / "one.tflite"
    last = len(tensors) - 1
    path.write_bytes(model(Subgraph(tensors, [Operator(name, range(last), [last], table, options)], [0], [last])))
    report = graphs.run("memory", graphs.load(path), target="nucleo-l4r5zi:tflite-micro-cmsis-nn")
    (op,) = report.graph.body
    fact = op.facts.get(Scratch)
    assert report.total.arena_bytes >= sum(value.bytes for value in (op.operands[0], op.result)) + (
        fact.bytes if fact else 0
    )
    return fact.bytes if fact else 0


def weights(*shape: int) -> Tensor:
    size = 1
    for extent in shape:
        size *= extent
    return Tensor("w", shape, INT8, bytes(size), scale=[1.0])


def test_cmsis_nn_unrolls_patches(tmp_path: Path) -> None:
    """arm_convolve_s8_get_buffer_size: two columns of kh·kw·C elements, padded to four, of 16 bits."""
    x, y = Tensor("x", (1, 9, 9, 3), INT8), Tensor("y", (1, 9, 9, 8), INT8)
    assert (
        scratch(tmp_path, "CONV_2D", [x, weights(8, 3, 3, 3), y], "Conv2DOptions", StrideH=1, StrideW=1) == 2 * 28 * 2
    )
    assert scratch(tmp_path, "CONV_2D", [x, weights(8, 1, 1, 3), y], "Conv2DOptions", StrideH=1, StrideW=1) == 0


def test_cmsis_nn_depthwise_and_pool(tmp_path: Path) -> None:
    """arm_depthwise_conv_s8_opt_get_buffer_size, and the sums of arm_avgpool_s8."""
    x, y = Tensor("x", (1, 9, 9, 8), INT8), Tensor("y", (1, 9, 9, 8), INT8)
    table = "DepthwiseConv2DOptions"
    assert (
        scratch(tmp_path, "DEPTHWISE_CONV_2D", [x, weights(1, 5, 5, 8), y], table, StrideH=1, StrideW=1)
        == 5 * 5 * 8 * 2
    )
    assert scratch(tmp_path, "DEPTHWISE_CONV_2D", [x, weights(1, 3, 3, 8), y], table, StrideH=1, StrideW=1) == 0
    pooled = Tensor("y", (1, 4, 4, 8), INT8)
    sizes = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 2, "StrideW": 2}
    assert scratch(tmp_path, "AVERAGE_POOL_2D", [x, pooled], "Pool2DOptions", **sizes) == 8 * 4


def test_state_keeps_its_place_in_the_arena(tmp_path: Path) -> None:
    """A variable tensor lives for as long as the interpreter does, so that nothing else lies where it is."""
    path = tmp_path / "state.tflite"
    tensors = [
        Tensor("x", (64,)),
        Tensor("s", (64,), variable=True),
        Tensor("a", (64,)),
        Tensor("b", (64,)),
        Tensor("c", (64,)),
    ]
    ops = [Operator("ADD", [0, 1], [2], "AddOptions"), Operator("TANH", [2], [3]), Operator("TANH", [3], [4])]
    path.write_bytes(model(Subgraph(tensors, ops, [0], [4])))
    total = graphs.run("memory", graphs.load(path), target="nucleo-l4r5zi").total
    assert total.arena_bytes == 3 * 256


def test_runtimes_lay_out_activations_each_in_its_way() -> None:
    """XNNPACK's interpreter writes in place and shares reshapes; both plans are of the same kernels."""
    micro, shared = run("pretrainedResnet_quant"), run("pretrainedResnet_quant", "intel-core-i7-12700k:litert-xnnpack")
    assert shared.total.peak_activation_bytes <= micro.total.peak_activation_bytes
    assert shared.total.footprint is None


def test_xnnpack_fuses_what_stands_alone(tmp_path: Path) -> None:
    """A clamp into the node before it, a padding into the convolution after it."""
    path = tmp_path / "padded.tflite"
    pads = Tensor("pads", (4, 2), INT32, np.array([0, 0, 1, 1, 1, 1, 0, 0], "<i4"))
    tensors = [Tensor("x", (1, 8, 8, 4)), pads, Tensor("p", (1, 10, 10, 4))]
    tensors += [Tensor("w", (4, 3, 3, 4), data=bytes(576)), Tensor("c", (1, 8, 8, 4)), Tensor("y", (1, 8, 8, 4))]
    ops = [
        Operator("PAD", [0, 1], [2]),
        Operator("CONV_2D", [2, 3], [4], "Conv2DOptions", {"Padding": 1, "StrideH": 1, "StrideW": 1}),
        Operator("RELU6", [4], [5]),
    ]
    path.write_bytes(model(Subgraph(tensors, ops, [0], [5])))
    report = graphs.run("fuse,lower", graphs.load(path), target="intel-core-i7-12700k:litert-xnnpack")
    assert [kernel.pattern for kernel in report.kernels] == ["PAD_CONV_2D_RELU6"]


def test_resource_variables_are_kept_apart_from_the_arena(tmp_path: Path) -> None:
    """A streaming network keeps its past in variables: memory of the interpreter's, not of the arena."""
    path = tmp_path / "streaming.tflite"
    sizes = []
    for extent in (16, 1016):
        tensors = [Tensor("x", (extent,)), Tensor("handle", (), RESOURCE), Tensor("y", (extent,))]
        ops = [
            Operator("VAR_HANDLE", [], [1], "VarHandleOptions", {"SharedName": "past"}),
            Operator("READ_VARIABLE", [1], [2]),
            Operator("ASSIGN_VARIABLE", [1, 0], []),
        ]
        path.write_bytes(model(Subgraph(tensors, ops, [0], [2])))
        report = graphs.run("fuse,lower", graphs.load(path), target="nucleo-l4r5zi")
        assert [op.name for op in report.graph.body][-1] == "tfl.ASSIGN_VARIABLE", "it has an effect, and no result"
        made = report.total.footprint
        assert made is not None
        sizes.append(made.upkeep_bytes)
    assert sizes[1] - sizes[0] == 4 * 1000
