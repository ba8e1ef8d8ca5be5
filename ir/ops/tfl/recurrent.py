"""Recurrent layers of TFLite: a projection of the whole sequence, then one small product after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...graph import Op
from ...primitives import Elementwise, Gemm, Normalization, Primitive
from ...registry import Kind, define
from ...types import Dim, DType, TensorType, Type
from ..reading import dims, integer, ranked, tensor, with_shape
from ..recurrent import gate_ops
from .stages import activated, arithmetic_dtype, is_quantized, quantized_input, unary_ops

__all__: list[str] = []

_SIGMOID_GATE = 5  # two projections and a bias added, sigmoid


@dataclass(frozen=True, slots=True)
class _Cells:
    """Where one direction of an LSTM has its operands, counted from its first weight."""

    first: int
    layer_norm: int

    def given(self, op: Op, offset: int) -> bool:
        return op.operand(self.first + offset) is not None


def _sequence(op: Op) -> tuple[int, int]:
    """Steps and batch of the operand, whichever comes first; a single step where it has no axis for them."""
    x = dims(op, 0)
    if len(x) == 2:
        return 1, x[0]
    return (x[0], x[1]) if integer(op, "time_major", 0) else (x[1], x[0])


def _step(batch: int, out: int, inner: int, dtype: DType, steps: int) -> Gemm:
    return Gemm(batch, out, inner, dtype, weight=True, steps=steps)


def _lstm(op: Op, cells: _Cells) -> Iterator[Primitive]:
    """One direction: weights from the input (4), recurrent (4), peephole (3), biases (4), projection and its bias."""
    steps, batch = _sequence(op)
    hidden, features = dims(op, cells.first + 1)
    gates = 4 if cells.given(op, 0) else 3  # without an input gate that is what the forget gate leaves
    dtype = arithmetic_dtype(op, 0, cells.first + 1)
    yield Gemm(steps * batch, gates * hidden, features, dtype, weight=True)
    recurrent = dims(op, cells.first + 5)
    if len(recurrent) == 2:
        yield _step(batch, gates * hidden, recurrent[1], dtype, steps)
    else:  # a diagonal: one product for each hidden element
        yield Elementwise("diagonal", steps * batch * gates * hidden, dtype)
    every, activations = steps * batch * hidden, tensor(op, 0).dtype
    peepholes = sum(2 for offset in (8, 9, 10) if cells.given(op, offset))
    coupled = 0 if gates == 4 else _SIGMOID_GATE - 1
    yield Elementwise("lstm_gates", every, activations, gate_ops(op, "LSTM") - coupled + peepholes)
    if cells.layer_norm and op.operand(cells.layer_norm + 1) is not None:
        yield Normalization(steps * batch * gates, hidden, activations)
    if cells.given(op, 15):
        yield _step(batch, dims(op, cells.first + 15)[0], hidden, dtype, steps)


def _hybrid(op: Op, weights: int) -> tuple[Primitive, ...]:
    return quantized_input(op, 0, weights)


def _lstm_types(op: Op) -> tuple[Type, ...] | None:
    """The hidden size, or that of the projection, takes the place of the features."""
    x, recurrent = ranked(op, 0), ranked(op, 6)
    if x is None or recurrent is None:
        return None
    return with_shape(op, (*x[1][:-1], recurrent[1][-1]))


@define("tfl.UNIDIRECTIONAL_SEQUENCE_LSTM", kind=Kind.RECURRENT, infer=_lstm_types)
def unidirectional_sequence_lstm(op: Op) -> Iterable[Primitive]:
    """Two matrix products and the gates; peepholes, layer normalisation and projection where they are given."""
    return (*_hybrid(op, 2), *_lstm(op, _Cells(1, 20)))


@define("tfl.LSTM", kind=Kind.RECURRENT, infer=_lstm_types)
def lstm(op: Op) -> Iterable[Primitive]:
    """One step; the basic kernel has one matrix of weights for the input and the state side by side."""
    if op.attributes.get("kernel_type") != "BASIC" and len(op.operands) > 5:
        return (*_hybrid(op, 2), *_lstm(op, _Cells(1, 20)))
    batch = dims(op, 0)[0]
    outputs, inputs = dims(op, 2)
    dtype = arithmetic_dtype(op, 0, 2)
    gates = Elementwise("lstm_gates", batch * outputs // 4, tensor(op, 0).dtype, gate_ops(op, "LSTM"))
    return (*_hybrid(op, 2), Gemm(batch, outputs, inputs, dtype, weight=True), gates)


def _both_types(op: Op, recurrent: int, backward: int) -> tuple[Type, ...] | None:
    """Both directions side by side, or each for itself."""
    x, forth, back = ranked(op, 0), ranked(op, recurrent), ranked(op, backward)
    if x is None or forth is None or back is None:
        return None
    sizes: tuple[Dim, Dim] = (forth[1][-1], back[1][-1])
    if len(op.results) == 2:
        return tuple(TensorType(x[0], (*x[1][:-1], extent)) for extent in sizes)
    return with_shape(op, (*x[1][:-1], sizes[0] + sizes[1]))


@define("tfl.BIDIRECTIONAL_SEQUENCE_LSTM", kind=Kind.RECURRENT, infer=lambda op: _both_types(op, 6, 23))
def bidirectional_sequence_lstm(op: Op) -> Iterable[Primitive]:
    """An LSTM forward and one backward."""
    return (*_hybrid(op, 2), *_lstm(op, _Cells(1, 0)), *_lstm(op, _Cells(18, 0)))


# -- plain recurrences ------------------------------------------------------------------------------------------------


def _rnn(op: Op, weights: int) -> Iterator[Primitive]:
    """Input weights, recurrent weights and bias from operand ``weights`` on."""
    steps, batch = _sequence(op)
    hidden, features = dims(op, weights)
    dtype = arithmetic_dtype(op, 0, weights)
    yield Gemm(steps * batch, hidden, features, dtype, weight=True)
    yield _step(batch, hidden, dims(op, weights + 1)[1], dtype, steps)
    yield Elementwise("rnn_gates", steps * batch * hidden, tensor(op, 0).dtype, 2 + unary_ops("Tanh"))


def _rnn_types(op: Op) -> tuple[Type, ...] | None:
    x, w = ranked(op, 0), ranked(op, 1)
    return None if x is None or w is None else with_shape(op, (*x[1][:-1], w[1][0]))


@define("tfl.RNN", "tfl.UNIDIRECTIONAL_SEQUENCE_RNN", kind=Kind.RECURRENT, infer=_rnn_types)
def rnn(op: Op) -> Iterable[Primitive]:
    """Two matrix products, their sum and its activation."""
    return (*_hybrid(op, 1), *_rnn(op, 1))


@define("tfl.BIDIRECTIONAL_SEQUENCE_RNN", kind=Kind.RECURRENT, infer=lambda op: _both_types(op, 2, 6))
def bidirectional_sequence_rnn(op: Op) -> Iterable[Primitive]:
    """A recurrence forward and one backward."""
    return (*_hybrid(op, 1), *_rnn(op, 1), *_rnn(op, 5))


# -- singular value decomposition filter -------------------------------------------------------------------------------


def _svdf_types(op: Op) -> tuple[Type, ...] | None:
    x, features = ranked(op, 0), ranked(op, 1)
    if x is None or features is None:
        return None
    return with_shape(op, (x[1][0], features[1][0] // max(1, integer(op, "rank", 1))))


@define("tfl.SVDF", kind=Kind.RECURRENT, infer=_svdf_types)
def svdf(op: Op) -> Iterable[Primitive]:
    """Each filter's product with the input joins its memory, which meets the filter's weights in time; ranks are added.

    (Nakkiran et al., Compressing Deep Neural Networks using a Rank-Constrained Topology, Interspeech 2015.)
    """
    batch, inputs = dims(op, 0)
    filters, memory = dims(op, 2)
    dtype = arithmetic_dtype(op)
    ranks = max(1, integer(op, "rank", 1))
    added = Elementwise("add", batch * filters, DType.I32 if is_quantized(dtype) else dtype, 1)
    return (
        *quantized_input(op),
        Gemm(batch, filters, inputs, dtype, weight=True),
        Gemm(1, 1, memory, dtype, batch * filters, weight=True),
        *((added,) if ranks > 1 else ()),
        *activated(op),
    )
