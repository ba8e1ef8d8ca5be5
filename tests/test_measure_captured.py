"""Networks captured from PyTorch are run call by call; the time of each call goes to the kernel predicted for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from calibrated import Run, own_data_home, run_calibrate
from fake_bench import install_bench, perceptron
from measuring import ENVIRONMENT, Speed

from graphs import from_torch
from graphs import run as predict
from graphs.calibration.errors import CalibrationError
from graphs.calibration.measure.environment import machine_id
from graphs.calibration.measure.onnxruntime import OnnxRuntime
from graphs.calibration.measure.profile import Joined, join
from graphs.calibration.measure.pytorch import PyTorch
from graphs.calibration.measure.samples_file import read_samples
from graphs.frontends.torch_factory import parse_input
from graphs.frontends.torch_records import Call
from graphs.targets import Target, load_target
from graphs.tools.calibrating.machine import Bench
from graphs.tools.calibrating.models import Describe
from graphs.tools.calibrating.torch_networks import TorchNetwork, network_of_factory, network_of_file

torch = pytest.importorskip("torch")

__all__ = ["own_data_home", "run_calibrate"]

TARGET = "host:pytorch-eager@1-thread"
CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.deep = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.head = nn.Linear(8, 5)
    def forward(self, x):
        torch.ones(3)  # nobody reads it, and it is made all the same
        x = self.stem(x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x + F.silu(self.deep(x)), 1), 1))

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.norm = nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)
    def forward(self, x, mask):
        b, t, d = x.shape
        with torch.no_grad():
            scale = torch.cos(torch.arange(t, device=x.device).float())[:, None]
        q, k, v = self.qkv(self.norm(x) * scale).view(b, t, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(b, t, d)
        return torch.cat([x, self.out(y)], -1)

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.rnn, self.out = nn.Embedding(11, 6), nn.LSTM(6, 7, batch_first=True), nn.Linear(7, 3)
    def forward(self, ids):
        y, _ = self.rnn(self.words(ids))
        return self.out(y[:, -1])

class Chooser(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

class Picker(nn.Module):
    def forward(self, x):
        return torch.arange(x.nonzero().shape[0]).exp()

def weightless():
    with torch.device("meta"):
        return Convolutional()
"""
NETWORKS = {
    "Convolutional": (["1x3x16x16"], ["ones", "conv2d", "batch_norm", "relu", "conv2d", "silu", "add",
                                      "adaptive_avg_pool2d", "linear"]),
    "Block": (["1x5x16", "mask=1x1x5x5"], ["arange", "_to_copy", "cos", "layer_norm", "mul", "linear",
                                           "scaled_dot_product_attention", "linear", "cat"]),
    "Recurrent": (["i64:1x4"], ["embedding", "zeros", "zeros", "lstm", "linear"]),
}  # fmt: skip
"""Networks with the types of their inputs, and the kernels that eager PyTorch launches for them."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the networks in it, which the user stands in; a name of its own, since modules stay imported."""
    name = re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"nets_{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / f"nets_{name}"


def network(here: Path, name: str, *inputs: str) -> TorchNetwork:
    specs = [parse_input(text) for text in inputs or NETWORKS[name][0]]
    return network_of_factory(f"{here.name}:{name}", specs)


def measured(one: TorchNetwork) -> Joined:
    executed = PyTorch(1).execute(one, 0.1)
    return join(executed, Describe(load_target(TARGET))(one), one.name)


