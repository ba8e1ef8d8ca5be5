"""Runs the text files of ``tests/passes``: IR in, a ``RUN`` line, ``CHECK`` lines for what must come out.

    // RUN: graphs-opt --passes=fuse --target=host --emit=text %s | filecheck %s
    // RUN: not graphs-opt --passes=lower --strict %s 2>&1 | filecheck %s --check-prefix=ERROR

``%s`` is the file and ``%S`` its folder; ``not`` wants exit code 1; ``2>&1`` checks what is said on standard error too.
The command runs in this process.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser

from graphs.tools.opt import main

FILES = sorted((Path(__file__).parent / "passes").glob("*.mlir"))
_RUN = re.compile(r"^// RUN: (?P<not>not )?graphs-opt (?P<arguments>.*?)(?P<both> 2>&1)? \| filecheck %s(?P<rest>.*)$")


@dataclass(frozen=True)
class Line:
    """One ``RUN`` line."""

    arguments: tuple[str, ...]
    fails: bool
    both: bool
    prefix: str


def run_lines(path: Path) -> list[Line]:
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "RUN:" not in text:
            continue
        match = _RUN.match(text)
        assert match, f"{path}:{number}: not a RUN line this runner knows"
        arguments = match["arguments"].replace("%s", str(path)).replace("%S", str(path.parent))
        prefix = match["rest"].strip().removeprefix("--check-prefix=") or "CHECK"
        found.append(Line(tuple(shlex.split(arguments)), bool(match["not"]), bool(match["both"]), prefix))
    assert found, f"{path}: no RUN line"
    return found


def run(line: Line) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out if line.both else err):
        try:
            main(line.arguments)
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    assert code == line.fails, f"graphs-opt {' '.join(line.arguments)}: exit code {code}\n{err.getvalue()}"
    return code, out.getvalue()


def check(path: Path, output: str, prefix: str = "CHECK") -> tuple[bool, str]:
    """Whether filecheck is content, and what it says if not."""
    options = Options(match_filename=str(path), check_prefixes=[prefix])
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = Matcher(options, FInput("<output>", output), Parser.from_opts(options)).run()
    return code == 0, said.getvalue()


@pytest.mark.parametrize(
    ("path", "line"),
    [pytest.param(path, line, id=f"{path.stem}-{n}") for path in FILES for n, line in enumerate(run_lines(path))],
)
def test_file(path: Path, line: Line) -> None:
    _, output = run(line)
    content, said = check(path, output, line.prefix)
    assert content, f"{said}\n{output}"


def test_the_runner_notices_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "one.mlir"
    path.write_text("// RUN: graphs-opt %s | filecheck %s\n// CHECK: present\n// CHECK-NOT: absent\n")
    assert check(path, "present\n")[0]
    assert not check(path, "nothing\n")[0] and not check(path, "present\nabsent\n")[0]
    with pytest.raises(AssertionError, match="exit code 1"):
        run(Line(("--passes=shape", str(tmp_path / "none.mlir")), False, False, "CHECK"))
    with pytest.raises(AssertionError, match="exit code 0"):
        run(Line(("--version",), True, False, "CHECK"))
    path.write_text("// RUN: something else\n")
    with pytest.raises(AssertionError, match="not a RUN line"):
        run_lines(path)
