"""graphs-opt for who looks inside: printed graphs, reproducers, terminals, processes, and the same from Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_line import CRASHING, LSTM, RESNET, STRANGE, TINY

import graphs
from graphs.ir import parse, parse_all
from graphs.tools.command import command

Run = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]


# -- what mlir-opt has too ---------------------------------------------------------------------------------------------


def test_text_from_one_run_is_input_to_the_next(run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("--passes=", "--emit=text", tiny).out
    assert parse(text).name == "tiny" and parse(text) == parse(TINY)
    done = subprocess.run([sys.executable, "-c", "from graphs.tools.opt import main; main()", "-q", "-"],
                          input=text, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("tiny: ")


def test_binary_on_standard_input_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", "from graphs.tools.opt import main; main()", "-"],
                          input=Path(RESNET).read_bytes(), capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 1 and b"standard input" in done.stderr and b"Traceback" not in done.stderr


def test_a_split_file_is_several_models_with_their_own_lines(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "three.mlir"
    broken = TINY.replace('"onnx.Relu"', "oops")
    path.write_text(f"{TINY}// -----\n{broken}\n// -----\n{STRANGE}")
    done = run("--split-input-file", "--passes=", "--emit=text", path)
    assert [graph.name for graph in parse_all(done.out)] == ["tiny", "strange"]
    line = TINY.count("\n") + 1 + 3
    assert done.code == 1 and f"{path}:{line}:" in done.err
    assert run(path).code == 1


def test_the_graph_is_printed_to_standard_error(run: Run, tiny: Path) -> None:
    done = run("-q", "--print-ir-before=fuse", "--print-ir-after=lower", tiny)
    assert re.findall(r"^// -+ (IR .*) -+$", done.err, re.MULTILINE) == ["IR before fuse", "IR after lower"]
    assert len(parse_all(done.err)) == 2 and done.out.startswith("tiny: ")
    everything = run("-q", "--print-ir-after-all", tiny)
    dumped = run("--dump-pipeline")
    assert everything.err.count("// ----- IR after") == dumped.out.count(",") + 1
    assert run("-q", "--print-ir-after", tiny).err == everything.err


def test_the_pipeline_that_runs_is_printed(run: Run, tiny: Path) -> None:
    alone = run("--dump-pipeline", "--passes=fuse{rules=none},cost")
    assert alone.code == 0
    names = re.sub(r"\{[^}]*\}", "", alone.out.strip()).split(",")
    assert names.index("shape") < names.index("fuse") < names.index("lower") < names.index("cost")
    assert "fuse{rules=none}" in alone.out
    beside = run("--dump-pipeline", "--passes=fuse{rules=none},cost", "-q", "--dim", "n=1", tiny)
    assert beside.err == alone.out
    assert alone.out.strip() in run("-v", "--passes=fuse{rules=none},cost", tiny).err


def test_timing_and_statistics(run: Run, tiny: Path) -> None:
    done = run("-q", "--timing", "--stats", tiny)
    assert re.search(r"^  fuse +\d.* [mµn]?s", done.err, re.MULTILINE)
    assert re.search(r"^  lower +1 ops → 1 ops", done.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--list-passes", ["fuse", "rules=target", "requires", "default", "fuse,lower,memory,cost,coverage"]),
        ("--list-targets", ["jetson-orin-agx", "30W", "tensorrt", "onnxruntime-cpu"]),
        ("--list-ops", ["onnx.Conv", "contraction", "counted"]),
        ("--version", [f"graphs-opt {graphs.__version__}"]),
        ("--help", ["--passes", "--load-plugin", "MODEL"]),
    ],
)
def test_listings_need_no_model(run: Run, option: str, words: list[str]) -> None:
    done = run(option)
    assert done.code == 0 and done.err == ""
    assert all(word in done.out for word in words)


def test_a_plugin_brings_a_pass_and_a_failing_one_leaves_a_reproducer(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphs.passes import plugins

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    plugin = tmp_path / "crashing.py"
    plugin.write_text(CRASHING)
    done = run(f"--load-plugin={plugin}", "--passes=crash", "--dim", "n=4", tiny)
    assert done.code == 1 and "nobody foresaw this (" in done.err and "crashing.py:13)" in done.err
    found = re.search(r"--run-reproducer (\S+)", done.err)
    assert found
    reproducer = Path(found[1])
    assert reproducer.parent == tmp_path and "4x8xf32" in reproducer.read_text()
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    again = run(f"--load-plugin={plugin}", "--run-reproducer", reproducer)
    assert again.code == 1 and "nobody foresaw this" in again.err
    plugin.write_text(CRASHING.replace("raise ZeroDivisionError", "print"))
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    fixed = run(f"--load-plugin={plugin}", "--run-reproducer", reproducer)
    assert fixed.code == 0


# -- terminals ---------------------------------------------------------------------------------------------------------


def test_colour_and_width_follow_the_options(run: Run) -> None:
    assert "\x1b[" in run("--color=always", LSTM).out
    assert "\x1b[" not in run("--color=never", LSTM).out
    assert max(map(len, run("--width=70", LSTM).out.splitlines())) <= 70
    assert max(map(len, run("--wide", RESNET).out.splitlines())) > 120


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphs.tools.terminal import takes_color

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert takes_color(Terminal(), "auto")  # type: ignore[arg-type]  # as much of a stream as it needs
    assert not takes_color(sys.__stdin__ and open(os.devnull), "auto")  # noqa: SIM115
    monkeypatch.setenv("NO_COLOR", "1")
    assert not takes_color(Terminal(), "auto")  # type: ignore[arg-type]  # as above
    assert takes_color(Terminal(), "always")  # type: ignore[arg-type]  # as above


def test_a_terminal_without_unicode_gets_ascii(start: Start) -> None:
    process = start(RESNET, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    out, _ = process.communicate()
    assert process.returncode == 0 and "122 ops -> " in out and "1x256x14x14" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    done = run(f"--completion={shell}")
    assert done.code == 0 and "_GRAPHS_OPT_COMPLETE" in done.out and "graphs-opt" in done.out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("--passes=fuse,lo", "fuse,lower"),
        ("--passes=def", "default"),
        ("--target=jets", "jetson-orin-agx"),
        ("--target=jetson-orin-agx:tens", "jetson-orin-agx:tensorrt"),
        ("--emit=js", "json"),
        ("--print-ir-af", "--print-ir-after"),
    ],
)
def test_completion_offers_names(typed: str, offered: str) -> None:
    words = f"graphs-opt {typed}".replace("=", " ")
    environment = {"_GRAPHS_OPT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = CliRunner().invoke(command, prog_name="graphs-opt", env=environment)
    assert f"plain,{offered}" in done.output


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--completion=zsh"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom graphs.tools.opt import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    heavy = {"onnx", "networkx", "numpy", "rich", "yaml", "scipy", "onnxruntime", "importlib.metadata", "graphs.ir",
             "graphs.targets", "graphs.frontends", "graphs.passes.base", "graphs.tools.driver"}  # fmt: skip
    assert not loaded & heavy
    assert "graphs.tools.opt" in loaded


def test_import_graphs_is_lazy_and_complete() -> None:
    program = "import sys, graphs; print('networkx' in sys.modules, 'click' in sys.modules, graphs.Kind.WINDOW.value)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "window"]
    for name in graphs.__all__:
        assert getattr(graphs, name) is not None and name in dir(graphs)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = graphs.lode  # type: ignore[attr-defined]  # that is the point


def test_a_closed_pipe_is_quiet(start: Start) -> None:
    process = start("--list-ops")
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_cleanly(number: signal.Signals, code: int, tmp_path: Path, start: Start) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom dataclasses import dataclass\nfrom graphs import Pass\n@dataclass(frozen=True)\n"
        "class Slow(Pass):\n    '''Wait.'''\n    name = 'slow'\n    def run(self, graph, context):\n"
        "        open('started', 'w').close()\n        time.sleep(60)\n"
    )
    (tmp_path / "tiny.mlir").write_text(TINY)
    listens = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are told not to
    arguments = ("--load-plugin=slow.py", "--passes=slow", "tiny.mlir", "-o", "out.json")
    process = start(*arguments, cwd=tmp_path, preexec_fn=listens)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and out == "" and "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"slow.py", "started", "tiny.mlir"}


# -- the same from Python ----------------------------------------------------------------------------------------------


def test_three_lines_of_python() -> None:
    graph = graphs.load(RESNET)
    report = graphs.run("fuse,lower,cost", graph, target="jetson-orin-agx@30W")
    assert report.total.seconds and report.kernels[0].bound
    assert report.total.macs == 4_089_184_256 and report.source_ops == 122


def test_a_graph_can_be_run_for_several_targets() -> None:
    graph = graphs.load(LSTM)
    before = graphs.print(graph)
    first = graphs.run("default", graph, target="jetson-orin-agx", precision="fp16")
    second = graphs.run("default", graph, target="amd-epyc-9654")
    assert graphs.print(graph) == before
    assert first.total.seconds != second.total.seconds and first.precision == "fp16"
    assert first == graphs.run("default", graph, target=graphs.load_target("jetson-orin-agx"), precision="fp16")
    third = graphs.run("default", graph, in_place=True)
    assert third.graph is graph and graphs.print(graph) != before


def test_python_errors_have_one_base() -> None:
    graph = graphs.parse(TINY)
    mistakes = ({"pipeline": "fues"}, {"target": "abacus"}, {"precision": "fp17"}, {"dims": {"m": 1}}, {"strict": True})
    for wrong in mistakes:
        with pytest.raises(graphs.GraphsError):
            graphs.run(**{"pipeline": "default", "graph": graph, **wrong})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(graphs.GraphsError):
        graphs.load("nowhere.onnx")
    with pytest.raises(graphs.GraphsError):
        graphs.parse("nonsense")
