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

CASES: dict[str, Callable[[Model], str]] = {}


def case(build: Callable[[Model], str]) -> Callable[[Model], str]:
    CASES[build.__name__] = build
    return build


def conv(m: Model, x: str, channels: tuple[int, int], **attributes: int) -> str:
    return m.op("Conv", x, m.constant(np.ones((*channels, 1, 1), np.float32)), **attributes)


@case
def residual_of_aligned_channels(m: Model) -> str:
    first = m.op("Relu", conv(m, m.input(1, 3, 8, 8), (20, 3)))
    return m.op("Relu", m.op("Add", conv(m, first, (20, 20)), first))


@case
def residual_of_channels_that_cannot_be_reordered(m: Model) -> str:
    first = m.op("Relu", conv(m, m.input(1, 3, 8, 8), (30, 3)))
    return m.op("Relu", m.op("Add", conv(m, first, (30, 30)), first))


@pytest.mark.parametrize("build", [pytest.param(build, id=name) for name, build in CASES.items()])
def test_kernels_are_those_of_the_optimised_graph(build: Callable[[Model], str], tmp_path: Path) -> None:
    model = Model(opset=18)
    path = model.saved(tmp_path, build(model))
    executed = Counter(key_of_executed(kernel) for kernel in executed_kernels(path) if not kernel.is_view)
    assert Counter(predicted_kernels(path)) == executed
