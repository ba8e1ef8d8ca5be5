"""What ships: evidence that can be used, says whose it is, and proved right on networks that it was not fitted to."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import pytest
from calibrated import ROOT, own_data_home

import graphs
from graphs.calibration.profile import Profile
from graphs.calibration.store import HOST, SHIPPED, Stored, list_evidence

__all__ = ["own_data_home"]

ORIN = [(f"jetson-orin-agx:pytorch-eager@{mode}", precision)
        for mode, precision in product(("15W", "30W", "50W", "MAXN"), ("fp32", "fp16", "bf16"))]  # fmt: skip
SPECS = [("intel-core-i7-12700k:pytorch-eager", "fp32"), ("amd-ryzen-9-8945hs:pytorch-eager", "fp32"), *ORIN]


def shipped() -> list[Stored]:
    return [stored for stored in list_evidence() if stored.layer == SHIPPED]


def profiles() -> list[Profile]:
    return [stored.profile for stored in shipped() if stored.profile is not None]


def test_everything_that_ships_can_be_used_and_says_whose_it_is() -> None:
    assert len(shipped()) >= len(SPECS) and not [stored.error for stored in shipped() if stored.error]
    for profile in profiles():
        assert profile.setting is not None
        if profile.setting.device == HOST:  # measured by graphs-calibrate itself
            assert {"machine", "cpu", "libraries", "date"} <= profile.environment.keys()
        else:
            assert profile.sources and all(one.url and one.licence for one in profile.sources)
        assert profile.validation is not None and profile.validation.models_tested >= 10


def test_networks_left_out_were_predicted_within_ten_per_cent_on_average() -> None:
    """The mean over settings of a device, and over devices: what the files themselves say of networks left out."""
    errors: dict[str, list[float]] = defaultdict(list)
    for profile in profiles():
        assert profile.setting is not None and profile.validation is not None
        errors[profile.setting.device].append(profile.validation.mape)
    means = [sum(each) / len(each) for each in errors.values()]
    assert sum(means) / len(means) <= 10 and max(means) <= 15, errors


@pytest.mark.parametrize(("target", "precision"), SPECS)
def test_a_network_is_predicted_from_what_ships(target: str, precision: str) -> None:
    graph = graphs.load(ROOT / "examples" / "models" / "resnet18_eager.onnx")
    report = graphs.run("fuse,lower,cost", graph, target=target, precision=precision)
    assert report.total.confidence != "THEORETICAL"
    assert 0 < report.total.seconds_low < report.total.seconds < report.total.seconds_high
