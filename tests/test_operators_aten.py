"""The aten dialect against torch itself: its list of core operators, its names, its count of work."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import graphs
from graphs.ir import definitions, lowering
from graphs.ir.primitives import Softmax, Unknown

torch = pytest.importorskip("torch")
nn = torch.nn


def _operators() -> dict[str, list[Any]]:
    """Every ATen operator by name, with its overloads."""
    found: dict[str, list[Any]] = {}
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("aten::"):
            base, _, overload = name[6:].partition(".")
            found.setdefault(base, []).append(getattr(getattr(torch.ops.aten, base), overload or "default"))
    return found


ALL = _operators()


def test_every_core_operator_has_an_entry() -> None:
    core = {name for name, overloads in ALL.items() if any(torch.Tag.core in op.tags for op in overloads)}
    assert len(core) > 150
    entries = definitions()
    assert {
        name for name in core if f"aten.{name.removesuffix('_')}" not in entries and f"aten.{name}" not in entries
    } == set()


def test_every_entry_is_an_operator_of_torch() -> None:
    ours = {name.removeprefix("aten.") for name in definitions() if name.startswith("aten.")}
    assert len(ours) > 500
    assert {name for name in ours if name not in ALL and f"{name}_" not in ALL} == set()


# -- work, as torch counts it -----------------------------------------------------------------------------------------

IMAGE, SIGNAL, VOLUME, TEXT = (2, 8, 9, 11), (2, 8, 13), (2, 4, 5, 6, 7), (6, 2, 8)
ZOO: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(8, 6, 3, padding=1), IMAGE),
    "conv without a batch": (lambda: nn.Conv2d(8, 6, 3), IMAGE[1:]),
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4), IMAGE),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), IMAGE),
    "dilated": (lambda: nn.Conv2d(8, 6, 3, dilation=2, padding=2), IMAGE),
    "strided": (lambda: nn.Conv2d(8, 6, 3, stride=2), IMAGE),
    "same": (lambda: nn.Conv2d(8, 6, 3, padding="same"), IMAGE),
    "1-D": (lambda: nn.Conv1d(8, 6, 3), SIGNAL),
    "3-D": (lambda: nn.Conv3d(4, 6, (2, 3, 3)), VOLUME),
    "transposed": (lambda: nn.ConvTranspose2d(8, 6, 3, stride=2, output_padding=1), IMAGE),
    "transposed and grouped": (lambda: nn.ConvTranspose2d(8, 6, 3, groups=2), IMAGE),
    "1-D transposed": (lambda: nn.ConvTranspose1d(8, 6, 3), SIGNAL),
    "3-D transposed": (lambda: nn.ConvTranspose3d(4, 6, 2), VOLUME),
    "LSTM": (lambda: nn.LSTM(8, 16, 2, bidirectional=True), TEXT),
    "LSTM with a projection": (lambda: nn.LSTM(8, 16, proj_size=4), TEXT),
    "LSTM of a batch first": (lambda: nn.LSTM(8, 16, batch_first=True, bias=False), TEXT),
    "GRU": (lambda: nn.GRU(8, 16, 2), TEXT),
    "RNN": (lambda: nn.RNN(8, 16, nonlinearity="relu"), TEXT),
    "LSTM without a batch": (lambda: nn.LSTM(8, 16), (6, 8)),
    "linear": (lambda: nn.Linear(8, 5), TEXT),
    "attention": (lambda: _Thrice(nn.MultiheadAttention(8, 2)), TEXT),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16), TEXT),
    "decoder": (lambda: _Twice(nn.TransformerDecoderLayer(8, 2, 16)), TEXT),
    "einsum": (lambda: _Of(lambda x: torch.einsum("sbi,tbi->bst", x, x)), TEXT),
    "batched": (lambda: _Of(lambda x: x @ x.transpose(1, 2)), TEXT),
    "one by a batch": (lambda: _Of(lambda x: x[0] @ x.transpose(1, 2)), TEXT),
    "addmm": (lambda: _Of(lambda x: torch.addmm(x, x, x, alpha=2.0)), (4, 4)),
    "baddbmm": (lambda: _Of(lambda x: torch.baddbmm(x, x, x)), (3, 4, 4)),
}


class _Of(nn.Module):
    """A function of its input."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class _Twice(_Of):
    def forward(self, x: Any) -> Any:
        return self.function(x, x)


class _Thrice(_Of):
    def forward(self, x: Any) -> Any:
        return self.function(x, x, x)[0]


def _counted_by_torch(module: Any, x: Any) -> int:
    """Multiply-accumulates by torch's own counter, on paths that it counts: not those of fused kernels."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False), counter:
        module(x)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ZOO)
def test_work_is_what_torch_counts(name: str) -> None:
    build, shape = ZOO[name]
    module, x = build().eval(), torch.randn(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = graphs.from_torch(module, x)
    primitives = [primitive for op in graph.body for primitive in lowering(op).primitives]
    assert not any(isinstance(primitive, Unknown) for primitive in primitives)
    assert sum(primitive.macs for primitive in primitives) == _counted_by_torch(module, x)


@pytest.mark.parametrize(("dim", "behind"), [(-1, None), (2, 1), (1, 2), (0, 3)])
def test_a_softmax_says_how_many_axes_lie_behind_its_own(dim: int, behind: int | None) -> None:
    found = graphs.from_torch(torch.nn.Softmax(dim), (torch.randn(2, 3, 4, 5),))
    (softmax,) = [part for op in found.body for part in lowering(op).primitives if isinstance(part, Softmax)]
    assert softmax.behind == behind
    assert softmax.rows * softmax.columns == 120 and softmax.columns == (2, 3, 4, 5)[dim]
