"""graphs-calibrate as a user meets it: help, usage, what evidence there is, pictures, history."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from calibrated import DEVICE, Run, own_data_home, profile, run_calibrate
from click.testing import CliRunner
from test_architecture import HEAVY

from graphs import __version__
from graphs.calibration.history import Entry, append, history_path
from graphs.calibration.profile import write_profile
from graphs.calibration.sample import Setting
from graphs.calibration.store import install, path_of
from graphs.tools.calibrating.command import command
from graphs.tools.calibrating.progress import Progress, at_its_pace

__all__ = ["own_data_home", "run_calibrate"]

COMMANDS = list(command.commands)

# -- the command line --------------------------------------------------------------------------------------------------


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


def test_progress_at_its_own_pace_says_when_it_is_over() -> None:
    """Nothing in the first second, in which nobody waits; then the time left if the rest goes as fast."""
    stream, times = io.StringIO(), iter([0.0, 0.2, 0.9, 10.0])
    with Progress("fitting", stream=stream, clock=lambda: 100.0) as progress:
        told = at_its_pace(progress, "9 samples", clock=lambda: next(times))
        told(0.0)
        told(0.4)
        assert stream.getvalue() == ""
        told(0.4)
    assert stream.getvalue() == "fitting: 40%, 0:00:15 left, 9 samples\n"
