"""Evidence made up for tests: an estimator that says what it is told, in place of what measurements would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp, hypot

import pytest

from graphs.calibration.kernel import Kernel
from graphs.calibration.lookup import Match
from graphs.calibration.prediction import NORMAL_95, Prediction, Quality, Total
from graphs.ir.primitives import Primitive
from graphs.passes.evidence import Evidence, Predictor
from graphs.passes.report import EvidenceSource

SOURCE = EvidenceSource("your own", "/somewhere/toy.json", "toy:toy-runtime in fp32", "2026-01-31T12:00:00")


@dataclass
class FakeEstimator:
    """``rule`` predicts a kernel; kernels of one curve err together, different curves independently."""

    rule: Callable[[Kernel], Prediction]
    asked: list[Sequence[Kernel]] = field(default_factory=list)

    def predict(self, kernels: Sequence[Kernel]) -> Sequence[Prediction]:
        self.asked.append(kernels)
        return [self.rule(kernel) for kernel in kernels]

    def total(self, kernels: Sequence[Kernel]) -> Total:
        seconds, spread = 0.0, dict[str, float]()
        for made in map(self.rule, kernels):
            if made.quality is not Quality.MISSING:
                seconds += made.seconds
                spread[made.curve] = spread.get(made.curve, 0.0) + made.seconds * made.std
        reach = exp(NORMAL_95 * hypot(*spread.values()) / seconds) if seconds else 1.0
        return Total(seconds, seconds / reach, seconds * reach)


def fake(
    monkeypatch: pytest.MonkeyPatch,
    rule: Callable[[Kernel], Prediction],
    match: Callable[[Primitive], Match] = lambda primitive: Match(Quality.MISSING),
    source: EvidenceSource = SOURCE,
) -> FakeEstimator:
    """Let the pass ``calibrate`` find an estimator that follows ``rule``, whatever the target."""
    estimator = FakeEstimator(rule)
    found = Evidence(source, Predictor(estimator, match))
    monkeypatch.setattr("graphs.passes.calibrate.find_evidence", lambda *given: found)
    return estimator


def predicted(
    seconds: float,
    quality: Quality = Quality.SIZE_INTERPOLATED,
    std: float = 0.1,
    curve: str = "matmul",
    entry: str = "gemm_m=1",
) -> Prediction:
    """A prediction of ``seconds`` that three measurements lie near."""
    return Prediction(seconds, std, quality, curve, entry, 3)
