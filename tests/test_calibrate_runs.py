"""graphs-calibrate on a made-up machine: measured, fitted, validated, imported; and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calibrated import DEVICE, HOST, ROOT, Run, own_data_home, profile, run_calibrate
from fake_bench import FakeRunner, install_bench, perceptron

from graphs import load
from graphs import run as predict
from graphs.calibration.history import history_path, read
from graphs.calibration.measure.samples_file import read_samples
from graphs.calibration.profile import read_profile, write_profile
from graphs.calibration.store import install, path_of
from graphs.tools import calibrate
from graphs.tools.calibrating.command import command

__all__ = ["own_data_home", "run_calibrate"]

COMMANDS = list(command.commands)

# -- from measuring to figures -----------------------------------------------------------------------------------------

TARGET = "--target=host@1-thread"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeRunner:
    """A made-up machine in the place of this one."""
    return install_bench(monkeypatch)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six networks."""
    folder = tmp_path_factory.mktemp("networks")
    for i in range(6):
        perceptron(folder / f"net{i}.onnx", 512, 256 + 64 * i, 512, 300 + 32 * i, 10)
    return folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Path:
    """Samples of the made-up machine with all networks in them."""
    path = tmp_path_factory.mktemp("samples") / "host.samples.jsonl"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        install_bench(patch)
        calibrate.main(["measure", "-q", TARGET, "-o", str(path), "--models", str(networks), "--model-runs"])
    assert not stopped.value.code
    return path


def test_measured_then_fitted_is_what_graphs_opt_uses(run: Run, samples: Path, networks: Path) -> None:
    code, out, err = run("fit", samples)
    assert code == 0 and str(path_of(HOST)) in err
    (row,) = [line.split() for line in out.splitlines() if line.strip().startswith("matmul ")]
    assert int(row[1]) >= 24 and int(row[2]) >= 6
    report = predict("fuse,lower,cost", load(networks / "net3.onnx"), "host@1-thread")
    assert report.evidence is not None and report.evidence.layer == "your own"
    assert report.total.confidence.lower() == "calibrated"
    assert report.total.seconds == pytest.approx(4.28e-3, rel=0.02)
    assert run("audit", "host")[1].count("good") == 1
    assert "●" in run("plot", path_of(HOST))[1]


@pytest.mark.parametrize("block", [{"method": "luck"}, {"method": "rates"}, "emptied"])
def test_evidence_whose_estimator_is_broken_is_an_error_where_it_is_used(
    run: Run, machine: FakeRunner, samples: Path, networks: Path, block: Any
) -> None:
    run("fit", samples)
    path = path_of(HOST)
    content = json.loads(path.read_text())
    if block == "emptied":
        content["estimator"]["residuals"] = {name: {} for name in content["estimator"]["residuals"]}
    else:
        content["estimator"] = block
    path.write_text(json.dumps(content))
    code, _, err = run("validate", TARGET, "--models", networks)
    assert code == 1 and "graphs-calibrate fit" in err and machine.ran == []


