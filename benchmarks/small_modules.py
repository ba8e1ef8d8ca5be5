"""Small networks written in PyTorch, three of each kind: what `benchmarks/captured_modules.py` measures and predicts.

Each is a factory, so `small_modules:cnn_narrow` is a model to graphs-opt and graphs-calibrate from this folder.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["INPUTS"]

INPUTS = {
    "cnn_narrow": "1x3x128x128",
    "cnn_middle": "1x3x128x128",
    "cnn_wide": "1x3x96x96",
    "block_short": "1x48x256",
    "block_middle": "1x96x384",
    "block_long": "1x192x192",
    "lstm_small": "1x24x128",
    "lstm_middle": "1x48x160",
    "lstm_large": "1x32x256",
}
"""The factories and what their modules are called with."""


class Residual(nn.Module):
    """A convolution, a depthwise one and a pointwise one, around which the input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), nn.BatchNorm2d(width), nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        """Return what is added up."""
        return x + self.steps(x)


class Convolutional(nn.Module):
    """A stem, residual blocks in two resolutions, a classifier."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        stem = [nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        deep = [nn.MaxPool2d(2), *(Residual(width) for _ in range(depth))]
        self.features = nn.Sequential(*stem, *(Residual(width) for _ in range(depth)), *deep)
        self.head = nn.Linear(width, 100)

    def forward(self, x: Any) -> Any:
        """Return the scores of classes."""
        return self.head(self.features(x).mean((2, 3)))


class Layer(nn.Module):
    """Attention and a perceptron, each behind a normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        """Return what is added up."""
        batch, length, width = x.shape
        each = self.qkv(self.before(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = each.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(attended)
        return x + self.down(F.gelu(self.up(self.between(x))))


class Recurrent(nn.Module):
    """Layers of LSTM and a classifier of the last step."""

    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.steps, self.head = nn.LSTM(width, hidden, layers, batch_first=True), nn.Linear(hidden, 64)

    def forward(self, x: Any) -> Any:
        """Return the scores of classes."""
        y, _ = self.steps(x)
        return self.head(F.gelu(y[:, -1]))


def _blocks(width: int, heads: int, layers: int) -> nn.Module:
    return nn.Sequential(*(Layer(width, heads) for _ in range(layers)))


torch.manual_seed(0)
cnn_narrow = partial(Convolutional, 32, 2)
cnn_middle = partial(Convolutional, 64, 2)
cnn_wide = partial(Convolutional, 96, 3)
block_short = partial(_blocks, 256, 4, 4)
block_middle = partial(_blocks, 384, 6, 3)
block_long = partial(_blocks, 192, 3, 6)
lstm_small = partial(Recurrent, 128, 192, 1)
lstm_middle = partial(Recurrent, 160, 256, 2)
lstm_large = partial(Recurrent, 256, 320, 2)
