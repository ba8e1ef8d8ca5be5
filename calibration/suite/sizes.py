"""Sizes of operators' inputs, drawn from what real networks have."""

from __future__ import annotations

from . import layers as nn
from .builder import Builder, Tensor
from .draws import Draw

__all__ = ["SIDES", "TOKENS", "attention_sizes", "features", "image", "made", "sequence"]

TOKENS = (1, 7, 16, 32, 49, 50, 64, 77, 100, 128, 144, 196, 197, 256, 384, 512, 577, 785, 1024, 1500)
"""Rows of matrices: words of a sentence, patches of an image (with a class token), windows, frames of speech."""

SIDES = (6, 7, 7, 8, 10, 12, 13, 14, 14, 16, 19, 20, 24, 28, 28, 32, 38, 40, 48, 52, 56, 56, 64, 80, 96, 112)
"""Sides of images inside a network."""

_MOST_ELEMENTS = 3_000_000
_FEW_CHANNELS = 16
"""Those of images that maps are made from: making them takes little."""


def image(b: Builder, draw: Draw, low: int = 8, high: int = 640, most: int = _MOST_ELEMENTS) -> Tensor:
    """An image of drawn size and channels: many of the one, few of the other."""
    side, channels = _extents(draw, low, high, most)
    return b.input(1, channels, side, side)


def features(b: Builder, draw: Draw, low: int = 8, high: int = 640, most: int = _MOST_ELEMENTS) -> Tensor:
    """What a convolution makes of an image: just written, in the layout that the runtime keeps between convolutions."""
    side, channels = _extents(draw, low, high, most)
    return made(b, channels, side, side)


def made(b: Builder, channels: int, *extents: int) -> Tensor:
    """A map of so many channels that a convolution just made."""
    return nn.conv(b, b.input(1, _FEW_CHANNELS, *extents), channels, 1)


def _extents(draw: Draw, low: int, high: int, most: int) -> tuple[int, int]:
    """An image's side, and its channels: many of the one, few of the other."""
    side = draw.one(SIDES)
    return side, min(draw.width(low, high), max(low, most // side**2))


def sequence(b: Builder, draw: Draw, low: int = 32, high: int = 2048) -> Tensor:
    """A sequence of drawn length and width."""
    count = draw.one(TOKENS)
    return b.input(1, count, min(draw.width(low, high), _MOST_ELEMENTS // count))


def attention_sizes(draw: Draw, most_scores: int = 6_000_000) -> tuple[int, int, int]:
    """Heads, tokens and a head's width, with no more scores than given."""
    tokens, width = draw.one(TOKENS[1:]), draw.one((16, 24, 32, 40, 64, 64, 80, 96, 128))
    return max(1, min(draw.one((1, 2, 3, 4, 6, 8, 12, 16)), most_scores // tokens**2)), tokens, width
