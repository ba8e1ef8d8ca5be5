"""Evidence files: what is read, what is refused, what is written, where it is found."""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from graphs.calibration.curve import Curve, DataPoint, FittedCurve, Parameter
from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel
from graphs.calibration.profile import (
    Breakdown,
    Profile,
    SourceDocument,
    Validation,
    json_schema,
    parse_profile,
    print_profile,
    read_profile,
    write_profile,
)
from graphs.calibration.sample import Sample, Setting, Statistics
from graphs.calibration.store import Found, find, install, list_evidence, path_of
from graphs.ir import DType
from graphs.ir.primitives import Conv, Elementwise, Gemm
from graphs.passes.evidence import find_evidence
from graphs.targets import load_target

ROOT = Path(__file__).parents[1]
SETTING = Setting("host", "onnxruntime-cpu", "1-thread", "fp32")
MATMUL = Kernel("MatMul", (Gemm(8, 16, 32, DType.F32, weight=True),), 2048, 1024, 512)
CONV = Kernel(
    "Conv_Relu",
    (Conv(1, 3, 8, (8, 8), (8, 8), (3, 3), DType.F32, (1, 1)), Elementwise("Relu", 512, DType.F32)),
    864, 768, 2048, swept_bytes=10**6,
)  # fmt: skip


def statistics(seconds: float = 1e-3) -> Statistics:
    return Statistics(
        9, seconds, 1.01 * seconds, 0.02 * seconds, 0.9 * seconds, 1.2 * seconds, 0.99 * seconds, 1.02 * seconds
    )


def curve(name: str = "matmul") -> Curve:
    points = (
        DataPoint(1e6, 0.5, 0.1, 0.4, 0.6, -0.1, 1.1, 2, "measured", ("MatMul",), ("resnet18",), 40),
        DataPoint(1e8, 1.2, 0.0, 1.2, 1.2, 1.2, 1.2, 1, "interpolated"),
    )
    fitted = FittedCurve(
        "piecewise_linear", ((1e6, 0.5), (1e8, 1.2)), 0.9, 0.02, 0.05, (Parameter("a", 1.0, 0.5, 1.5),)
    )
    return Curve(name, "square products", points, fitted, 5e5, 2e8, ("resnet18",), "two bins")


def profile(**changes: object) -> Profile:
    full = Profile(
        "host", "a machine", "cpu", "FP32", "2026-02-04T16:44:48+00:00", "graphs 0.1",
        {"matmul": curve(), "conv2d": curve("conv2d")}, {"generic": curve("generic")},
        Validation(4, 7.5, 12.0, Breakdown(2, 1, 1, 0)), "made up", SETTING,
        {"machine": "this-one", "threads": 1, "turbo": False, "clock": 2.5e9, "note": None},
        (
            Sample((MATMUL,), statistics(), "microbenchmark"),
            Sample((CONV, MATMUL, CONV), statistics(2.0), "network", "tiny", ("a/b", "c"), 1.04),
        ),
        {"lengths": [1.0, 2.5], "nested": {"kinds": ["a"], "on": True}},
        (SourceDocument("campaign", "https://example.com", "MIT"),),
    )  # fmt: skip
    return replace(full, **changes)


def as_1_0(full: Profile) -> Profile:
    fitted = {name: replace(c, fitted_curve=replace(c.fitted_curve, parameters=())) for name, c in full.curves.items()}
    wide = {
        name: replace(c, fitted_curve=replace(c.fitted_curve, parameters=()))
        for name, c in full.bandwidth_curves.items()
    }
    return replace(full, curves=fitted, bandwidth_curves=wide, setting=None, environment={}, samples=(), estimator={},
                   sources=(), schema_version="1.0")  # fmt: skip


# -- reading and writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["evidence.json", "evidence.json.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    write_profile(profile(), path)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert read_profile(path) == profile()
    first = path.read_bytes()
    assert (first[:2] == b"\x1f\x8b") == name.endswith("gz")
    shuffled = profile(
        curves=dict(reversed(profile().curves.items())), environment=dict(reversed(profile().environment.items()))
    )
    write_profile(shuffled, path)
    assert path.read_bytes() == first


