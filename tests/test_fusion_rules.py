"""Rules for networks of floats, a few operators at a time: the kernels predicted against those that onnxruntime makes.

Each case is a network that one rule decides; onnxruntime's optimised graph of the very model is what is right. Its
rules differ between processors: these are the ones of x86-64.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from claims.kernels import key_of_executed, predicted_kernels
from kernels import executed_kernels
from rule_models import Model

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the rules are those of x86-64")

Build = Callable[[Model], tuple[str, ...]]
CASES: dict[str, Build] = {}


def case(build: Build) -> Build:
    CASES[build.__name__] = build
    return build


def conv(m: Model, x: str, channels: tuple[int, int], **attributes: int) -> str:
    return m.op("Conv", x, m.constant(np.ones((*channels, 1, 1), np.float32)), **attributes)


def normalised(m: Model, x: str, channels: int) -> str:
    return m.op("BatchNormalization", x, *(m.constant(np.ones(channels, np.float32)) for _ in range(4)))


def turned(m: Model, x: str, *perm: int) -> str:
    return m.op("Transpose", x, perm=list(perm))


def integers(m: Model, *values: int) -> str:
    return m.constant(np.array(values, np.int64))


def sliced(m: Model, x: str, start: int, end: int, axis: int) -> str:
    return m.op("Slice", x, integers(m, start), integers(m, end), integers(m, axis))


def picked(m: Model, x: str, index: int, axis: int) -> str:
    return m.op("Gather", x, m.constant(np.int64(index)), axis=axis)


# -- the blocked layout -----------------------------------------------------------------------------------------------


@case
def residual_of_aligned_channels(m: Model) -> tuple[str, ...]:
    first = m.op("Relu", conv(m, m.input(1, 3, 8, 8), (20, 3)))
    return (m.op("Relu", m.op("Add", conv(m, first, (20, 20)), first)),)


@case
def residual_of_channels_that_cannot_be_reordered(m: Model) -> tuple[str, ...]:
    first = m.op("Relu", conv(m, m.input(1, 3, 8, 8), (30, 3)))
    return (m.op("Relu", m.op("Add", conv(m, first, (30, 30)), first)),)


@case
def gelu_of_a_blocked_value(m: Model) -> tuple[str, ...]:
    return (m.op("Exp", normalised(m, m.op("Gelu", conv(m, m.input(1, 3, 8, 8), (16, 3))), 16)),)


@case
def erf_of_a_blocked_value(m: Model) -> tuple[str, ...]:
    return (m.op("Exp", normalised(m, m.op("Erf", conv(m, m.input(1, 3, 8, 8), (16, 3))), 16)),)


# -- transposes -------------------------------------------------------------------------------------------------------


@case
def transpose_that_meets_none(m: Model) -> tuple[str, ...]:
    return (m.op("Softmax", m.op("Relu", turned(m, m.input(5, 16, 49), 0, 2, 1))),)


@case
def transpose_that_meets_another(m: Model) -> tuple[str, ...]:
    value = m.op("Softmax", m.op("Relu", turned(m, m.input(5, 16, 49), 0, 2, 1)), axis=-1)
    return (m.op("Exp", turned(m, value, 0, 2, 1)),)


@case
def transpose_before_a_returned_value(m: Model) -> tuple[str, ...]:
    value = m.op("Relu", turned(m, m.input(5, 16, 49), 0, 2, 1))
    return value, m.op("Exp", turned(m, m.op("Sigmoid", value), 0, 2, 1))


@case
def transpose_of_one_of_two_terms(m: Model) -> tuple[str, ...]:
    value = m.op("Add", turned(m, m.input(1, 16, 4, 8), 0, 2, 1, 3), m.input(8))
    return (m.op("Exp", turned(m, value, 0, 2, 1, 3)),)


@case
def transpose_before_a_squeeze(m: Model) -> tuple[str, ...]:
    value = m.op("Squeeze", turned(m, m.input(5, 16, 1, 49), 2, 0, 3, 1), integers(m, 0))
    return (m.op("Exp", turned(m, m.op("Relu", value), 0, 2, 1)),)


@case
def transpose_before_a_squeeze_that_several_read(m: Model) -> tuple[str, ...]:
    value = m.op("Squeeze", turned(m, m.input(5, 16, 1, 49), 2, 0, 3, 1), integers(m, 0))
    value = m.op("Div", value, m.op("ReduceL2", value, integers(m, -1)))
    return (m.op("Exp", turned(m, value, 0, 2, 1)),)


@case
def transpose_before_reductions(m: Model) -> tuple[str, ...]:
    value = turned(m, m.input(2, 3, 5, 6), 0, 2, 3, 1)
    kept = m.op("Sub", value, m.op("ReduceMean", value, integers(m, -1)))
    return m.op("Exp", turned(m, kept, 0, 3, 1, 2)), m.op("Exp", m.op("ReduceMax", kept, integers(m, 1), keepdims=0))


@case
def transpose_before_padding(m: Model) -> tuple[str, ...]:
    value = turned(m, m.input(2, 3, 5, 6), 0, 2, 3, 1)
    value = m.op("Pad", value, integers(m, 0, 1, 2, 0, 0, 1, 0, 0))
    return (m.op("Exp", turned(m, m.op("Tile", value, integers(m, 1, 1, 2, 1)), 0, 3, 1, 2)),)


@case
def transpose_before_a_reshape_that_takes_apart(m: Model) -> tuple[str, ...]:
    value = m.op("Reshape", turned(m, m.input(2, 16, 49), 0, 2, 1), integers(m, 2, 7, 7, 16))
    return (m.op("Exp", turned(m, value, 0, 3, 1, 2)),)


@case
def transpose_before_a_reshape_that_puts_together(m: Model) -> tuple[str, ...]:
    value = m.op("Reshape", turned(m, m.input(2, 16, 7, 7), 0, 2, 3, 1), integers(m, 2, 49, 16))
    return (m.op("Exp", turned(m, value, 0, 2, 1)),)


@case
def transpose_of_what_reshapes_leave_alone(m: Model) -> tuple[str, ...]:
    keys = m.op("Reshape", turned(m, m.input(1, 49, 4, 16), 0, 2, 1, 3), integers(m, -1, 49, 16))
    keys = m.op("Reshape", turned(m, keys, 0, 2, 1), integers(m, 1, 4, 16, 49))
    scale = m.constant(np.float32(0.5))
    queries = turned(m, m.input(1, 49, 4, 16), 0, 2, 1, 3)
    return (m.op("MatMul", m.op("Mul", queries, scale), m.op("Mul", keys, scale)),)


@case
def transpose_before_a_split_that_leads_to_a_reshape(m: Model) -> tuple[str, ...]:
    first = m.op("Split", turned(m, m.input(2, 49, 4, 48), 0, 2, 1, 3), results=3, axis=3, num_outputs=3)
    keys = m.op("Reshape", f"{first}_1", integers(m, -1, 49, 16))
    keys = m.op("Reshape", turned(m, keys, 0, 2, 1), integers(m, 2, 4, 16, 49))
    return (m.op("MatMul", m.op("Softmax", m.op("MatMul", first, keys), axis=-1), f"{first}_2"),)


# -- splits -----------------------------------------------------------------------------------------------------------


@case
def gathers_of_a_transposed_value(m: Model) -> tuple[str, ...]:
    value = turned(m, m.input(1, 16, 3, 4, 8), 2, 0, 3, 1, 4)
    return tuple(m.op("Exp", picked(m, value, index, 0)) for index in (0, 1))


@case
def slices_beside_another_reader(m: Model) -> tuple[str, ...]:
    value = m.op("Relu", m.input(1, 4, 16))
    turned_by = m.op("Concat", m.op("Neg", sliced(m, value, 8, 1000, 2)), sliced(m, value, 0, 8, 2), axis=-1)
    return (m.op("Add", m.op("Sigmoid", value), turned_by),)


@case
def gather_and_slice_side_by_side(m: Model) -> tuple[str, ...]:
    value = m.op("Relu", m.input(1, 17, 8))
    return m.op("Exp", picked(m, value, 0, 1)), m.op("Exp", sliced(m, value, 1, 1000, 1)), m.op("Sigmoid", value)


@pytest.mark.parametrize("build", [pytest.param(build, id=name) for name, build in CASES.items()])
def test_kernels_are_those_of_the_optimised_graph(build: Build, tmp_path: Path) -> None:
    model = Model(opset=20)
    path = model.saved(tmp_path, *build(model))
    executed = Counter(key_of_executed(kernel) for kernel in executed_kernels(path) if not kernel.is_view)
    assert Counter(predicted_kernels(path)) == executed
