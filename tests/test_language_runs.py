"""Decoders against onnxruntime: the types that it makes when it runs a step, and the work that follows from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from claims.shapes import inferred_types, type_faults
from decoder_models import Decoder, as_built, as_exported
from execution import Executed, shapes_of_run
from macs import count_macs
from materialise import materialised, random_inputs

import graphs

DECODERS = Path(__file__).parents[1] / "examples" / "decoders"
MODELS = sorted(DECODERS.glob("*.onnx"))
STEP = {"batch": 1, "seq": 3, "past": 5}
EXTENTS = {**STEP, "past + seq": 8, "2": 2, "24": 24}

DENSE = Decoder(layers=2, hidden=96, heads=6, kv_heads=2, head=32, vocab=320, dense_ffn=160)
MIXED = Decoder(2, 96, 6, 2, 32, 320, 160, ffn=64, experts=8, chosen=2, shared=True, moe_step=2)
BUILT = {
    "packed attention": as_built(DENSE),
    "apart": as_built(DENSE, packed_attention=False),
    "4 bits": as_built(DENSE, bits=4),
    "8 bits": as_built(DENSE, bits=8),
    "packed experts": as_built(MIXED, bits=4),
}
"""Experts that are not packed have no kernel on the CPU."""


def executed(path: Path) -> dict[str, Executed]:
    """The types of all values of a step, with made-up weights and a mask that hides nothing."""
    inputs = random_inputs(onnx.load(path, load_external_data=False), 0, dims=EXTENTS)
    inputs["attention_mask"] = np.ones_like(inputs.get("attention_mask", np.zeros(1, np.int64)))
    named = {value.name for value in onnx.load(path, load_external_data=False).graph.input}
    with materialised(path) as complete:
        return shapes_of_run(complete, {name: value for name, value in inputs.items() if name in named})


def in_single_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The CPU has no half-precision kernels of all contrib operators; types of values follow either way."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for tensor in copy.graph.initializer:
        tensor.data_type = single if tensor.data_type == half else tensor.data_type
    for value in copy.graph.input:
        type_ = value.type.tensor_type
        type_.elem_type = single if type_.elem_type == half else type_.elem_type
    return copy


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_exported_decoders_are_typed_as_they_run(path: Path) -> None:
    found = executed(path)
    faults = type_faults(inferred_types(path, STEP), found)
    if path.stem != "mixtral_grouped":  # which rows an expert gets is up to the data
        assert faults == []
    if path.stem != "llama_attention":  # which the count knows nothing of
        macs = graphs.run("lower", graphs.load(path), dims=STEP).total.macs
        assert macs == sum(count_macs(path, found).per_node.values())


@pytest.mark.parametrize("name", BUILT)
def test_built_decoders_are_typed_as_they_run(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(in_single_precision(BUILT[name]).SerializeToString())
    found = executed(path)
    assert type_faults(inferred_types(path, STEP), found) == []
    presents = [
        value.shape for key, value in found.items() if key.startswith("groupqueryattention") and key[-2:] == ".1"
    ]
    assert presents == [(1, 2, 8, 32)] * 2


def test_experts_one_by_one_do_the_work_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(in_single_precision(as_exported(MIXED)).SerializeToString())
    found = sum(count_macs(path, executed(path)).per_node.values())
    assert found == graphs.run("lower", graphs.load(path), dims=STEP).total.macs == MIXED.macs(1, 3, 5)