def test_a_kernel_that_comes_up_often_is_stored_once() -> None:
    many = profile(samples=tuple(Sample((CONV, MATMUL), statistics(), "subgraph") for _ in range(50)))
    assert len(json.loads(print_profile(many))["samples"]["kernels"]) == 2


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_published_schema_holds_for_what_is_written(version: str) -> None:
    written = print_profile(profile() if version == "1.1" else as_1_0(profile()))
    schema = json_schema(version)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(written), schema)
    broken = json.loads(written)
    broken["curves"]["matmul"]["fitted_curve"]["breakpoints"][0][1] = -0.5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_a_1_1_file_is_a_1_0_file_with_more_in_it() -> None:
    body = json.loads(print_profile(profile()))
    known = {key: value for key, value in body.items() if key in json_schema("1.0")["properties"]}
    for curves in (known["curves"], known["bandwidth_curves"]):
        for row in curves.values():
            del row["fitted_curve"]["parameters"]
    assert parse_profile(json.dumps({**known, "schema_version": "1.0"}), "as 1.0") == as_1_0(profile())


def test_schema_1_0_has_no_place_for_samples() -> None:
    with pytest.raises(CalibrationError, match=r"1\.0 has no place for samples"):
        print_profile(profile(schema_version="1.0"))


@pytest.mark.parametrize("version", ["2.0", "1", 1.1, None])
def test_another_version_is_refused_with_those_that_are_supported(version: object) -> None:
    body = {**json.loads(print_profile(profile())), "schema_version": version}
    with pytest.raises(CalibrationError, match=r"x\.json: schema version .* supported \(1\.0, 1\.1\)"):
        parse_profile(json.dumps(body), "x.json")


