"""ATen's recurrent layers and cells: LSTM, GRU and plain ones, in several layers and both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from ...graph import Op
from ...primitives import Elementwise, Gemm, Primitive
from ...registry import Kind
from ..reading import dims, integer, tensor
from ..recurrent import GATES, gate_ops
from .reading import enter, flag, is_weight

__all__: list[str] = []

_CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}


def _cell(op: Op) -> str:
    return _CELLS[op.base_name.removesuffix("_cell")]


def _layers(op: Op) -> Iterable[Primitive]:
    """For each layer and direction the input's projection, the hidden state's at every step, and the gates.

    Operands are the input (or packed data and its batch sizes), the states and, last, weights; with biases there are
    four of a layer and direction, five with a projection of the state; without two, or three.
    """
    cell, packed = _cell(op), op.attributes.get("overload") == "data"
    x, count = dims(op, 0), integer(op, "params", 0)
    first = len(op.operands) - count
    directions = 2 if flag(op, "bidirectional") else 1
    stacked = integer(op, "num_layers", 1) * directions
    each = count // stacked
    steps = dims(op, 1)[0] if packed else x[1 if flag(op, "batch_first") and len(x) == 3 else 0]
    rows = x[0] if packed else prod(x[:-1])
    for layer in range(stacked):
        yield from _layer(op, cell, first + layer * each, rows, max(1, steps), each in (3, 5))


def _layer(op: Op, cell: str, at: int, rows: int, steps: int, projected: bool) -> Iterable[Primitive]:
    w_input, w_state = dims(op, at), dims(op, at + 1)
    gates, features, state, dtype = w_input[0], w_input[1], w_state[1], tensor(op, 0).dtype
    hidden = gates // GATES[cell]
    batch = -(-rows // steps)
    weight = is_weight(op, at)
    yield Gemm(rows, gates, features, dtype, weight=weight)
    yield Gemm(batch, gates, state, dtype, weight=weight, steps=steps)
    yield Elementwise(f"{cell.lower()}_gates", rows * hidden, dtype, gate_ops(op, cell))
    if projected:
        yield Gemm(batch, state, hidden, dtype, weight=weight, steps=steps)


enter(
    "lstm gru rnn_tanh rnn_relu",
    Kind.RECURRENT,
    _layers,
    "Two matrix products and the gates, each layer and direction.",
)


def _one_step(op: Op) -> Iterable[Primitive]:
    cell = _cell(op)
    weights = 1 + integer(op, "hx", 1)
    return _layer(op, cell, weights, prod(dims(op, 0)[:-1]), 1, False)


enter(
    "lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    Kind.RECURRENT,
    _one_step,
    "Two matrix products and the gates, of one step.",
)


def _gates(cell: str) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        hidden = prod(dims(op, 0)) // GATES[cell]
        return (Elementwise(f"{cell.lower()}_gates", hidden, tensor(op, 0).dtype, gate_ops(op, cell)),)

    return lower


enter("_thnn_fused_lstm_cell", Kind.ELEMENTWISE, _gates("LSTM"), "The gates of one step.")
enter("_thnn_fused_gru_cell", Kind.ELEMENTWISE, _gates("GRU"), "The gates of one step.")
