"""onnxruntime's recurrent states (``com.microsoft``): a state-space mixer, and states rebuilt from what was captured.

Backing tensors are allocations that hold more than what one operation reads and writes of them; where in them that lies
an operand says, a constant or not.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Op
from ..primitives import Conv, Copy, Elementwise, Gemm, Normalization, Primitive, Unknown
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, TensorType, Type
from .elementwise import activation_ops
from .normalization import RMS_OPS
from .reading import constant_integers, dims, integer, ranked, size, smallest, tensor, typed

__all__: list[str] = []

_TAPS = 4
"""The width of the convolution before a state-space recurrence."""

_GEOMETRY = 11
"""How many numbers describe captured transitions (com.microsoft.GatedDeltaNetStateReplay-1)."""

_HISTORY = 8
"""How many describe a captured convolution history (com.microsoft.ConvStateReplay-1)."""


def _mamba_types(op: Op) -> tuple[Type, ...] | None:
    """The result, both snapshots, and where asked for what was convolved and what was read of the states."""
    x, convolved, states = ranked(op, 0), typed(op, 1), typed(op, 2)
    if x is None or convolved is None or states is None or convolved.shape is None:
        return None
    rows, inner = x[1][0], integer(op, "heads", 0) * integer(op, "head_dim", 64)
    channels: Dim = convolved.shape[1]
    between = (TensorType(x[0], (rows, channels)), TensorType(DType.F32, (rows, inner)))
    return (TensorType(x[0], (rows, inner)), convolved, states, *between)[: len(op.results)]


@define("com.microsoft.Mamba2Verify", kind=Kind.RECURRENT, infer=_mamba_types, caches=((1, 1), (2, 2)))
def mamba2_verify(op: Op) -> Lowering:
    """A depthwise convolution, for each token in turn a state that decays, is added to and read, gate and norm.

    One snapshot of each state is read; of as many as there are tokens, at most all, new ones are written, the others
    stay where they are (com.microsoft.Mamba2Verify-1).
    """
    rows, slots = dims(op, 0)[0], dims(op, 1)[0]
    snapshots = {index: (tensor(op, index).bytes or 0) // max(1, slots) for index in (1, 2)}
    written = {index: snapshot * smallest(rows, slots) for index, snapshot in snapshots.items()}
    return Lowering(tuple(_mixed(op, rows, dims(op, 1)[1])), snapshots, written)


def _mixed(op: Op, rows: int, channels: int) -> Iterable[Primitive]:
    heads, size_, states = integer(op, "heads", 0), integer(op, "head_dim", 64), integer(op, "d_state", 128)
    inner, groups, dtype = heads * size_, integer(op, "n_groups", 1), tensor(op, 0).dtype
    silu = activation_ops("silu")
    yield Conv(1, channels, channels, (rows,), (rows,), (_TAPS,), dtype, groups=channels)
    yield Elementwise("silu", rows * channels, dtype, silu + 1)
    yield Elementwise("time_step", rows * heads, DType.F32, activation_ops("softplus") + 4)
    yield Elementwise("mul", rows * inner, DType.F32)
    yield Elementwise("decay", rows * inner * states, DType.F32)
    yield Gemm(size_, states, 1, DType.F32, heads, steps=rows)
    yield Gemm(1, size_, states, DType.F32, heads, steps=rows)
    yield Elementwise("gate", rows * inner, DType.F32, silu + 3)
    yield Normalization(rows * groups, inner // groups, DType.F32, RMS_OPS)


def _destination_type(op: Op) -> tuple[Type, ...] | None:
    destination = typed(op, 2)
    return None if destination is None else (destination,)


def _written(op: Op, primitives: Iterable[Primitive], source: int, captured: int, written: int) -> Lowering:
    """Elements of the three backing tensors that are read and written; the destination is not read."""
    bytes_ = [count * tensor(op, 0).dtype.bits // 8 for count in (source, captured, written)]
    return Lowering(tuple(primitives), {0: bytes_[0], 1: bytes_[1], 2: 0}, {0: bytes_[2]})


@define("com.microsoft.GatedDeltaNetStateReplay", kind=Kind.RECURRENT, infer=_destination_type)
def gated_delta_net_state_replay(op: Op) -> Lowering:
    """A state that decays and is added to for each transition that was kept: how many, a constant operand 3 says."""
    geometry = constant_integers(op.operand(3))
    if geometry is None or len(geometry) != _GEOMETRY:
        return Lowering((Unknown(f"what {op.label!r} replays is known only when it runs"),))
    _, _, decays_at, keys_at, _, heads, values, keys, key_heads, capacity, kept = geometry
    state, dtype = heads * values * keys, tensor(op, 0).dtype
    decays = heads * (keys if keys_at - decays_at == capacity * heads * keys else 1)
    work = (Elementwise("decay", kept * state, dtype), Gemm(values, keys, 1, dtype, heads, steps=kept))
    return _written(op, work, state, kept * (decays + key_heads * keys + heads * values), state)


@define("com.microsoft.ConvStateReplay", kind=Kind.LAYOUT, infer=_destination_type)
def conv_state_replay(op: Op) -> Lowering:
    """A copy of history and captured inputs: as a constant operand 3 says, else at most the whole destination."""
    geometry = constant_integers(op.operand(3))
    if geometry is None or len(geometry) != _HISTORY:
        moved = smallest(size(op, 0) + size(op, 1), size(op, 2))
        return _written(op, (Copy(moved, tensor(op, 0).dtype),), moved, 0, moved)
    *_, batch, channels, width, _, kept = geometry
    moved, captured = batch * channels * width, batch * channels * smallest(kept, width)
    return _written(op, (Copy(moved, tensor(op, 0).dtype),), moved - captured, captured, moved)
