"""The architectures that claims are checked on say consistently what is open in them."""

from __future__ import annotations

import pytest
from zoo import ARCHITECTURES, Architecture

EACH = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())


@EACH
def test_every_open_dimension_is_bound_three_ways(architecture: Architecture) -> None:
    open_dims = {dim for item in architecture.inputs for dim in item.shape if isinstance(dim, str)}
    assert open_dims
    assert [set(binding) for binding in architecture.bindings] == [open_dims] * 3
    assert len({tuple(sorted(binding.items())) for binding in architecture.bindings}) == 3


@EACH
def test_nothing_that_is_open_looks_constant_to_an_exporter(architecture: Architecture) -> None:
    """It takes an extent of 1 for a constant."""
    assert min(architecture.bindings[0].values()) > 1


def test_values_have_the_extents_that_they_are_bound_to() -> None:
    pytest.importorskip("torch")
    architecture = ARCHITECTURES["cached_decoder"]
    values = architecture.arguments({"batch": 3, "seq": 1, "past": 4})
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "tokens": (3, 1),
        "past_key": (3, 2, 4, 16),
        "past_value": (3, 2, 4, 16),
    }
    assert values["tokens"].max() < 10
    assert architecture.dynamic_shapes()["past_key"] == {0: "batch", 2: "past"}
