"""A model of what eager execution costs, fitted to timed pieces of several networks, on one machine or on several.

The estimator of ``calibration/estimator.py`` needs many kernels timed one by one. Where there are only some networks,
timed in pieces that a launch and its overhead dominate, a model of dispatch, arithmetic, memory and clocks with few
parameters says more, and machines that are alike can share what they have in common.
"""

from .campaigns import Campaign, Estimate, Fitted, fit_campaigns
from .estimator import METHOD, AnalyticEstimator, from_json, to_json
from .table import Run

__all__ = [
    "METHOD", "AnalyticEstimator", "Campaign", "Estimate", "Fitted", "Run", "fit_campaigns", "from_json", "to_json",
]  # fmt: skip
