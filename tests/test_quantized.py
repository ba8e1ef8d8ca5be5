"""Networks that onnxruntime's own quantisers quantised: work, weights and kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from claims.models import BUNDLED
from claims.quantized import CLAIM, RUNTIME, agreement, is_integer, weight_shares
from quantise import FORMATS, quantise

import graphs

Quantised = Callable[[str, str], Path]

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "squeezenet1_1", "bert_base")
"""The five that the claim is made of, in every format."""

RIGHT = {("squeezenet1_1", how) for how in FORMATS} | {("mobilenet_v2", "qdq"), ("mobilenet_v2", "dynamic")}
"""Those of which every kernel is predicted rightly, among the quick ones."""


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    """A network quantised in a format, made once."""
    folder, made = tmp_path_factory.mktemp("quantised"), dict[tuple[str, str], Path]()

    def make(name: str, how: str) -> Path:
        if (name, how) not in made:
            made[name, how] = quantise(BUNDLED / f"{name}.onnx", how, folder / f"{name}.{how}.onnx")
        return made[name, how]

    return make


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_macs_are_those_of_the_float_network(name: str, how: str, quantised: Quantised) -> None:
    before = graphs.run("fuse,lower", graphs.load(BUNDLED / f"{name}.onnx"), target=RUNTIME)
    after = graphs.run("fuse,lower", graphs.load(quantised(name, how)), target=RUNTIME)
    assert after.total.macs == before.total.macs > 0
    assert after.total.exact


@pytest.mark.parametrize("how", FORMATS)
def test_quantised_weights_take_a_quarter_of_the_bytes(how: str, quantised: Quantised) -> None:
    """Biases stay at 32 bits, and there are scales and zero points beside: the whole is a little over a quarter."""
    quarter, whole = weight_shares(BUNDLED / "mobilenet_v2.onnx", quantised("mobilenet_v2", how))
    assert quarter == 0.25
    assert 0.25 < whole < 0.2502


@pytest.mark.parametrize(("name", "how"), sorted(RIGHT))
def test_kernels_are_those_of_the_optimised_graph(name: str, how: str, quantised: Quantised) -> None:
    found = agreement(quantised(name, how))
    assert found.predicted > 40
    assert (found.all_kernels, found.integer_kernels) == (1.0, 1.0)


def test_what_runs_in_floats_is_told_from_what_runs_on_integers(quantised: Quantised) -> None:
    """Without the rules that make integer kernels, shapes and kinds still agree in part; the operators do not."""
    path = quantised("squeezenet1_1", "qdq")
    report = graphs.run("fuse{rules=none}", graphs.load(path), target=RUNTIME)
    assert not any(kernel.pattern.startswith("QLinear") for kernel in report.kernels)
    patterns = [kernel.pattern for kernel in graphs.run("fuse", graphs.load(path), target=RUNTIME).kernels]
    assert patterns.count("QLinearConv") == 2 and patterns.count("QLinearConcat") == 8
    assert sum(is_integer(pattern) for pattern in patterns) < len(patterns)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_claim_holds(name: str) -> None:
    row = CLAIM.check(BUNDLED / f"{name}.onnx")
    assert not row.faults
    assert min(float(figure) for index, figure in enumerate(row.figures) if index % 3 < 2) > 0.97
