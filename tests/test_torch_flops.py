"""Multiply-accumulates against PyTorch's own counter, on the bundled networks that were exported from these modules.

``benchmarks/torch_flops.py`` shows the same of sixty architectures.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from claims.models import BUNDLED
from claims.torch_macs import agreement, lowered_macs
from flop_counter import Counted, counted
from onnx import helper
from tiny_models import BOOL, floats, model, value, weight
from zoo import ARCHITECTURES

PLAIN = ("cached_decoder", "detector_head", "feature_pyramid", "unet")
LANGUAGE = ("gpt2", "llama", "wav2vec2")
"""It takes seconds to import what builds these."""


@pytest.mark.parametrize("name", [*PLAIN, *(pytest.param(name, marks=pytest.mark.slow) for name in LANGUAGE)])
@pytest.mark.parametrize("binding", [0, 2])
def test_every_operator_has_the_macs_that_torch_counts(name: str, binding: int) -> None:
    architecture = ARCHITECTURES[name]
    for package in ("torch", *architecture.needs):
        pytest.importorskip(package)
    dims = architecture.bindings[binding]
    theirs = counted(architecture.module(), architecture.arguments(dims))
    found = agreement(theirs, *lowered_macs(BUNDLED / "dynamic" / f"{name}.onnx", dims))
    assert (found.differences, found.faults) == ((), ())
    assert found.equal == len(theirs) > 2
    assert found.theirs == found.ours


def test_a_recurrent_layer_is_the_products_of_its_steps() -> None:
    pytest.importorskip("torch")
    architecture = ARCHITECTURES["lstm"]
    theirs = counted(architecture.module(), architecture.arguments())
    found = agreement(theirs, *lowered_macs(BUNDLED / "dynamic" / "lstm.onnx", architecture.bindings[0]))
    assert found.theirs == found.ours == {"conv": 0, "matmul": 360_000}
    assert found.faults == ()
    (difference,) = found.differences
    assert "2 onnx.LSTM = 353,280 here: one recurrent layer" in difference


# -- the comparison itself --------------------------------------------------------------------------------------------


def test_sums_that_agree_are_not_enough() -> None:
    theirs = [Counted("aten.mm", "matmul", 10), Counted("aten.mm", "matmul", 20)]
    ours = [Counted("onnx.MatMul", "matmul", 15), Counted("onnx.MatMul", "matmul", 15)]
    assert agreement(theirs, ours).faults == ("matmul: 2 aten.mm = 30 there, 2 onnx.MatMul = 30 here",)


def test_classes_are_not_mixed_up() -> None:
    found = agreement([Counted("aten.convolution", "conv", 10)], [Counted("onnx.MatMul", "matmul", 10)])
    assert len(found.faults) == 2


def test_a_recurrent_layer_explains_no_other_sum() -> None:
    theirs = [Counted("aten.mm", "matmul", 10), Counted("aten.mm", "matmul", 21)]
    assert agreement(theirs, [Counted("onnx.LSTM", "matmul", 30)]).faults
    assert agreement([Counted("aten.mm", "matmul", 10)], [], ["onnx.Softmax"]).faults
    assert agreement([Counted("aten.mm", "matmul", 10)], [], ["onnx.MatMul"]).differences


def test_a_product_of_rows_that_data_choose_is_left_open(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Compress", ["x", "kept"], ["rows"], axis=0),
        helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    inputs = [value("x", [6, 4]), value("kept", [6], BOOL)]
    path = tmp_path / "chosen.onnx"
    onnx.save(model(nodes, inputs, ["y"], [weight("w", floats(4, 3))]), path)
    ours, uncounted = lowered_macs(path, {})
    assert (ours, "onnx.MatMul" in uncounted) == ([], True)
    found = agreement([Counted("aten.mm", "matmul", 36)], ours, uncounted)
    assert found.faults == ()
    assert "follows from data" in found.differences[0]