POINT = ("curves", "matmul", "data_points", 0)
FIT = ("curves", "matmul", "fitted_curve")
ROW = ("samples", "rows", 0)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("hardware_idd",), "x", r'unknown key "hardware_idd"; did you mean "hardware_id"'),
        (("device_type",), "fpga", "device_type: expected one of gpu, cpu"),
        (("precision",), "fp32", "precision: expected one of FP32"),
        (("calibration_date",), "yesterday", "calibration_date: expected a date"),
        (("curves",), [], "curves: expected an object"),
        (("curves", "matmul", "operation_type"), "conv2d", r"curves\.matmul\.operation_type: expected \"matmul\""),
        ((*POINT, "flops"), 0, r"curves\.matmul\.data_points\[0\]\.flops: expected a number above zero, got 0"),
        ((*POINT, "flops"), 1e9, r"data_points\[1\]\.flops: expected more than the point before it"),
        ((*POINT, "flops"), True, "expected a number, got true"),
        ((*POINT, "efficiency_mean"), "0.5", "efficiency_mean: expected a number"),
        ((*POINT, "efficiency_mean"), 0.7, "efficiency_mean: expected a mean between"),
        ((*POINT, "efficiency_std"), -0.1, "efficiency_std: expected a number of at least zero"),
        ((*POINT, "num_observations"), 1.5, "num_observations: expected a whole number"),
        ((*POINT, "source"), "guessed", "source: expected one of legacy_hardcoded"),
        ((*FIT, "curve_type"), "spline", "curve_type: expected one of"),
        ((*FIT, "breakpoints"), [], "at least one breakpoint"),
        ((*FIT, "breakpoints"), [[1e8, 0.5], [1e6, 0.6]], r"breakpoints\[1\]: expected a size above"),
        ((*FIT, "breakpoints"), [[1e6, 0.5, 1]], "expected a pair"),
        ((*FIT, "breakpoints"), [[1e6, 0.0]], "expected a number above zero"),
        (("validation", "mape"), -1, "mape: expected a number of at least zero"),
        (("setting", "precision"), "fp16", 'setting.precision: expected "fp32"'),
        (("environment", "nested"), {"a": 1}, r"environment\.nested: expected a text or number"),
        (("samples", "kernels", 0, "primitives", 0, "m"), -8, "kernels.*primitives.*expected whole numbers"),
        (("samples", "kernels", 0, "primitives", 0, "dtype"), "F33", "no kernel"),
        (("samples", "kernels", 0, "primitives", 0, "tag"), "gemmm", "no kernel: no 'gemmm' among"),
        (("samples", "kernels", 0, "write_bytes"), -1, "write_bytes: expected a whole number"),
        (("samples", "kernels", 0, "launches"), 0, "launches: expected a whole number of at least one"),
        ((*ROW, "kernels"), [7], "places in the list of 2 kernels"),
        ((*ROW, "kernels"), [], "at least one kernel"),
        ((*ROW, "source"), "dream", "source: expected one of"),
        ((*ROW, "seconds"), [9, 0.0, 1, 0, 1, 1, 1, 1], "expected times above zero"),
        ((*ROW, "seconds"), [9, -1.0, 1, 0, 1, 1, 1, 1], "expected times above zero"),
        ((*ROW, "seconds"), [9, 1.0, 1, 0, 2, 3, 1, 1], "a minimum that is no more"),
        ((*ROW, "seconds"), [9, -1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], "expected times above zero"),
        ((*ROW, "seconds"), [9, 1.0, 1.0, -0.1, 1.0, 1.0, 1.0, 1.0], "a spread and an interval of at least zero"),
        ((*ROW, "seconds"), [0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], "at least one timing"),
        ((*ROW, "seconds"), [1, 1.0], "the 8 numbers"),
        ((*ROW, "drift"), 0, "drift: expected a number above zero"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_the_schema_does_not_allow_is_refused_with_its_place(place: tuple, value: object, message: str) -> None:
    body = json.loads(print_profile(profile()))
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(CalibrationError, match=f"^bad.json: .*{message}"):
        parse_profile(json.dumps(body), "bad.json")


@pytest.mark.parametrize("key", ["schema_version", "hardware_id", "curves", "precision"])
def test_a_missing_key_is_named(key: str) -> None:
    body = json.loads(print_profile(profile()))
    del body[key]
    with pytest.raises(CalibrationError, match=f'"{key}" is missing'):
        parse_profile(json.dumps(body), "bad.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": "1.1", "schema_version": "1.1"}', '"schema_version" is given twice'),
        ('{"schema_version": NaN}', "NaN is no number"),
        ('{"schema_version": -Infinity}', "-Infinity is no number"),
        ('{"schema_version": "1.1"', "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "expected an object"),
        ('{"schema_version": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
    ids=["twice", "nan", "infinity", "cut", "empty", "deep", "list", "digits"],
)
def test_what_is_no_strict_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        parse_profile(text, "bad.json")


def test_a_number_too_large_is_not_infinite() -> None:
    text = print_profile(profile()).replace("100000000.0", "1e999", 1)
    with pytest.raises(CalibrationError, match="expected a finite number"):
        parse_profile(text, "bad.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"estimator": {"a": float("nan")}},
        {"estimator": {"a": object()}},
        {"estimator": {"a": (1, 2)}},
        {"precision": "fp32"},
        {"samples": (Sample((MATMUL,), replace(statistics(), median=0.0), "profile"),)},
        {"samples": (Sample((), statistics(), "profile"),)},
    ],
    ids=["nan", "object", "tuple", "precision", "zero", "kernels"],
)
def test_nothing_is_written_that_would_not_be_read(changes: dict, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError):
        write_profile(profile(**changes), tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_missing_files_are_errors(tmp_path: Path) -> None:
    packed = tmp_path / "x.json.gz"
    write_profile(profile(), packed)
    packed.write_bytes(packed.read_bytes()[:-20])
    for path, message in ((packed, "damaged gzip"), (tmp_path / "none.json", "cannot read"), (tmp_path, "not a file")):
        with pytest.raises(CalibrationError, match=message):
            read_profile(path)
    packed.write_bytes(b"\xff\xfe{}")
    with pytest.raises(CalibrationError, match="no UTF-8"):
        read_profile(packed)


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.calibration.strict_json.LARGEST_FILE", 1000)
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b" " * 10**6))
    read, asked = gzip.GzipFile.read, []
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or read(self, size))
    with pytest.raises(CalibrationError, match="more than 1,000 bytes"):
        read_profile(bomb)
    assert asked == [1001]


