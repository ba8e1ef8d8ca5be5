"""The same network captured from PyTorch and as the ONNX that PyTorch exports: the same work, weights and peak."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from doors import doors  # noqa: E402  # what is a benchmark is no package
from zoo import ARCHITECTURES  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "unet", "autoencoder", "super_resolution", "gru"])
def test_two_doors_agree(name: str, tmp_path: Path) -> None:
    import logging

    logging.disable(logging.WARNING)
    try:
        direct, exported = doors(ARCHITECTURES[name], tmp_path)
    finally:
        logging.disable(logging.NOTSET)
    assert direct.macs and direct.macs == exported.macs
    assert direct.parameter_bytes == exported.parameter_bytes > 0
    if name != "gru":  # whose export has transposes around it
        assert direct.plan.peak_bytes == pytest.approx(exported.plan.peak_bytes, rel=0.02)
