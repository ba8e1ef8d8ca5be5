"""Random recurrent networks, perceptrons over tables of features, and recommenders."""

from __future__ import annotations

from onnx import TensorProto

from . import layers as nn
from .builder import Builder
from .draws import Draw

__all__ = ["perceptron", "recommender", "recurrent", "scene_text"]


def recurrent(b: Builder, draw: Draw) -> None:
    """A stack of LSTMs or GRUs over embedded words, and logits."""
    tokens, width = draw.one((8, 16, 24, 32, 50, 64)), draw.width(48, 384)
    kind, hidden = draw.one(("LSTM", "LSTM", "LSTM", "GRU", "GRU", "RNN")), draw.width(48, 448)
    both = draw.chance(0.5)
    indices = b.input(1, tokens, element=TensorProto.INT64)
    x = nn.move(b, nn.embedding(b, indices, 2000, width), 1, 0, 2)
    for _ in range(draw.whole(1, 2)):
        x = nn.recurrent(b, x, kind, hidden, both)
    b.output(nn.linear(b, nn.move(b, x, 1, 0, 2), draw.width(200, 6000)))


def scene_text(b: Builder, draw: Draw) -> None:
    """Convolutions over a strip of an image, then a bidirectional recurrent layer over its columns."""
    width, columns = draw.width(16, 48), draw.one((64, 96, 128))
    x = b.input(1, 1, 32, columns)
    for _ in range(3):
        x = nn.pool(b, b.op("Relu", nn.conv(b, x, width, 3)), "MaxPool", 2)
        width = draw.near(width * 2)
    channels, height, length = x.shape[1:]
    y = nn.move(b, nn.reshape(b, x, 1, channels * height, length), 2, 0, 1)
    y = nn.recurrent(b, y, draw.one(("LSTM", "GRU")), draw.width(48, 256), True)
    b.output(nn.linear(b, y, 97))


def perceptron(b: Builder, draw: Draw) -> None:
    """Fully connected layers, of one row or of a batch, wide ones among them."""
    rows = draw.one((1, 1, 1, 2, 4, 8, 16, 32, 64, 128))
    x = b.input(rows, draw.width(32, 4096))
    act = draw.one(("relu", "relu", "tanh", "sigmoid", "gelu", "leaky_relu"))
    for _ in range(draw.whole(2, 5)):
        x = nn.activation(b, nn.fully_connected(b, x, draw.width(64, 3072)), act)
    b.output(nn.fully_connected(b, x, draw.one((1, 10, 1000))))


def recommender(b: Builder, draw: Draw) -> None:
    """Embeddings of several features, their products with each other, and two perceptrons."""
    rows, width, tables = draw.one((1, 16, 64, 128, 256)), draw.one((8, 16, 32, 64)), draw.whole(4, 12)
    x = b.op("Relu", nn.fully_connected(b, b.input(rows, 13), draw.width(64, 512)))
    x = b.op("Relu", nn.fully_connected(b, x, width))
    vectors = [nn.reshape(b, x, rows, 1, width)]
    for _ in range(tables):
        indices = b.input(rows, 1, element=TensorProto.INT64)
        vectors.append(nn.embedding(b, indices, draw.one((100, 1000, 20000)), width))
    stacked = nn.concat(b, *vectors)
    products = nn.matmul(b, stacked, nn.move(b, stacked, 0, 2, 1))
    y = nn.concat(b, x, nn.reshape(b, products, rows, -1))
    for _ in range(draw.whole(1, 3)):
        y = b.op("Relu", nn.fully_connected(b, y, draw.width(64, 1024)))
    b.output(b.op("Sigmoid", nn.fully_connected(b, y, 1)))
