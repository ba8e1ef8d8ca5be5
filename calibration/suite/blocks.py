"""Blocks of convolutional networks, one function for each idea; each takes an image and gives one of other channels.

The ideas are those that published families share (residual, inverted residual, dense, inception, shuffle, ...); sizes
are drawn.
"""

from __future__ import annotations

from collections.abc import Callable

from . import layers as nn
from .builder import Builder, Tensor
from .draws import Draw, Style

__all__ = ["BLOCKS", "Block", "squeeze_excite"]

Block = Callable[[Builder, Tensor, int, int, Style, Draw], Tensor]
"""(builder, image, channels, stride, style, draw) to an image."""


def _unit(
    b: Builder, x: Tensor, channels: int, style: Style, kernel: int | tuple[int, int] = 3, stride: int = 1,
    groups: int = 1, dilation: int = 1,
) -> Tensor:  # fmt: skip
    y = nn.conv(b, x, channels, kernel, stride, groups, dilation, style.bias)
    return nn.activation(b, y, style.activation)


def _shortcut(b: Builder, x: Tensor, channels: int, stride: int, style: Style) -> Tensor:
    if stride == 1 and x.shape[1] == channels:
        return x
    return nn.conv(b, x, channels, 1, stride, bias=style.bias)


def squeeze_excite(b: Builder, x: Tensor, hidden: int, inner: str, gate: str) -> Tensor:
    """Scale each channel by a gate computed from the means of all."""
    mean = nn.activation(b, nn.conv(b, nn.global_mean(b, x), hidden, 1), inner)
    return b.op("Mul", nn.activation(b, nn.conv(b, mean, x.shape[1], 1), gate), x)


def _excited(b: Builder, x: Tensor, style: Style, draw: Draw) -> Tensor:
    inner = style.activation if style.activation in ("silu", "relu") else "relu"
    gate = draw.one(("sigmoid", "hard_sigmoid"))
    return squeeze_excite(b, x, max(4, draw.near(x.shape[1] * draw.between(1 / 24, 1 / 3))), inner, gate)


