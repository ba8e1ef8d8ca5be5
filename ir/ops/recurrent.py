"""Recurrent layers: a projection of the whole sequence, then one small product after another."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Op
from ..primitives import Conv, Elementwise, Gemm, Primitive
from ..registry import Kind, define
from ..types import Dim, DType, TensorType, Type
from .contraction import REQUANTIZE_OPS
from .elementwise import activation_ops
from .reading import agree, dims, integer, is_constant, ranked, tensor

__all__ = ["GATES", "gate_ops", "recurrence"]

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4, "DynamicQuantizeLSTM": 4}

_DEFAULT_ACTIVATIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}

_ACTIVATION_USES = {"RNN": (1,), "GRU": (2, 1), "LSTM": (3, 1, 1)}
"""How often each cell applies each of its activations (ONNX LSTM-22: f to input, output and forget gate)."""

_OTHER_OPS = {"RNN": 0, "GRU": 5, "LSTM": 4}
"""Products and sums that join the gates: LSTM f·c + i·g and o·h(c), GRU r·h, (1 - z)·n + z·h."""


_JOINED_BY_MORE = frozenset({"AttnLSTM"})
"""Layers whose weights meet more than the input's features: what was attended is joined to them."""


def _recurrence_types(op: Op) -> tuple[Type, ...] | None:
    x, r = ranked(op, 0), ranked(op, 2)
    if x is None or r is None or len(x[1]) != 3 or len(r[1]) != 3:
        return None
    batch_first = integer(op, "layout", 0)
    seq, batch = (x[1][1], x[1][0]) if batch_first else x[1][:2]
    quantized = op.base_name == "DynamicQuantizeLSTM"  # whose weights are transposed
    w = ranked(op, 1)
    if w is not None and len(w[1]) == 3 and op.base_name not in _JOINED_BY_MORE:
        agree("features of the input", x[1][2], "those of the weights", w[1][1 if quantized else 2])
    directions, hidden = r[1][0], integer(op, "hidden_size", 0) or r[1][1 if quantized else 2]
    state: tuple[Dim, ...] = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    whole = (batch, seq, directions, hidden) if batch_first else (seq, directions, batch, hidden)
    return (TensorType(x[0], whole), TensorType(x[0], state), TensorType(x[0], state))[: len(op.results)]


_MOST_DIRECTIONS = 2


def gate_ops(op: Op, cell: str) -> int:
    """Operations per hidden element and step: each gate's two projections and bias added, activations, joining."""
    given = op.attributes.get("activations")
    names = [name for name in given if isinstance(name, str)] if isinstance(given, tuple) else []
    used = names[: len(_DEFAULT_ACTIVATIONS[cell])] or _DEFAULT_ACTIVATIONS[cell]
    activations = sum(activation_ops(name) * uses for name, uses in zip(used, _ACTIVATION_USES[cell], strict=True))
    return 2 * GATES[cell] + activations + _OTHER_OPS[cell]


def recurrence(op: Op, cell: str, hidden: int, factors: DType | None = None) -> Iterable[Primitive]:
    """For each direction the input's projection, the hidden state's at every step, and the gates.

    ``factors`` is the type that is multiplied, where it is not the input's.
    """
    seq, batch, features = dims(op, 0)
    if integer(op, "layout", 0):
        seq, batch = batch, seq
    directions = dims(op, 1)[0]
    if directions > _MOST_DIRECTIONS:
        raise ValueError(f"it goes in {directions} directions")
    dtype, gates = tensor(op, 0).dtype, GATES[cell]
    for _ in range(directions):
        yield Gemm(seq * batch, gates * hidden, features, factors or dtype, weight=is_constant(op, 1))
        yield Gemm(batch, gates * hidden, hidden, factors or dtype, weight=is_constant(op, 2), steps=seq)
        yield Elementwise(f"{cell.lower()}_gates", seq * batch * hidden, dtype, gate_ops(op, cell))


@define("onnx.RNN", "onnx.GRU", "onnx.LSTM", kind=Kind.RECURRENT, infer=_recurrence_types)
def recurrent(op: Op) -> Iterable[Primitive]:
    """Two matrix products and the gates for each direction; GRU's ``linear_before_reset`` changes no count."""
    return recurrence(op, op.base_name, dims(op, 2)[2])


@define("com.microsoft.DynamicQuantizeLSTM", kind=Kind.RECURRENT, infer=_recurrence_types)
def dynamic_quantize_lstm(op: Op) -> Iterable[Primitive]:
    """An LSTM whose weights are integers, laid out (directions, input, gates·hidden), and multiplied as such.

    Its input, and the hidden state of each step, are quantised before.
    """
    hidden = integer(op, "hidden_size", dims(op, 2)[1])
    seq, batch, features = dims(op, 0)
    quantized = seq * batch * (features + hidden) * dims(op, 1)[0]
    yield Elementwise("quantize", quantized, tensor(op, 0).dtype, 2 + REQUANTIZE_OPS)
    yield from recurrence(op, "LSTM", hidden, DType.UI8)


@define("com.microsoft.AttnLSTM", kind=Kind.RECURRENT, infer=_recurrence_types)
def attention_lstm(op: Op) -> Iterable[Primitive]:
    """An LSTM; at each step its state, projected, meets every row of a memory (Bahdanau attention).

    What it attends is projected with the state, and joins the next step's input.
    """
    seq, batch = dims(op, 0)[:2]
    hidden, dtype = dims(op, 2)[2], tensor(op, 0).dtype
    yield from recurrence(op, "LSTM", hidden)
    if op.operand(11) is None or op.operand(8) is None:
        return
    rows, depth, units = dims(op, 11)[1], dims(op, 11)[2], dims(op, 8)[2]
    attended = dims(op, 13)[2] if op.operand(13) is not None else depth
    for _ in range(dims(op, 1)[0]):
        yield Gemm(batch * rows, units, depth, dtype, weight=is_constant(op, 9))
        yield Gemm(batch, units, hidden, dtype, weight=is_constant(op, 8), steps=seq)
        yield Elementwise("scores", seq * batch * rows * units, dtype, 4)
        yield Gemm(1, depth, rows, dtype, batch, steps=seq)
        if op.operand(13) is not None:
            yield Gemm(batch, attended, depth + hidden, dtype, weight=is_constant(op, 13), steps=seq)
        yield Gemm(batch, 4 * hidden, attended, dtype, weight=is_constant(op, 1), steps=seq)


@define("com.microsoft.GatedDeltaNet", kind=Kind.RECURRENT)
def gated_delta_net(op: Op) -> Iterable[Primitive]:
    """Packed tokens, one after another: a state of size×size for each head decays, is corrected, and is read."""
    tokens, heads, size_ = dims(op, 0)
    value, dtype = (dims(op, 2) if op.operand(2) is not None else dims(op, 0)), tensor(op, 0).dtype
    yield Elementwise("decay", tokens * heads * size_ * value[2], dtype)
    yield Gemm(1, value[2], size_, dtype, heads, steps=tokens)
    yield Gemm(size_, value[2], 1, dtype, heads, steps=tokens)
    yield Gemm(1, value[2], size_, dtype, heads, steps=tokens)


@define("com.microsoft.VarlenCausalConvWithState", kind=Kind.CONTRACTION)
def varlen_causal_conv(op: Op) -> Iterable[Primitive]:
    """A depthwise causal convolution over packed tokens that carries its state."""
    (tokens, channels), width, dtype = dims(op, 0), dims(op, 1)[-1], tensor(op, 0).dtype
    return (Conv(1, channels, channels, (tokens,), (tokens,), (width,), dtype, groups=channels),)
