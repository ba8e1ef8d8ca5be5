"""Random transformers: of images, of text, of windows, of sound, and their relatives."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from . import attention as at
from . import layers as nn
from .builder import Builder, Tensor
from .draws import Draw

__all__ = ["decoder", "encoder", "hybrid", "llama", "mixer", "spatial", "speech", "vision", "windowed"]

_HEAD_WIDTHS = (32, 64, 64, 64, 48, 80, 96, 128)


def _dim(draw: Draw, low: int, high: int) -> tuple[int, int]:
    """A width and its number of heads."""
    head = draw.one([width for width in _HEAD_WIDTHS if width <= high])
    heads = max(1, round(draw.between(low, high) / head))
    return head * heads, heads


def _patches(b: Builder, draw: Draw, width: int) -> Tensor:
    patch = draw.one((8, 14, 16, 16, 32))
    pixels = patch * draw.whole(5, 20)
    y = nn.conv(b, b.input(1, 3, pixels, pixels), width, patch, patch, bias=draw.chance(0.7), padding=0)
    return nn.move(b, nn.reshape(b, y, 1, width, -1), 0, 2, 1)


def vision(b: Builder, draw: Draw) -> None:
    """A vision transformer: patches, a class token, pre-normalised blocks, a linear head."""
    width, heads = _dim(draw, 96, 1024)
    x = _patches(b, draw, width)
    if draw.chance(0.8):
        x = nn.concat(b, b.weight(1, 1, width), x)
    x = b.op("Add", x, b.weight(*x.shape, fan_in=16))
    spelling, act = draw.one(("timm", "timm", "torch", "huggingface")), draw.one(("gelu", "gelu", "gelu", "quick_gelu"))
    hidden = draw.near(width * draw.one((2, 3, 4, 4, 4)))
    for _ in range(draw.whole(2, 3)):
        x = b.op("Add", at.attention(b, nn.layer_norm(b, x), heads, spelling), x)
        x = b.op("Add", x, at.gelu_mlp(b, nn.layer_norm(b, x), hidden, act))
    x = nn.layer_norm(b, x)
    first = b.op("Gather", x, b.constant(0), shape=(1, width), flops=0, axis=1)
    b.output(nn.fully_connected(b, first, draw.one((10, 100, 1000))))


def _text(b: Builder, draw: Draw, tokens: int, width: int) -> Tensor:
    indices = b.input(1, tokens, element=TensorProto.INT64)
    return nn.embedding(b, indices, draw.one((1000, 2000, 5000)), width)


def encoder(b: Builder, draw: Draw) -> None:
    """A text encoder of post-normalised blocks, with a mask of truth values at times."""
    width, heads = _dim(draw, 96, 896)
    tokens = draw.one((16, 32, 49, 64, 96, 100, 150, 192, 256, 384, 512))
    x = _text(b, draw, tokens, width)
    places = nn.embedding(b, b.constant(np.arange(tokens).reshape(1, tokens)), 512, width)
    x = nn.layer_norm(b, b.op("Add", x, places))
    act = draw.one(("gelu", "gelu", "gelu_tanh", "relu", "quick_gelu"))
    masked, relative = draw.chance(0.5), draw.chance(0.2)
    hidden = draw.near(width * draw.one((2, 4, 4, 3)))
    for _ in range(draw.whole(2, 3)):
        mask = (
            at.causal_mask(b, tokens) if masked else b.weight(1, heads, tokens, tokens, fan_in=9) if relative else None
        )
        y = at.attention(b, x, heads, "huggingface", mask)
        x = nn.layer_norm(b, b.op("Add", y, x))
        x = nn.layer_norm(b, b.op("Add", at.gelu_mlp(b, x, hidden, act), x))
    b.output(nn.linear(b, x, draw.one((2, 9, width))))


def decoder(b: Builder, draw: Draw) -> None:
    """GPT-2's family: matrix products over flattened tokens, a causal mask, and a vocabulary of logits."""
    width, heads = _dim(draw, 96, 768)
    tokens = draw.one((1, 8, 16, 32, 64, 100, 160, 256))
    x = _text(b, draw, tokens, width)
    mask = at.causal_mask(b, tokens)
    act = draw.one(("gelu_tanh", "gelu_tanh", "gelu", "relu"))
    hidden = draw.near(width * draw.one((3, 4, 4)))
    for _ in range(draw.whole(2, 3)):
        x = b.op("Add", at.attention(b, nn.layer_norm(b, x), heads, "gpt", mask), x)
        flat = nn.reshape(b, nn.layer_norm(b, x), -1, width)
        y = nn.reshape(b, nn.fully_connected(b, flat, hidden, transposed=False), 1, tokens, hidden)
        y = nn.reshape(b, nn.activation(b, y, act), -1, hidden)
        x = b.op("Add", x, nn.reshape(b, nn.fully_connected(b, y, width, transposed=False), 1, tokens, width))
    b.output(nn.linear(b, nn.layer_norm(b, x), draw.width(2000, 12000), bias=False))