def plain(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Convolution and activation; the stride is taken by a pooling or by the convolution."""
    pooled = stride == 2 and draw.chance(0.5)
    y = _unit(b, x, channels, style, draw.one((3, 3, 3, 5)), 1 if pooled else stride)
    if not pooled:
        return y
    kind = draw.one(("MaxPool", "MaxPool", "AveragePool"))
    return nn.pool(b, y, kind, *draw.one(((2, 2, 0), (3, 2, 1), (3, 2, 0))))


def basic(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Two 3×3 convolutions and a residual."""
    y = nn.conv(b, _unit(b, x, channels, style, 3, stride), channels, 3, bias=style.bias)
    if draw.chance(0.2):
        y = _excited(b, y, style, draw)
    return nn.activation(b, b.op("Add", y, _shortcut(b, x, channels, stride, style)), style.activation)


def bottleneck(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """1×1, 3×3 and 1×1 with a residual."""
    inner = draw.near(channels / draw.one((2, 4, 4, 3)))
    y = _unit(b, x, inner, style, 1)
    y = _unit(b, y, inner, style, draw.one((3, 3, 3, 5)), stride)
    y = nn.conv(b, y, channels, 1, bias=style.bias)
    return nn.activation(b, b.op("Add", y, _shortcut(b, x, channels, stride, style)), style.activation)


def grouped(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """A bottleneck whose 3×3 works on groups of channels, with squeeze-excite at times."""
    per_group = draw.one((4, 8, 8, 16, 16, 24, 32, 40, 64))
    groups = max(1, round(channels * draw.one((0.5, 1, 1)) / per_group))
    y = _unit(b, x, groups * per_group, style, 1)
    y = _unit(b, y, groups * per_group, style, 3, stride, groups)
    if draw.chance(0.5):
        y = _excited(b, y, style, draw)
    y = nn.conv(b, y, channels, 1, bias=style.bias)
    return nn.activation(b, b.op("Add", y, _shortcut(b, x, channels, stride, style)), style.activation)


def inverted(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Expand by 1×1, depthwise, project by 1×1."""
    wide = draw.near(x.shape[1] * draw.one((1, 2, 3, 4, 4, 6, 6, 2.5)))
    y = _unit(b, x, wide, style, 1) if wide != x.shape[1] else x
    y = _unit(b, y, y.shape[1], style, draw.one((3, 3, 5, 5, 7)), stride, y.shape[1])
    if draw.chance(0.4):
        y = _excited(b, y, style, draw)
    y = nn.conv(b, y, channels, 1, bias=style.bias)
    return b.op("Add", y, x) if y.shape == x.shape else y


def fused_inverted(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """An inverted residual whose first two convolutions are one 3×3."""
    y = _unit(b, x, draw.near(x.shape[1] * draw.one((2, 4))), style, 3, stride)
    y = nn.conv(b, y, channels, 1, bias=style.bias)
    return b.op("Add", y, x) if y.shape == x.shape else y


def separable(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Depthwise, then 1×1."""
    y = _unit(b, x, x.shape[1], style, draw.one((3, 3, 5)), stride, x.shape[1])
    return _unit(b, y, channels, style, 1)


def dense(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Layers that each add channels to all those before, normalised anew; a pooled transition takes the stride."""
    if stride == 2:
        x = nn.pool(b, _unit(b, x, max(8, x.shape[1] // 2), style, 1), "AveragePool", 2)
    growth = max(8, draw.near(channels / draw.one((4, 6, 8))))
    for _ in range(draw.whole(2, 3)):
        y = nn.activation(b, nn.batch_norm(b, x), style.activation)
        y = _unit(b, y, draw.one((2, 4)) * growth, style, 1)
        x = nn.concat(b, x, nn.conv(b, y, growth, 3, bias=style.bias))
    return x


def inception(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Branches of several windows side by side."""
    if stride == 2:
        x = nn.pool(b, x, "MaxPool", 3, 2, 1)
    parts = [draw.near(channels * share) for share in (0.25, 0.45, 0.15, 0.15)]
    slim = [draw.near(part * 0.6) for part in parts]
    middle = _unit(b, x, slim[1], style, 1)
    last = _unit(b, x, slim[2], style, 1)
    if draw.chance(0.5):
        long = draw.one((7, 7, 5, 3))
        last = _unit(b, _unit(b, last, slim[2], style, (1, long)), parts[2], style, (long, 1))
    else:
        last = _unit(b, last, parts[2], style, draw.one((3, 5, 5)))
    pooled = nn.pool(b, x, draw.one(("MaxPool", "AveragePool")), 3, 1, 1)
    branches = _unit(b, x, parts[0], style, 1), _unit(b, middle, parts[1], style, 3), last
    return nn.concat(b, *branches, _unit(b, pooled, parts[3], style, 1))


def shuffle(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Half of the channels go through depthwise and 1×1 convolutions, then all are shuffled."""
    if stride == 2 or x.shape[1] % 2:
        half = max(2, channels // 2)
        left = nn.conv(b, x, x.shape[1], 3, stride, x.shape[1], bias=style.bias)
        left, right = _unit(b, left, half, style, 1), x
    else:
        left, right = nn.split(b, x, 2, 1)
        half = right.shape[1]
    y = _unit(b, right, half, style, 1)
    y = nn.conv(b, y, half, draw.one((3, 3, 5)), stride, half, bias=style.bias)
    y = nn.concat(b, left, _unit(b, y, half, style, 1))
    n, c, h, w = y.shape
    return nn.reshape(b, nn.move(b, nn.reshape(b, y, n, 2, c // 2, h, w), 0, 2, 1, 3, 4), n, c, h, w)


def ghost(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Half of the channels by 1×1, the rest from them by a cheap depthwise convolution."""
    half = max(2, channels // 2)
    if stride == 2:
        x = nn.conv(b, x, x.shape[1], 3, 2, x.shape[1], bias=style.bias)
    first = _unit(b, x, half, style, 1)
    y = nn.concat(b, first, _unit(b, first, half, style, 3, 1, half))
    if draw.chance(0.3):
        y = _excited(b, y, style, draw)
    return b.op("Add", y, x) if y.shape == x.shape else y


def fire(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Squeeze by 1×1, expand by 1×1 and 3×3 side by side."""
    if stride == 2:
        x = nn.pool(b, x, "MaxPool", 3, 2)
    slim = _unit(b, x, draw.near(channels / draw.one((4, 6, 8))), style, 1)
    half = max(2, channels // 2)
    return nn.concat(b, _unit(b, slim, half, style, 1), _unit(b, slim, half, style, 3))


def large_kernel(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """A large depthwise window, then a two-layer perceptron on each position, channels last."""
    if stride == 2 or x.shape[1] != channels:
        x = nn.conv(b, x, channels, stride, stride, bias=True, padding=0)
    y = nn.conv(b, x, channels, draw.one((7, 7, 5, 9, 11)), groups=channels)
    y = nn.layer_norm(b, nn.move(b, y, 0, 2, 3, 1))
    y = nn.activation(b, nn.linear(b, y, draw.one((2, 4, 4)) * channels), "gelu")
    y = nn.move(b, nn.linear(b, y, channels), 0, 3, 1, 2)
    return b.op("Add", b.op("Mul", b.weight(channels, 1, 1, fan_in=4), y), x)


def branched(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """1×1 and 3×3 side by side, and the input normalised, all summed."""
    y = b.op("Add", nn.conv(b, x, channels, 1, stride), nn.conv(b, x, channels, 3, stride))
    if y.shape == x.shape:
        y = b.op("Add", y, nn.batch_norm(b, x))
    return nn.activation(b, y, "relu" if draw.chance(0.8) else style.activation)


def partial(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Cross-stage partial: half of the channels go through small residual blocks, then all are joined."""
    if stride == 2:
        x = _unit(b, x, channels, style, 3, 2)
    half = max(2, channels // 2)
    if draw.chance(0.5):
        first, y = nn.split(b, _unit(b, x, 2 * half, style, 1), 2, 1)
    else:
        first, y = _unit(b, x, half, style, 1), _unit(b, x, half, style, 1)
    kept = [first, y]
    for _ in range(draw.whole(1, 2)):
        y = b.op("Add", y, _unit(b, _unit(b, y, half, style, draw.one((1, 3))), half, style, 3))
        kept.append(y)
    return _unit(b, nn.concat(b, *(kept if draw.chance(0.5) else (first, y))), channels, style, 1)


def dilated(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """A bottleneck whose window is spread out."""
    inner = draw.near(channels / 2)
    y = _unit(b, x, inner, style, 1, stride)
    y = _unit(b, y, inner, style, 3, 1, 1, draw.one((2, 2, 3, 4, 6)))
    y = nn.conv(b, y, channels, 1, bias=style.bias)
    return nn.activation(b, b.op("Add", y, _shortcut(b, x, channels, stride, style)), style.activation)


def pooling(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Mix positions by an average pooling and channels by a perceptron, group-normalised."""
    if stride == 2 or x.shape[1] != channels:
        x = nn.conv(b, x, channels, 3, stride)
    y = nn.group_norm(b, x, 1)
    y = b.op("Sub", nn.pool(b, y, "AveragePool", 3, 1, 1), y)
    x = b.op("Add", x, b.op("Mul", y, b.weight(channels, 1, 1, fan_in=4)))
    y = nn.activation(b, nn.conv(b, nn.group_norm(b, x, 1), draw.one((2, 4)) * channels, 1), "gelu")
    return b.op("Add", x, b.op("Mul", nn.conv(b, y, channels, 1), b.weight(channels, 1, 1, fan_in=4)))


def normalized(b: Builder, x: Tensor, channels: int, stride: int, style: Style, draw: Draw) -> Tensor:
    """Group normalisation, SiLU and 3×3, twice, with a residual, as denoising networks have it."""
    groups = draw.one([g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and x.shape[1] % g == 0])
    y = nn.conv(b, nn.activation(b, nn.group_norm(b, x, groups), "silu"), channels, 3, stride)
    y = nn.conv(b, nn.activation(b, nn.group_norm(b, y, groups), "silu"), channels, 3)
    return b.op("Add", _shortcut(b, x, channels, stride, Style("silu", True)), y)


BLOCKS: dict[str, Block] = {
    block.__name__: block
    for block in (
        plain, basic, bottleneck, grouped, inverted, fused_inverted, separable, dense, inception, shuffle, ghost, fire,
        large_kernel, branched, partial, dilated, pooling, normalized,
    )
}  # fmt: skip
"""Every block by name."""