def test_a_full_disk_leaves_the_old_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_profile(profile(), path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CalibrationError, match="No space left"):
        write_profile(profile(notes="newer"), path)
    assert read_profile(path).notes == "made up"
    assert len(list(tmp_path.iterdir())) == 1


def test_files_of_the_earlier_system_are_read() -> None:
    body = json.loads(print_profile(as_1_0(profile())))
    body["bandwidth_curves"], body["validation"] = {}, None
    row = body["curves"]["matmul"]
    row["operation_type"] = "unfused"
    row["min_flops"], row["data_points"][0]["num_samples"] = 256, 600
    body["curves"] = {"unfused": row}
    read = parse_profile(json.dumps(body), "efficiency_curves.json")
    assert read.curves["unfused"].data_points[0].num_samples == 600
    assert read.validation is None


def test_the_page_about_the_format_shows_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "calibration-format.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    exec(compile(block, "calibration-format.md", "exec"), {})
    assert capsys.readouterr().out.strip() == re.search(r"# (0\.\d+)\n", block)[1]
    for version in ("1.0", "1.1"):
        for key in json_schema(version)["properties"]:
            assert f"`{key}`" in page or f"**{key}**" in page


# -- where it is found ------------------------------------------------------------------------------------------------


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(
        "graphs.calibration.store.evidence_folder",
        lambda layer: tmp_path / "user" / "graphs" / "evidence" if layer == "user" else shipped,
    )
    return tmp_path


def ship(made: Profile, suffix: str = ".json") -> Path:
    assert made.setting is not None
    path = path_of(made.setting, "shipped").with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_profile(made, path)
    return path


def test_the_users_own_comes_before_what_ships_and_that_before_nothing(layers: Path) -> None:
    nothing = find(SETTING, "this-one")
    assert nothing.profile is None and nothing.layer == "first principles"
    assert nothing.fallbacks == (
        "nothing was measured of host:onnxruntime-cpu@1-thread in fp32: figures are from first principles",
    )
    packed = path_of(SETTING).with_suffix(".json.gz")
    packed.parent.mkdir(parents=True)
    write_profile(profile(notes="packed by hand"), packed)
    assert find(SETTING, "this-one").path == packed
    install(profile())
    assert not packed.exists()
    path_of(SETTING).unlink()
    ship(profile(notes="shipped"), ".json.gz")
    found = find(SETTING, "this-one")
    assert (found.profile.notes, found.layer, found.fallbacks) == ("shipped", "shipped", ())
    path = install(profile(notes="own"))
    assert path == layers / "user/graphs/evidence/host/onnxruntime-cpu@1-thread.fp32.json"
    assert find(SETTING, "this-one") == Found(profile(notes="own"), "user", (), path)


def test_evidence_of_another_machine_is_not_used_and_that_is_said(layers: Path) -> None:
    path = install(profile())
    for machine, words in (("another", "this one is another"), ("", "this one is not known")):
        found = find(SETTING, machine)
        assert found.profile is None
        assert found.fallbacks[0] == f"{path}: was measured on another machine (this-one; {words}), so it is not used"
    install(profile(environment={}))
    assert "does not say on which machine" in find(SETTING, "this-one").fallbacks[0]


