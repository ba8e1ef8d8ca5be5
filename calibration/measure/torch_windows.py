"""The torch functions that stand for ONNX operators with sliding windows, and for recurrent ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .torch_operators import Operands, Step, TorchNode, named

__all__: list[str] = []

_NO_PADDING = ("NOTSET", "VALID")


def _pads(node: TorchNode, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial dimension of these sizes (ONNX's ``pads`` or ``auto_pad``)."""
    dims, mode = len(sizes), node.get("auto_pad", "NOTSET")
    if mode in _NO_PADDING:
        pads = list(node.get("pads", [0] * 2 * dims)) if mode == "NOTSET" else [0] * 2 * dims
        return pads[:dims], pads[dims:]
    strides, dilations = node.get("strides", [1] * dims), node.get("dilations", [1] * dims)
    before, after = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        wide = max(0, (-(-size // stride) - 1) * stride + dilation * (window - 1) + 1 - size)
        small, large = wide // 2, wide - wide // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return before, after


def _padded(x: Any, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> tuple[Any, list[int]]:
    """The operand and the padding left for the window's own function, which pads both sides alike."""
    if list(before) == list(after):
        return x, list(before)
    from torch.nn import functional

    around = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
    return functional.pad(x, around, value=value), [0] * len(before)


@named("Conv")
def _conv(node: TorchNode) -> Step:
    from torch.nn import functional

    functions = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
    groups = node.get("group", 1)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, weight, bias = (*operands, None)[:3]
        dims = weight.dim() - 2
        before, after = _pads(node, x.shape[2:], weight.shape[2:])
        x, padding = _padded(x, before, after)
        strides, dilations = node.get("strides", [1] * dims), node.get("dilations", [1] * dims)
        return (functions[dims](x, weight, bias, strides, padding, dilations, groups),)

    return run


@named("ConvTranspose")
def _conv_transpose(node: TorchNode) -> Step:
    from torch.nn import functional

    functions = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
    if node.get("auto_pad", "NOTSET") not in _NO_PADDING or node.get("output_shape"):
        raise node.refuse("auto_pad or output_shape")
    groups = node.get("group", 1)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, weight, bias = (*operands, None)[:3]
        dims = weight.dim() - 2
        pads = node.get("pads", [0] * 2 * dims)
        if pads[:dims] != pads[dims:]:
            raise node.refuse("unequal pads")
        more = node.get("output_padding", [0] * dims)
        strides, dilations = node.get("strides", [1] * dims), node.get("dilations", [1] * dims)
        return (functions[dims](x, weight, bias, strides, pads[:dims], more, groups, dilations),)

    return run


@named("MaxPool")
def _max_pool(node: TorchNode) -> Step:
    from torch.nn import functional

    functions: dict[int, Callable[..., Any]] = {
        1: functional.max_pool1d,
        2: functional.max_pool2d,
        3: functional.max_pool3d,
    }
    kernel = list(node.get("kernel_shape"))
    dims = len(kernel)
    strides, dilations = node.get("strides", [1] * dims), node.get("dilations", [1] * dims)
    ceiling = bool(node.get("ceil_mode", 0))
    if node.results > 1:
        raise node.refuse("indices")

    def run(operands: Operands) -> tuple[Any, ...]:
        before, after = _pads(node, operands[0].shape[2:], kernel)
        x, padding = _padded(operands[0], before, after, float("-inf"))
        return (functions[dims](x, kernel, strides, padding, dilations, ceiling),)

    return run


@named("AveragePool")
def _average_pool(node: TorchNode) -> Step:
    from torch.nn import functional

    functions: dict[int, Callable[..., Any]] = {
        1: functional.avg_pool1d,
        2: functional.avg_pool2d,
        3: functional.avg_pool3d,
    }
    kernel = list(node.get("kernel_shape"))
    dims = len(kernel)
    strides, counted = node.get("strides", [1] * dims), bool(node.get("count_include_pad", 0))
    ceiling = bool(node.get("ceil_mode", 0))

    def run(operands: Operands) -> tuple[Any, ...]:
        before, after = _pads(node, operands[0].shape[2:], kernel)
        if before != after and not counted:
            raise node.refuse("unequal pads that are not counted")
        x, padding = _padded(operands[0], before, after)
        return (functions[dims](x, kernel, strides, padding, ceiling, counted),)

    return run


@named("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: TorchNode) -> Step:
    largest = node.op_type == "GlobalMaxPool"

    def run(operands: Operands) -> tuple[Any, ...]:
        x = operands[0]
        axes = tuple(range(2, x.dim()))
        return (x.amax(axes, keepdim=True) if largest else x.mean(axes, keepdim=True),)

    return run


# -- recurrent --------------------------------------------------------------------------------------------------------

_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where torch's gates stand among ONNX's: ONNX has i o f c and z r h, torch i f c o and r z h."""
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@named("LSTM", "GRU", "RNN")
def _recurrent(node: TorchNode) -> Step:
    import torch

    both = node.get("direction", "forward") == "bidirectional"
    _refuse_variants(node, both)
    weights = _torch_weights(node)
    layers: dict[str, Callable[..., Any]] = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_tanh}
    run_layer = layers[node.op_type]
    hidden, directions = int(node.get("hidden_size")), 2 if both else 1

    def run(operands: Operands) -> tuple[Any, ...]:
        x = operands[0]
        given = [(*operands, None, None, None)[index] for index in ((5, 6) if node.op_type == "LSTM" else (5,))]
        states = [x.new_zeros(directions, x.shape[1], hidden) if state is None else state for state in given]
        state = tuple(states) if node.op_type == "LSTM" else states[0]
        y, *last = run_layer(x, state, weights, True, 1, 0.0, False, both, False)
        return (y.unflatten(-1, (directions, hidden)).transpose(1, 2), *last)

    return run


def _refuse_variants(node: TorchNode, both: bool) -> None:
    if node.get("direction", "forward") == "reverse":
        raise node.refuse("direction reverse")
    if node.get("layout", 0) or node.get("clip") is not None or node.get("input_forget", 0):
        raise node.refuse("layout, clip or input_forget")
    if node.get("activations", _DEFAULTS[node.op_type] * (1 + both)) != _DEFAULTS[node.op_type] * (1 + both):
        raise node.refuse("other activations")
    if node.op_type == "GRU" and not node.get("linear_before_reset", 0):
        raise node.refuse("linear_before_reset=0")
    if any(value is not None for value in (*node.constants[4:5], *node.constants[7:])):
        raise node.refuse("sequence lengths or peepholes")
    if any(node.constants[index] is None for index in (1, 2)):
        raise node.refuse("weights that are computed")


def _torch_weights(node: TorchNode) -> list[Any]:
    """Weights and biases in torch's order of gates: for each direction of the input, of the state, and their biases."""
    import torch

    w, r, b = (*node.constants, None)[1:4]
    made = []
    for direction in range(w.shape[0]):
        biases = (torch.zeros_like(w[direction, :, 0]),) * 2 if b is None else b[direction].chunk(2)
        made += [_regated(part, node.op_type) for part in (w[direction], r[direction], *biases)]
    return made


def _regated(values: Any, op_type: str) -> Any:
    import torch

    gates = values.chunk(len(_GATES[op_type]))
    return torch.cat([gates[place] for place in _GATES[op_type]]).contiguous()
