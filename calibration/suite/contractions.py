"""Grids of what multiplies and accumulates: convolutions, matrix products, attention, recurrent layers.

Each function writes several independent operators of one sort, of drawn sizes, into a builder.
"""

from __future__ import annotations

from math import prod

from . import layers as nn
from .attention import attend, attend_plainly, causal_mask, heads_first, packed_qkv, rotary
from .builder import Builder, Tensor
from .draws import Draw
from .sizes import TOKENS, attention_sizes, features, image, made

__all__ = [
    "activation_products", "attentions", "channels_last", "convolutions", "depthwise", "einsums", "grouped", "heads",
    "joined", "long_signals", "recurrences", "signals", "single_rows", "stems", "transposed", "vocabularies", "volumes",
    "weight_products",
]  # fmt: skip


def finished(b: Builder, x: Tensor, draw: Draw) -> None:
    """End a convolution's branch: bare, with an activation, or with a residual and an activation."""
    if draw.chance(0.25):
        # The residual comes out of a convolution, as in a network: in the layout that the runtime prefers.
        x = b.op("Add", x, made(b, *x.shape[1:]))
    kinds = ("", "relu", "relu", "relu", "silu", "hard_swish", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid")
    kind = draw.one(kinds)
    b.output(nn.activation(b, x, kind) if kind else x)


def convolutions(
    b: Builder, draw: Draw, windows: tuple[int | tuple[int, int], ...], strides: tuple[int, ...] = (1,),
    dilations: tuple[int, ...] = (1,),
) -> None:  # fmt: skip
    """Full convolutions of several windows, four to a model."""
    for window in (windows * 4)[:4]:
        x = features(b, draw, 4, 512) if draw.chance(0.3) else image(b, draw, 4, 512)
        area = window**2 if isinstance(window, int) else prod(window)
        # A share of the work is given to each, so that large windows come with fewer channels.
        allowed = draw.between(2e7, 8e8) / (2 * area * prod(x.shape))
        channels = max(8, min(draw.width(8, 768), draw.near(max(8.0, allowed))))
        y = nn.conv(b, x, channels, window, draw.one(strides), 1, draw.one(dilations), draw.chance(0.7))
        finished(b, y, draw)


def joined(b: Builder, draw: Draw) -> None:
    """What follows features that were concatenated: pointwise convolutions of many channels.

    Sides are mostly powers of two: the same position of all channels then falls into few sets of a cache.
    """
    for _ in range(3):
        side = draw.one((16, 24, 28, 32, 32, 40, 48, 56, 64, 64, 80, 128))
        x = b.input(1, min(draw.width(128, 1536), 6_000_000 // side**2), side, side)
        filters = max(8, min(draw.width(32, 512), draw.near(max(8.0, 1e9 / (2 * prod(x.shape))))))
        finished(b, nn.conv(b, x, filters, 1, bias=draw.chance(0.7)), draw)


def grouped(b: Builder, draw: Draw) -> None:
    """Convolutions in groups of 2 to 64 channels."""
    for _ in range(6):
        per_group, side = draw.one((2, 4, 8, 8, 16, 16, 24, 32, 48, 64)), draw.one((7, 14, 14, 20, 28, 28, 40, 56))
        groups = max(2, round(draw.between(32, 640) / per_group))
        x = made(b, groups * per_group, side, side) if draw.chance(0.7) else b.input(1, groups * per_group, side, side)
        finished(b, nn.conv(b, x, x.shape[1], draw.one((3, 3, 3, 5, 1)), draw.one((1, 1, 2)), groups), draw)


def depthwise(b: Builder, draw: Draw) -> None:
    """One window for each channel, alone and the sum of two, and two windows for each."""
    for _ in range(6):
        x = (features if draw.chance(0.7) else image)(b, draw, 8, 1152, draw.one((1_200_000, 1_200_000, 3_000_000)))
        channels, stride = x.shape[1], draw.one((1, 1, 1, 2))
        y = nn.conv(b, x, channels, draw.one((3, 3, 3, 5, 5, 7, 9, 1)), stride, channels, draw.one((1, 1, 1, 2)))
        if draw.chance(0.4):
            y = b.op("Add", nn.conv(b, x, channels, draw.one((1, 3)), stride, channels), y)
        finished(b, y, draw)
    for _ in range(2):
        x = (features if draw.chance(0.5) else image)(b, draw, 16, 512, 600_000)
        finished(b, nn.conv(b, x, 2 * x.shape[1], draw.one((3, 5, 7)), draw.one((1, 2, 2)), x.shape[1]), draw)


def channels_last(b: Builder, draw: Draw) -> None:
    """Convolutions of what is kept with its channels last, as between transformers' layers: turned in, out, or both."""
    for kind in ("depthwise", "pointwise", "pointwise", "patches", "window"):
        x = image(b, draw, 16, 512, 600_000)
        n, c, h, w = x.shape
        turned_in, turned_out = draw.one(((True, True), (True, False), (False, True)))
        y = nn.move(b, b.input(n, h, w, c), 0, 3, 1, 2) if turned_in else x
        if kind == "depthwise":
            y = nn.conv(b, y, c, draw.one((3, 5, 7, 7)), 1, c)
        elif kind == "pointwise":
            y = nn.conv(b, y, min(draw.width(16, 1024), max(16, 300_000_000 // prod(x.shape))), 1)
            y = b.op("Add", y, b.input(*y.shape)) if draw.chance(0.3) else y
        elif kind == "patches" and h >= 8:
            y = nn.conv(b, y, min(2 * c, 512), *draw.one(((2, 2), (3, 2), (4, 4))), padding=0)
        else:
            y = nn.conv(b, y, draw.width(16, 96), 3)
        b.output(nn.move(b, y, 0, 2, 3, 1) if turned_out else y)


def stems(b: Builder, draw: Draw) -> None:
    """First layers: three channels (or one) of a large image."""
    patch, rare = draw.one((4, 8, 14, 16, 32)), (draw.one((3, 5, 6, 11)), draw.one((1, 2, 4)))
    for kernel, stride in ((3, 2), (7, 2), (patch, patch), rare):
        side = draw.pixels(112, 320)
        x = b.input(1, draw.one((3, 3, 3, 1, 4)), side, side)
        patches = kernel == stride
        width = draw.width(64, 768) if patches else draw.width(12, 64)
        y = nn.conv(b, x, width, kernel, stride, padding=0 if patches else None)
        b.output(nn.activation(b, y, draw.one(("relu", "silu", "hard_swish"))))


def long_signals(b: Builder, draw: Draw) -> None:
    """Convolutions over seconds of sound."""
    for _ in range(3):
        length, width = draw.one((4000, 8000, 8000, 16000)), draw.width(16, 128)
        x, dilation = b.input(1, width, length), draw.one((1, 1, 2, 8, 64))
        y = nn.conv(b, x, draw.near(width * draw.between(0.5, 2.0)), draw.one((3, 3, 5, 7)), dilation=dilation)
        finished(b, y, draw)


def signals(b: Builder, draw: Draw) -> None:
    """Convolutions in one dimension: full, dilated, strided, depthwise; of words, of raw sound, in a few groups."""
    for kind in ("full", "full", "dilated", "strided", "depthwise"):
        length, width = draw.one((100, 400, 1000, 1500, 3000)), draw.width(16, 384)
        x = b.input(1, width, length)
        kernel = draw.one((3, 5, 7)) if kind == "dilated" else draw.one((1, 2, 3, 3, 5, 7, 10))
        act = draw.one(("relu", "gelu", "tanh"))
        groups = width if kind == "depthwise" else 1
        out = width if groups > 1 else draw.width(16, 384)
        rate = draw.one((2, 4, 8)) if kind == "dilated" else 1
        y = nn.conv(b, x, out, kernel, draw.one((2, 4)) if kind == "strided" else 1, groups, rate)
        b.output(nn.activation(b, y, act))
    words = b.input(1, draw.width(64, 1024), draw.one(TOKENS[2:]))
    most = max(16.0, 6e8 / (2 * prod(words.shape)))
    b.output(nn.conv(b, words, max(16, min(draw.width(64, 3072), draw.near(most))), 1))
    parts, wider = draw.one((2, 4, 4, 8)), draw.one((1, 1, 2, 4))
    words = b.input(1, parts * draw.width(32, 256), draw.one(TOKENS[2:14]))
    b.output(nn.conv(b, words, wider * words.shape[1], 1, 1, parts))
    sound = b.input(1, 1, draw.one((8000, 16000)))
    b.output(nn.conv(b, sound, draw.width(32, 512), draw.one((8, 10, 16)), draw.one((4, 5, 8)), padding=0))
    groups, each = draw.one((4, 8, 16)), draw.one((16, 32, 48))
    x = b.input(1, groups * each, draw.one((49, 100, 199)))
    b.output(nn.conv(b, x, x.shape[1], draw.one((3, 31, 127)), 1, groups))


def volumes(b: Builder, draw: Draw) -> None:
    """Convolutions in three dimensions."""
    for window in (3, (1, 3, 3), (3, 1, 1), 1):
        side, width = draw.one((7, 14, 16, 28)), draw.width(8, 64)
        y = nn.conv(b, b.input(1, width, draw.one((4, 8, 16)), side, side), draw.width(8, 64), window)
        b.output(nn.activation(b, y, "relu"))


def transposed(b: Builder, draw: Draw) -> None:
    """Transposed convolutions of images and of signals."""
    for kernel, stride, padding in ((2, 2, 0), (4, 2, 1), (3, 2, 1)):
        side, width = draw.one((8, 14, 16, 24, 32)), draw.width(16, 256)
        b.output(nn.conv_transpose(b, b.input(1, width, side, side), draw.near(width / 2), kernel, stride, padding))
    b.output(nn.conv_transpose(b, b.input(1, draw.width(32, 256), 200), draw.width(16, 128), 8, 4, 2))


def weight_products(
    b: Builder, draw: Draw, activations: tuple[str, ...] = ("", "", "relu", "gelu", "sigmoid", "tanh", "silu")
) -> None:
    """Linear layers over 1 to 1500 rows, as ``MatMul`` and as ``Gemm``, with and without activation."""
    for i in range(4):
        rows = draw.one(TOKENS)
        k = draw.width(32, 3072)
        n = max(16, min(draw.width(32, 3072), draw.near(max(16.0, draw.between(2e7, 1.2e9) / (2 * rows * k)))))
        act = draw.one(activations)
        if i % 2:
            y = nn.fully_connected(b, b.input(rows, k), n, draw.chance(0.8), draw.chance(0.6))
        else:
            y = nn.linear(b, b.input(1, rows, k), n, draw.chance(0.8))
        b.output(nn.activation(b, y, act) if act else y)


def single_rows(b: Builder, draw: Draw) -> None:
    """Linear layers of one to eight rows, whose weights are the work: classifiers, and words one at a time."""
    for _ in range(4):
        rows, k, n = draw.one((1, 1, 1, 2, 4, 8)), draw.width(128, 9216), draw.width(10, 4096)
        b.output(nn.fully_connected(b, b.input(rows, k), min(n, max(10, 16_000_000 // k))))


def vocabularies(b: Builder, draw: Draw) -> None:
    """A wide layer over many words: logits of a language model."""
    rows, k = draw.one((1, 8, 16, 32)), draw.width(128, 768)
    b.output(nn.linear(b, b.input(1, rows, k), min(draw.width(4000, 50000), 16_000_000 // k), bias=draw.chance(0.5)))


def activation_products(b: Builder, draw: Draw) -> None:
    """Products of two activations: queries with keys, and shares with values."""
    for _ in range(3):
        heads, tokens, width = attention_sizes(draw)
        query, keys = b.input(1, heads, tokens, width), b.input(1, heads, tokens, width)
        scores = nn.matmul(b, query, nn.move(b, keys, 0, 1, 3, 2))
        b.output(b.op(draw.one(("Mul", "Div")), scores, b.constant(width**0.5)) if draw.chance(0.5) else scores)
        shares = b.input(draw.one((1, 1, 16)), max(1, heads // 2), tokens, tokens)
        b.output(nn.matmul(b, shares, b.input(shares.shape[0], shares.shape[1], tokens, width)))


def einsums(b: Builder, draw: Draw) -> None:
    """Products by labels: projections to heads and back, scores and their sums with words first, relative positions."""
    count, (heads, tokens, width) = draw.one((1, 1, 2)), attention_sizes(draw, 1_000_000)
    hidden = min(heads * width, 768)
    words, weight = b.input(tokens, count, hidden), b.weight(hidden, heads, width, fan_in=hidden)
    b.output(nn.einsum(b, "ibh,hnd->ibnd", words, weight))
    query, key, value = (b.input(tokens, count, heads, width) for _ in range(3))
    b.output(nn.einsum(b, "ibnd,jbnd->bnij", query, key))
    b.output(nn.einsum(b, "bnij,jbnd->ibnd", b.input(count, heads, tokens, tokens), value))
    b.output(nn.einsum(b, "ibnd,hnd->ibh", query, weight))
    first = [b.input(count, heads, tokens, width) for _ in range(2)]
    b.output(nn.einsum(b, "bhid,bhjd->bhij", *first))
    side, channels = draw.one((7, 14, 28)), draw.width(16, 128)
    positions = b.weight(side, side, channels, fan_in=channels)
    b.output(nn.einsum(b, "byhwc,wkc->byhwk", b.input(1, draw.one((1, 4)), side, side, channels), positions))


def attentions(b: Builder, draw: Draw) -> None:
    """Attention written out, with and without a mask, queries of one word among them."""
    heads, tokens, width = attention_sizes(draw, 2_000_000)
    query, key, value = (b.input(1, heads, tokens, width) for _ in range(3))
    b.output(nn.merge_last(b, attend(b, query, key, value)))
    heads, tokens, width = attention_sizes(draw, 2_000_000)
    query, key, value = (b.input(1, heads, tokens, width) for _ in range(3))
    b.output(attend(b, query, key, value, causal_mask(b, tokens), guarded=True))
    heads, tokens, width = attention_sizes(draw, 2_000_000)
    query, key, value = b.input(1, heads, 1, width), b.input(1, heads, tokens, width), b.input(1, heads, tokens, width)
    b.output(attend_plainly(b, query, key, value))


def heads(b: Builder, draw: Draw) -> None:
    """What attention does beside products: splitting heads, merging them, rotary positions."""
    for _ in range(3):
        count, tokens, width = attention_sizes(draw)
        b.output(heads_first(b, b.input(1, tokens, count * width), count))
        b.output(nn.merge_last(b, b.input(1, count, tokens, width)))
        b.output(rotary(b, b.input(1, count, tokens, width)))
    count, tokens, width = attention_sizes(draw, 100_000)
    b.output(*packed_qkv(b, b.input(1, tokens, 64 * count), count))


def recurrences(b: Builder, draw: Draw) -> None:
    """Recurrent layers of several widths and lengths, in one direction and in both."""
    for kind in ("LSTM", "GRU", "LSTM", draw.one(("GRU", "GRU", "RNN"))):
        tokens, width, hidden = draw.one((1, 5, 10, 20, 35, 50, 80, 128)), draw.width(16, 512), draw.width(16, 400)
        b.output(nn.recurrent(b, b.input(tokens, draw.one((1, 1, 4)), width), kind, hidden, draw.chance(0.4)))
