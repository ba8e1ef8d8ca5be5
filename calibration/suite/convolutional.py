"""Random convolutional networks: classifiers, segmenters, upsamplers, and networks over signals and volumes."""

from __future__ import annotations

from . import layers as nn
from .blocks import BLOCKS
from .builder import Builder, Tensor
from .draws import Draw, Style

__all__ = [
    "classifier",
    "points",
    "pyramid",
    "segmenter",
    "style_transfer",
    "super_resolution",
    "unet",
    "volume",
    "waves",
]

_SMALLEST_IMAGE = 6


def _stem(b: Builder, x: Tensor, draw: Draw, style: Style, width: int) -> Tensor:
    kernel, stride, pooled = draw.one(
        ((3, 2, False), (3, 2, False), (3, 2, True), (7, 2, True), (7, 2, True), (4, 4, False), (7, 4, False),
         (3, 1, False), (5, 2, False), (11, 4, True), (6, 2, False))
    )  # fmt: skip
    y = nn.activation(b, nn.conv(b, x, width, kernel, stride, bias=style.bias), style.activation)
    if draw.chance(0.2):
        y = nn.activation(b, nn.conv(b, y, draw.near(width * 1.5), 3, bias=style.bias), style.activation)
    return nn.pool(b, y, "MaxPool", 3, 2, 1) if pooled else y


def _stage(b: Builder, x: Tensor, family: str, channels: int, depth: int, style: Style, draw: Draw) -> Tensor:
    for i in range(depth):
        x = BLOCKS[family](b, x, channels, 2 if i == 0 and min(x.shape[2:]) > _SMALLEST_IMAGE else 1, style, draw)
    return x


def classifier(b: Builder, draw: Draw, family: str) -> None:
    """A stem, stages of one family of blocks (or of several, ``mixed``), and a classifier's head."""
    style, pixels = draw.style(), draw.pixels()
    batch = draw.one((1,) * 18 + (2, 4))
    width = draw.width(12, 64)
    x = _stem(b, b.input(batch, 3, pixels, pixels), draw, style, width)
    growth = draw.between(1.4, 2.3)
    width = draw.near(width * draw.between(0.7, 3.0))
    for _ in range(draw.whole(2, 5)):
        name = draw.one(sorted(BLOCKS)) if family == "mixed" else family
        x = _stage(b, x, name, width, draw.one((1, 1, 2, 2, 3)), style, draw)
        width = min(draw.near(width * growth), 1536)
    b.output(_head(b, x, draw, style))


def _head(b: Builder, x: Tensor, draw: Draw, style: Style) -> Tensor:
    classes = draw.one((10, 100, 365, 1000, 1000, 21, 2))
    batch = x.shape[0]
    if draw.chance(0.3):
        x = nn.activation(b, nn.conv(b, x, draw.near(x.shape[1] * draw.between(1.5, 5)), 1), style.activation)
    if draw.chance(0.2):
        y = nn.reshape(b, x, batch, -1)
        y = b.op("Relu", nn.fully_connected(b, y, draw.width(128, 2048)))
        return nn.fully_connected(b, y, classes)
    y = nn.reshape(b, nn.global_mean(b, x), batch, x.shape[1])
    if draw.chance(0.2):
        y = nn.activation(b, nn.fully_connected(b, y, draw.width(256, 1280)), "hard_swish")
    return nn.fully_connected(b, y, classes)


def segmenter(b: Builder, draw: Draw) -> None:
    """A backbone, dilated branches side by side with a pooled one, and bilinear upsampling."""
    style, pixels = draw.style(), draw.one((128, 160, 192, 224))
    width = draw.width(16, 48)
    x = nn.conv(b, b.input(1, 3, pixels, pixels), width, 3, 2, bias=style.bias)
    family = draw.one(("basic", "inverted", "bottleneck", "grouped"))
    early = _stage(b, x, family, draw.near(width * 1.5), 1, style, draw)
    x = _stage(b, early, family, draw.near(width * 3), 2, style, draw)
    middle = draw.width(32, 128)
    branches = [nn.activation(b, nn.conv(b, x, middle, 1), style.activation)]
    for rate in draw.one(((6, 12, 18), (2, 4, 8), (3, 6))):
        branches.append(nn.activation(b, nn.conv(b, x, middle, 3, dilation=rate), style.activation))
    mean = nn.activation(b, nn.conv(b, nn.global_mean(b, x), middle, 1), "relu")
    branches.append(nn.resize(b, mean, x.shape[2], "linear"))
    y = nn.activation(b, nn.conv(b, nn.concat(b, *branches), middle, 1), style.activation)
    y = b.op("Add", nn.resize(b, nn.conv(b, y, 21, 1), 2, "linear"), nn.conv(b, early, 21, 1))
    b.output(nn.resize(b, y, 4, "linear"))