def test_the_same_command_goes_on_where_it_was(run: Run, machine: FakeRunner, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    machine.interrupted_at = 4
    code, _, err = run("measure", TARGET, "-o", path)
    assert code == 130 and "the same command goes on from there" in err and "stopped; " in err
    assert run("measure", TARGET, "-o", path)[0] == 0
    assert machine.ran.count(machine.ran[3]) == 2 and len(machine.ran) == len(set(machine.ran)) + 1
    before = path.read_bytes()
    assert run("measure", TARGET, "-o", path)[0] == 0
    assert path.read_bytes().startswith(before) and len(machine.ran) == len(set(machine.ran)) + 1


def test_a_kill_in_the_middle_costs_what_was_at_hand(run: Run, machine: FakeRunner, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    code = (
        "import sys, pytest\nsys.path.insert(0, sys.argv.pop(1))\nfrom fake_bench import install_bench\n"
        "install_bench(pytest.MonkeyPatch()).killed_at = 4\nfrom graphs.tools.calibrate import main\nmain()"
    )
    tests = str(Path(__file__).parent)
    killed = subprocess.run(
        [sys.executable, "-c", code, tests, "measure", TARGET, "-o", str(path)], env=dict(os.environ)
    )
    assert killed.returncode == -9
    assert len(read_samples(path).done) == 3
    with path.open("ab") as file:
        file.write(b'{"sample": {"kernels": [')
    assert run("measure", TARGET, "-o", path)[0] == 0
    assert len(read_samples(path).done) == 3 + len(machine.ran) and "blas-gemm-fp32-64x64x64" not in machine.ran


def test_a_full_disk_is_an_error_with_the_way_out(run: Run, machine: FakeRunner, samples: Path) -> None:
    code, out, err = run("measure", TARGET, "-o", "/dev/full")
    assert code == 1 and out == "" and "/dev/full" in err and "No space left" in err
    code, _, err = run("fit", samples, "-o", "/dev/full")
    assert code == 1 and "No space left" in err


def test_only_and_models_decide_what_is_measured(run: Run, machine: FakeRunner, networks: Path, tmp_path: Path) -> None:
    assert run("measure", TARGET, "-o", tmp_path / "a", "--only=softmax")[0] == 1
    assert machine.ran == []
    assert run("measure", TARGET, "-o", tmp_path / "b", "--only=matmul")[0] == 0
    assert machine.ran and all("gem" in name for name in machine.ran)
    machine.ran.clear()
    assert run("measure", TARGET, "-o", tmp_path / "c", "-m", networks)[0] == 0
    assert set(machine.ran[:6]) == {f"net{i}" for i in range(6)}
    kinds = [
        json.loads(line)["sample"]["source"]
        for line in (tmp_path / "c").read_text().splitlines()
        if 'sample"' in line[:10]
    ]
    assert "profile" in kinds and "network" not in kinds


def test_a_budget_is_kept(run: Run, machine: FakeRunner, tmp_path: Path) -> None:
    code, _, err = run("measure", TARGET, "-o", tmp_path / "s", "--budget=0.01s")
    assert code == 0 and "the budget was not enough for" in err


def test_samples_of_another_machine_or_setting_are_kept_apart(
    run: Run, machine: FakeRunner, samples: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text(samples.read_text().replace('"machine":"', '"machine":"other-'))
    code, _, err = run("measure", TARGET, "-o", foreign)
    assert code == 1 and "another machine" in err
    code, _, err = run("fit", samples, foreign)
    assert code == 1 and "another" in err and "fit them apart" in err
    code, _, err = run("measure", "--target=host:pytorch-eager@1-thread", "-o", samples)
    assert code == 1 and "pytorch-eager" in err


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text.replace('"median":', '"median":-', 1), "above zero"),
        (lambda text: text.replace('"median":0', '"median":NaN,"was":0', 1), "NaN"),
        (lambda text: text.replace('"version":1', '"version":9', 1), "version"),
        (lambda text: "model,latency_ms\n", "not valid JSON"),
        (lambda text: "", "not a file of samples"),
    ],
)
def test_samples_that_cannot_be_are_refused(
    run: Run, samples: Path, tmp_path: Path, damage: Callable[[str], str], says: str
) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text(damage(samples.read_text()))
    for words in (("fit", path), ("validate", "--samples", path), ("audit", path)):
        code, out, err = run(*words)
        assert code == 1 and out == "" and says in err and str(path) in err
    assert not path_of(HOST).exists()


def test_validation_against_measurements(
    run: Run, machine: FakeRunner, samples: Path, networks: Path, tmp_path: Path
) -> None:
    run("fit", samples)
    figures = tmp_path / "v.json"
    code, out, err = run("validate", TARGET, "--models", networks, "--runs=12", "--fail-above=5%", "--json", figures)
    assert code == 0 and "mean absolute error" in out and "the evidence was fitted on net0" in err
    found = json.loads(figures.read_text())
    assert (
        found["models"]["n"] == 6
        and found["models"]["mape"] < 0.01
        and found["setting"]["runtime"] == "onnxruntime-cpu"
    )
    assert {row["name"] for row in found["operation_types"]} == {"matmul"}
    block = read_profile(path_of(HOST)).validation
    assert block is not None and block.models_tested == 6 and block.breakdown.excellent == 6
    assert read(history_path())[0][-1].mape == pytest.approx(found["models"]["mape"])
    assert "predicted over measured" in run("plot", figures)[1]