def test_reports_find_what_ships_for_this_machine(layers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody ever measured here, so that there is no folder for ``host`` at all."""
    path = layers / "shipped" / "this-one" / "onnxruntime-cpu@1-thread.fp32.json.gz"
    path.parent.mkdir(parents=True)
    write_profile(profile(estimator={}), path)
    monkeypatch.setattr("graphs.calibration.measure.environment.machine_id", lambda *_: "this-one")
    found = find_evidence(load_target("host@1-thread"), DType.F32)
    assert (found.source.layer, found.source.file) == ("shipped", str(path)) and found.predictor is not None


def test_what_ships_for_a_kind_of_host_is_found_by_the_machine(layers: Path) -> None:
    path = layers / "shipped" / "this-one" / "onnxruntime-cpu@1-thread.fp32.json.gz"
    path.parent.mkdir(parents=True)
    write_profile(profile(), path)
    assert find(SETTING, "this-one") == Found(profile(), "shipped", (), path)
    assert find(SETTING, "another").profile is None
    assert [(row.setting, row.error) for row in list_evidence()] == [(SETTING, "")]
    own = install(profile(environment={"machine": "another"}))
    found = find(SETTING, "this-one")
    assert found.path == path
    assert found.fallbacks[0].startswith(f"{own}: was measured on another machine")
    assert found.fallbacks[1].endswith("that ships with graphs is used instead")


def test_another_mode_or_precision_stands_in_where_allowed_and_never_in_silence(layers: Path) -> None:
    orin = Setting("jetson-orin-agx", "pytorch-eager", "MAXN", "fp16")
    install(profile(setting=orin, precision="FP16"))
    wanted = replace(orin, mode="30W")
    assert find(wanted).profile is None
    found = find(wanted, modes=("15W", "MAXN"))
    assert found.profile.setting == orin
    assert found.fallbacks == (
        "nothing was measured of jetson-orin-agx:pytorch-eager@30W in fp16; "
        "evidence of jetson-orin-agx:pytorch-eager@MAXN in fp16 stands in",
    )
    assert find(replace(orin, precision="bf16")).profile.setting == orin
    assert find(replace(orin, precision="fp32")).profile is None
    assert find(replace(orin, runtime="tensorrt")).profile is None


def test_damaged_or_misplaced_evidence_is_an_error_that_says_the_way_out(layers: Path) -> None:
    path = install(profile())
    ship(profile())
    path.write_text(path.read_text()[:-100])
    with pytest.raises(CalibrationError, match="not valid JSON") as caught:
        find(SETTING, "this-one")
    assert f"delete {path}" in caught.value.help
    foreign = profile(setting=replace(SETTING, device="jetson-orin-agx"))
    write_profile(foreign, path)
    with pytest.raises(
        CalibrationError, match="is evidence for jetson-orin-agx:onnxruntime-cpu@1-thread in fp32, not for host"
    ):
        find(SETTING, "this-one")
    write_profile(as_1_0(profile(precision="FP16")), path)
    with pytest.raises(CalibrationError, match="is evidence for FP16, not for FP32"):
        find(SETTING, "this-one")


def test_a_list_shows_what_cannot_be_used_too(layers: Path) -> None:
    broken = install(profile())
    broken.write_text("{}")
    ship(profile(setting=Setting("i7", "pytorch-eager", "", "fp32")), ".json.gz")
    rows = list_evidence()
    assert [(row.layer, row.setting.device, row.setting.mode, bool(row.profile)) for row in rows] == [
        ("user", "host", "1-thread", False), ("shipped", "i7", "", True),
    ]  # fmt: skip
    assert '"schema_version" is missing' in rows[0].error


@pytest.mark.parametrize("device", ["../../etc", "a/b", "", ".hidden"])
def test_a_name_cannot_lead_out_of_the_folder(layers: Path, device: str) -> None:
    with pytest.raises(CalibrationError, match="no name that evidence can be kept under"):
        install(profile(setting=replace(SETTING, device=device)))
    assert find(replace(SETTING, device=device)).profile is None


def test_evidence_that_does_not_say_for_what_it_is_cannot_be_installed(layers: Path) -> None:
    with pytest.raises(CalibrationError, match="does not say for which device"):
        install(as_1_0(profile()))
