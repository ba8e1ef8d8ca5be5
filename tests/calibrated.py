"""Running graphs-calibrate the way a user does, and evidence to run it on, for every test of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphs.calibration.curve import Curve, DataPoint, FittedCurve
from graphs.calibration.profile import Profile
from graphs.calibration.sample import Setting
from graphs.tools import calibrate

Run = Callable[..., Any]
ROOT = Path(__file__).parent.parent
HOST = Setting("host", "onnxruntime-cpu", "1-thread", "fp32")
DEVICE = Setting("intel-core-i7-12700k", "pytorch-eager", "", "fp32")


@pytest.fixture(name="data_home", autouse=True)
def own_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's data, apart from everybody's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path / "data"


@pytest.fixture(name="run")
def run_calibrate(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run graphs-calibrate in this process and return (exit code, output, messages)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            calibrate.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err and "defect" not in captured.err
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def curve(name: str = "matmul") -> Curve:
    points = [DataPoint(size, share, 0.02, share - 0.05, share + 0.05, share - 0.03, share + 0.03, 9, "measured")
              for size, share in ((2.7e8, 0.56), (2.1e9, 0.708), (1.7e10, 0.73), (1.4e11, 0.791))]  # fmt: skip
    fitted = FittedCurve("piecewise_linear", tuple((one.flops, one.efficiency_mean) for one in points), 0.9, 0.02, 0.05)
    return Curve(name, "", tuple(points), fitted, points[0].flops, points[-1].flops)


def profile(setting: Setting = DEVICE, **environment: str) -> Profile:
    when, precision = "2026-01-02T03:04:05", setting.precision.upper()
    return Profile(setting.device, "some processor", "cpu", precision, when, "graphs 0", {"matmul": curve()},
                   setting=setting, environment=environment)  # fmt: skip