def llama(b: Builder, draw: Draw) -> None:
    """Root-mean-square normalisation, rotary positions, grouped queries and gated perceptrons."""
    width, heads = _dim(draw, 128, 768)
    shared = draw.one([n for n in (1, 2, 3, 4) if heads % n == 0])
    tokens = draw.one((1, 16, 33, 64, 100, 160, 256))
    x = _text(b, draw, tokens, width)
    mask, narrow = at.causal_mask(b, tokens), width // shared
    hidden, gate = draw.near(width * draw.between(2, 4)), draw.one(("silu", "silu", "silu", "gelu_tanh"))
    bias = draw.chance(0.2)
    for _ in range(2):
        y = nn.rms_norm(b, x)
        query = at.rotary(b, at.heads_first(b, nn.linear(b, y, width, bias), heads))
        key = at.rotary(b, at.heads_first(b, nn.linear(b, y, narrow, bias), heads // shared))
        value = at.heads_first(b, nn.linear(b, y, narrow, bias), heads // shared)
        y = at.attend(b, query, at.repeated(b, key, shared), at.repeated(b, value, shared), mask, guarded=True)
        x = b.op("Add", x, nn.linear(b, nn.merge_last(b, y), width, bias=False))
        y = nn.rms_norm(b, x)
        y = b.op("Mul", nn.activation(b, nn.linear(b, y, hidden, False), gate), nn.linear(b, y, hidden, False))
        x = b.op("Add", x, nn.linear(b, y, width, bias=False))
    b.output(nn.linear(b, nn.rms_norm(b, x), draw.width(1000, 8000), bias=False))


def windowed(b: Builder, draw: Draw) -> None:
    """Swin's family: attention within windows, every other one shifted, and patches merged."""
    side = draw.one((4, 5, 6, 7, 7, 8))
    grid = side * draw.one((2, 4, 6))
    head, heads = draw.one((16, 24, 32, 32)), draw.one((2, 3, 4, 6))
    width = head * heads
    x = nn.conv(b, b.input(1, 3, 4 * grid, 4 * grid), width, 4, 4, padding=0)
    x = nn.layer_norm(b, nn.move(b, x, 0, 2, 3, 1))
    for stage in range(2):
        for shift in (0, side // 2):
            y = _window_attention(b, nn.layer_norm(b, x), heads, side, shift if grid > side else 0)
            x = b.op("Add", x, y)
            x = b.op("Add", x, at.gelu_mlp(b, nn.layer_norm(b, x), draw.one((2, 4, 4)) * width))
        if stage == 0 and grid % (2 * side) == 0:
            grid, width, heads = grid // 2, 2 * width, 2 * heads
            x = _merged(b, x, width)
    y = nn.layer_norm(b, x)
    b.output(nn.fully_connected(b, nn.reduce(b, "ReduceMean", y, (1, 2), keep=False), 100))


def _rolled(b: Builder, x: Tensor, shift: int) -> Tensor:
    for axis in (1, 2):
        first, rest = nn.slices(b, x, 0, shift, axis), nn.slices(b, x, shift, x.shape[axis], axis)
        x = nn.concat(b, rest, first, axis=axis)
    return x


def _window_attention(b: Builder, x: Tensor, heads: int, side: int, shift: int) -> Tensor:
    _, grid, _, width = x.shape
    count, tokens = (grid // side) ** 2, side * side
    x = _rolled(b, x, shift) if shift else x
    parts = (1, grid // side, side, grid // side, side, width)
    y = nn.reshape(b, nn.move(b, nn.reshape(b, x, *parts), 0, 1, 3, 2, 4, 5), count, tokens, width)
    query, key, value = at.packed_qkv(b, y, heads, "gather")
    bias = b.weight(1, heads, tokens, tokens, fan_in=9)
    if shift:
        query = nn.scaled(b, query, (width // heads) ** -0.5)
        scores = b.op("Add", nn.matmul(b, query, nn.move(b, key, 0, 1, 3, 2)), bias)
        apart = b.op("Add", nn.reshape(b, scores, 1, count, heads, tokens, tokens), _window_mask(b, count, tokens))
        shares = nn.softmax(b, nn.reshape(b, apart, -1, heads, tokens, tokens))
        y = nn.matmul(b, shares, value)
    else:
        y = at.attend_plainly(b, query, key, value, bias)
    y = nn.linear(b, nn.merge_last(b, y), width)
    back = (1, grid // side, grid // side, side, side, width)
    y = nn.reshape(b, nn.move(b, nn.reshape(b, y, *back), 0, 1, 3, 2, 4, 5), 1, grid, grid, width)
    return _rolled(b, y, grid - shift) if shift else y


def _window_mask(b: Builder, count: int, tokens: int) -> Tensor:
    allowed = (np.arange(tokens)[:, None] < tokens // 2) == (np.arange(tokens)[None, :] < tokens // 2)
    # Published networks subtract 100, whose exponential is denormal and slows the next product down manyfold.
    values = np.where(allowed, 0.0, -30.0).astype(np.float32)
    return b.constant(np.broadcast_to(values, (1, count, 1, tokens, tokens)))


def _merged(b: Builder, x: Tensor, width: int) -> Tensor:
    """Every second position of each axis, side by side, made narrower."""

    def every_second(x: Tensor, begin: int, axis: int) -> Tensor:
        shape = tuple(size // 2 if i == axis else size for i, size in enumerate(x.shape))
        ranges = (b.constant([value]) for value in (begin, 2**63 - 1, axis, 2))
        return b.op("Slice", x, *ranges, shape=shape, flops=0)

    parts = [every_second(every_second(x, row, 1), column, 2) for column in (0, 1) for row in (0, 1)]
    return nn.linear(b, nn.layer_norm(b, nn.concat(b, *parts, axis=-1)), width, bias=False)


def spatial(b: Builder, draw: Draw) -> None:
    """SegFormer's family: keys and values from a smaller image, and a depthwise convolution in the perceptron."""
    side, (width, heads) = draw.one((12, 16, 24, 28, 32, 40)), _dim(draw, 32, 256)
    pixels = 4 * side
    x = nn.conv(b, b.input(1, 3, pixels, pixels), width, 7, 4)
    tokens = side * side
    x = nn.layer_norm(b, nn.move(b, nn.reshape(b, x, 1, width, tokens), 0, 2, 1))
    ratio, hidden = draw.one((1, 2, 4)), draw.near(width * draw.one((2, 4)))
    for _ in range(2):
        y = nn.layer_norm(b, x)
        query, smaller = at.heads_first(b, nn.linear(b, y, width), heads), y
        if ratio > 1:
            image = nn.reshape(b, nn.move(b, y, 0, 2, 1), 1, width, side, side)
            image = nn.conv(b, image, width, ratio, ratio, padding=0)
            smaller = nn.layer_norm(b, nn.move(b, nn.reshape(b, image, 1, width, -1), 0, 2, 1))
        key, value = (at.heads_first(b, nn.linear(b, smaller, width), heads) for _ in range(2))
        x = b.op("Add", nn.linear(b, nn.merge_last(b, at.attend(b, query, key, value)), width), x)
        y = nn.linear(b, nn.layer_norm(b, x), hidden)
        image = nn.reshape(b, nn.move(b, y, 0, 2, 1), 1, hidden, side, side)
        image = nn.reshape(b, nn.conv(b, image, hidden, 3, groups=hidden), 1, hidden, tokens)
        y = nn.activation(b, nn.move(b, image, 0, 2, 1), "gelu")
        x = b.op("Add", nn.linear(b, y, width), x)
    image = nn.move(b, nn.reshape(b, nn.layer_norm(b, x), 1, side, side, width), 0, 3, 1, 2)
    b.output(nn.conv(b, nn.resize(b, image, 2, "linear"), draw.one((2, 19, 64)), 1))


def mixer(b: Builder, draw: Draw) -> None:
    """Perceptrons over positions and over channels in turn."""
    width = draw.width(96, 768)
    x = _patches(b, draw, width)
    across, along = draw.width(64, 512), draw.near(width * draw.one((2, 4, 4)))
    for _ in range(draw.whole(2, 3)):
        y = nn.move(b, nn.layer_norm(b, x), 0, 2, 1)
        x = b.op("Add", x, nn.move(b, at.gelu_mlp(b, y, across), 0, 2, 1))
        x = b.op("Add", x, at.gelu_mlp(b, nn.layer_norm(b, x), along))
    y = nn.reduce(b, "ReduceMean", nn.layer_norm(b, x), (1,), keep=False)
    b.output(nn.fully_connected(b, y, draw.one((10, 1000))))


def speech(b: Builder, draw: Draw) -> None:
    """Convolutions over time, then a transformer, with a depthwise convolution in its blocks at times."""
    width, heads = _dim(draw, 96, 512)
    frames, act = draw.one((100, 200, 400, 600, 1000)), draw.one(("gelu", "gelu", "relu"))
    x = nn.activation(b, nn.conv(b, b.input(1, draw.one((40, 80)), frames), width, 3), act)
    x = nn.activation(b, nn.conv(b, x, width, 3, 2), act)
    x = nn.move(b, x, 0, 2, 1)
    x = b.op("Add", x, b.weight(*x.shape[1:], fan_in=4))
    convolved, hidden = draw.chance(0.5), draw.near(width * draw.one((2, 4, 4)))
    for _ in range(2):
        x = b.op("Add", x, at.attention(b, nn.layer_norm(b, x), heads, "huggingface"))
        if convolved:
            y = nn.conv(b, nn.move(b, nn.layer_norm(b, x), 0, 2, 1), 2 * width, 1)
            left, right = nn.split(b, y, 2, 1)
            y = b.op("Mul", left, b.op("Sigmoid", right))
            y = nn.activation(b, nn.conv(b, y, width, draw.one((7, 15, 31)), groups=width), "silu")
            x = b.op("Add", x, nn.move(b, nn.conv(b, y, width, 1), 0, 2, 1))
        x = b.op("Add", x, at.gelu_mlp(b, nn.layer_norm(b, x), hidden, act))
    b.output(nn.linear(b, nn.layer_norm(b, x), draw.one((29, 256, 1000))))


def hybrid(b: Builder, draw: Draw) -> None:
    """Convolutions whose positions attend to each other in small patches, as MobileViT has it."""
    side, channels = draw.one((8, 12, 16, 24, 32)), draw.width(24, 128)
    width, heads = _dim(draw, 48, 256)
    x = nn.activation(b, nn.conv(b, b.input(1, 3, 2 * side, 2 * side), channels, 3, 2), "silu")
    y = nn.conv(b, nn.activation(b, nn.conv(b, x, channels, 3), "silu"), width, 1)
    half = side // 2
    y = nn.move(b, nn.reshape(b, y, width * half, 2, half, 2), 0, 2, 1, 3)
    y = nn.move(b, nn.reshape(b, y, 1, width, half * half, 4), 0, 3, 2, 1)
    y = nn.reshape(b, y, 4, half * half, width)
    for _ in range(2):
        y = b.op("Add", y, at.attention(b, nn.layer_norm(b, y), heads, "timm"))
        y = b.op("Add", y, at.gelu_mlp(b, nn.layer_norm(b, y), 2 * width, "silu"))
    y = nn.move(b, nn.reshape(b, nn.layer_norm(b, y), 1, 4, half * half, width), 0, 3, 2, 1)
    y = nn.move(b, nn.reshape(b, y, width * half, half, 2, 2), 0, 2, 1, 3)
    y = nn.reshape(b, y, 1, width, side, side)
    y = nn.activation(b, nn.conv(b, y, channels, 1), "silu")
    y = nn.activation(b, nn.conv(b, nn.concat(b, x, y), channels, 3), "silu")
    b.output(nn.conv(b, y, draw.near(4 * channels), 1))
