"""``graphs-opt package.module:factory``: the user's own module, imported from where the user stands, with a warning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graphs.frontends.torch_factory import InputSpec, is_factory_name, parse_input

TARGET = "--target=intel-core-i7-12700k:pytorch-eager"

MODULE = """
import torch

class Masked(torch.nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.embed = torch.nn.Embedding(50, width)
        self.head = torch.nn.Linear(width, 3)
        self.drop = torch.nn.Dropout()

    def forward(self, ids, mask=None):
        return self.drop(self.head(self.embed(ids) * mask.unsqueeze(-1)))

class Factories:
    wide = staticmethod(lambda: Masked(16))

made = Masked()
number = 3
def fails():
    raise KeyError("nothing here")
def leaves():
    raise SystemExit(0)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1x3x224x224", InputSpec("", "float32", (1, 3, 224, 224))),
        ("i64:1x128", InputSpec("", "int64", (1, 128))),
        ("mask=bool:1x128", InputSpec("mask", "bool", (1, 128))),
        ("x=4", InputSpec("x", "float32", (4,))),
        ("bf16:2x2", InputSpec("", "bfloat16", (2, 2))),
        ("u8:7", InputSpec("", "uint8", (7,))),
        ("f32:", InputSpec("", "float32", ())),
    ],
)
def test_inputs_are_read(text: str, expected: InputSpec) -> None:
    assert parse_input(text) == expected


@pytest.mark.parametrize("text", ["", "x=", "1x", "q7:1x2", "1x-2", "i64", "a b=1"])
def test_inputs_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected dimensions|no element type"):
        parse_input(text)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("net:make", True), ("a.b.c:D.e", True), ("model.onnx", False), ("C:/x.onnx", False), ("a:b/c", False)],
)
def test_what_is_a_factory(name: str, is_one: bool) -> None:
    assert is_factory_name(name) is is_one


def test_an_existing_file_is_no_factory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net:make").touch()
    assert not is_factory_name("net:make")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own_nets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)


INPUTS = ("--input=i64:1x6", "--input=mask=f32:1x6")


@pytest.mark.parametrize(("factory", "macs"), [("Masked", 144), ("made", 144), ("Factories.wide", 288)])
def test_a_factory_is_imported_captured_and_warned_of(run: Any, here: None, factory: str, macs: int) -> None:
    pytest.importorskip("torch")
    outcome = run("--emit=json", TARGET, f"own_nets:{factory}", *INPUTS)
    assert outcome.code == 0, outcome.err
    assert f"warning: own_nets:{factory}: this imports the module and runs its code" in outcome.err
    report = json.loads(outcome.out)
    assert report["total"]["macs"] == macs
    assert {kernel["module"] for kernel in report["kernels"]} == {"", "embed", "head"}


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("own_nets:fails", "calling fails fails with KeyError: 'nothing here'"),
        ("own_nets:leaves", "calling leaves fails with SystemExit"),
        ("own_nets:nothing", "own_nets has no 'nothing'"),
        ("own_nets:number", "int is no module and makes none"),
        ("no_such_nets:make", "importing no_such_nets fails with ModuleNotFoundError"),
    ],
)
def test_factories_that_make_nothing(run: Any, here: None, factory: str, says: str) -> None:
    pytest.importorskip("torch")
    outcome = run(TARGET, factory, *INPUTS)
    assert outcome.code == 1 and says in outcome.err


def test_inputs_must_be_given(run: Any, here: None) -> None:
    pytest.importorskip("torch")
    outcome = run(TARGET, "own_nets:Masked")
    assert outcome.code == 1 and "no inputs are given" in outcome.err and "--input 1x3x224x224" in outcome.err


def test_a_wrong_input_is_a_usage_error(run: Any) -> None:
    outcome = run("own_nets:Masked", "--input=1x")
    assert outcome.code == 2 and "expected dimensions" in outcome.err


def test_without_torch_the_extra_is_named(run: Any, here: None, monkeypatch: Any) -> None:
    from graphs.frontends import torch as frontend

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(frontend, "import_module", absent)
    outcome = run(TARGET, "own_nets:Masked", *INPUTS)
    assert outcome.code == 1 and "PyTorch is not installed" in outcome.err
    assert "pip install 'graphs-opt[torch]'" in outcome.err
