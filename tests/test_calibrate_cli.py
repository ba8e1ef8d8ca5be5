"""graphs-calibrate as a user meets it: what it measures and fits, what it says, and what it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_bench import FakeRunner, install_bench, perceptron
from test_architecture import HEAVY

from graphs import __version__, load
from graphs import run as predict
from graphs.calibration.history import Entry, append, history_path, read
from graphs.calibration.profile import Profile, read_profile, write_profile
from graphs.calibration.sample import Setting
from graphs.calibration.store import install, path_of
from graphs.tools import calibrate
from graphs.tools.calibrating.command import command

Run = Callable[..., Any]
ROOT = Path(__file__).parent.parent
COMMANDS = list(command.commands)
HOST = Setting("host", "onnxruntime-cpu", "1-thread", "fp32")
DEVICE = Setting("intel-core-i7-12700k", "pytorch-eager", "", "fp32")


@pytest.fixture(autouse=True)
def data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's data, apart from everybody's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path / "data"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run graphs-calibrate in this process and return (exit code, output, messages)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            calibrate.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err and "defect" not in captured.err
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


# -- the command line --------------------------------------------------------------------------------------------------


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    program = "import sys; from graphs.tools.calibrate import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_help_names_every_command_and_loads_no_heavy_library() -> None:
    code = (
        "import sys, json, contextlib, io\nfrom graphs.tools.calibrate import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):\n    main()\n"
        "print(said.getvalue())\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "click" in loaded and loaded & HEAVY == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0 and out.startswith(f"Usage: graphs-calibrate {name}") and "--quiet" in out


def test_version_and_completion(run: Run) -> None:
    assert run("--version") == (0, f"graphs-calibrate {__version__}\n", "")
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = run(f"--completion={shell}")
        assert code == 0 and "_GRAPHS_CALIBRATE_COMPLETE" in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", "measure"),
        ("measure --target ho", "host"),
        ("measure --target host:onnx", "host:onnxruntime-cpu"),
        ("measure --only soft", "softmax"),
        ("validate --method le", "leave-one-model-out"),
        ("fit --hol", "--holdout"),
    ],
)
def test_the_shell_is_offered_what_there_is(typed: str, offered: str) -> None:
    from click.testing import CliRunner

    words = f"graphs-calibrate {typed}"
    environment = {"_GRAPHS_CALIBRATE_COMPLETE": "bash_complete", "COMP_WORDS": words,
                   "COMP_CWORD": str(len(words.split()) - (not words.endswith(" ")))}  # fmt: skip
    done = CliRunner().invoke(command, prog_name="graphs-calibrate", env=environment)
    assert offered in [line.partition(",")[2] for line in done.output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mesure"], "mesure"),
        (["measure", "--budget=soon"], "such as 10m"),
        (["measure", "--budget=0"], "such as 10m"),
        (["measure", "--budget=-5m"], "such as 10m"),
        (["measure", "--runtime=tensorrt"], "onnxruntime"),
        (["measure", "--precision=fp31"], "fp32"),
        (["measure", "-q", "-v"], "exclude each other"),
        (["measure", "--target=host:onnxruntime-cpu", "--runtime=pytorch"], "another"),
        (["measure", "--only=sofmax"], "softmax"),
        (["fit"], "SAMPLES"),
        (["validate"], "--models"),
        (["validate", "--samples=a.jsonl", "b.onnx"], "leave out the models"),
        (["validate", "b.onnx", "--fail-above=low"], "such as 10%"),
        (["validate", "b.onnx", "--fail-above=-1%"], "such as 10%"),
        (["validate", "b.onnx", "--runs=0"], "--runs"),
        (["validate", "b.onnx", "--method=luck"], "held-out"),
        (["import", "a.csv", "--format=xml"], "latencies"),
    ],
)
def test_wrong_usage_says_what_is_right(run: Run, arguments: list[str], says: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and err.startswith("error: ") and says in err
    assert "graphs-calibrate" in err.splitlines()[-1] and "--help lists the options" in err


# -- evidence of a setting ---------------------------------------------------------------------------------------------


def curve(name: str = "matmul") -> Any:
    from graphs.calibration.curve import Curve, DataPoint, FittedCurve

    points = [DataPoint(size, share, 0.02, share - 0.05, share + 0.05, share - 0.03, share + 0.03, 9, "measured")
              for size, share in ((2.7e8, 0.56), (2.1e9, 0.708), (1.7e10, 0.73), (1.4e11, 0.791))]  # fmt: skip
    fitted = FittedCurve("piecewise_linear", tuple((one.flops, one.efficiency_mean) for one in points), 0.9, 0.02, 0.05)
    return Curve(name, "", tuple(points), fitted, points[0].flops, points[-1].flops)


def profile(setting: Setting = DEVICE, **environment: str) -> Profile:
    when, precision = "2026-01-02T03:04:05", setting.precision.upper()
    return Profile(setting.device, "some processor", "cpu", precision, when, "graphs 0", {"matmul": curve()},
                   setting=setting, environment=environment)  # fmt: skip


def test_audit_lists_what_is_installed(run: Run) -> None:
    path = install(profile())
    code, out, err = run("audit", "intel-core-i7-12700k")
    assert (code, err) == (0, "")
    (row,) = [line for line in out.splitlines() if "pytorch-eager" in line and " user " in line]
    assert "1.1" in row and "2026-01-02" in row and "good" in row
    code, out, _ = run("audit", path)
    assert code == 0 and "matmul" in out and "piecewise_linear" in out and "none so far" in out


def test_audit_of_nothing_says_where_it_would_be(run: Run, data_home: Path) -> None:
    code, out, err = run("audit", "host:onnxruntime-cpu@1-thread")
    assert code == 0 and out == "" and "first principles" in err and str(data_home) in err


def test_a_foreign_machines_evidence_is_called_so(run: Run) -> None:
    path = install(profile(Setting("host", "onnxruntime-cpu", "", "fp32"), machine="some-other-64c-0123456789"))
    code, out, _ = run("audit", "host")
    assert code == 0 and "not used" in out and "456789" in out
    assert "some-other-64c-0123456789" in run("audit", path)[1]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:-40], "not valid JSON"),
        (lambda text: text.replace('"1.1"', '"7.3"'), "schema version"),
        (lambda text: text.replace("0.708", "NaN"), "NaN"),
        (lambda text: text.replace("0.708", "-0.708"), "above zero"),
        (lambda text: text.replace('"curves"', '"kurves"'), "kurves"),
    ],
)
def test_damaged_evidence_is_listed_with_its_error_and_refused_alone(
    run: Run, damage: Callable[[str], str], says: str
) -> None:
    good = install(profile(Setting("intel-core-i7-12700k", "pytorch-eager", "", "bf16")))
    bad = install(profile())
    bad.write_text(damage(bad.read_text()))
    code, out, err = run("audit", "intel-core-i7-12700k")
    assert code == 1 and "damaged" in out and "good" in out and says in err and str(bad) in err
    code, out, err = run("audit", bad)
    assert code == 1 and out == "" and says in err
    assert run("audit", good)[0] == 0


def test_what_is_no_evidence_is_an_error(run: Run, tmp_path: Path) -> None:
    code, _, err = run("audit", tmp_path / "none.json")
    assert code == 1 and "none.json" in err


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_a_curve_is_drawn_with_its_points(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    write_profile(profile(), path)
    code, out, err = run("plot", path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "matmul · piecewise_linear · 36 observations · R² 0.90" in out
    assert sum(line.count("●") for line in lines) == 4 and max(map(len, lines)) <= 120
    assert any(0x2800 < ord(character) <= 0x28FF for character in out)
    drawn = tmp_path / "curves.txt"
    assert run("plot", path, "-o", drawn)[:2] == (0, "") and "●" in drawn.read_text()


def test_what_cannot_be_drawn(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evidence.json"
    write_profile(profile(), path)
    code, _, err = run("plot", path, "--only=softmax")
    assert code == 1 and "no curve of softmax" in err and "matmul" in err
    code, _, err = run("plot", path, "-o", tmp_path / "x.doc")
    assert code == 1 and ".png" in err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run("plot", path, "-o", tmp_path / "x.png")
    assert code == 1 and "graphs-opt[plot]" in err and not (tmp_path / "x.png").exists()
    code, _, err = run("plot", path, "-o", tmp_path / "nowhere" / "x.txt")
    assert code == 1 and "cannot be written" in err


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_matplotlib_draws_it_too(run: Run, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "evidence.json"
    write_profile(profile(), path)
    assert run("plot", path, "-o", tmp_path / f"x.{suffix}")[0] == 0
    assert (tmp_path / f"x.{suffix}").stat().st_size > 1000


# -- history -----------------------------------------------------------------------------------------------------------


def test_history_shows_how_accuracy_went(run: Run) -> None:
    assert run("history")[:2] == (0, "")
    for date, mape in (("2026-01-01T00:00:00", 0.08), ("2026-02-01T00:00:00", 0.05)):
        append(Entry(date, "host", "onnxruntime-cpu", "1-thread", "fp32", "measured", 12, mape, 0.03, 0.9, -0.01, 0.95,
                     "graphs 0"), history_path())  # fmt: skip
    with history_path().open("a") as file:
        file.write("{torn\n")
    code, out, err = run("history", "host@1-thread")
    first, second = [line for line in out.splitlines() if "onnxruntime-cpu" in line]
    assert code == 0 and "8.0 %" in first and "5.0 %" in second and "−3.0 pt" in second and ":3: not an entry" in err
    assert run("validate", "--history")[1].count("onnxruntime-cpu") == 2
    assert run("history", "host@2-thread")[1] == ""


def test_paths(data_home: Path) -> None:
    assert path_of(DEVICE).is_relative_to(data_home)


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
    from graphs.calibration.measure.samples_file import read_samples

    path = tmp_path / "s.jsonl"
    code = (
        "import sys, pytest\nsys.path.insert(0, sys.argv.pop(1))\nfrom fake_bench import install_bench\n"
        "install_bench(pytest.MonkeyPatch()).killed_at = 4\nfrom graphs.tools.calibrate import main\nmain()"
    )
    tests = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", code, tests, "measure", TARGET, "-o", str(path)], env=environment())
    assert killed.returncode == -9
    assert len(read_samples(path).done) == 3
    with path.open("ab") as file:
        file.write(b'{"sample": {"kernels": [')
    assert run("measure", TARGET, "-o", path)[0] == 0
    assert len(read_samples(path).done) == 3 + len(machine.ran) and "blas-gemm-fp32-64x64x64" not in machine.ran


def environment() -> dict[str, str]:
    import os

    return dict(os.environ)


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
    code, _, err = run("measure", TARGET, "-o", tmp_path / "s", "--budget=0.1s")
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


def test_a_published_file_becomes_evidence_of_the_target_named(run: Run, tmp_path: Path) -> None:
    from dataclasses import replace

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
    commands = [shlex.split(line)[2:] for line in guide.splitlines() if line.startswith("$ graphs-calibrate ")]
    commands += [shlex.split(line)[1:] for line in guide.splitlines() if line.startswith("    graphs-calibrate ")]
    assert {words[0] for words in commands} == set(COMMANDS)
    for words in commands:
        code, _, err = run(*words)
        assert code == 0, f"{words}: {err}"
    assert "●" in (tmp_path / "matmul.txt").read_text()
