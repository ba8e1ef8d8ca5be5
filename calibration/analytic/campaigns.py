"""Campaigns on one or several machines, fitted together, and how well networks left out of the fit are predicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CalibrationError
from ..kernel import Kernel
from ..sample import Setting
from .estimator import AnalyticEstimator, kinds_of, launches_of
from .fit import Level, Measured, fit
from .model import Model
from .table import Run, table_of

__all__ = ["Campaign", "Estimate", "Fitted", "Key", "fit_campaigns"]

_FEWEST_NETWORKS = 4
_UNTRIED_STD = 0.2
_SMALLEST_STD = 0.02
_TO_STD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

Floats = NDArray[np.float64]
Progress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Campaign:
    """What was measured together in one setting: ``runs`` of networks; ``device_class`` is ``cpu`` or ``gpu``.

    Campaigns of different ``name`` in one setting had other software or clocks. ``networks`` has the kernels that a
    network's graph shows at batch 1, in order: what networks that were not measured are predicted from.
    """

    name: str
    setting: Setting
    device_class: str
    runs: tuple[Run, ...]
    networks: Mapping[str, Sequence[Kernel]] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.name, self.setting


Key = tuple[str, Setting]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A network that was left out: seconds ``measured`` and ``predicted``, and what its pieces alone would have been.

    ``pieced`` is the prediction for the very pieces that were timed, ``deviations`` the logarithm of predicted over
    measured of each.
    """

    measured: float
    predicted: float
    pieced: float
    deviations: tuple[float, ...] = ()

    @property
    def error(self) -> float:
        """Relative error, positive where the prediction is too long."""
        return self.predicted / self.measured - 1.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """What predicts in a setting, and how it predicted each network when that was left out."""

    estimator: AnalyticEstimator
    left_out: Mapping[str, Estimate]


def fit_campaigns(campaigns: Sequence[Campaign], progress: Progress = lambda doing: None) -> dict[Key, Fitted]:
    """Return what predicts in each campaign's setting; networks are left out in turn to tell how well.

    Raises:
        CalibrationError: there is nothing to fit.
    """
    if not any(campaign.runs for campaign in campaigns):
        raise CalibrationError("no runs of networks to fit")
    progress("fitting")
    parameters = _parameters(campaigns)
    tried = _left_out(campaigns, progress)
    found = {}
    for campaign in campaigns:
        estimator = _estimator(campaign, parameters[campaign.key])
        shared, alone = _spreads(tried[campaign.key])
        found[campaign.key] = Fitted(replace(estimator, shared_std=shared, kernel_std=alone), tried[campaign.key])
    return found


def _parameters(campaigns: Sequence[Campaign]) -> dict[Key, Floats]:
    """The parameters in each campaign's setting, all fitted together."""
    return fit(
        {
            campaign.key: Measured(campaign.device_class, campaign.setting.precision, campaign.runs, _levels(campaign))
            for campaign in campaigns
        }
    )


def _levels(campaign: Campaign) -> tuple[Level, ...]:
    """Devices of a class differ in everything, modes in what clocks decide, precisions and what is left in little."""
    device, mode, precision = campaign.setting.device, campaign.setting.mode, campaign.setting.precision
    return (
        Level(campaign.device_class, 1.0, 1.0),
        Level(device, 0.5, 0.5),
        Level(f"{device}@{mode}", 0.6, 1.0),
        Level(f"{device} {precision}", 0.15, 0.15),
        Level(f"{device}@{mode} {precision}", 0.1, 0.1),
        Level(f"{campaign.name} {precision}", 0.03, 0.03),
    )


def _estimator(campaign: Campaign, parameters: Floats) -> AnalyticEstimator:
    return AnalyticEstimator(
        campaign.device_class,
        parameters,
        launches_of(campaign.runs),
        _UNTRIED_STD,
        _UNTRIED_STD,
        kinds_of(campaign.runs),
    )


def _left_out(campaigns: Sequence[Campaign], progress: Progress) -> dict[Key, dict[str, Estimate]]:
    """Each network predicted from the others, in every campaign that has it."""
    names = sorted({run.network for campaign in campaigns for run in campaign.runs})
    found: dict[Key, dict[str, Estimate]] = {campaign.key: {} for campaign in campaigns}
    if len(names) < _FEWEST_NETWORKS:
        return found
    for number, name in enumerate(names, 1):
        progress(f"leaving out {name} ({number} of {len(names)})")
        held = {campaign.key: _run_of(campaign, name) for campaign in campaigns}
        rest = [_without(campaign, name) for campaign in campaigns]
        rest = [campaign for campaign in rest if campaign.runs]
        parameters = _parameters(rest)
        for campaign in rest:
            run = held[campaign.key]
            if run is not None:
                estimator = _estimator(campaign, parameters[campaign.key])
                found[campaign.key][name] = _estimate(run, campaign.networks.get(name), estimator)
    return found


def _run_of(campaign: Campaign, network: str) -> Run | None:
    return next((run for run in campaign.runs if run.network == network and run.batch == 1), None)


def _without(campaign: Campaign, network: str) -> Campaign:
    return replace(campaign, runs=tuple(run for run in campaign.runs if run.network != network))


def _estimate(run: Run, network: Sequence[Kernel] | None, estimator: AnalyticEstimator) -> Estimate:
    table = table_of([run], estimator.device_class == "cpu")
    logs, _ = Model(table, estimator.device_class).logs(estimator.parameters)
    counts = np.asarray(table.runs.todense())[0]
    kernels = [kernel for sample in run.samples for kernel in sample.kernels] if network is None else network
    return Estimate(
        float(table.seconds @ counts),
        float(estimator.seconds(kernels).sum()),
        float(np.exp(logs) @ counts),
        tuple((logs - np.log(table.seconds)).tolist()),
    )


def _spreads(tried: Mapping[str, Estimate]) -> tuple[float, float]:
    """The errors that networks share and that pieces have about them: of pieces the median, since few are very odd."""
    if not tried:
        return _UNTRIED_STD, _UNTRIED_STD
    errors = [math.log(one.predicted / one.measured) for one in tried.values()]
    alone = [deviation - math.log(one.pieced / one.measured) for one in tried.values() for deviation in one.deviations]
    return _root_mean_square(errors), max(_TO_STD * float(np.median(np.abs(alone))), _SMALLEST_STD)


def _root_mean_square(errors: Sequence[float]) -> float:
    return max(float(np.sqrt(np.mean(np.square(errors)))), _SMALLEST_STD)
