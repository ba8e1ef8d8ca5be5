"""Networks with open dimensions, bound three ways: every value's type is the one that onnxruntime's run shows.

``benchmarks/dynamic_shapes.py`` shows the same of many more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
from claims.dynamic import compare, depending_on_data, open_inputs, when_bound
from claims.models import BUNDLED
from claims.shapes import inferred_types
from conftest import Run
from execution import Executed, executed_shapes
from onnx import TensorProto, helper
from zoo import ARCHITECTURES

from graphs.ir import DType, Symbol, TensorType, substitute

NAMES = sorted(path.stem for path in (BUNDLED / "dynamic").glob("*.onnx"))
FOLLOWING_FROM_DATA = {"detector_head": 6, "selected_tokens": 6}
"""How many values of these are open whatever is bound: what NonZero finds, and what is made of it."""

NAMED = {"wav2vec2": 4}
"""How many values have an extent that only gets a name until it is bound: a Range over what divisions leave."""

BOUND = [(name, dims) for name in NAMES for dims in ARCHITECTURES[name].bindings]


def test_the_networks_are_there() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize(("name", "dims"), BOUND, ids=lambda value: value if isinstance(value, str) else str(value))
def test_types_are_those_of_a_run(name: str, dims: Mapping[str, int]) -> None:
    comparison = when_bound(BUNDLED / "dynamic" / f"{name}.onnx", dims)
    assert not comparison.faults
    assert comparison.open == FOLLOWING_FROM_DATA.get(name, 0)
    assert comparison.equal == comparison.values - comparison.open > 0


@pytest.mark.parametrize("name", NAMES)
def test_types_inferred_while_open_become_those_of_a_run(name: str) -> None:
    """Binding afterwards gives what binding before gives, also where the file states a wrong extent (the LSTM's)."""
    path, dims = BUNDLED / "dynamic" / f"{name}.onnx", ARCHITECTURES[name].bindings[2]
    bound = {value: substitute(type, dims) for value, type in inferred_types(path).items()}
    executed = executed_shapes(path, dims=dims)
    comparison = compare(bound, executed, executed if name in NAMED else depending_on_data(path))
    assert not comparison.faults
    assert comparison.open == {**FOLLOWING_FROM_DATA, **NAMED}.get(name, 0)


def test_a_network_made_for_one_size_is_opened(tmp_path: Path) -> None:
    opened = open_inputs(BUNDLED / "squeezenet1_1.onnx", tmp_path / "opened.onnx", ("height", "width"))
    assert opened is not None
    comparison = when_bound(opened, {"height": 64, "width": 96})
    assert comparison.equal == comparison.values > 60


# -- the comparison itself --------------------------------------------------------------------------------------------

OPEN = TensorType(DType.F32, (2, Symbol("found")))


@pytest.mark.parametrize(
    ("inferred", "ran_as", "depends", "outcome"),
    [
        (TensorType(DType.F32, (2, 3)), (2, 3), False, "equal"),
        (TensorType(DType.F32, (2, 4)), (2, 3), False, "wrong"),
        (TensorType(DType.F32, (2, 4)), (2, 3), True, "wrong"),
        (TensorType(DType.F16, (2, 3)), (2, 3), True, "wrong"),
        (OPEN, (2, 3), True, "open"),
        (OPEN, (2, 3), False, "wrong"),
        (OPEN, (5, 3), True, "wrong"),
        (OPEN, (2, 3, 1), True, "wrong"),
        (TensorType(DType.F32, None), (2, 3), True, "open"),
    ],
)
def test_an_open_extent_must_follow_from_data(
    inferred: TensorType, ran_as: tuple[int, ...], depends: bool, outcome: str
) -> None:
    executed = {"v": Executed("float32", ran_as)}
    comparison = compare({"v": inferred}, executed, {"v"} if depends else set())
    found = {"equal": comparison.equal, "open": comparison.open, "wrong": len(comparison.faults)}
    assert found == {"equal": 0, "open": 0, "wrong": 0, outcome: 1}


# -- what is stated of a value and what follows -----------------------------------------------------------------------


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """A model whose input was given another batch by hand, while the rest of the file speaks of the old one."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Exp", ["y"], ["z"])],
        "stale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])],
        value_info=[helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
    )
    path = tmp_path / "stale.onnx"
    onnx.save(helper.make_model(graph), path)
    return path


def test_what_follows_is_used_and_the_contradiction_told(run: Run, stale: Path) -> None:
    outcome = run("--passes=lower", "--emit=csv", stale)
    assert outcome.code == 0
    assert "'y' is stated as tensor<2x3xf32>, but comes out as tensor<5x3xf32> (and 1 more)" in outcome.err
    assert run("--passes=lower", "--strict", stale).code != 0