def unet(b: Builder, draw: Draw) -> None:
    """An encoder and a decoder joined at each size, by transposed convolutions or by resizing."""
    style, pixels = draw.style(), draw.one((96, 128, 160, 192))
    width, levels = draw.width(8, 40), draw.whole(2, 4)
    family = draw.one(("plain", "plain", "normalized", "basic"))
    up = draw.one(("transposed", "transposed", "nearest", "linear"))
    block = BLOCKS[family]
    x = nn.conv(b, b.input(1, draw.one((1, 3, 4)), pixels, pixels), width, 3)
    kept = []
    for _ in range(levels):
        x = block(b, x, width, 1, style, draw)
        kept.append(x)
        x = nn.pool(b, x, "MaxPool", 2)
        width = draw.near(width * draw.one((1.5, 2, 2)))
    x = block(b, x, width, 1, style, draw)
    for skip in reversed(kept):
        if up == "transposed":
            x = nn.conv_transpose(b, x, skip.shape[1], *draw.one(((2, 2, 0), (4, 2, 1), (3, 2, 1))))
        else:
            x = nn.resize(b, x, 2, up)
        x = block(b, nn.concat(b, x, skip), skip.shape[1], 1, style, draw)
    b.output(nn.conv(b, x, draw.one((1, 2, 3, 21)), 1))


def pyramid(b: Builder, draw: Draw) -> None:
    """A detector: a backbone, features of three sizes joined from small to large, and dense heads."""
    style = Style(draw.one(("silu", "silu", "leaky_relu", "relu")), draw.chance(0.5))
    pixels, width = draw.one((128, 160, 192, 224, 256)), draw.width(12, 32)
    family = draw.one(("partial", "partial", "basic", "inverted", "shuffle"))
    x = nn.activation(b, nn.conv(b, b.input(1, 3, pixels, pixels), width, 3, 2), style.activation)
    features = []
    for factor in (2, 4, 8, 12):
        x = _stage(b, x, family, 2 * draw.near(width * factor / 2), 1, style, draw)
        features.append(x)
    half = features[-1].shape[1] // 2
    y = nn.activation(b, nn.conv(b, x, half, 1), style.activation)
    pools = [y]
    for _ in range(3):
        pools.append(nn.pool(b, pools[-1], "MaxPool", 5, 1, 2))
    x = nn.activation(b, nn.conv(b, nn.concat(b, *pools), half, 1), style.activation)
    heads = []
    for feature in (features[2], features[1]):
        up = nn.resize(b, x, 2)
        slim = nn.activation(b, nn.conv(b, nn.concat(b, up, feature), feature.shape[1], 1), style.activation)
        x = BLOCKS[family](b, slim, feature.shape[1], 1, style, draw)
        y = nn.conv(b, nn.activation(b, nn.conv(b, x, x.shape[1], 3), style.activation), 3 * 28, 1)
        heads.append(nn.move(b, nn.reshape(b, y, 1, 3, 28, -1), 0, 1, 3, 2))
    y = nn.concat(b, *(nn.reshape(b, head, 1, -1, 28) for head in heads))
    b.output(b.op("Sigmoid", y))


