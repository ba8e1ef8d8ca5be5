"""PyTorch modules become graphs of ATen operators with types, locations and no weights, whichever way they come."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from math import prod
from pathlib import Path
from typing import Any

import pytest

import graphs
from graphs.frontends import FrontendError
from graphs.frontends.torch_launches import launched
from graphs.frontends.torch_records import Call, Reference, TensorSpec
from graphs.ir import CONSTANT, Dense, Kind, Op, Symbol, TensorType, kind_of

torch = pytest.importorskip("torch")
nn = torch.nn
EAGER = "intel-core-i7-12700k:pytorch-eager"


class Block(nn.Module):
    """A convolution that is added to what it reads, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        y = self.norm(self.conv(x))
        y += x
        return self.act(y)


class Network(nn.Module):
    """Convolutions, a pool and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.layers = nn.Sequential(Block(), Block())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.layers(self.stem(x))
        return self.head(x.mean((2, 3)))


def captured(module: Any, *inputs: Any, **options: Any) -> graphs.Graph:
    """Capture in evaluation mode, prove the graph sound and take it through text."""
    graph = graphs.from_torch(module.eval(), inputs, **options)
    graphs.verify(graph)
    assert graphs.parse(str(graph)) == graph
    return graph


def names(graph: graphs.Graph) -> list[str]:
    return [op.name.removeprefix("aten.") for op in graph.body]


def called(graph: graphs.Graph, name: str) -> Op:
    return next(op for op in graph.body if op.name == f"aten.{name}")


IMAGE = (1, 3, 10, 10)


def test_a_network_keeps_its_composites_types_and_modules() -> None:
    graph = captured(Network(), torch.randn(IMAGE))
    block = ["conv2d", "batch_norm", "add", "relu"]
    assert names(graph) == ["conv2d", *block, *block, "mean", "linear"]
    assert [op.loc.module for op in graph.body][1:3] == ["layers.0.conv", "layers.0.norm"]
    assert graph.attributes["modules"]["layers.1"] == "Block"
    assert called(graph, "linear").result.type == TensorType(graphs.DType.F32, (1, 5))
    report = graphs.run("fuse,lower,memory,cost", graph, target=EAGER)
    assert report.total.exact
    assert report.total.macs == 8 * 64 * 27 + 2 * 8 * 64 * 72 + 40
    assert len([kernel for kernel in report.kernels if kernel.seconds]) == len(graph.body)


def test_an_exported_program_and_a_graph_module_are_taken_as_they_are() -> None:
    network, x = Network().eval(), torch.randn(IMAGE)
    exported = torch.export.export(network, (x,))
    assert names(graphs.from_torch(exported)) == names(captured(network, x))
    from torch.fx.experimental.proxy_tensor import make_fx

    traced = make_fx(lambda x: torch.relu(x) + 1, tracing_mode="fake")(x)
    assert names(graphs.from_torch(traced)) == ["relu", "add"]
    symbolic = torch.fx.symbolic_trace(network)
    assert names(graphs.from_torch(symbolic, x)) == names(captured(network, x))


def test_weights_are_types_and_tied_ones_are_one() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 16)
            self.head = nn.Linear(16, 50, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: Any) -> Any:
            return self.head(self.embed(x))

    graph = captured(Tied(), torch.zeros(1, 4, dtype=torch.int64))
    (weight,) = (op for op in graph.ops if op.name == CONSTANT)
    assert "value" not in weight.attributes
    assert {user.name for user in graph.users(weight)} == {"aten.embedding", "aten.linear"}


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_small_integer_constants_keep_their_values(dtype: Any) -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(6, dtype=dtype).view(2, 3))

        def forward(self, x: Any) -> Any:
            return x + self.table

    (table,) = (op for op in captured(Table(), torch.ones(2, 3)).ops if op.name == CONSTANT)
    value = table.attributes["value"]
    assert isinstance(value, Dense) and value.values == (0, 1, 2, 3, 4, 5)


def test_a_module_on_the_meta_device_is_captured_without_weights() -> None:
    with torch.device("meta"):
        wide = nn.Sequential(nn.Linear(1 << 16, 1 << 18), nn.ReLU(), nn.Linear(1 << 18, 8))
    graph = captured(wide, torch.zeros(1, 1 << 16))
    assert graphs.run("lower,cost", graph, target=EAGER).total.macs == (1 << 34) + (1 << 21)


# -- saved programs --------------------------------------------------------------------------------------------------


def test_torch_reads_the_same_from_its_own_file(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 8)
            self.lstm = nn.LSTM(8, 8)
            self.head = nn.Linear(8, 10, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("table", torch.arange(6).view(2, 3))

        def forward(self, x: Any, n: Any) -> Any:
            y, _ = self.lstm(self.embed(x))
            a, b = y.chunk(2, -1)
            y = torch.cat([a, b], -1)
            y = torch.cond(y.sum() > 0, lambda y: y + 1, lambda y: y * 2, (y,))
            with torch.no_grad():
                y = y.relu() + torch.tensor(3)
            y[:, 0] = 1.0
            return self.head(y), self.table.sum() + n, y[:, torch.tensor([0])], y.view(-1, 4)

    inputs = (torch.zeros(5, 2, dtype=torch.int64), torch.ones(1))
    shapes = ({1: torch.export.Dim("batch")}, None)
    exported = torch.export.export(Net().eval(), inputs, dynamic_shapes=shapes)
    path = tmp_path / "net.pt2"
    torch.export.save(exported, path)
    ours, theirs = graphs.load(path), graphs.from_torch(exported)
    theirs.name, theirs.attributes = ours.name, ours.attributes
    assert str(ours) == str(theirs)
    assert ours == theirs


# -- what is written in place -----------------------------------------------------------------------------------------


def test_what_is_written_in_place_is_read_as_it_then_is() -> None:
    class Written(nn.Module):
        def forward(self, x: Any) -> Any:
            y = x + 1
            y.mul_(2)
            return y * y

    graph = captured(Written(), torch.ones(3))
    add, mul, square = graph.body
    assert square.operands == (mul.result, mul.result)
    assert mul.operands[0] is add.result and mul.attributes["inplace"] is True


def test_a_write_through_a_view_comes_before_what_reads_the_whole() -> None:
    class Written(nn.Module):
        def forward(self, x: Any) -> Any:
            y = x + 1
            y[:, 0] = 5.0
            return y * 2

    graph = captured(Written(), torch.ones(3, 4))
    last = called(graph, "mul")
    whole = last.operands[0]
    assert whole is not None and whole.op.name == "graphs.updated" and kind_of(whole.op) is Kind.VIEW
    written = whole.op.operands[1]
    assert written is not None and written.op.name in ("aten.copy", "aten.fill")
    report = graphs.run("lower,memory,cost", graph, target=EAGER)
    assert report.total.peak_activation_bytes == 2 * 3 * 4 * 4  # the product is written over nothing: y is its operand


# -- what depends on strides and arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.transpose(0, 1).reshape(2, 12), ["transpose", "clone"]),
        (lambda x: x.reshape(6, 4), ["reshape"]),
        (lambda x: x.permute(2, 0, 1).flatten(1), ["permute", "flatten"]),
        (lambda x: x.permute(2, 1, 0).flatten(1), ["permute", "clone"]),
        (lambda x: x.transpose(0, 1).contiguous(), ["transpose", "clone"]),
        (lambda x: x.expand(5, 2, 3, 4).reshape(5, 24), ["expand", "reshape"]),
        (lambda x: x.to(torch.float32), ["to"]),
        (lambda x: x.to(torch.float16), ["_to_copy"]),
        (lambda x: torch.max(x, x), ["maximum"]),
        (lambda x: torch.max(x, 1)[0], ["max"]),
        (lambda x: nn.functional.dropout(x, 0.5, training=False), ["dropout"]),
        (lambda x: nn.functional.dropout(x, 0.5, training=True), ["native_dropout"]),
    ],
)
def test_composites_are_what_eager_launches(function: Any, expected: Sequence[str]) -> None:
    class Module(nn.Module):
        def forward(self, x: Any) -> Any:
            return function(x)

    assert names(captured(Module(), torch.randn(2, 3, 4))) == expected


def test_a_reshape_is_a_view_where_torch_makes_one() -> None:
    cases = 0
    for shape, wanted in product(
        [(2, 3, 4), (1, 6, 4), (2, 1, 12), (0, 3, 4)], [(24,), (2, 12), (6, 4), (3, 2, 4), (1, 24, 1), (0, 5)]
    ):
        for axes in permutations(range(3)):
            x = torch.randn(shape).permute(axes)
            if x.numel() != prod(wanted):
                continue
            source = TensorSpec("x", TensorType(graphs.DType.F32, tuple(x.shape)), x.stride())
            result = TensorSpec("y", TensorType(graphs.DType.F32, wanted))
            call = Call("aten.reshape", "", (("self", Reference("x")),), (result,), "y")
            shares = x.numel() == 0 or x.reshape(wanted).data_ptr() == x.data_ptr()
            assert launched(call, {"x": source}).operator == ("aten.reshape" if shares else "aten.clone"), (
                x.shape,
                wanted,
            )
            cases += 1
    assert cases > 80


# -- symbols ----------------------------------------------------------------------------------------------------------


def test_dimensions_keep_their_names_and_are_expressions() -> None:
    class Module(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.cat([x, x], 1).view(-1, 4) + x.shape[0]

    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    graph = captured(Module(), torch.randn(3, 5, 4), dynamic_shapes={"x": {0: batch, 1: length}})
    assert graph.inputs[0].result.type == TensorType(graphs.DType.F32, (Symbol("batch"), Symbol("length"), 4))
    result = graph.outputs[0].operands[0]
    assert result is not None
    assert result.type == TensorType(graphs.DType.F32, (2 * Symbol("batch") * Symbol("length"), 4))
    report = graphs.run("lower,cost", graph, target=EAGER, dims={"batch": 2, "length": 8})
    assert report.total.exact
    assert report.graph.outputs[0].operands[0].type == TensorType(graphs.DType.F32, (32, 4))


# -- functions inside -------------------------------------------------------------------------------------------------


def test_a_condition_has_a_region_for_each_branch() -> None:
    class Module(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.cond(x.sum() > 0, lambda x: x @ x, lambda x: x + 1, (x,))

    graph = captured(Module(), torch.randn(4, 4))
    cond = next(op for op in graph.body if op.name == "higher_order.cond")
    assert [names(region) for region in cond.regions] == [["matmul"], ["add"]]
    assert cond.attributes["captures"] == 1
    assert graphs.run("lower", graph, target=EAGER).total.macs == 64


def test_what_runs_once_without_gradients_is_inlined() -> None:
    class Module(nn.Module):
        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                y = x.relu()
            return y + x

    graph = captured(Module(), torch.randn(4))
    assert names(graph) == ["relu", "add"]
    assert graph.body[1].operands[0] is graph.body[0].result


def test_a_loop_of_unknown_trips_is_unknown() -> None:
    from torch._higher_order_ops.while_loop import while_loop

    class Module(nn.Module):
        def forward(self, x: Any) -> Any:
            return while_loop(lambda x: x.sum() < 10, lambda x: (x + 1,), (x,))

    report = graphs.run("lower,cost", captured(Module(), torch.zeros(3)), target=EAGER)
    assert not report.total.exact and "number of trips" in report.total.unknown[0].reason


def test_a_scan_repeats_its_body() -> None:
    from torch._higher_order_ops.scan import scan

    class Module(nn.Module):
        def forward(self, init: Any, xs: Any) -> Any:
            return scan(lambda carry, x: (carry @ x, carry + 1), init, xs)

    graph = captured(Module(), torch.zeros(3, 3), torch.zeros(7, 3, 3))
    assert graphs.run("lower,cost", graph, target=EAGER).total.macs == 7 * 27


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_exported_says_why() -> None:
    class Module(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(FrontendError, match="Module cannot be exported"):
        graphs.from_torch(Module(), torch.ones(2))


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(FrontendError, match=r"int is no torch\.nn\.Module"):
        graphs.from_torch(3, torch.ones(2))


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_the_tree_of_modules_names_their_classes() -> None:
    from graphs.tools.emit.modules import module_rows

    report = graphs.run("fuse,lower,cost", captured(Network(), torch.randn(IMAGE)), target=EAGER)
    rows = [(row.name, row.depth) for row in module_rows(report)]
    assert ("stem (Conv2d)", 0) in rows and ("head (Linear)", 0) in rows
    assert ("layers.0,1 (Block)", 0) in rows or ("0–1 (Block)", 1) in rows
    assert any(name.startswith("norm (BatchNorm2d)") for name, _ in rows)


def test_eager_computes_from_weights_every_time() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4))

        def forward(self, x: Any) -> Any:
            return x * self.weight.exp() + torch.arange(4)

    graph = graphs.run("fuse,lower,cost", captured(Module(), torch.randn(4)), target=EAGER).graph
    assert sorted(names(graph)) == ["add", "arange", "exp", "mul"]
