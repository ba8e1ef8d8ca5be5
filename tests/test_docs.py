"""What README.md and docs/ show, runs: every Python block, every graphs-opt command on a bundled file."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BUNDLED = re.compile(r"examples/\S+\.(onnx|tflite|yaml)$")


def commands():
    """The graphs-opt commands that name nothing but files that are there."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            text = re.sub(r"\s{2,}#.*$", "", line.strip().removeprefix("$ "))
            if not text.startswith("graphs-opt "):
                continue
            arguments = shlex.split(text)[1:]
            models = [word for word in arguments if word.endswith((".onnx", ".tflite")) and not word.startswith("-")]
            if models and all(BUNDLED.match(model) for model in models):
                yield pytest.param(arguments, id=f"{page.name}: {text}")


@pytest.mark.parametrize("arguments", list(commands()))
def test_a_command_that_is_shown_runs(apart, arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    if any(word.endswith(".tflite") for word in arguments):
        pytest.importorskip("tflite")
    outcome = apart(*arguments)
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip()


def test_the_readmes_table_is_what_comes_out(run, monkeypatch):
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command, shown = re.search(r"```\n\$ graphs-opt (.+?)\n(.+?)```", readme, re.DOTALL).groups()
    outcome = run(*shlex.split(command))
    assert outcome.out.split() == shown.split()


def test_the_readmes_python_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    seconds, bound = capsys.readouterr().out.split()
    assert 0 < float(seconds) < 1
    assert bound == "compute"
