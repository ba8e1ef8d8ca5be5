"""The torch functions that stand for ONNX operators: the table, elementwise arithmetic, contractions.

An entry takes a :class:`TorchNode` and returns the function that runs it on its operands. What depends on attributes
and constants is worked out once, so that a run does what eager PyTorch would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CalibrationError

__all__ = ["FACTORIES", "Factory", "Operands", "Step", "TorchNode", "named", "one", "tensor_of"]

Operands = Sequence[Any]
"""Tensors, or ``None`` where the operand is left out."""
Step = Callable[[Operands], tuple[Any, ...]]
"""Runs a node: operands to results."""


@dataclass(frozen=True)
class TorchNode:
    """A node of a model: its attributes, its operands that are constants, how many results are wanted, the opset."""

    op_type: str
    name: str
    attributes: Mapping[str, Any]
    constants: tuple[Any, ...]
    results: int
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or ONNX's default for it."""
        return self.attributes.get(name, default)

    def constant(self, index: int) -> list[Any] | None:
        """A constant operand's elements; ``None`` where it is computed or left out."""
        value = self.constants[index] if index < len(self.constants) else None
        return None if value is None else value.reshape(-1).tolist()

    def ints(self, index: int, attribute: str = "") -> Callable[[Operands], list[int] | None]:
        """A list that an attribute gives in older opsets and an operand in newer ones, as a function of operands."""
        given = self.get(attribute) if attribute else None
        known = [int(value) for value in given] if given is not None else self.constant(index)
        if known is not None:
            return lambda operands: known
        return lambda operands: None if (*operands, *[None] * index)[index] is None else operands[index].tolist()

    def refuse(self, what: str) -> CalibrationError:
        """The error for a form of the operator that torch has no counterpart of."""
        return CalibrationError(f'pytorch: {self.op_type} with {what} (node "{self.name}") cannot be run')


Factory = Callable[[TorchNode], Step]
FACTORIES: dict[str, Factory] = {}


def named(*names: str) -> Callable[[Factory], Factory]:
    """Enter a factory under the names of ONNX operators."""

    def enter(factory: Factory) -> Factory:
        for name in names:
            if name in FACTORIES:
                raise ValueError(f"{name} has two factories")
            FACTORIES[name] = factory
        return factory

    return enter


def one(function: Callable[..., Any]) -> Step:
    """A step of one result from a function of the operands."""
    return lambda operands: (function(*operands),)


# -- elementwise ------------------------------------------------------------------------------------------------------

_SAME = (
    "Abs Neg Exp Log Sqrt Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Floor Ceil Round Sign "
    "Sigmoid Tanh Relu IsNaN IsInf"
)
_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Pow": "pow", "Equal": "eq", "Less": "lt", "LessOrEqual": "le",
    "Greater": "gt", "GreaterOrEqual": "ge", "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor",
    "Not": "logical_not", "MatMul": "matmul", "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor", "BitwiseNot": "bitwise_not",
}  # fmt: skip
_FUNCTIONAL = {"Softplus": "softplus", "Softsign": "softsign", "Mish": "mish", "HardSwish": "hardswish", "Selu": "selu"}
_WITH_ALPHA = {"LeakyRelu": ("leaky_relu", 0.01), "Elu": ("elu", 1.0), "Celu": ("celu", 1.0)}


def _same_name(node: TorchNode) -> Step:
    import torch

    name = _BINARY.get(node.op_type, node.op_type.lower())
    function: Callable[..., Any] = getattr(torch, name)
    return one(function)


for _name in (*_SAME.split(), *_BINARY):
    named(_name)(_same_name)


@named(*_FUNCTIONAL)
def _functional(node: TorchNode) -> Step:
    from torch.nn import functional

    function: Callable[..., Any] = getattr(functional, _FUNCTIONAL[node.op_type])
    return one(function)


@named(*_WITH_ALPHA)
def _with_alpha(node: TorchNode) -> Step:
    from torch.nn import functional

    name, default = _WITH_ALPHA[node.op_type]
    alpha, function = node.get("alpha", default), getattr(functional, name)
    return lambda operands: (function(operands[0], alpha),)


@named("Identity", "Dropout")
def _identity(node: TorchNode) -> Step:
    return lambda operands: (operands[0],)


@named("HardSigmoid")
def _hard_sigmoid(node: TorchNode) -> Step:
    from torch.nn import functional

    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return one(functional.hardsigmoid)
    return lambda operands: ((operands[0] * alpha + beta).clamp(0, 1),)


@named("Gelu")
def _gelu(node: TorchNode) -> Step:
    from torch.nn import functional

    approximate = node.get("approximate", "none")
    return lambda operands: (functional.gelu(operands[0], approximate=approximate),)


