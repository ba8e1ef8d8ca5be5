"""The torch functions that stand for ONNX operators which normalise or reduce."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .torch_operators import Operands, Step, TorchNode, named

__all__: list[str] = []


# -- normalisation ----------------------------------------------------------------------------------------------------


@named("Softmax", "LogSoftmax")
def _softmax(node: TorchNode) -> Step:
    import torch

    function = torch.softmax if node.op_type == "Softmax" else torch.log_softmax
    if node.opset >= 13:
        axis = node.get("axis", -1)
        return lambda operands: (function(operands[0], axis),)
    first = node.get("axis", 1)

    def run(operands: Operands) -> tuple[Any, ...]:
        x = operands[0]
        axis = first % x.dim()
        return (function(x.reshape(math.prod(x.shape[:axis]), -1), 1).reshape(x.shape),)

    return run


@named("BatchNormalization")
def _batch_norm(node: TorchNode) -> Step:
    from torch.nn import functional

    if node.get("training_mode", 0):
        raise node.refuse("training_mode")
    epsilon = node.get("epsilon", 1e-5)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, scale, shift, mean, variance = operands[:5]
        return (functional.batch_norm(x, mean, variance, scale, shift, False, 0.0, epsilon),)

    return run


@named("InstanceNormalization")
def _instance_norm(node: TorchNode) -> Step:
    from torch.nn import functional

    epsilon = node.get("epsilon", 1e-5)
    return lambda operands: (functional.instance_norm(operands[0], weight=operands[1], bias=operands[2], eps=epsilon),)


@named("LayerNormalization", "RMSNormalization")
def _layer_norm(node: TorchNode) -> Step:
    from torch.nn import functional

    if node.results > 1:
        raise node.refuse("more than one result")
    axis, epsilon = node.get("axis", -1), node.get("epsilon", 1e-5)
    if node.op_type == "RMSNormalization":
        return lambda operands: (functional.rms_norm(operands[0], operands[0].shape[axis:], operands[1], epsilon),)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, scale, shift = (*operands, None)[:3]
        return (functional.layer_norm(x, x.shape[axis:], scale, shift, epsilon),)

    return run


@named("GroupNormalization")
def _group_norm(node: TorchNode) -> Step:
    from torch.nn import functional

    groups, epsilon = int(node.get("num_groups")), node.get("epsilon", 1e-5)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, scale, shift = operands
        if node.opset < 21:
            scale, shift = (value.repeat_interleave(x.shape[1] // groups) for value in (scale, shift))
        return (functional.group_norm(x, groups, scale, shift, epsilon),)

    return run


@named("LRN")
def _local_response(node: TorchNode) -> Step:
    from torch.nn import functional

    size, alpha = int(node.get("size")), node.get("alpha", 1e-4)
    beta, bias = node.get("beta", 0.75), node.get("bias", 1.0)
    return lambda operands: (functional.local_response_norm(operands[0], size, alpha, beta, bias),)


# -- reductions -------------------------------------------------------------------------------------------------------

_REDUCTIONS: Mapping[str, Callable[[Any, Any, bool], Any]] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: x.norm(dim=axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
}


@named(*_REDUCTIONS)
def _reduce(node: TorchNode) -> Step:
    function, keep = _REDUCTIONS[node.op_type], bool(node.get("keepdims", 1))
    axes, nothing = node.ints(1, "axes"), bool(node.get("noop_with_empty_axes", 0))

    def run(operands: Operands) -> tuple[Any, ...]:
        x, chosen = operands[0], axes(operands)
        if not chosen and nothing:
            return (x,)
        return (function(x, tuple(chosen or range(x.dim())), keep),)

    return run


@named("ArgMax", "ArgMin")
def _arg(node: TorchNode) -> Step:
    import torch

    function: Callable[..., Any] = torch.argmax if node.op_type == "ArgMax" else torch.argmin
    axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
    return lambda operands: (function(operands[0], axis, keep),)


@named("CumSum")
def _cumulative_sum(node: TorchNode) -> Step:
    import torch

    if node.get("exclusive", 0) or node.get("reverse", 0):
        raise node.refuse("exclusive or reverse")
    axis = node.ints(1)
    return lambda operands: (torch.cumsum(operands[0], (axis(operands) or [0])[0]),)


@named("TopK")
def _top_k(node: TorchNode) -> Step:
    import torch

    count, axis = node.ints(1, "k"), node.get("axis", -1)
    largest, ordered = bool(node.get("largest", 1)), bool(node.get("sorted", 1))
    return lambda operands: tuple(torch.topk(operands[0], (count(operands) or [1])[0], axis, largest, ordered))
