"""Quantise a network with onnxruntime's own quantisers, on made-up weights and made-up calibration inputs.

`qdq` and `qoperator` are the static quantiser's two formats, with its defaults: signed 8-bit activations and weights,
one scale for each tensor. `dynamic` is the dynamic quantiser.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from materialise import materialise, random_inputs
from onnxruntime import quantization

__all__ = ["FORMATS", "quantise"]

FORMATS = ("qdq", "qoperator", "dynamic")


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """One set of random inputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._left = [random_inputs(model)]

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        return self._left.pop() if self._left else None


def quantise(path: Path, how: str, target: Path, **options: Any) -> Path:
    """Write the network of `path`, quantised in the format `how`, to `target`; `options` go to the quantiser."""
    model = materialise(path)
    with _quiet():
        if how == "dynamic":
            quantization.quantize_dynamic(model, target, **options)
        else:
            chosen = {"qdq": quantization.QuantFormat.QDQ, "qoperator": quantization.QuantFormat.QOperator}[how]
            quantization.quantize_static(model, target, _Reader(model), quant_format=chosen, **options)
    return target


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantisers advise to preprocess, on the root logger."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
