"""Operations that do not fit their operands are told, with the reason, and none that fits is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from claims.models import BUNDLED, LIGHT, model_files
from conftest import Run
from onnx import TensorProto, helper
from zoo import ARCHITECTURES

import graphs
from graphs.ir import misfit

Shape = tuple[int, ...]


def saved(folder: Path, operator: str, shapes: list[Shape], stated: Shape | None = None, **attributes: Any) -> Path:
    names = [f"x{index}" for index in range(len(shapes))]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], name="odd", **attributes)],
        "one",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, stated)],
    )
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize(
    ("operator", "shapes", "attributes", "reason"),
    [
        ("Concat", [(2, 3), (2, 4)], {"axis": 0}, "extents [3, 4] differ"),
        ("Add", [(2, 3), (4,)], {}, "extents [3, 4] do not broadcast"),
        ("MatMul", [(2, 3), (4, 5)], {}, "columns of A: 3, rows of B: 4"),
        ("Gemm", [(2, 3), (4, 5)], {}, "columns of A: 3, rows of B: 4"),
        ("Gemm", [(2, 3), (2, 5)], {"transB": 1}, "columns of A: 3, rows of B: 5"),
        ("Gemm", [(2, 3), (3, 5)], {"transA": 1}, "columns of A: 2, rows of B: 3"),
        ("Conv", [(1, 3, 8, 8), (4, 5, 3, 3)], {}, "channels of the data: 3, those of the weights in all groups: 5"),
        ("Conv", [(1, 6, 8, 8), (4, 2, 3, 3)], {"group": 2}, "channels of the data: 6"),
        ("Conv", [(1, 3, 2, 8), (4, 3, 3, 3)], {}, "a window of 3 does not fit 2 with 0 padded"),
        ("ConvTranspose", [(1, 3, 8, 8), (4, 5, 3, 3)], {}, "channels of the data: 3, those of the weights: 4"),
        ("LSTM", [(4, 2, 3), (1, 20, 7), (1, 20, 5)], {"hidden_size": 5}, "features of the input: 3"),
    ],
)
@pytest.mark.parametrize("stated", [None, (2, 2)])
def test_the_reason_is_told(
    run: Run,
    tmp_path: Path,
    operator: str,
    shapes: list[Shape],
    attributes: dict[str, Any],
    reason: str,
    stated: Shape | None,
) -> None:
    """Whether or not the file says of which shape the result is."""
    outcome = run("--passes=lower", "--emit=csv", saved(tmp_path, operator, shapes, stated, **attributes))
    assert outcome.code == 0
    assert f'warning: shape: onnx.{operator} "odd" does not fit its operands: {reason}' in outcome.err


def test_what_fits_nothing_is_not_counted(run: Run, tmp_path: Path) -> None:
    outcome = run("--passes=lower", "--emit=csv", saved(tmp_path, "Concat", [(2, 3), (2, 4)], axis=0))
    assert "onnx.Concat 'odd' does not fit its operands: extents [3, 4] differ" in outcome.out


def test_extents_that_a_network_cannot_have_are_told(run: Run) -> None:
    path = BUNDLED / "dynamic" / "unet.onnx"
    outcome = run("--passes=lower", "--emit=csv", "--dim=height=33", "--dim=*=48", path)
    assert 'onnx.Concat "node_cat_1" does not fit its operands: extents [32, 33] differ' in outcome.err
    assert "does not fit" not in run("--passes=lower", "--emit=csv", "--dim=*=48", path).err


@pytest.mark.parametrize("path", model_files([BUNDLED, LIGHT, BUNDLED / "dynamic"]), ids=lambda path: path.stem)
def test_every_operation_of_a_sound_network_fits(path: Path) -> None:
    dims = ARCHITECTURES[path.stem].bindings[2] if path.parent.name == "dynamic" else {}
    graph = graphs.run("shape", graphs.load(path), dims=dims).graph
    assert [reason for op in graph.body if (reason := misfit(op)) is not None] == []
