"""ATen's normalisations and softmax."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ...graph import Op
from ...primitives import Normalization, Primitive, Reduction
from ...registry import Kind
from ..normalization import LAYER_OPS, RMS_OPS, softmax_along
from ..reading import dims, integer, integers, normal_axis, size, tensor
from .reading import enter, flag

__all__: list[str] = []


def _batch_norm(training: Callable[[Op], bool]) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        shape = dims(op, 0)
        channels = shape[1] if len(shape) > 1 else 1
        per_element = LAYER_OPS if training(op) else 2
        return (Normalization(channels, prod(shape) // max(1, channels), tensor(op, 0).dtype, per_element),)

    return lower


enter(
    "batch_norm _native_batch_norm_legit _batch_norm_with_update native_batch_norm cudnn_batch_norm",
    Kind.NORMALIZATION,
    _batch_norm(lambda op: flag(op, "training")),
    "A product and a sum for each element; in training the statistics too.",
)
enter(
    "_native_batch_norm_legit_no_training _batch_norm_no_update",
    Kind.NORMALIZATION,
    _batch_norm(lambda op: False),
    "A product and a sum for each element.",
)


def _trailing(op: Op) -> tuple[int, int]:
    """Groups and their size, where the last axes, those of ``normalized_shape``, are one group."""
    extent = prod(integers(op, "normalized_shape", dims(op, 0)[-1:]))
    return size(op, 0) // max(1, extent), extent


def _layer_norm(op: Op) -> tuple[Primitive, ...]:
    scaled = LAYER_OPS - (op.operand(2) is None) - (op.operand(1) is None)
    return (Normalization(*_trailing(op), tensor(op, 0).dtype, scaled),)


enter("layer_norm native_layer_norm", Kind.NORMALIZATION, _layer_norm, "One group for each position.")


def _rms_norm(op: Op) -> tuple[Primitive, ...]:
    return (Normalization(*_trailing(op), tensor(op, 0).dtype, RMS_OPS - (op.operand(1) is None)),)


enter("rms_norm _fused_rms_norm", Kind.NORMALIZATION, _rms_norm, "One group for each position, without a mean.")


def _group_norm(op: Op) -> tuple[Primitive, ...]:
    groups = dims(op, 0)[0] * integer(op, "num_groups", integer(op, "group", 1))
    scaled = LAYER_OPS - (op.operand(2) is None) - (op.operand(1) is None)
    return (Normalization(groups, size(op, 0) // max(1, groups), tensor(op, 0).dtype, scaled),)


enter("group_norm native_group_norm", Kind.NORMALIZATION, _group_norm, "``num_groups`` groups for each image.")


def _instance_norm(op: Op) -> tuple[Primitive, ...]:
    shape = dims(op, 0)
    own = flag(op, "use_input_stats", True)
    return (Normalization(prod(shape[:2]), prod(shape[2:]), tensor(op, 0).dtype, LAYER_OPS if own else 2),)


enter("instance_norm", Kind.NORMALIZATION, _instance_norm, "One group for each channel of each image.")


enter(
    "softmax _softmax log_softmax _log_softmax special_softmax special_log_softmax _safe_softmax",
    Kind.NORMALIZATION,
    lambda op: softmax_along(op, integer(op, "dim", -1)),
    "A softmax of each row; of its logarithm as much work.",
)


def _unit_norm(per_element: int) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        shape = dims(op, 0)
        kept = shape[normal_axis(integer(op, "dim", 0), len(shape))] if shape else 1
        return (Normalization(max(1, kept), prod(shape) // max(1, kept), tensor(op, 0).dtype, per_element),)

    return lower


enter("_weight_norm _weight_norm_interface", Kind.NORMALIZATION, _unit_norm(4), "Square, sum, divide, gain.")


def _cosine(op: Op) -> tuple[Primitive, ...]:
    """Three products summed along ``dim`` for each pair."""
    shape = dims(op, 0)
    extent = shape[normal_axis(integer(op, "dim", 1), len(shape))] if shape else 1
    return (Reduction("cosine", prod(shape), prod(shape) // max(1, extent), tensor(op, 0).dtype, 6),)


enter("cosine_similarity", Kind.REDUCTION, _cosine, "Three sums of products along an axis.")
