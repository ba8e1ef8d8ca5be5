"""MLPerf Tiny's reference networks written in PyTorch, to compare what their TFLite files cost by another door.

Sizes as in the benchmark's training scripts (https://github.com/mlcommons/tiny): a convolution and four separable ones
of 64 channels; MobileNet 0.25 at 96×96; a residual network of three stacks; an autoencoder with a bottleneck of 8.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NETWORKS"]


class Same(nn.Module):
    """A convolution padded as TensorFlow's ``SAME`` is, batch normalisation, and ReLU unless it is left out."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int, groups: int = 1, relu: bool = True
    ):
        super().__init__()
        self.kernel, self.stride, self.relu = kernel, stride, relu
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        around: list[int] = []
        for extent, window in zip(map(int, reversed(x.shape[2:])), reversed(self.kernel), strict=True):
            free = max(0, (-(-extent // self.stride) - 1) * self.stride + window - extent)
            around += [free // 2, free - free // 2]
        y = self.norm(self.conv(functional.pad(x, around)))
        return functional.relu(y) if self.relu else y


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(Same(inputs, inputs, (3, 3), stride, inputs), Same(inputs, outputs, (1, 1), 1))


def keyword_spotting() -> nn.Module:
    layers = [Same(1, 64, (10, 4), 2), *(separable(64, 64) for _ in range(4))]
    return nn.Sequential(*layers, nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(64, 12), nn.Softmax(-1))


def visual_wake_words() -> nn.Module:
    steps = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)]
    steps += [(128, 128, 1)] * 5 + [(128, 256, 2), (256, 256, 1)]
    layers = [Same(3, 8, (3, 3), 2), *(separable(*step) for step in steps)]
    return nn.Sequential(*layers, nn.AvgPool2d(3), nn.Flatten(), nn.Linear(256, 2), nn.Softmax(-1))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(Same(inputs, outputs, (3, 3), stride), Same(outputs, outputs, (3, 3), 1, relu=False))
        self.short = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def image_classification() -> nn.Module:
    stacks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    return nn.Sequential(
        Same(3, 16, (3, 3), 1), *stacks, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10), nn.Softmax(-1)
    )


def anomaly_detection() -> nn.Module:
    sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128]
    layers = [
        part
        for inputs, outputs in pairwise(sizes)
        for part in (nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())
    ]
    return nn.Sequential(*layers, nn.Linear(128, 640))


NETWORKS = {
    "kws_ref_model": (keyword_spotting, (1, 1, 49, 10)),
    "vww_96_int8": (visual_wake_words, (1, 3, 96, 96)),
    "pretrainedResnet_quant": (image_classification, (1, 3, 32, 32)),
    "ad01_int8": (anomaly_detection, (1, 640)),
}
"""How each TFLite file's network is built, and its input."""


def export(name: str, path: str) -> None:
    """Write a network as ONNX."""
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    torch.onnx.export(build().eval(), (torch.zeros(shape),), path, dynamo=False, opset_version=17)
