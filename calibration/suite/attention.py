"""Attention written out, in the spellings that exporters give to the several ways of writing it in PyTorch."""

from __future__ import annotations

from math import sqrt

import numpy as np
from onnx import TensorProto

from . import layers as nn
from .builder import Builder, Tensor

__all__ = [
    "attend", "attend_plainly", "attention", "causal_mask", "fused_qkv", "gelu_mlp", "heads_first", "packed_qkv",
    "repeated", "rotary", "split_qkv",
]  # fmt: skip

_LOWEST = -3.4028234663852886e38


def heads_first(b: Builder, x: Tensor, heads: int) -> Tensor:
    """(batch, tokens, heads × width) to (batch, heads, tokens, width)."""
    batch, tokens, width = x.shape
    return nn.move(b, nn.reshape(b, x, batch, tokens, heads, width // heads), 0, 2, 1, 3)


def causal_mask(b: Builder, tokens: int) -> Tensor:
    """Minus infinity above the diagonal, made from truth values as decoders do."""
    allowed = b.constant(np.tril(np.ones((1, 1, tokens, tokens), np.bool_)))
    zero, lowest = b.constant(0.0), b.constant(_LOWEST if b.element != TensorProto.FLOAT16 else -65504.0)
    return b.op("Where", allowed, zero, lowest, shape=allowed.shape, element=b.element)


def attend(
    b: Builder, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, guarded: bool = False
) -> Tensor:
    """``scaled_dot_product_attention``, which scales both factors, over (batch, heads, tokens, width).

    ``guarded``: rows that are masked altogether give zeros instead of NaN, as with a mask of truth values.
    """
    batch, heads, tokens, width = key.shape
    flat = nn.reshape(b, key, -1, tokens, width)
    turned = nn.reshape(b, nn.move(b, flat, 0, 2, 1), batch, heads, width, tokens)
    factor = width**-0.25
    scores = nn.matmul(b, nn.scaled(b, query, factor), nn.scaled(b, turned, factor))
    return _weighted(b, scores, value, mask, guarded)


def attend_plainly(b: Builder, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """The product of a scaled query and a transposed key, softmax, and the product with the values."""
    batch_dims = len(key.shape) - 2
    turned = nn.move(b, key, *range(batch_dims), batch_dims + 1, batch_dims)
    scores = nn.matmul(b, nn.scaled(b, query, query.shape[-1] ** -0.5), turned)
    return _weighted(b, scores, value, mask, False)


def _weighted(b: Builder, scores: Tensor, value: Tensor, mask: Tensor | None, guarded: bool) -> Tensor:
    if mask is not None:
        scores = b.op("Add", scores, mask)
    shares = nn.softmax(b, scores)
    if guarded:
        missing = b.op("IsNaN", shares, element=TensorProto.BOOL)
        shares = b.op("Where", missing, b.constant(0.0), shares, element=shares.element)
    return nn.matmul(b, shares, value)


def split_qkv(b: Builder, x: Tensor, heads: int, bias: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Three linear layers, as Hugging Face's models have them."""
    query, key, value = (nn.linear(b, x, x.shape[-1], bias) for _ in range(3))
    return heads_first(b, query, heads), heads_first(b, key, heads), heads_first(b, value, heads)


def packed_qkv(b: Builder, x: Tensor, heads: int, selected: str = "slice") -> tuple[Tensor, Tensor, Tensor]:
    """One linear layer whose result is reshaped, transposed and taken apart, as timm's and Swin's models have it."""
    batch, tokens, width = x.shape
    y = nn.reshape(b, nn.linear(b, x, 3 * width), batch, tokens, 3, heads, width // heads)
    y = nn.move(b, y, 2, 0, 3, 1, 4)
    if selected == "gather":
        picked = (b.op("Gather", y, b.constant(i), shape=y.shape[1:], flops=0, axis=0) for i in range(3))
    else:
        picked = (_squeezed(b, nn.slices(b, y, i, i + 1, 0)) for i in range(3))
    query, key, value = picked
    return query, key, value


def _squeezed(b: Builder, x: Tensor) -> Tensor:
    return b.op("Squeeze", x, b.constant([0]), shape=x.shape[1:], flops=0)


def fused_qkv(b: Builder, x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """One matrix product split in three, as GPT-2's family has it."""
    batch, tokens, width = x.shape
    flat = nn.fully_connected(b, nn.reshape(b, x, -1, width), 3 * width, transposed=False)
    query, key, value = nn.split(b, nn.reshape(b, flat, batch, tokens, 3 * width), 3, 2)
    return heads_first(b, query, heads), heads_first(b, key, heads), heads_first(b, value, heads)


def rotary(b: Builder, x: Tensor) -> Tensor:
    """Rotary position embedding: turn pairs of channels by an angle that grows with the position."""
    tokens, width = x.shape[-2:]
    cosine, sine = (b.weight(1, 1, tokens, width, fan_in=2) for _ in range(2))
    low, high = nn.slices(b, x, 0, width // 2, 3), nn.slices(b, x, width // 2, 2**63 - 1, 3)
    turned = nn.concat(b, b.op("Neg", high), low, axis=-1)
    return b.op("Add", b.op("Mul", x, cosine), b.op("Mul", turned, sine))


def repeated(b: Builder, x: Tensor, times: int) -> Tensor:
    """Give each head of keys or values to several heads of queries."""
    batch, heads, tokens, width = x.shape
    if times == 1:
        return x
    wide = b.op("Unsqueeze", x, b.constant([2]), shape=(batch, heads, 1, tokens, width), flops=0)
    shape = (batch, heads, times, tokens, width)
    wide = b.op("Expand", wide, b.constant(list(shape)), shape=shape, flops=0)
    return nn.reshape(b, wide, batch, heads * times, tokens, width)


def attention(b: Builder, x: Tensor, heads: int, spelling: str, mask: Tensor | None = None) -> Tensor:
    """Self-attention with its projection, in one of the spellings ``huggingface``, ``timm``, ``torch`` and ``gpt``."""
    batch, tokens, width = x.shape
    if spelling == "timm":
        y = nn.merge_last(b, attend_plainly(b, *packed_qkv(b, x, heads), mask))
        return nn.linear(b, y, width)
    if spelling == "torch":
        return _torch_attention(b, x, heads)
    if spelling == "gpt":
        y = attend(b, *fused_qkv(b, x, heads), mask, guarded=mask is not None)
        flat = nn.reshape(b, nn.move(b, y, 0, 2, 1, 3), tokens * batch, width)
        return nn.reshape(b, nn.fully_connected(b, flat, width, transposed=False), batch, tokens, width)
    y = attend(b, *split_qkv(b, x, heads), mask, guarded=mask is not None)
    return nn.linear(b, nn.merge_last(b, y), width)


def _torch_attention(b: Builder, x: Tensor, heads: int) -> Tensor:
    """``torch.nn.MultiheadAttention``: tokens first, one packed product, each part transposed for itself."""
    batch, tokens, width = x.shape
    y = nn.reshape(b, nn.linear(b, nn.move(b, x, 1, 0, 2), 3 * width), tokens, batch, 3, width)
    y = b.op("Unsqueeze", y, b.constant([0]), shape=(1, *y.shape), flops=0)
    y = nn.move(b, y, 3, 1, 2, 0, 4)
    y = b.op("Squeeze", y, b.constant([-2]), shape=(3, tokens, batch, width), flops=0)
    parts = []
    for i in range(3):
        part = b.op("Gather", y, b.constant(i), shape=(tokens, batch, width), flops=0, axis=0)
        part = nn.move(b, nn.reshape(b, part, tokens, batch * heads, width // heads), 1, 0, 2)
        parts.append(part)
    query, value = (nn.reshape(b, parts[i], batch, heads, tokens, width // heads) for i in (0, 2))
    turned = nn.reshape(b, nn.move(b, parts[1], 0, 2, 1), batch, heads, width // heads, tokens)
    factor = 1 / sqrt(sqrt(width // heads))
    scores = nn.matmul(b, nn.scaled(b, query, factor), nn.scaled(b, turned, factor))
    y = nn.matmul(b, nn.softmax(b, scores), value)
    flat = nn.reshape(b, nn.move(b, y, 2, 0, 1, 3), tokens * batch, width)
    y = nn.reshape(b, nn.fully_connected(b, flat, width), tokens, batch, width)
    return nn.move(b, y, 1, 0, 2)


def gelu_mlp(b: Builder, x: Tensor, hidden: int, kind: str = "gelu") -> Tensor:
    """Two linear layers with an activation between them."""
    return nn.linear(b, nn.activation(b, nn.linear(b, x, hidden), kind), x.shape[-1])
