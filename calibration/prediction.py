"""What an estimator says of kernels: a time, how far it can be trusted, and on which measurements it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from .kernel import Kernel

__all__ = ["NORMAL_95", "Confidence", "Estimator", "Prediction", "Quality", "Total"]

NORMAL_95 = 1.959963984540054
"""Standard deviations on either side of its mean that hold 95 % of a normal distribution."""


class Quality(Enum):
    """How closely what was measured matches what is predicted, best first."""

    EXACT = "exact"
    SIZE_INTERPOLATED = "interpolated in size"
    SIZE_EXTRAPOLATED = "extrapolated in size"
    OP_APPROXIMATED = "another operation in its stead"
    MISSING = "nothing measured"


class Confidence(Enum):
    """The word that reports use: from measurements of the same operation, from others', or from first principles."""

    CALIBRATED = "calibrated"
    INTERPOLATED = "interpolated"
    THEORETICAL = "theoretical"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A kernel's time as a log-normal distribution: median ``seconds``, ``std`` of its logarithm.

    ``entry`` names the measurement nearest to it, ``neighbours`` how many lie near; ``curve`` is the operation type
    whose curve was used.
    """

    seconds: float
    std: float
    quality: Quality
    curve: str
    entry: str = ""
    neighbours: int = 0


@dataclass(frozen=True, slots=True)
class Total:
    """The time of several kernels one after another: median and 95 % interval, correlated errors accounted for."""

    seconds: float
    low: float
    high: float


class Estimator(Protocol):
    """Anything that predicts kernels' times from evidence."""

    def predict(self, kernels: Sequence[Kernel]) -> Sequence[Prediction]:
        """Return a prediction for each kernel of a network, in the order in which they run.

        Where there is no evidence it is one of quality MISSING.
        """
        ...

    def total(self, kernels: Sequence[Kernel]) -> Total:
        """Return the time of all kernels in a row; those without evidence are left out."""
        ...