def test_validation_sees_that_the_machine_is_slower_than_its_evidence(
    run: Run, machine: FakeRunner, samples: Path, networks: Path
) -> None:
    run("fit", samples)
    machine.slower = 1.3
    code, out, err = run("validate", TARGET, "--models", networks, "--fail-above=10%")
    assert code == 1 and "above --fail-above=10.0 %" in err and "too short" in out and "significant" in out
    bias = read(history_path())[0][-1].bias
    assert bias == pytest.approx(1 / 1.3 - 1, abs=0.02)


def test_a_foreign_machines_evidence_is_not_used(run: Run, machine: FakeRunner, networks: Path) -> None:
    install(profile(HOST, machine="some-other-64c-0123456789"))
    code, out, err = run("validate", TARGET, networks / "net0.onnx", "--runs=9")
    assert code == 0 and "(first principles)" in out and "measured on another machine" in err


def test_a_network_that_cannot_be_measured_does_not_stop_the_others(
    run: Run, machine: FakeRunner, samples: Path, networks: Path
) -> None:
    run("fit", samples)
    machine.unsteady = {"net1"}
    code, out, err = run("validate", TARGET, "--models", networks)
    assert code == 0 and "5 networks measured" in out and "net1.onnx: cannot be measured: disturbed" in err
    machine.unsteady = {f"net{i}" for i in range(6)}
    code, out, err = run("validate", TARGET, "--models", networks)
    assert code == 1 and out == "" and "error: " in err


def test_validation_by_holding_out(run: Run, samples: Path) -> None:
    for method in ("held-out", "leave-one-model-out"):
        code, out, _ = run("validate", "--samples", samples, f"--method={method}", "--splits=2", "--fail-above=5%")
        assert code == 0 and "mean absolute error" in out and "worst kernels" in out
    assert [entry.method for entry in read(history_path())[0]] == ["held-out", "leave-one-model-out"]
    code, _, err = run("validate", "--samples", samples, "--target=host")
    assert code == 1 and "no such setting" in err and "1-thread" in err


