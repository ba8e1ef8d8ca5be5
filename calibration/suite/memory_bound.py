"""Grids of what mostly moves data: normalisations, activations, pooling, layout, lookups, elementwise, reductions.

Each function writes several independent operators of one sort, of drawn sizes, into a builder.
"""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from . import layers as nn
from .builder import Builder, Tensor
from .draws import Draw
from .sizes import TOKENS, attention_sizes, features, image, made, sequence

__all__ = [
    "activations", "broadcasts", "elementwise", "layouts", "lookups", "lookups_along", "maps", "normalizations",
    "pools", "reductions", "resizes", "scans", "softmaxes", "softmaxes_across", "transposes",
]  # fmt: skip

_FIRST_OPSET_WITH_BF16_TOPK = 24


def softmaxes(b: Builder, draw: Draw) -> None:
    """Softmax over rows of 1 to 1500, over classes, and over another axis than the last."""
    for _ in range(5):
        count, tokens, _ = attention_sizes(draw, 1_500_000)
        b.output(nn.softmax(b, b.input(1, count, tokens, tokens)))
    b.output(nn.softmax(b, b.input(1, draw.one((10, 1000, 30000)))), nn.softmax(b, image(b, draw, 2, 32), 1))


def softmaxes_across(b: Builder, draw: Draw) -> None:
    """Softmax over another axis than the last: of positions for each channel, of heads, of a few choices."""
    for _ in range(3):
        heads, tokens, width = attention_sizes(draw)
        b.output(nn.softmax(b, b.input(1, heads, tokens, width // draw.one((1, 2, 4))), 2))
    heads, tokens, _ = attention_sizes(draw, 500_000)
    b.output(nn.softmax(b, b.input(1, heads, tokens, tokens), 1))
    b.output(nn.softmax(b, b.input(1, draw.one((2, 4)), draw.one((1, 8)), draw.width(64, 1024)), 1))


def normalizations(b: Builder, draw: Draw) -> None:
    """Layer, root-mean-square, group, instance and batch normalisation."""
    for _ in range(3):
        b.output(nn.layer_norm(b, sequence(b, draw)))
    x = sequence(b, draw)
    b.output(nn.layer_norm(b, b.op("Add", x, b.input(*x.shape))), nn.rms_norm(b, sequence(b, draw)))
    x = image(b, draw, 32, 512, 800_000)
    b.output(nn.group_norm(b, x, draw.one([g for g in (32, 16, 8, 4, 1) if x.shape[1] % g == 0])))
    b.output(nn.instance_norm(b, image(b, draw, 8, 256, 800_000)), nn.batch_norm(b, image(b, draw, 8, 512, 800_000)))
    for _ in range(2):
        y = nn.batch_norm(b, nn.pool(b, features(b, draw, 16, 512), "MaxPool", 3, 1, 1))  # folded into no convolution
        b.output(nn.conv(b, nn.activation(b, y, "relu") if draw.chance(0.7) else y, 16, 1))


def activations(b: Builder, draw: Draw) -> None:
    """Activations by themselves."""
    kinds = ("relu", "sigmoid", "tanh", "hard_swish", "hard_sigmoid", "gelu", "gelu_tanh", "quick_gelu", "silu",
             "relu6", "prelu", "leaky_relu", "elu", "softplus", "mish", "erf", "exp")  # fmt: skip
    for kind in kinds:
        b.output(nn.activation(b, b.input(1, draw.width(8, 1024), draw.one((1, 8, 49, 197, 784))), kind))


def pools(b: Builder, draw: Draw) -> None:
    """Largest and mean values of windows, and of whole images."""
    largest, mean = ((2, 2, 0), (3, 2, 1), (5, 1, 2), (3, 1, 1)), ((2, 2, 0), (3, 1, 1), (7, 1, 0))
    for kind, window in [("MaxPool", w) for w in largest] + [("AveragePool", w) for w in mean]:
        x = (features if draw.chance(0.6) else image)(b, draw, 8, 512, draw.one((500_000, 500_000, 3_000_000)))
        b.output(nn.pool(b, x, kind, *(window if x.shape[2] > 7 else (2, 2, 0))))
    x = (features if draw.chance(0.5) else image)(b, draw, 64, 1280, 800_000)
    b.output(b.op("GlobalAveragePool", x, shape=(*x.shape[:2], 1, 1), flops=prod(x.shape)), nn.global_mean(b, x))


def transposes(b: Builder, draw: Draw) -> None:
    """Transposes of many permutations, and the shuffling of channels."""
    picture = image(b, draw, 8, 512, 800_000)
    b.output(nn.move(b, picture, 0, 2, 3, 1), nn.move(b, picture, 0, 3, 2, 1))
    b.output(nn.move(b, b.input(1, 24, 24, draw.width(16, 256)), 0, 3, 1, 2))
    x = sequence(b, draw, 32, 768)
    b.output(nn.move(b, x, 0, 2, 1), nn.move(b, x, 1, 0, 2))
    for side in (draw.one((28, 56)), draw.one((7, 14, 16, 24))):  # an image's positions as a sequence, and back
        width = draw.width(16, 512 if side < 28 else 128)
        b.output(nn.move(b, b.input(1, width, side**2), 0, 2, 1), nn.move(b, b.input(1, side**2, width), 0, 2, 1))
    grid, side, width = draw.one((2, 4, 8)), draw.one((4, 7, 8)), draw.width(32, 192)
    b.output(nn.move(b, b.input(1, grid, side, grid, side, width), 0, 1, 3, 2, 4, 5))
    b.output(nn.move(b, b.input(1, draw.one(TOKENS[2:17]), 3, 4, draw.one((32, 64))), 2, 0, 3, 1, 4))
    b.output(nn.move(b, b.input(1, draw.one(TOKENS[2:17]), 1, 4, draw.one((16, 32, 64))), 2, 0, 3, 4, 1))
    half, side = draw.width(16, 256), draw.one((7, 14, 28))
    b.output(nn.reshape(b, nn.move(b, b.input(1, 2, half, side, side), 0, 2, 1, 3, 4), 1, 2 * half, side, side))
    b.output(nn.move(b, b.input(draw.width(64, 1024), draw.width(64, 1024)), 1, 0))


def layouts(b: Builder, draw: Draw) -> None:
    """What only moves elements: concatenations, slices, splits, paddings, depth to space, expansions."""
    x = image(b, draw, 8, 256, 400_000)
    n, c, h, w = x.shape
    b.output(nn.concat(b, x, b.input(n, draw.width(8, 256), h, w)), nn.concat(b, x, b.input(n, c, h, 3), axis=3))
    tokens = sequence(b, draw, 32, 768)
    b.output(nn.concat(b, b.input(1, 1, tokens.shape[2]), tokens))
    x = image(b, draw, 8, 256, 400_000)
    n, c, h, w = x.shape
    b.output(nn.slices(b, x, 0, c // 2, 1), nn.slices(b, x, 1, h, 2), nn.slices(b, x, 1, w, 3))
    even = b.input(1, 4 * draw.width(4, 64), 28, 28)
    b.output(*nn.split(b, even, 2, 1), *nn.split(b, b.input(1, draw.one(TOKENS), 3 * 4 * draw.width(16, 192)), 3, -1))
    side = draw.whole(1, 3)
    for mode in ("constant", "reflect"):
        amounts = b.constant([0, 0, side, side] * 2)
        b.output(b.op("Pad", x, amounts, shape=(n, c, h + 2 * side, w + 2 * side), flops=0, mode=mode))
    shape = (1, even.shape[1] // 4, 56, 56)
    b.output(b.op("DepthToSpace", even, shape=shape, flops=0, blocksize=2, mode="CRD"))
    b.output(b.op("SpaceToDepth", even, shape=(1, 4 * even.shape[1], 14, 14), flops=0, blocksize=2))
    wide = (1, 4, draw.one((2, 3, 4)), draw.one(TOKENS[2:14]), 64)
    b.output(b.op("Expand", b.input(1, 4, 1, *wide[3:]), b.constant(list(wide)), shape=wide, flops=0))
    b.output(b.op("Tile", b.input(1, 64, 49), b.constant([4, 1, 2]), shape=(4, 64, 98), flops=0))


def lookups(b: Builder, draw: Draw) -> None:
    """Rows of tables, positions of images, elements by index, and writes by index."""
    for rows in (draw.one((1000, 30000)), 512):
        words = b.input(1, draw.one(TOKENS), element=TensorProto.INT64)
        b.output(nn.embedding(b, words, rows, min(draw.width(16, 1024), 8_000_000 // rows)))
    x = sequence(b, draw, 32, 768)
    count, width = x.shape[1:]
    order = b.constant(np.arange(count)[::-1].copy())
    b.output(b.op("Gather", x, order, shape=x.shape, flops=0, axis=1))
    b.output(b.op("Gather", x, b.constant(0), shape=(1, width), flops=0, axis=1))
    places = b.constant(np.tile(np.arange(width)[::-1], (1, count, 1)))
    b.output(b.op("GatherElements", x, places, shape=x.shape, flops=0, axis=2))
    first = b.constant(np.arange(count // 2 + 1).reshape(-1, 1))
    flat = b.input(count, width)
    b.output(b.op("ScatterND", flat, first, b.input(count // 2 + 1, width), shape=flat.shape, flops=0))


def lookups_along(b: Builder, draw: Draw) -> None:
    """Positions of the last axes by index: windows of an image, relative positions, a few channels."""
    side, reach, width = draw.one((14, 28)), draw.one((3, 5)), draw.width(8, 128)
    windows = np.arange(reach)[:, None] + np.arange(0, side - reach + 1, draw.one((1, 2)))[None, :]
    image = b.input(1, width, side, side)
    rows = b.op("Gather", image, b.constant(windows), shape=(1, width, *windows.shape, side), flops=0, axis=2)
    shape = (1, width, *windows.shape, *windows.shape)
    b.output(b.op("Gather", rows, b.constant(windows), shape=shape, flops=0, axis=4))
    heads, tokens, _ = attention_sizes(draw, 1_000_000)
    places = b.constant(np.arange(tokens)[::-1].copy())
    for axis in (2, 3):
        scores = b.input(1, heads, tokens, tokens)
        b.output(b.op("Gather", scores, places, shape=scores.shape, flops=0, axis=axis))
    x = sequence(b, draw, 32, 768)
    some = np.arange(0, x.shape[2], draw.one((2, 3, 8)))
    b.output(b.op("Gather", x, b.constant(some), shape=(*x.shape[:2], len(some)), flops=0, axis=2))


def resizes(b: Builder, draw: Draw) -> None:
    """Upsampling by 2, 3 and 4, nearest, linear and cubic, and scaling to what is smaller or little larger."""
    for factor, mode in ((2, "nearest"), (2, "linear"), (draw.one((3, 4)), "nearest"), (4, "linear")):
        side = draw.one((8, 12, 16, 20, 28, 32))
        b.output(nn.resize(b, b.input(1, draw.width(3, 256 if factor == 2 else 32), side, side), factor, mode))
    for factor in (2, 2, 4, 8):
        side = draw.one((7, 8, 14, 16, 28)) if factor == 2 else draw.one((4, 7, 8))
        b.output(nn.resize(b, made(b, draw.width(8, 512), side, side), factor, "nearest"))
    for scale, mode in ((0.5, "linear"), (draw.one((0.9, 1.25)), "linear"), (draw.one((0.9, 1.25, 2)), "cubic")):
        side, width = draw.one((20, 40, 80)), draw.one((1, 3, 16) if mode == "cubic" else (3, 16, 64))
        b.output(nn.resize(b, b.input(1, width, side, side), scale, mode))


def broadcasts(b: Builder, draw: Draw) -> None:
    """Sums, products and the like: of equals, with a number, with a row, with a gate for each channel."""
    picture, words = image(b, draw, 8, 384, 600_000), sequence(b, draw, 32, 1024)
    n, c, h, w = picture.shape
    beside = [b.input(n, c, h, w), b.input(n, c, 1, 1)], [b.input(words.shape[2]), b.input(1, words.shape[1], 1)]
    for kind in ("Add", "Mul", "Sub", "Max", "Min", "Div"):
        for one, others in zip((picture, words), beside, strict=True):
            for other in others:
                # A divisor near zero would give infinities in half precision.
                b.output(b.op(kind, one, b.op("Exp", other) if kind == "Div" else other))
    for kind in ("Add", "Mul", "Sub", "Div"):
        b.output(b.op(kind, sequence(b, draw, 32, 512), b.constant(1.5)))


def maps(b: Builder, draw: Draw) -> None:
    """What networks do with whole maps between convolutions: activations, sums, a gate for each channel."""
    for _ in range(3):
        x = features(b, draw, 16, 512)
        kinds = ("relu", "relu", "relu", "silu", "sigmoid", "hard_swish", "gelu", "leaky_relu")
        y = nn.activation(b, x, draw.one(kinds))
        y = b.op("Mul", y, b.input(1, x.shape[1], 1, 1)) if draw.chance(0.3) else y
        b.output(nn.conv(b, b.op("Add", x, y), 16, 1))


def elementwise(b: Builder, draw: Draw) -> None:
    """Functions of one element: powers, roots, selections, comparisons, conversions."""
    for exponent in (2.0, 3.0, 0.5):
        b.output(b.op("Pow", b.op("Abs", sequence(b, draw, 32, 512)), b.constant(exponent)))
    for kind in ("Neg", "Reciprocal", "Cos", "Sin", "Floor", "Log", "Sqrt"):
        x = sequence(b, draw, 32, 512)
        b.output(b.op(kind, b.op("Exp", x) if kind in ("Log", "Sqrt", "Reciprocal") else x))
    x = sequence(b, draw, 32, 512)
    larger = b.op("Greater", x, b.input(*x.shape), element=TensorProto.BOOL)
    b.output(b.op("Where", larger, x, b.constant(0.0), shape=x.shape, element=x.element))
    row = b.op("Greater", b.input(1, x.shape[1], 1), b.constant(0.0), element=TensorProto.BOOL)
    b.output(b.op("Where", row, x, b.constant(0.0), shape=x.shape, element=x.element))
    missing = b.op("IsNaN", x, element=TensorProto.BOOL)
    b.output(b.op("And", larger, b.op("Not", missing)), b.op("Equal", x, b.constant(0.0), element=TensorProto.BOOL))
    b.output(b.op("Cast", x, element=TensorProto.INT64, to=TensorProto.INT64, flops=0))


def reductions(b: Builder, draw: Draw) -> None:
    """Means over positions and over the last axis, sums, extremes, norms, and where the largest is."""
    picture, words = image(b, draw, 16, 1280, 800_000), sequence(b, draw, 32, 1024)
    b.output(nn.global_mean(b, picture, keep=draw.chance(0.5)))
    for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"):
        b.output(nn.reduce(b, kind, words, (-1,)), nn.reduce(b, kind, sequence(b, draw, 32, 512), (1,), keep=False))
    b.output(nn.reduce(b, "ReduceMax", image(b, draw, 8, 256, 400_000), (2, 3)))
    for axis in (-1, 1):
        shape = [1 if i == axis % 3 else size for i, size in enumerate(words.shape)]
        found = b.op("ArgMax", words, shape=shape, element=TensorProto.INT64, flops=prod(words.shape), axis=axis)
        b.output(found)


def scans(b: Builder, draw: Draw) -> None:
    """Running sums, and the largest few."""
    x = sequence(b, draw, 32, 512)
    b.output(b.op("CumSum", x, b.constant(1), shape=x.shape), b.op("CumSum", x, b.constant(2), shape=x.shape))
    if b.element == TensorProto.BFLOAT16 and b.opset < _FIRST_OPSET_WITH_BF16_TOPK:
        return
    count = draw.one((1, 5, 10))
    classes = b.input(draw.one((1, 16, 100)), draw.one((100, 1000, 5000)))
    shape, flops = (classes.shape[0], count), prod(classes.shape)
    values, places = b.ops("TopK", [classes, b.constant([count])], [shape, shape], flops=flops, axis=-1)
    b.output(values, Tensor(places.name, shape, TensorProto.INT64))
