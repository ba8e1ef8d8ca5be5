"""graphs-opt as a user meets it: what goes to which stream, exit codes, errors, files written or left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

import graphs
from graphs.ir import parse, parse_all
from graphs.tools import opt
from graphs.tools.emit import FORMATS

MODELS = Path(__file__).parent.parent / "examples" / "models"
RESNET = str(MODELS / "resnet50.onnx")
LSTM = str(MODELS / "lstm_lm.onnx")
TINY = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<?x8xf32, ["n"]> loc("x")
  %y = "onnx.Relu"(%x) : (tensor<?x8xf32, ["n"]>) -> tensor<?x8xf32, ["n"]> loc("relu_1")
  "graphs.output"(%y) : (tensor<?x8xf32, ["n"]>) -> () loc("y")
}) {sym_name = "tiny"} : () -> ()
"""
STRANGE = TINY.replace("onnx.Relu", "com.acme.Rotary").replace("tiny", "strange").replace('?x8xf32, ["n"]', "1x8xf32")
CRASHING = '''
from dataclasses import dataclass
from graphs import Pass

@dataclass(frozen=True)
class Crash(Pass):
    """Fail in a way nobody foresaw."""
    name = "crash"
    requires = ("types",)

    def run(self, graph, context):
        graph.name = "changed"
        raise ZeroDivisionError("nobody foresaw this")
'''


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run graphs-opt in this process and return what it said."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def call(*arguments: str | Path) -> Outcome:
        with pytest.raises(SystemExit) as stopped:
            opt.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return call


def start(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    """Start graphs-opt as a process of its own."""
    program = "import sys; from graphs.tools.opt import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]  # passed through


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.mlir"
    path.write_text(TINY)
    return path


# -- the main job -----------------------------------------------------------------------------------------------------


def test_a_table_goes_to_standard_output_and_nothing_else(run: Run) -> None:
    done = run("--passes=fuse,lower,cost", RESNET)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("resnet50 · 122 ops → ") and "Nothing unknown." in done.out
    assert "4.09 GMAC" in done.out and "THEORETICAL" in done.out and "\x1b[" not in done.out
    assert max(map(len, done.out.splitlines())) <= 120


def test_several_models_get_a_table_each_and_a_comparison(run: Run) -> None:
    done = run(RESNET, LSTM)
    assert done.code == 0
    assert [line.split(" · ")[0] for line in done.out.splitlines() if " kernels · " in line] == ["resnet50", "lstm_lm"]
    comparison = done.out[done.out.index("2 models") :]
    assert "resnet50" in comparison and "lstm_lm" in comparison


def test_quiet_is_a_line_for_each_model(run: Run, tiny: Path) -> None:
    done = run("-q", RESNET, tiny)
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first.startswith("resnet50: ") and second.startswith("tiny: ")


def test_an_open_dimension_is_warned_of_bound_or_refused(run: Run, tiny: Path) -> None:
    assert "warning: bind" in run(tiny).err
    bound = run("--dim", "n=4", tiny)
    assert bound.err == "" and "batch 4" in bound.out
    assert run("--dim", "*=2", tiny).err == ""
    refused = run("--strict", tiny)
    assert refused.code == 1 and "error: bind" in refused.err and "help:" in refused.err and refused.out == ""
    wrong = run("--dim", "m=4", tiny)
    assert wrong.code == 1 and "'m'" in wrong.err


def test_what_is_unknown_is_never_zero(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "strange.mlir"
    path.write_text(STRANGE)
    done = run(path)
    assert done.code == 0 and "≥ 0 MAC" in done.out and "com.acme.Rotary ×1" in done.out
    assert "Nothing unknown" not in done.out
    refused = run("--strict", path)
    assert refused.code == 1 and "com.acme.Rotary" in refused.err


def test_explaining_a_kernel(run: Run) -> None:
    done = run("--explain", "layer4.0.conv2", RESNET)
    assert done.code == 0 and "115,605,504" in done.out and ".yaml:" in done.out and "latency" not in done.out
    starred = run("--explain", "layer4.*.conv2", RESNET)
    assert "3 match" in starred.out
    wrong = run("--explain", "layer4.0.conf2", RESNET)
    assert wrong.code == 1 and "did you mean layer4.0.conv2" in wrong.err and wrong.out == ""
    early = run("--passes=fuse", "--explain", "layer4.0.conv2", RESNET)
    assert early.code == 1 and "--passes=fuse,lower,cost" in early.err


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_suffixes_say_the_format(run: Run, tmp_path: Path) -> None:
    paths = [tmp_path / f"out{suffixes[0]}" for suffixes in FORMATS.values()]
    done = run(LSTM, *(part for path in paths for part in ("-o", path)))
    assert (done.code, done.out) == (0, "")
    assert sorted(tmp_path.iterdir()) == sorted([*paths, tmp_path / "out.onnx.graphs.json"])
    assert json.loads((tmp_path / "out.json").read_text())["model"] == "lstm_lm"
    assert (tmp_path / "out.txt").read_text().startswith("lstm_lm · ")
    assert parse((tmp_path / "out.mlir").read_text()).name == "lstm_lm"


def test_a_dash_is_standard_output_beside_a_file(run: Run, tmp_path: Path) -> None:
    done = run(LSTM, "-o", "-", "-o", tmp_path / "out.json")
    assert done.out.startswith("lstm_lm · ") and (tmp_path / "out.json").exists()
    done = run(LSTM, "--emit=csv", "-o", "-", "-o", tmp_path / "second.json")
    assert done.out.startswith("model,target,")
    done = run(LSTM, "--emit=json", "-o", tmp_path / "no_suffix")
    assert json.loads((tmp_path / "no_suffix").read_text())["model"] == "lstm_lm"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emit=json", "--emit=csv"], "would both go to standard output"),
        (["--emit=table", "-o", "x.json"], "--emit=table has nowhere to go"),
        (["-o", "x.unknown"], "say the format with --emit"),
        (["--emit=onnx"], "name it with -o"),
        (["--emti=json"], "--emit"),
        (["--emit=jsn"], "'json'"),
        (["-q", "-v"], "exclude each other"),
        (["--dim", "batch"], "batch=8"),
        (["--dim", "batch=-1"], "batch=8"),
        (["--dim", "batch=0"], "batch=8"),
        (["--dim", "=1"], "batch=8"),
        (["--dim", "n=²"], "batch=8"),
        (["--top=-1"], "--top"),
        (["--width=x"], "--width"),
        (["--by=layer"], "--by"),
        ([LSTM, "-o", "x.onnx"], "one model"),
        (["--run-reproducer=x"], "names its own model"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments, RESNET)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("error: ") and message in done.err


def test_no_model_is_wrong_usage(run: Run) -> None:
    done = run()
    assert done.code == 2 and "name a model file" in done.err


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--passes=fues"], 'no pass "fues"; did you mean "fuse"? (graphs-opt --list-passes)'),
        (["--passes=fuse{rulse=x}"], 'did you mean "rules"?'),
        (["--passes=fuse{rules"], "column 11"),
        (["--target=jetson-orin-agz"], 'did you mean "jetson-orin-agx"?'),
        (["--target=jetson-orin-agx@99W"], "30W"),
        (["--precision=fp17"], 'no precision "fp17"'),
        (["--print-ir-after=fues"], 'did you mean "fuse"?'),
        (["--load-plugin=nowhere.py"], "no such file"),
        (["-o", "nowhere/x.json"], "nowhere/x.json: cannot be written: No such file or directory"),
    ],
)
def test_bad_input_exits_with_1(run: Run, arguments: list[str], message: str) -> None:
    done = run(LSTM, *arguments)
    assert done.code == 1 and done.out == ""
    assert message in done.err and done.err.count("error: ") == 1