def saved(here: Path, name: str) -> Path:
    one = network(here, name)
    assert one.own is not None
    path = here.parent / f"{name}.pt2"
    torch.export.save(one.own.exported, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_every_call_of_a_module_joins_the_kernel_predicted_for_it(here: Path, name: str) -> None:
    joined = measured(network(here, name))
    assert joined.matched_share == 1.0 and not joined.unexecuted
    assert [[kernel.pattern for kernel in one.kernels] for one in joined.samples] == [[x] for x in NETWORKS[name][1]]
    assert all(node.view for node, _ in joined.placed)
    total = sum(one.seconds.median for one in joined.samples)
    assert total == pytest.approx(joined.executed.median, rel=0.5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_program_runs_as_the_module_does_and_is_not_unpickled(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(here, name)
    for reader in ("load", "export.load"):
        monkeypatch.setattr(f"torch.{reader}", lambda *_, **__: pytest.fail("a file was unpickled"))
    joined = measured(network_of_file(path))
    assert joined.matched_share == 1.0 and not joined.unexecuted
    assert [[kernel.pattern for kernel in one.kernels] for one in joined.samples] == [[x] for x in NETWORKS[name][1]]


@pytest.mark.parametrize("name", NETWORKS)
def test_call_by_call_the_result_is_the_modules_own(here: Path, name: str) -> None:
    one = network(here, name)
    assert one.own is not None
    program, feeds = one.program("cpu", {})
    with torch.inference_mode():
        (found,) = program.run(feeds).values()
        keyword = [spec.name for spec in one.own.inputs if spec.name]
        given = list(feeds.values())
        positional = given[: len(given) - len(keyword)]
        want = one.own.module(*positional, **dict(zip(keyword, given[len(positional) :], strict=True)))
    torch.testing.assert_close(found, want)


def test_a_module_without_weights_gets_made_up_ones(here: Path) -> None:
    one = network(here, "weightless", "1x3x16x16")
    assert one.whole("cpu") is None
    assert measured(one).matched_share == 1.0


def test_whole_runs_are_those_of_the_users_own_module(here: Path) -> None:
    one = network(here, "Convolutional")
    assert one.own is not None
    calls: list[object] = []
    one.own.module.register_forward_hook(lambda *_: calls.append(1))
    executed = PyTorch(1).execute(one, 0.05)
    assert len(calls) > len(executed.end_to_end)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Chooser", r'higher_order.cond \(node "cond"\) runs functions of its own'),
        ("Picker", r"aten.arange .* takes a number that only a run tells"),
    ],
)
def test_what_cannot_be_run_by_itself_is_refused_by_name(here: Path, name: str, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        PyTorch(1).execute(network(here, name, "2x3"), 0.05)


def test_only_operators_with_an_entry_are_run(here: Path, tmp_path: Path) -> None:
    """A hostile file may name operators that write to the disk: from_file makes the file that it maps."""
    target = tmp_path / "made"
    call = Call("aten.from_file", "default", (("filename", str(target)), ("shared", True), ("size", 64)), (), "evil")
    one = network(here, "Convolutional")
    evil = replace(one, own=None, body=replace(one.body, calls=[call, *one.body.calls]))
    with pytest.raises(CalibrationError, match=r'aten.from_file \(node "evil"\) has no entry'):
        PyTorch(1).execute(evil, 0.05)
    assert not target.exists()


def test_onnxruntime_says_that_it_runs_onnx_models(here: Path) -> None:
    with pytest.raises(CalibrationError, match="onnxruntime runs ONNX models") as raised:
        OnnxRuntime(1).execute(network(here, "Convolutional"), 0.05)
    assert "--runtime=pytorch" in (raised.value.help or "")


# -- from the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine with PyTorch, whose speed never changes, and nothing to measure but the user's networks."""

    environment = replace(ENVIRONMENT, machine=machine_id("pytorch-eager"))

    @contextmanager
    def bench(target: Target) -> Iterator[Bench]:
        yield Bench(PyTorch(1), Speed(), environment, 1)

    install_bench(monkeypatch)
    for module in ("measuring", "validating"):
        monkeypatch.setattr(f"graphs.tools.calibrating.{module}.bench", bench)
    monkeypatch.setattr("graphs.tools.calibrating.measuring.suite", lambda *_, **__: [])


def test_measured_modules_are_evidence_for_another(run: Run, steady: None, here: Path) -> None:
    file, path = saved(here, "Recurrent"), here.parent / "s.jsonl"
    module = f"{here.name}:Convolutional"
    code, _, err = run("measure", "--target", TARGET, "--models", file, "--models", module, "--input=1x3x16x16",
                       "--model-runs", "-o", path)  # fmt: skip
    assert code == 0 and f"{module}: this imports the module and runs its code" in err
    rows = read_samples(path).samples
    assert {row.model for row in rows if row.source == "network"} == {"Recurrent", "Convolutional"}
    patterns = {one.kernels[0].pattern for one in rows if one.source == "profile"}
    assert patterns == {*NETWORKS["Convolutional"][1], *NETWORKS["Recurrent"][1]}
    assert run("fit", path)[0] == 0
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.Flatten()).eval()
    report = predict("fuse,lower,cost", from_torch(other, torch.zeros(1, 3, 12, 12)), TARGET)
    assert report.evidence is not None and report.evidence.layer == "your own"
    assert report.total.seconds is not None and report.total.seconds > 0
    code, out, err = run("validate", "--target", TARGET, module, file, "--input=1x3x16x16", "--runs=5")
    assert code == 0 and "2 networks measured" in out and "the evidence was fitted on" in err


def test_two_networks_of_one_name_and_what_is_no_model_are_refused(run: Run, steady: None, here: Path) -> None:
    perceptron(here.parent / "Recurrent.onnx", 8, 8)
    file = saved(here, "Recurrent")
    code, _, err = run("measure", "--target", TARGET, "--models", here.parent, "-o", here.parent / "s.jsonl")
    assert code == 1 and f"{file} are both called Recurrent" in err
    for name in (f"{here.name}:Block", str(file)):
        code, _, err = run("measure", "--target=host@1-thread", "--models", name, "--input=1x3", "-o", "s.jsonl")
        assert code == 1 and f"{name}: onnxruntime runs ONNX models" in err and "--runtime=pytorch" in err
        assert "imports" not in err
    code, _, err = run("measure", "--target", TARGET, "--models", f"{here.name}:Block", "--input=1x", "-o", "s.jsonl")
    assert code == 2 and "expected dimensions" in err
    code, _, err = run("measure", "--target", TARGET, "--models", f"{here.name}:Nothing", "--input=1", "-o", "s.jsonl")
    assert code == 1 and "has no 'Nothing'" in err
