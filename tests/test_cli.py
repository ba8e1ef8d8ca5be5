"""graphs-opt as a user meets it: what goes to which stream, exit codes, errors, files written or left alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from command_line import LSTM, RESNET, STRANGE
from onnx import helper
from tiny_models import model, value

from graphs.ir import parse
from graphs.tools import opt
from graphs.tools.emit import FORMATS

Run = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]


# -- the main job ------------------------------------------------------------------------------------------------------


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


def test_what_has_no_known_shape_is_no_scalar(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "typo.onnx"
    onnx.save(model([helper.make_node("Convv", ["x"], ["y"], "typo")], [value("x", [1, 3])], ["y"]), path)
    outcome = run("--passes=lower", path)
    (row,) = [line.split() for line in outcome.out.splitlines() if "Convv" in line and "×" not in line]
    assert row[:3] == ["typo", "Convv", "?"]
    assert json.loads(run("--passes=lower", "--emit=json", path).out)["kernels"][0]["output_shape"] is None


def test_a_model_in_which_nothing_runs_says_so(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ends_nowhere.onnx"
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], [value("x", [1, 3])], []), path)
    assert "1 op → 0 kernels" in run(path).out
    assert "Nothing runs: no operation but views leads to an output." in run(path).out


def test_explaining_a_kernel(run: Run) -> None:
    done = run("--explain", "layer4.0.conv2", RESNET)
    assert done.code == 0 and "115,605,504" in done.out and ".yaml:" in done.out and "latency" not in done.out
    starred = run("--explain", "layer4.*.conv2", RESNET)
    assert "3 match" in starred.out
    wrong = run("--explain", "layer4.0.conf2", RESNET)
    assert wrong.code == 1 and "did you mean layer4.0.conv2" in wrong.err and wrong.out == ""
    early = run("--passes=fuse", "--explain", "layer4.0.conv2", RESNET)
    assert early.code == 1 and "--passes=fuse,lower,cost" in early.err


# -- outputs -----------------------------------------------------------------------------------------------------------


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
        (["--dim", "batch=-1"], "batch=8"),
        (["--dim", "batch=" + "9" * 5000], "batch=8"),
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


# -- bad input ---------------------------------------------------------------------------------------------------------


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