@named("PRelu")
def _prelu(node: TorchNode) -> Step:
    import torch

    return lambda operands: (torch.where(operands[0] < 0, operands[0] * operands[1], operands[0]),)


@named("Clip")
def _clip(node: TorchNode) -> Step:
    if node.opset < 11:
        low, high = node.get("min"), node.get("max")
        return lambda operands: (operands[0].clamp(low, high),)
    low, high = ((node.constant(index) or [None])[0] for index in (1, 2))

    def run(operands: Operands) -> tuple[Any, ...]:
        bounds = [low, high]
        for index, operand in enumerate(operands[1:3]):
            if bounds[index] is None and operand is not None:
                bounds[index] = operand.item()
        return (operands[0].clamp(*bounds),)

    return run


@named("Div")
def _div(node: TorchNode) -> Step:
    import torch

    def run(operands: Operands) -> tuple[Any, ...]:
        if operands[0].dtype.is_floating_point:
            return (torch.div(operands[0], operands[1]),)
        return (torch.div(operands[0], operands[1], rounding_mode="trunc"),)

    return run


@named("Mod")
def _mod(node: TorchNode) -> Step:
    import torch

    return one(torch.fmod if node.get("fmod", 0) else torch.remainder)


@named("Where")
def _where(node: TorchNode) -> Step:
    import torch

    return one(torch.where)


@named("Max", "Min", "Sum", "Mean")
def _variadic(node: TorchNode) -> Step:
    from functools import reduce

    import torch

    pairwise = {"Max": torch.maximum, "Min": torch.minimum}.get(node.op_type, torch.add)
    if node.op_type == "Mean":
        return lambda operands: (reduce(pairwise, operands) / len(operands),)
    return lambda operands: (reduce(pairwise, operands),)


@named("Cast", "CastLike")
def _cast(node: TorchNode) -> Step:
    if node.op_type == "CastLike":
        return lambda operands: (operands[0].to(operands[1].dtype),)
    dtype = torch_type(node.get("to"), node.name)
    return lambda operands: (operands[0].to(dtype),)


def tensor_of(values: Any) -> Any:
    """Return an array of NumPy's as a tensor; bf16 comes in a type that PyTorch does not take.

    Raises:
        CalibrationError: PyTorch has no tensors of the array's type.
    """
    import numpy as np
    import torch

    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    try:
        return torch.from_numpy(np.array(values))
    except TypeError as error:
        raise CalibrationError(f"pytorch: no tensors of type {values.dtype}") from error


def torch_type(element: int, name: str) -> Any:
    """Return torch's type for ONNX's number of an element type."""
    import torch
    from onnx import TensorProto

    names = {"FLOAT": "float32", "DOUBLE": "float64", "BOOL": "bool"}
    word = TensorProto.DataType.Name(element)
    found = getattr(torch, names.get(word, word.lower()), None)
    if not isinstance(found, torch.dtype):
        raise CalibrationError(f'pytorch: no element type {word} (at "{name}")')
    return found


# -- contractions -----------------------------------------------------------------------------------------------------


@named("Gemm")
def _gemm(node: TorchNode) -> Step:
    import torch
    from torch.nn import functional

    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    left, right = node.get("transA", 0), node.get("transB", 0)

    def run(operands: Operands) -> tuple[Any, ...]:
        a, b, c = (*operands, None)[:3]
        a = a.t() if left else a
        if right and alpha == 1 and (c is None or (beta == 1 and c.dim() == 1)):
            return (functional.linear(a, b, c),)
        b = b.t() if right else b
        return (alpha * torch.mm(a, b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha),)

    return run


@named("Einsum")
def _einsum(node: TorchNode) -> Step:
    import torch

    equation = str(node.get("equation"))
    return lambda operands: (torch.einsum(equation, *operands),)


@named("Attention")
def _attention(node: TorchNode) -> Step:
    from torch.nn import functional

    if node.results > 1 or node.get("softcap", 0.0) or any(value is not None for value in node.constants[4:]):
        raise node.refuse("a cache, a soft cap or more than one result")
    causal, scale = bool(node.get("is_causal", 0)), node.get("scale")
    heads = node.get("q_num_heads"), node.get("kv_num_heads"), node.get("kv_num_heads")

    def run(operands: Operands) -> tuple[Any, ...]:
        q, k, v, mask = (*operands, None)[:4]
        flat = q.dim() == 3
        if flat:
            q, k, v = (x.unflatten(-1, (n, -1)).transpose(1, 2) for x, n in zip((q, k, v), heads, strict=True))
        shared = q.shape[1] != k.shape[1]
        y = functional.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale, enable_gqa=shared)
        return (y.transpose(1, 2).flatten(2) if flat else y,)

    return run