@pytest.fixture(params=["missing", "empty", "html", "truncated", "folder", "cyclic", "text", "yaml"])
def bad_model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    contents = {
        "empty": b"",
        "html": b"<!DOCTYPE html>",
        "truncated": Path(RESNET).read_bytes()[:3000],
        "text": b'"graphs.graph"() ({\n  %x = oops\n',
        "yaml": b"schema: 1\n",
        "cyclic": cyclic_model(),
    }
    if request.param == "folder":
        path.mkdir()
    elif request.param != "missing":
        path.write_bytes(contents[request.param])
    return path


def cyclic_model() -> bytes:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "b")]
    content: bytes = helper.make_model(helper.make_graph(nodes, "cyclic", infos[:1], infos[1:])).SerializeToString()
    return content


def test_a_bad_model_is_one_clear_error_and_no_output(run: Run, bad_model: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = run(bad_model, "-o", tmp_path / "out.json", "-o", tmp_path / "out.onnx")
    assert done.code == 1 and done.out == ""
    assert str(bad_model) in done.err and done.err.count("error: ") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_broken_target_names_file_line_and_key(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schema: 1\nname: mine\nclass: npu\nmemoris: {}\n")
    done = run(f"--target={path}", LSTM)
    assert done.code == 1 and f"{path}:4:" in done.err and "memoris" in done.err


def test_one_bad_model_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    done = run("-q", tmp_path / "none.onnx", LSTM)
    assert done.code == 1 and "none.onnx" in done.err and done.out.startswith("lstm_lm: ")
    done = run("-q", tmp_path / "none.onnx", LSTM, "-o", tmp_path / "out.json")
    assert done.code == 1 and not list(tmp_path.iterdir())


def test_a_defect_shows_no_traceback_unless_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: object) -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr("graphs.tools.driver.run", fail)
    done = run(LSTM)
    assert done.code == 1 and "error: RuntimeError: boom" in done.err and "GRAPHS_DEBUG=1" in done.err
    monkeypatch.setenv("GRAPHS_DEBUG", "1")
    with pytest.raises(RuntimeError):
        opt.main([LSTM])


def test_an_interrupt_is_no_defect(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("graphs.tools.driver.run", interrupt)
    done = run(LSTM)
    assert (done.code, done.out, done.err.strip()) == (130, "", "error: interrupted")


# -- what mlir-opt has too --------------------------------------------------------------------------------------------


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


# -- terminals --------------------------------------------------------------------------------------------------------


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


def test_a_terminal_without_unicode_gets_ascii() -> None:
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
    done = CliRunner().invoke(opt.command, prog_name="graphs-opt", env=environment)
    assert f"plain,{offered}" in done.output


# -- processes --------------------------------------------------------------------------------------------------------


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


def test_a_closed_pipe_is_quiet() -> None:
    process = start("--list-ops")
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_cleanly(number: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom dataclasses import dataclass\nfrom graphs import Pass\n@dataclass(frozen=True)\n"
        "class Slow(Pass):\n    '''Wait.'''\n    name = 'slow'\n    def run(self, graph, context):\n"
        "        open('started', 'w').close()\n        time.sleep(60)\n"
    )
    (tmp_path / "tiny.mlir").write_text(TINY)
    process = start("--load-plugin=slow.py", "--passes=slow", "tiny.mlir", "-o", "out.json", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and out == "" and "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"slow.py", "started", "tiny.mlir"}


# -- the same from Python ---------------------------------------------------------------------------------------------


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
