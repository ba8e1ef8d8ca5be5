"""Random sizes of networks that might exist: mostly round numbers, sometimes odd ones, from fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import TypeVar

__all__ = ["Draw", "Style"]

Choice = TypeVar("Choice")

_STEPS = (64, 32, 16, 16, 8, 8, 8, 4, 2, 1)
"""What widths are multiples of: one of these at random, as far as it is small beside the width."""


@dataclass(frozen=True, slots=True)
class Style:
    """What one convolutional network keeps to throughout: its activation, and whether convolutions have biases."""

    activation: str
    bias: bool


class Draw:
    """A source of random choices that depends on nothing but its seed."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def one(self, choices: Sequence[Choice]) -> Choice:
        """One of ``choices``; name one twice to make it twice as likely."""
        return choices[int(self._random.random() * len(choices))]

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return self._random.random() < share

    def between(self, low: float, high: float) -> float:
        """A number from ``low`` to ``high``, uniform in its logarithm."""
        return exp(log(low) + self._random.random() * (log(high) - log(low)))

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def width(self, low: float, high: float) -> int:
        """A number of channels: uniform in its logarithm, and a multiple of what real networks like."""
        return self.near(self.between(low, high))

    def near(self, value: float) -> int:
        """A number of channels near ``value``."""
        step = self.one([step for step in _STEPS if step <= max(1, value / 4)])
        return max(step, round(value / step) * step)

    def style(self) -> Style:
        """How a convolutional network is written."""
        common = ("relu",) * 6 + ("silu",) * 3 + ("hard_swish", "hard_swish", "relu6", "relu6", "leaky_relu", "gelu")
        activation = self.one(("prelu", "elu")) if self.chance(0.06) else self.one(common)
        return Style(activation, self.chance(0.6))

    def pixels(self, low: int = 96, high: int = 256) -> int:
        """An image's side: a multiple of 32, or of 8, or any."""
        step = self.one((32, 32, 32, 16, 8, 1))
        return max(low // step, round(self.between(low, high) / step)) * step
