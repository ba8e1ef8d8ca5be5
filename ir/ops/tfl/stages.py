"""What TFLite kernels do before and after their own work: quantise activations, requantise sums, apply an activation.

Integers of at most 16 bits are quantised numbers, floating-point activations that meet such weights make a hybrid
kernel: it finds the range of its activations and quantises them each time (dynamic-range quantisation).
"""

from __future__ import annotations

from ...graph import Op
from ...primitives import Elementwise, Primitive, Reduction
from ...types import DType, TensorType
from ..contraction import REQUANTIZE_OPS
from ..elementwise import activation_ops
from ..reading import dims, elements, largest, size, tensor, text

__all__ = [
    "SCALE_OPS",
    "activated",
    "activation",
    "arithmetic_dtype",
    "is_quantized",
    "quantized_input",
    "result_type",
    "scaled_ops",
    "unary_ops",
]

SCALE_OPS = 2
"""Subtract the zero point, multiply by the scale."""

_QUANTIZED_BITS = 16

# Operations per element of a fused activation; a clamp to two sides takes two comparisons.
_ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 2, "TANH": 1, "SIGN_BIT": 1}
_CLAMPS = frozenset({"NONE", "RELU", "RELU_N1_TO_1", "RELU6"})


def result_type(op: Op, index: int = 0) -> TensorType:
    """Return the type of a result that must be a tensor."""
    type_ = op.results[index].type
    if not isinstance(type_, TensorType):
        raise ValueError(f"result {index} of {op.name} is no tensor")
    return type_


def is_quantized(dtype: DType) -> bool:
    """Whether elements of this type stand for scaled numbers."""
    return dtype.is_integer and dtype is not DType.BOOL and dtype.bits <= _QUANTIZED_BITS


def activation(op: Op) -> tuple[Primitive, ...]:
    """The activation fused into a kernel; requantised results are saturated to a clamp's bounds, which is no work."""
    name = text(op, "fused_activation_function", "NONE")
    if name not in _ACTIVATIONS:
        raise ValueError(f"no activation function {name!r}")
    dtype = result_type(op).dtype
    free = name == "NONE" or (name in _CLAMPS and is_quantized(dtype))
    return () if free else (Elementwise(name.lower(), elements(op), dtype, _ACTIVATIONS[name]),)


def activated(op: Op) -> tuple[Primitive, ...]:
    """What becomes of a kernel's sums: scaled to the result's integers, or to floats after integers; activation."""
    dtype, source = result_type(op).dtype, arithmetic_dtype(op)
    stage: tuple[Primitive, ...] = ()
    if is_quantized(dtype):
        stage = (Elementwise("requantize", elements(op), DType.I32, REQUANTIZE_OPS),)
    elif dtype.is_float and is_quantized(source):
        stage = (Elementwise("dequantize", elements(op), dtype, SCALE_OPS),)
    return (*stage, *activation(op))


def arithmetic_dtype(op: Op, activations: int = 0, weights: int = 1) -> DType:
    """The type in which a kernel multiplies: its activations', or its weights' where only those are quantised."""
    x = tensor(op, activations).dtype
    value = op.operand(weights)
    w = value.type.dtype if value is not None and isinstance(value.type, TensorType) else x
    if x.is_float and is_quantized(w):
        return w if w.bits >= DType.I8.bits else DType.I8
    return x


def quantized_input(op: Op, activations: int = 0, weights: int = 1) -> tuple[Primitive, ...]:
    """What a hybrid kernel does first: the smallest and the largest activation of each batch, then quantisation."""
    type_ = tensor(op, activations)
    if not type_.dtype.is_float or not is_quantized(arithmetic_dtype(op, activations, weights)):
        return ()
    count, shape = size(op, activations), dims(op, activations)
    return (
        Reduction("minmax", count, largest(1, shape[0] if shape else 1), type_.dtype, 2),
        Elementwise("quantize", count, type_.dtype, REQUANTIZE_OPS),
    )


def scaled_ops(op: Op, per_element: int, operands: int) -> int:
    """Operations per element of an elementwise operator: each quantised operand dequantised, the result requantised."""
    before = SCALE_OPS * operands if is_quantized(tensor(op, 0).dtype) else 0
    return before + per_element + (REQUANTIZE_OPS if is_quantized(result_type(op).dtype) else 0)


def unary_ops(name: str) -> int:
    """Operations per element of an elementwise function, counted as for the ONNX operator of this name."""
    return activation_ops(name)