def super_resolution(b: Builder, draw: Draw) -> None:
    """Residual blocks at full size, then channels turned into positions."""
    pixels, width, factor = draw.one((40, 48, 64, 80)), draw.width(16, 64), draw.one((2, 2, 3, 4))
    act = draw.one(("relu", "relu", "prelu", "leaky_relu"))
    x = head = nn.conv(b, b.input(1, 3, pixels, pixels), width, draw.one((3, 5, 9)))
    for _ in range(draw.whole(2, 4)):
        y = nn.conv(b, nn.activation(b, nn.conv(b, x, width, 3), act), width, 3)
        x = b.op("Add", x, nn.scaled(b, y, 0.1) if draw.chance(0.5) else y)
    x = b.op("Add", nn.conv(b, x, width, 3), head)
    y = nn.conv(b, x, factor**2 * draw.one((3, width)), 3)
    shape = (1, y.shape[1] // factor**2, pixels * factor, pixels * factor)
    y = b.op("DepthToSpace", y, shape=shape, flops=0, blocksize=factor, mode="CRD")
    b.output(nn.conv(b, y, 3, draw.one((3, 3, 9))))


def style_transfer(b: Builder, draw: Draw) -> None:
    """Reflected padding, instance normalisation, and transposed convolutions, as image-to-image networks have them."""
    pixels, width = draw.one((64, 96, 128)), draw.width(12, 40)

    def unit(x: Tensor, channels: int, kernel: int, stride: int) -> Tensor:
        side = kernel // 2
        n, c, h, w = x.shape
        amounts = b.constant([0, 0, side, side, 0, 0, side, side])
        padded = b.op("Pad", x, amounts, shape=(n, c, h + 2 * side, w + 2 * side), flops=0, mode="reflect")
        y = nn.conv(b, padded, channels, kernel, stride, padding=0)
        return b.op("Relu", nn.instance_norm(b, y))

    x = unit(b.input(1, 3, pixels, pixels), width, draw.one((7, 9)), 1)
    x = unit(unit(x, 2 * width, 3, 2), 4 * width, 3, 2)
    for _ in range(2):
        x = b.op("Add", x, unit(unit(x, 4 * width, 3, 1), 4 * width, 3, 1))
    for channels in (2 * width, width):
        x = b.op("Relu", nn.instance_norm(b, nn.conv_transpose(b, x, channels, 3, 2, 1)))
    b.output(b.op("Tanh", unit(x, 3, 7, 1)))


def waves(b: Builder, draw: Draw) -> None:
    """Dilated convolutions over a signal: gated residual blocks, or plain ones with a stride."""
    length, width = draw.one((1000, 2000, 4000, 6000)), draw.width(16, 128)
    x = nn.conv(b, b.input(1, draw.one((1, 12, 40, 80)), length), width, draw.one((1, 3, 7)))
    kernel = draw.one((2, 3, 3, 5))
    gated, act = draw.chance(0.5), draw.one(("relu", "leaky_relu", "gelu", "prelu"))
    for level in range(draw.whole(3, 5)):
        if gated:
            left = b.op("Tanh", nn.conv(b, x, width, 3, dilation=2**level))
            y = b.op("Mul", left, b.op("Sigmoid", nn.conv(b, x, width, 3, dilation=2**level)))
            x = b.op("Add", x, nn.conv(b, y, width, 1))
        else:
            size = 2 * kernel - 1
            y = nn.activation(b, nn.conv(b, x, width, size, dilation=level + 1), act)
            x = b.op("Add", x, nn.conv(b, y, width, size))
            width = draw.near(width * 1.3)
            x = nn.activation(b, nn.conv(b, x, width, 4, 2, groups=1, padding=1), act)
    b.output(nn.conv(b, x, draw.one((1, 29, 64)), 1))


def points(b: Builder, draw: Draw) -> None:
    """1×1 convolutions over points, the largest of each channel, and a perceptron."""
    count, batch = draw.one((512, 1024, 1500, 3000)), draw.one((1, 1, 2))
    x = b.input(batch, draw.one((3, 6)), count)
    for width in sorted(draw.width(32, 768) for _ in range(draw.whole(2, 4))):
        x = b.op("Relu", nn.conv(b, x, width, 1))
    y = nn.reduce(b, "ReduceMax", x, (2,), keep=False)
    y = b.op("Relu", nn.fully_connected(b, y, draw.width(128, 768)))
    b.output(nn.fully_connected(b, y, draw.one((10, 40, 55))))


def volume(b: Builder, draw: Draw) -> None:
    """3-D convolutions over a short film: full ones, or space and time apart."""
    frames, pixels, width = draw.one((4, 8, 12)), draw.one((32, 48, 56, 64)), draw.width(8, 32)
    x = b.op("Relu", nn.conv(b, b.input(1, 3, frames, pixels, pixels), width, (1, 3, 3)))
    apart = draw.chance(0.5)
    for _ in range(draw.whole(2, 3)):
        x = nn.pool(b, x, draw.one(("MaxPool", "AveragePool")), 2)
        width = draw.near(width * 1.7)
        if apart:
            x = b.op("Relu", nn.conv(b, x, width, (1, 3, 3)))
            x = b.op("Relu", nn.conv(b, x, width, (3, 1, 1)))
        else:
            x = b.op("Relu", nn.conv(b, x, width, 3))
        if min(x.shape[2:]) < 2:
            break
    y = nn.reshape(b, nn.global_mean(b, x), 1, width)
    b.output(nn.fully_connected(b, y, 101))
