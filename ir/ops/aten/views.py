"""ATen's views: results that are their operand's memory under other extents and strides."""

from __future__ import annotations

from ...graph import Op
from ...registry import Kind, Lowering, OpDef, add
from ..reading import view
from .reading import enter

__all__: list[str] = []

_VIEWS = """
    view _unsafe_view view_as view_as_real view_as_complex _reshape_alias reshape reshape_as flatten unflatten ravel
    squeeze unsqueeze permute transpose swapaxes swapdims movedim moveaxis t numpy_T mT mH adjoint
    expand expand_as broadcast_to broadcast_tensors
    slice select narrow diagonal unfold as_strided split split_with_sizes chunk tensor_split unsafe_split
    unsafe_split_with_sizes unsafe_chunk hsplit vsplit dsplit unbind real imag atleast_1d atleast_2d atleast_3d
    meshgrid detach alias lift_fresh lift_fresh_copy lift contiguous to dropout _conj conj _neg_view
    resolve_conj resolve_neg positive pin_memory set_ resize_ requires_grad_
"""
enter(_VIEWS, Kind.VIEW, view, "A view.", aliases=True)

_NUMBERS = (
    "sym_size sym_stride sym_numel sym_storage_offset sym_is_contiguous _local_scalar_dense item size stride numel"
)


def _number(op: Op) -> Lowering:
    return view(op)


enter(_NUMBERS, Kind.VIEW, _number, "A number that the host has or reads back; nothing is launched.")
add(
    OpDef(
        "graphs.updated",
        Kind.VIEW,
        view,
        None,
        None,
        "Operand 0 after a part of it was written in place (operand 1): a view that puts readers behind the writer.",
        aliases=True,
    )
)
