"""The estimator given what nobody expects: predictions are times all the same, and a spoilt file is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any

import pytest
from made_up_machine import conv, copy, gemm, held_out, made, read, roofline, sample, softmax, written

from graphs.calibration.errors import CalibrationError
from graphs.calibration.estimator import fit, fitted
from graphs.calibration.kernel import Kernel
from graphs.calibration.prediction import Quality
from graphs.calibration.sample import Sample
from graphs.calibration.sample_table import decode_kernel
from graphs.calibration.strict_json import Entry
from graphs.ir import DType
from graphs.ir.codec import encode
from graphs.ir.primitives import Conv, Elementwise, Gemm, Softmax, Unknown

Json = dict[str, Any]

ODD = [
    Kernel("Acme", (), 0, 0, 0),
    Kernel("Acme", (Unknown("nobody knows"),), 0, 8, 8),
    made("Relu", Elementwise("relu", 0, DType.UNKNOWN), 0, 0, 0),
    made("Relu", Elementwise("relu", 2**200, DType.F32), 2**200, 2**200, 2**200),
    gemm(0, 0, 0),
    softmax(0, 0),
    copy(0, 0),
    made("Conv", Conv(1, 16, 16, (8,), (8,), (3,), DType.F32), 48, 128, 128),
    made("Conv", Conv(1, 16, 16, (8, 8, 8), (8, 8, 8), (3, 3, 3), DType.F32), 48, 128, 128),
    made("Conv", Conv(1, 16, 16, (), (), (), DType.F32), 16, 16, 16, "blocked"),
    made("Conv", Conv(1, 16, 16, (8, 8), (), (3, 3), DType.F32), 16, 16, 16, "blocked"),
    made("Conv", Conv(0, 0, 0, (0, 0), (0, 0), (0, 0), DType.UNKNOWN, (0, 0), (0, 0)), 0, 0, 0, "blocked"),
    made("Conv", Conv(1, 1, 1, (9, 9), (9, 9), (10**12, 1), DType.F32), 0, 9, 9, "blocked"),
    replace(gemm(8, 8, 2), primitives=(Gemm(8, 8, 2, DType.F32), Softmax(80, 80, DType.F32), Gemm(8, 8, 2, DType.F32))),
]


def few(count: int) -> list[Sample]:
    return [sample(gemm(8, 8, 8 + i), 1e-5) for i in range(count)]


ODD_SAMPLES = {
    "none": [],
    "one": few(1),
    "too few for rates of their own": few(7),
    "all alike": [sample(gemm(8, 8, 8), 1e-5)] * 20,
    "one time for all": few(20),
    "odd kernels": [sample(kernel, 1e-5) for kernel in ODD if kernel.bytes < 2**100] * 2,
    "without primitives": [sample(Kernel("Acme", (), 0, 8 * i, 8), 1e-5) for i in range(10)],
    "one network": [sample([gemm(8, 8, 8)] * 3, 1e-5, "network", "net")],
    "extreme times": [sample(gemm(8, 8, 8 + i), 1e-9 if i % 2 else 1e6) for i in range(20)],
    "attention": [
        sample(replace(ODD[-1], read_bytes=64 * i, primitives=(*ODD[-1].primitives[:i], *ODD[-1].primitives)), 1e-5)
        for i in range(12)
    ],
}


@pytest.mark.parametrize("rows", ODD_SAMPLES.values(), ids=ODD_SAMPLES.keys())
@pytest.mark.filterwarnings("error")
def test_every_prediction_is_a_time(rows: list[Sample]) -> None:
    text = json.dumps(fit(rows, roofline()), allow_nan=False)
    for found in (fitted(rows, roofline()), read(json.loads(text))):
        asked = [*ODD, *(kernel for row in rows for kernel in row.kernels), *held_out(11, 1)]
        for each in found.predict(asked):
            assert 0 < each.seconds < float("inf") and 0 <= each.std < float("inf")
        for kernel in asked:
            total = found.total([kernel])
            assert 0 <= total.low <= total.seconds <= total.high < float("inf")
        known = [each.seconds for each in found.predict(asked) if each.quality is not Quality.MISSING]
        assert found.total(asked).seconds == pytest.approx(sum(known))


@pytest.mark.parametrize("seconds", [0.0, -1e-3, float("nan"), float("inf"), 1e-300, 1e12])
def test_a_time_that_no_kernel_takes_is_refused(seconds: float) -> None:
    with pytest.raises(CalibrationError, match="no kernel takes") as caught:
        fit([*few(10), sample(gemm(8, 8, 8), seconds)], roofline())
    assert caught.value.help


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"groups": 0}, r"primitives\[0\].groups: expected at least one group"),
        ({"in_channels": 10**400}, r"primitives\[0\].in_channels: expected whole numbers of at least zero and at most"),
        ({"kernel": [10**400, 1]}, r"primitives\[0\].kernel: expected whole numbers"),
        ({"kernel": [-1, 1]}, r"primitives\[0\].kernel: expected whole numbers"),
    ],
)
def test_sizes_that_no_kernel_has_are_refused(edit: Json, message: str) -> None:
    described: Json = json.loads(json.dumps(dict(encode(conv(16, 16, 14)))))
    described["primitives"][0].update(edit)
    with pytest.raises(CalibrationError, match=message):
        decode_kernel(Entry(described, "file", "kernels[0]"))
    for key in ("read_bytes", "launches"):
        with pytest.raises(CalibrationError, match=f"{key}: expected"):
            decode_kernel(Entry({**dict(encode(conv(16, 16, 14))), key: 10**400}, "file", "kernels[0]"))


Spoil = Callable[[Json], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "no method": (lambda e: e.pop("method"), '"method" is missing'),
    "another method": (
        lambda e: e.update(method="magic"),
        'expected one of rates, analytic, got "magic"',
    ),
    "no rates": (lambda e: e.pop("rates"), '"rates" is missing'),
    "rates a list": (lambda e: e.update(rates=[]), "expected an object"),
    "a negative rate": (lambda e: e["rates"]["common"].update(macs=-1.0), "rates.common.macs: expected a number of at"),
    "a rate in words": (lambda e: e["rates"]["common"].update(macs="fast"), "rates.common.macs: expected a number"),
    "an infinite rate": (lambda e: e["rates"]["families"]["matmul"].update(macs=float("inf")), "finite"),
    "rates of a family a number": (lambda e: e["rates"]["families"].update(matmul=1), "families.matmul: expected an"),
    "half a byte": (lambda e: e.update(near_bytes=0.5), "near_bytes: expected a whole number"),
    "a cache of all the world": (lambda e: e.update(near_bytes=10**400), "near_bytes: expected at most"),
    "no vector": (lambda e: e.update(lanes=0), "lanes: expected from 1 to"),
    "a vector of all the world": (lambda e: e.update(lanes=10**9), "lanes: expected from 1 to"),
    "a spread that is none": (lambda e: e.update(shared_std=float("nan")), r"shared_std\[0\]: expected a finite"),
    "a negative spread": (lambda e: e.update(shared_std=-0.1), "expected a number from 0 to 10"),
    "an enormous spread": (lambda e: e.update(shared_std=1e6), "expected a number from 0 to 10"),
    "no residuals": (lambda e: e.pop("residuals"), '"residuals" is missing'),
    "residuals null": (lambda e: e.update(residuals=None), "residuals: expected an object"),
    "a residual null": (lambda e: e["residuals"].update(matmul=None), "residuals.matmul: expected an object"),
}
RESIDUAL: dict[str, tuple[Spoil, str]] = {
    "no vectors": (lambda r: r.pop("vectors"), '"vectors" is missing'),
    "vectors of another version": (lambda r: [v.append(1.0) for v in r["vectors"]], "expected lists of 14 numbers"),
    "vectors of unequal length": (lambda r: r["vectors"][3].pop(), "expected lists of 14 numbers"),
    "a vector that is none": (lambda r: r["vectors"].__setitem__(2, 7), r"vectors\[2\]: expected a list"),
    "a text among vectors": (lambda r: r["vectors"][1].__setitem__(0, "1"), "expected a whole number or number"),
    "truth among vectors": (lambda r: r["vectors"][1].__setitem__(0, True), "expected a whole number or number"),
    "an endless vector": (lambda r: r["vectors"][1].__setitem__(0, 10**400), "expected a finite number"),
    "a vector beyond measure": (lambda r: r["vectors"][1].__setitem__(0, 1e9), "a number from -1000 to 1000"),
    "too few values": (lambda r: r["values"].pop(), "differ in number"),
    "no values": (lambda r: r["values"].clear(), "0 samples"),
    "very many values": (lambda r: r["values"].extend([0.0] * 10_000), "samples; there must be some, and at most"),
    "a value that is no number": (
        lambda r: r["values"].__setitem__(1, float("nan")),
        r"values\[1\]: expected a finite",
    ),
    "a value null": (lambda r: r["values"].__setitem__(1, None), r"values\[1\]: expected a whole number or number"),
    "negative noise": (lambda r: r["noise"].__setitem__(0, -1e-9), r"noise\[0\]: expected a number from 0"),
    "too little noise": (lambda r: r["noise"].pop(), "differ in number"),
    "no hyperparameters": (lambda r: r["hyperparameters"].clear(), "expected 18 numbers, got 0"),
    "wild hyperparameters": (lambda r: r["hyperparameters"].__setitem__(0, 300.0), "beyond what fitting gives"),
    "wild lengths": (lambda r: r["hyperparameters"].__setitem__(-1, -300.0), "beyond what fitting gives"),
    "a category too many": (lambda r: r["categories"].__setitem__(0, 99), "places in the list"),
    "a category before the first": (lambda r: r["categories"].__setitem__(0, -1), "places in the list"),
    "a huge category": (lambda r: r["categories"].__setitem__(0, 10**30), "places in the list"),
    "half a category": (lambda r: r["categories"].__setitem__(0, 0.5), r"categories\[0\]: expected a whole number"),
    "a name that is none": (lambda r: r.update(names=[[]]), r"names\[0\]: expected a text"),
    "entries a number": (lambda r: r.update(entries=5), "entries: expected a list"),
    "an entry a number": (lambda r: r["entries"].__setitem__(0, 5), r"entries\[0\]: expected a text"),
}
SPOILT.update(
    {
        f"residual: {name}": (lambda e, spoil=spoil: spoil(e["residuals"]["matmul"]), message)
        for name, (spoil, message) in RESIDUAL.items()
    }
)


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_estimator_is_refused_when_it_is_read(spoil: Spoil, message: str) -> None:
    spoilt = json.loads(written())
    spoil(spoilt)
    with pytest.raises(CalibrationError, match=message) as caught:
        read(spoilt)
    assert str(caught.value).startswith("evidence for toy in fp32: estimator")
    assert "graphs-calibrate fit" in caught.value.help


def test_whatever_is_let_through_predicts_times() -> None:
    """The worst that the checks allow: samples that coincide, contradict one another, and have no noise."""
    hostile = json.loads(written())
    for residual in hostile["residuals"].values():
        count = len(residual["values"])
        residual["vectors"] = [[1000.0] * len(residual["vectors"][0])] * count
        residual["values"] = [1000.0 * (-1) ** i for i in range(count)]
        residual["noise"] = [0.0] * count
        residual["hyperparameters"] = [3.0, -10.0, 10.0, 3.0, *[-3.0] * (len(residual["hyperparameters"]) - 4)]
    found = read(hostile)
    assert all(0 < each.seconds < float("inf") and isfinite(each.std) for each in found.predict(held_out()))
    assert isfinite(found.total(held_out()).high)


def test_more_entries_of_another_operation_type_are_not_in_the_way() -> None:
    """Families that this version never asks for may be of any kind but must be well formed."""
    other = json.loads(written())
    other["residuals"]["mbconv"] = other["residuals"]["elementwise"]
    assert read(other).predict([conv(64, 64, 14)])[0].quality is Quality.SIZE_INTERPOLATED