def test_fitting_without_a_model_says_how_well_it_is_predicted(run: Run, samples: Path, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    code, out, err = run("fit", samples, "--holdout=net2", "-o", path)
    assert code == 0 and "net2" in out and "held out of" in out and str(path) in err
    profile = read_profile(path)
    assert all(sample.model != "net2" for sample in profile.samples) and "net2" in profile.notes
    code, _, err = run("fit", samples, "--holdout=net9")
    assert code == 1 and "net9" in err and "net2" in err


# -- what others measured ----------------------------------------------------------------------------------------------


def test_latencies_become_evidence_of_their_models(run: Run, networks: Path, tmp_path: Path) -> None:
    table = tmp_path / "latencies.csv"
    table.write_text("model,latency_ms\n" + "".join(f"net{i},{2.7 + 0.53 * i}\n" for i in range(6)))
    code, _, err = run("import", table, TARGET, "--models", networks)
    assert code == 0 and "6 samples" in err
    profile = read_profile(path_of(HOST))
    assert {sample.source for sample in profile.samples} == {"network"}
    predicted = predict("fuse,lower,cost", load(networks / "net2.onnx"), "host@1-thread")
    assert predicted.evidence is not None and predicted.evidence.layer == "your own"
    assert predicted.total.seconds == pytest.approx(3.76e-3, rel=0.15)
    table.write_text("model,latency_ms\nnet5,53.5\n")
    code, _, err = run("import", table, TARGET, "--models", networks)
    times = [sample.seconds.median for sample in read_profile(path_of(HOST)).samples if sample.model == "net5"]
    assert code == 0 and "6 samples" in err and times == [0.0535]


@pytest.mark.parametrize("latency", ["0", "-1.5", "nan", "inf", "fast", ""])
def test_a_latency_that_cannot_be_is_refused(run: Run, networks: Path, tmp_path: Path, latency: str) -> None:
    table = tmp_path / "latencies.csv"
    table.write_text(f"model,latency_ms\nnet0,2.7\nnet1,{latency}\n")
    code, out, err = run("import", table, TARGET, "--models", networks)
    assert code == 1 and out == "" and "row 3" in err and not path_of(HOST).exists()


def test_imports_say_what_they_lack(run: Run, networks: Path, tmp_path: Path) -> None:
    table = tmp_path / "latencies.csv"
    table.write_text("model,latency_ms\nnet7,2.7\n")
    code, _, err = run("import", table, TARGET)
    assert code == 2 and "--models" in err
    code, _, err = run("import", table, "--models", networks)
    assert code == 2 and "--target" in err
    code, _, err = run("import", table, TARGET, "--models", networks)
    assert code == 1 and 'no file of the model "net7"' in err
    for content in ("", "hello\n", "{}", '{"curves": ', "[]"):
        table.write_text(content)
        code, out, err = run("import", table, TARGET, "--models", networks / "net0.onnx")
        assert code == 1 and out == "" and str(table) in err


def test_a_device_that_is_named_otherwise_is_told_by_its_words(run: Run, tmp_path: Path) -> None:
    elsewhere = profile(replace(DEVICE, device="12th-gen-intel-r-core-tm-i7-12700k"))
    write_profile(elsewhere, path := tmp_path / "elsewhere.json")
    code, _, err = run("import", path)
    assert code == 1 and "(--target=intel-core-i7-12700k:pytorch-eager?)" in err
    write_profile(replace(elsewhere, setting=replace(DEVICE, device="else")), path)
    assert "(graphs-opt --list-targets)" in run("import", path)[2]


def test_a_published_file_becomes_evidence_of_the_target_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "published.json"
    write_profile(replace(profile(), setting=None, schema_version="1.0"), path)
    code, _, err = run("import", path)
    assert code == 2 and "--target" in err
    code, _, err = run("import", path, "--target=intel-core-i7-12700k:pytorch-eager")
    assert code == 0 and read_profile(path_of(DEVICE)).curves.keys() == {"matmul"}
    write_profile(profile(), path)
    code, _, err = run("import", path, TARGET)
    assert code == 1 and "intel-core-i7-12700k" in err


def test_a_runtimes_profile_needs_its_model(run: Run, networks: Path, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    nodes = [("product0", "MatMul", 842), ("relu0", "Relu", 10), ("product1", "MatMul", 842), ("relu1", "Relu", 10),
             ("product2", "MatMul", 985), ("relu2", "Relu", 10), ("product3", "MatMul", 21)]  # fmt: skip
    events: list[dict[str, object]] = []
    for number in range(4):
        for place, (name, operator, duration) in enumerate(nodes):
            events.append({"cat": "Node", "name": f"{name}_kernel_time", "dur": duration, "ts": 9000 * number + place,
                           "args": {"op_name": operator}})  # fmt: skip
        events.append({"cat": "Session", "name": "model_run", "dur": 2750, "ts": 9000 * number + 99})
    path.write_text(json.dumps(events))
    code, _, err = run("import", path, TARGET, "--models", networks)
    assert code == 2 and "one model" in err
    code, _, err = run("import", path, TARGET, "--models", networks / "net0.onnx")
    assert code == 0 and {sample.source for sample in read_profile(path_of(HOST)).samples} >= {"profile"}
    events[0]["dur"] = -3
    path.write_text(json.dumps(events))
    code, _, err = run("import", path, TARGET, "--models", networks / "net0.onnx")
    assert code == 1 and str(path) in err


# -- the guide ---------------------------------------------------------------------------------------------------------


def test_what_the_guide_shows_runs(
    run: Run, machine: FakeRunner, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(networks)
    (tmp_path / "latencies.csv").write_text("model,latency_ms\nnet0,2.7\n")
    guide = (ROOT / "docs" / "calibrating.md").read_text(encoding="utf-8")
    shown = re.findall(r"^(?:\$ |    )graphs-calibrate (.+)$", guide, re.MULTILINE)
    commands = [shlex.split(line) for line in shown]
    assert {words[0] for words in commands} == set(COMMANDS)
    for words in commands:
        code, _, err = run(*words)
        assert code == 0 or (code == 1 and "above --fail-above" in err), f"{words}: {err}"
    assert "●" in (tmp_path / "matmul.txt").read_text()
