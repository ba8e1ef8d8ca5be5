"""The parameters of the model, all logarithms, and what is expected of them: ``priors.yaml``, read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...ir.primitives import Normalization
from ...targets.document import parse_document
from ..kernel import Kernel

__all__ = ["AFFINE", "CALLS", "KINDS", "LIBRARY", "NAMES", "STATE", "VIEW_CALL", "kind_of_kernel", "position", "prior"]

Floats = NDArray[np.float64]

VIEW_CALL = "view_call"
CALLS = ("shape_call", VIEW_CALL, "module_call")
"""Calls that launch nothing and take their time: of a tensor's shape, of a view, of a module that evaluation skips."""

KINDS = (
    "conv2d", "conv2d_pointwise", "conv2d_depthwise", "conv2d_grouped", "matmul", "matmul_activation", "softmax",
    "normalization", "batch_normalization", "elementwise", "transcendental", "reduction", "pool", "layout", "gather",
    *CALLS,
)  # fmt: skip
"""Kinds of launches that have a dispatch time and a rate of work of their own."""

LIBRARY = (*KINDS[:6], "normalization", "batch_normalization")
"""Kinds whose kernels a library of kernels provides, with more to do for a launch than PyTorch's own."""

AFFINE = 2
"""Operations for each element of a normalisation with known statistics: a scale and a shift."""

_SIZES = ("gemm_rows", "gemm_columns", "gemm_inner", "conv_rows", "conv_columns", "conv_inner")
_MEMORY = ("far_byte", "near_byte", "weight_byte", "near_bytes", "swept_bytes")
_LAUNCHING = ("cold_factor", "cold_bytes", "threads", "sample")
STATE = ("overlap", "slow_clock", "clock_load", "clock_own", "clock_sharpness", "idle_factor", "idle_flops")
"""What a power mode changes, beyond the rates."""

_SCALARS = (*_SIZES, *_MEMORY, *_LAUNCHING, *STATE, "idle_sharpness")
NAMES = (*(f"dispatch {kind}" for kind in KINDS), *(f"work {kind}" for kind in KINDS), *_SCALARS)
"""Names of all parameters, in the order of every vector of them."""

_OF_TYPE = {
    "attention": "matmul_activation", "recurrent": "matmul", "conv1d": "conv2d", "conv3d": "conv2d",
    "conv_transpose": "conv2d", "scan": "reduction", "generic": "layout",
}  # fmt: skip
_CHEAP = frozenset({"add", "sub", "mul", "relu", "clip", "max", "min", "neg", "abs"})
_OFF, _HELD = -30.0, 1e-3
_HALF = ("fp16", "bf16")
_PLACE = {name: index for index, name in enumerate(NAMES)}


def position(name: str) -> int:
    """Return where a parameter stands."""
    return _PLACE[name]


def kind_of_kernel(kernel: Kernel) -> str:
    """Return the one of :data:`KINDS` that a kernel is."""
    if not kernel.primitives:
        return kernel.pattern if kernel.pattern in CALLS else "layout" if kernel.bytes else VIEW_CALL
    name = _OF_TYPE.get(kernel.operation_type, kernel.operation_type)
    main = kernel.main
    if isinstance(main, Normalization) and main.per_element == AFFINE:
        return "batch_normalization"
    if name == "elementwise" and str(getattr(main, "function", "")).lower() not in _CHEAP:
        return "transcendental"
    return name


@cache
def prior(device_class: str, precision: str) -> tuple[Floats, Floats]:
    """Return the expected logarithms of all parameters and their standard deviations.

    Parameters that a class of device does not have are held at what switches them off.
    """
    text = files(__package__).joinpath("priors.yaml").read_text(encoding="utf-8")
    written: dict[str, Any] = parse_document(text, "priors.yaml").to_python()[device_class]
    given = {name: written[name] for name in _SCALARS if name in written}
    half = written["half_work"] if precision in _HALF else {}
    for kind in KINDS:
        given[f"dispatch {kind}"] = written["dispatch"].get(kind, written["dispatch"]["default"])
        given[f"work {kind}"] = half.get(kind, written["work"].get(kind, written["work"]["default"]))
    mean, std = np.full(len(NAMES), _OFF), np.full(len(NAMES), _HELD)
    for name, (value, spread) in given.items():
        mean[_PLACE[name]], std[_PLACE[name]] = log(value), spread
    return mean, std
