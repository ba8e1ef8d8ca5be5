"""Running graphs-opt the way a user does, for every test of the command line."""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import TINY

from graphs.calibration import store
from graphs.calibration.sample import Setting
from graphs.tools import opt


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


_APART = ("untrusted", "fuzz_findings", "frontend_refusals", "bad_input", "nesting", "frontend_onnx", "cli", "misfits")
"""Modules in which onnx's inference has a process of its own, as it has for users; others load what is well-formed, by
the thousand, and that process would be most of their time."""


@pytest.fixture(autouse=True)
def _infer_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.module.__name__.rpartition("test_")[2] not in _APART:
        monkeypatch.setattr("graphs.frontends.onnx_inference.isolated", _not_apart)


@pytest.fixture(autouse=True)
def _denormals_stay() -> Iterator[None]:
    """Sessions that campaigns make take denormals for zero in the thread that made them, and leave it so."""
    yield
    if _LIBM is not None:
        _LIBM.fesetenv(_DEFAULT_ENVIRONMENT)


_LIBM = ctypes.CDLL(name) if sys.platform == "linux" and (name := ctypes.util.find_library("m")) else None
_DEFAULT_ENVIRONMENT = ctypes.c_void_p(-1)
"""``FE_DFL_ENV`` of glibc and musl on x86 and ARM."""


@pytest.fixture(autouse=True)
def _nothing_ships_for_this_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run on machines of all kinds, for some of which evidence ships: keep it out of what they expect."""
    if request.module.__name__.rpartition("test_")[2] in ("evidence", "evidence_shipped"):
        return
    places, stored = store._places, store._stored

    def others_places(wanted: Setting, machine: str) -> Iterator[tuple[str, Path]]:
        return (each for each in places(wanted, machine) if each[0] == store.USER or wanted.device != store.HOST)

    def others_stored(layer: str) -> Iterator[store.Stored]:
        return (each for each in stored(layer) if layer == store.USER or each.setting.device != store.HOST)

    monkeypatch.setattr(store, "_places", others_places)
    monkeypatch.setattr(store, "_stored", others_stored)


def _not_apart(work: Callable[[], bytes], *limits: int) -> bytes | None:
    try:
        return work()
    except Exception:  # as isolated() does: inference that fails says nothing
        return None


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


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start graphs-opt as a process of its own."""
    return _start


def _start(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    program = "import sys; from graphs.tools.opt import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]  # passed through


@pytest.fixture
def apart(start: Callable[..., subprocess.Popen[str]]) -> Run:
    """Run graphs-opt to its end as a process of its own: what plugins register dies with it."""

    def call(*arguments: str | Path) -> Outcome:
        process = start(*arguments)
        out, err = process.communicate()
        return Outcome(process.returncode, out, err)

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.mlir"
    path.write_text(TINY)
    return path
