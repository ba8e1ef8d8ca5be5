"""Write an ONNX model operator by operator, with shapes known, made-up weights, and a count of what it does.

Weights are fit to run: normal numbers over the square root of the fan-in, so that activations neither vanish nor
overflow, and positive ones near one half where a tensor has one dimension. None is denormal, since denormals are slow
and would spoil timings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod, sqrt
from typing import Any
from zlib import crc32

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

__all__ = ["ELEMENT", "Builder", "Shape", "Tensor", "broadcast"]

Shape = tuple[int, ...]
Array = NDArray[Any]

ELEMENT = {
    "fp64": TensorProto.DOUBLE,
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int8": TensorProto.INT8,
}
"""ONNX's element type of each precision."""

_BYTES: dict[int, int] = {
    TensorProto.DOUBLE: 8, TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.INT8: 1,
    TensorProto.UINT8: 1, TensorProto.INT32: 4, TensorProto.INT64: 8, TensorProto.BOOL: 1,
}  # fmt: skip
_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
_POOL = 1_000_003
_IR_VERSION = 10
_CHANNELS_BESIDE_BATCH = 2


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value in the model: its name, shape and ONNX element type."""

    name: str
    shape: Shape
    element: int
    constant: bool = False

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return prod(self.shape) * _BYTES[self.element]


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that operands of these shapes give."""
    first = shapes[0]
    if all(shape == first or not shape for shape in shapes):
        return first
    return tuple(np.broadcast_shapes(*shapes))


@cache
def _normal_pool() -> NDArray[np.float32]:
    """Normal numbers that all weights are cut from: a network's worth of fresh ones would take longer than its runs."""
    values = np.random.default_rng(20).standard_normal(_POOL, dtype=np.float32)
    # |x| >= 1e-6: scaled by any fan-in it stays far from denormal, in half precision too.
    return np.where(np.abs(values) < 1e-2, np.float32(1e-2), values)


class Builder:
    """Collects nodes, weights, inputs and outputs; ``dry`` leaves the weights' values out, for counting."""

    def __init__(self, name: str, precision: str, opset: int, dry: bool = False) -> None:
        self.name = name
        self.element: int = ELEMENT[precision]
        self.opset = opset
        self.flops = 0
        self.bytes = 0
        self.weight_bytes = 0
        self.launches = 0
        self._dry = dry
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._operators: set[str] = set()
        self._names: dict[str, int] = {}
        self._seed = crc32(name.encode())

    @property
    def operators(self) -> tuple[str, ...]:
        """Types of the operators written so far, sorted."""
        return tuple(sorted(self._operators))

    def input(self, *shape: int, element: int | None = None) -> Tensor:
        """Declare an input of the model."""
        tensor = Tensor(self._fresh("x"), shape, element or self.element)
        if not self._dry:
            self._inputs.append(helper.make_tensor_value_info(tensor.name, tensor.element, shape))
        return tensor

    def output(self, *tensors: Tensor) -> None:
        """Declare outputs of the model."""
        for tensor in () if self._dry else tensors:
            self._outputs.append(helper.make_tensor_value_info(tensor.name, tensor.element, tensor.shape))

    def weight(self, *shape: int, fan_in: int | None = None, element: int | None = None) -> Tensor:
        """Return a made-up weight; by default fan-in is that of a convolution, or of a matrix of k rows."""
        element = element or self.element
        tensor = Tensor(self._fresh("weight"), shape, element, constant=True)
        self.weight_bytes += tensor.bytes
        if not self._dry:
            self._initializers.append(_encoded(tensor, self._values(shape, fan_in, element)))
        return tensor

    def constant(self, values: Any, element: int | None = None) -> Tensor:
        """Return a constant of given values; numbers with a point take the model's precision."""
        array = np.asarray(values)
        if element is None:
            kinds = {"f": self.element, "b": TensorProto.BOOL, "u": TensorProto.UINT8, "i": TensorProto.INT64}
            element = kinds[array.dtype.kind]
        tensor = Tensor(self._fresh("const"), array.shape, element, constant=True)
        if not self._dry:
            self._initializers.append(_encoded(tensor, array))
        return tensor

    def op(
        self,
        kind: str,
        *operands: Tensor | None,
        shape: Sequence[int] | None = None,
        element: int | None = None,
        flops: int | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> Tensor:
        """Write an operator of one result, by default of its operands' common shape; ``None`` is a missing operand."""
        if shape is None:
            shape = broadcast(*(operand.shape for operand in operands if operand is not None))
        return self.ops(kind, operands, [tuple(shape)], element, flops, domain, **attributes)[0]

    def ops(
        self,
        kind: str,
        operands: Sequence[Tensor | None],
        shapes: Sequence[Shape],
        element: int | None = None,
        flops: int | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> tuple[Tensor, ...]:
        """Write an operator of several results."""
        given = [operand for operand in operands if operand is not None]
        element = element or next((operand.element for operand in given), self.element)
        results = tuple(Tensor(self._fresh(kind.lower()), shape, element) for shape in shapes)
        if not self._dry:
            names = [operand.name if operand is not None else "" for operand in operands]
            outputs = [result.name for result in results]
            label = f"node_{outputs[0]}"
            self._nodes.append(helper.make_node(kind, names, outputs, name=label, domain=domain, **attributes))
        self._operators.add(kind)
        if kind not in _VIEWS:
            self.launches += 1
            self.bytes += sum(tensor.bytes for tensor in (*given, *results))
        self.flops += sum(prod(shape) for shape in shapes) if flops is None else flops
        return results

    def model(self) -> onnx.ModelProto:
        """Return what was written, as a model."""
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=_IR_VERSION,
            producer_name="graphs-calibrate",
        )

    def _fresh(self, stem: str) -> str:
        count = self._names.get(stem, 0)
        self._names[stem] = count + 1
        return f"{stem}_{count}" if count else stem

    def _values(self, shape: Shape, fan_in: int | None, element: int) -> Array:
        size = prod(shape)
        self._seed = (self._seed * 1_103_515_245 + 12_345) % (1 << 31)
        start = self._seed % _POOL
        values = _cut(start, size)
        if element in (TensorProto.INT8, TensorProto.UINT8):
            return (np.clip(values * 20, -60, 60) + (64 if element == TensorProto.UINT8 else 0)).reshape(shape)
        if len(shape) < _CHANNELS_BESIDE_BATCH:
            return np.asarray(0.5 + 0.01 * values, np.float32).reshape(shape)
        return (values * np.float32(1 / sqrt(fan_in or _fan_in(shape)))).reshape(shape)


def _cut(start: int, size: int) -> NDArray[np.float32]:
    pool = _normal_pool()
    if start + size <= _POOL:
        return pool[start : start + size]
    rounds, rest = divmod(size - (_POOL - start), _POOL)
    return np.concatenate([pool[start:], *[pool] * rounds, pool[:rest]])


def _fan_in(shape: Shape) -> int:
    return max(1, shape[0] if len(shape) == _CHANNELS_BESIDE_BATCH else prod(shape[1:]))


def _encoded(tensor: Tensor, values: Array) -> onnx.TensorProto:
    dtype = helper.tensor_dtype_to_np_dtype(tensor.element)
    raw = np.ascontiguousarray(values, dtype=dtype).tobytes()
    return helper.make_tensor(tensor.name, tensor.element, tensor.shape, raw, raw=True)
