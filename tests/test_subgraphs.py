"""The importer of measured subgraphs: rows are checked, joined to kernels by their names, and scaled to their batch."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from graphs.calibration.errors import CalibrationError
from graphs.calibration.importers.fx_names import Placed
from graphs.calibration.importers.subgraphs import join, read_rows
from graphs.calibration.kernel import Kernel
from graphs.ir import DType
from graphs.ir.primitives import Conv, Elementwise

HEADER = (
    "hardware,runtime,precision,model,batch,date,subgraph_id,fusion_pattern,operation_type,flops,total_bytes,"
    "theoretical_peak_flops,latency_mean_ms,latency_std_ms,latency_min_ms,latency_max_ms,samples,node_names"
)
ROW = (
    "ryzen_9_8945hs,pytorch-eager,FP32,net,{batch},2026-02-05,0,Conv2d_ReLU,conv2d,{flops},4096,"
    "7e11,{ms},0.1,1,4,20,{names}"
)


def table(folder: Path, *rows: str, name: str = "rows.csv") -> Path:
    path = folder / name
    text = "\n".join((HEADER, *rows)) + "\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def row(ms: object = 2.0, batch: int = 1, names: str = "layer1_0_conv1 layer1_0_relu", flops: int = 1000) -> str:
    return ROW.format(ms=ms, batch=batch, names=names, flops=flops)


def placed() -> list[Placed]:
    conv = Conv(1, 3, 8, (8, 8), (8, 8), (3, 3), DType.F32)
    relu = Elementwise("relu", 512, DType.F32)
    return [
        Placed("Conv", "layer1.0.conv1", Kernel("Conv", (conv,), 864, 768, 2048)),
        Placed("Relu", "layer1.0.relu", Kernel("Relu", (relu,), 0, 2048, 2048)),
    ]


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_a_row_becomes_the_time_of_its_kernels(tmp_path: Path, name: str) -> None:
    joined = join(read_rows(table(tmp_path, row(), name=name)), lambda model, precision: placed())
    assert not joined.unmatched and not joined.absent
    sample = joined.rows[0].sample
    assert [kernel.pattern for kernel in sample.kernels] == ["Conv", "Relu"]
    assert sample.seconds.median == pytest.approx(2e-3) and sample.source == "subgraph" and sample.model == "net"
    assert joined.rows[0].row.campaign.setting.device == "amd-ryzen-9-8945hs"


def test_kernels_are_scaled_to_the_batch(tmp_path: Path) -> None:
    joined = join(read_rows(table(tmp_path, row(batch=4))), lambda model, precision: placed())
    conv, relu = joined.rows[0].sample.kernels
    assert conv.flops == 4 * placed()[0].kernel.flops and conv.weight_bytes == 864 and conv.read_bytes == 4 * 768
    assert relu.write_bytes == 4 * 2048


def test_what_has_no_kernel_or_no_graph_is_told(tmp_path: Path) -> None:
    rows = read_rows(table(tmp_path, row(names="layer9_conv")))
    joined = join(rows, lambda model, precision: placed())
    assert len(joined.unmatched) == 1 and not joined.rows
    assert join(rows, lambda model, precision: None).absent == ("net",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (row(ms=0), "latency_mean_ms is '0'"),
        (row(ms=-1), "latency_mean_ms is '-1'"),
        (row(ms="nan"), "latency_mean_ms is 'nan'"),
        (row(ms="inf"), "latency_mean_ms is 'inf'"),
        (row().replace("ryzen_9_8945hs", "abacus"), "'abacus' is not known"),
        (row().replace("FP32", "FP7"), "'FP7' is not known"),
        ("ryzen_9_8945hs,pytorch-eager", "ends before its column"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(CalibrationError, match=r"rows\.csv:2: ") as refused:
        read_rows(table(tmp_path, line))
    assert says in str(refused.value)


def test_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("model,latency\nnet,1\n")
    with pytest.raises(CalibrationError, match="no column 'hardware'"):
        read_rows(path)
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_rows(path)
