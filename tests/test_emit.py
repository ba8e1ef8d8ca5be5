"""What comes out: the table against golden files, and every other format against an independent reader of it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pydot
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs
from graphs.calibration.prediction import Quality
from graphs.ir import Graph, parse, parse_all
from graphs.passes.report import CoverageRow, KernelReport, Report, Total, UnknownOp
from graphs.tools import units
from graphs.tools.emit import FORMATS, emit
from graphs.tools.emit.layout import Column, fitted, rendered, shortened
from graphs.tools.emit.rows import common_name, kernel_rows, labels, with_shares
from graphs.tools.emit.view import View
from graphs.tools.terminal import visible

HERE = Path(__file__).parent
MODELS = HERE.parent / "examples" / "models"
GOLDEN = HERE / "golden"
SCHEMA = json.loads((HERE.parent / "docs" / "report.schema.json").read_text())


# -- a report made by hand ---------------------------------------------------------------------------------------------


def kernel(index: int, name: str, pattern: str, seconds: float | None, **fields: Any) -> KernelReport:
    known: dict[str, Any] = {
        "index": index, "name": f"node_{index}", "pattern": pattern, "kind": "contraction", "module": name,
        "origins": (f"node_{index}", f"act_{index}"), "results": (f"v{index}",), "output": (1, 512, 7, 7),
        "dtype": "f16", "macs": 115_605_504, "flops": 231_211_008, "bytes": 4_870_000,
        "weight_bytes": 4 << 20,
        "seconds": seconds, "seconds_low": seconds and seconds * 0.9, "seconds_high": seconds and seconds * 1.2,
        "compute_seconds": seconds, "memory_seconds": seconds and seconds / 2,
        "dispatch_seconds": seconds and 5e-6, "share": None, "bound": "compute" if seconds else "", "unit": "tensor",
        "memory": "dram", "joules": seconds and seconds * 20, "unknown": (),
        "confidence": "CALIBRATED" if seconds else "", "quality": Quality.EXACT if seconds else None,
    }  # fmt: skip
    return KernelReport(**{**known, **fields})


def some_kernels() -> tuple[KernelReport, ...]:
    pool = {"kind": "window", "macs": 0, "flops": 1_806_336, "bytes": 4_014_080, "output": (1, 64, 56, 56),
            "confidence": "INTERPOLATED", "quality": Quality.SIZE_EXTRAPOLATED}  # fmt: skip
    return (
        kernel(0, "conv1", "Conv_Relu", 120e-6, output=(1, 64, 112, 112)),
        kernel(1, "", "MaxPool", 90e-6, bound="L2", **pool),
        *(kernel(2 + i, f"layer4.{i}.conv2", "Conv_Relu", 71e-6) for i in range(3)),
        *(kernel(5 + i, f"layer3.{i}.conv2", "Conv_Relu", 60e-6, output=(1, 256, 14, 14)) for i in range(6)),
        kernel(20, "fc", "Gemm", 2e-6, output=(1, 1000)),
        *(kernel(11 + i, f"tail.{i}", "Add", 0.5e-6, macs=0, flops=9, bytes=36, bound="dispatch") for i in range(9)),
    )


def make_report(kernels: tuple[KernelReport, ...], **fields: Any) -> Report:
    timed = [item.seconds for item in kernels if item.seconds is not None]
    seconds = sum(timed) if timed else None
    joules = [item.joules for item in kernels if item.joules is not None]
    unknown = tuple(op for item in kernels for op in item.unknown)
    shared = tuple(replace(item, share=item.seconds and seconds and item.seconds / seconds) for item in kernels)
    total = Total(
        macs=sum(item.macs for item in kernels), flops=sum(item.flops for item in kernels),
        bytes=sum(item.bytes for item in kernels), weight_bytes=51_000_000, peak_activation_bytes=4_900_000,
        peak_at="layer1.0.add", arena_bytes=5_100_000, seconds=seconds,
        seconds_low=seconds and seconds * 0.9, seconds_high=seconds and seconds * 1.1, serial_seconds=seconds,
        critical_path_seconds=seconds and seconds * 0.8, joules=sum(joules) if joules else None,
        energy={"compute": 0.0061, "memory": 0.0027, "static": 0.0012} if joules else {},
        confidence="CALIBRATED" if timed else "", unknown=unknown,
    )  # fmt: skip
    coverage = (CoverageRow("measured", 20, 10**9, 8e-4), CoverageRow("extrapolated", 1, 10**6, 2e-4))
    known: dict[str, Any] = {
        "model": "resnet50", "target": "jetson-orin-agx:tensorrt@30W", "precision": "fp16", "batch": 1,
        "source_ops": 122, "kernels": shared, "total": total, "coverage": coverage if timed else (),
        "summary": "Compute-bound: 3×3 convolutions in layer3 and layer4 take half the time." if timed else "",
        "diagnostics": (), "graph": Graph("resnet50"), "pipeline": "fuse,lower,cost",
    }  # fmt: skip
    return Report(**{**known, **fields})


@pytest.fixture
def report() -> Report:
    return make_report(some_kernels())


@pytest.fixture
def unknown_report() -> Report:
    strange = UnknownOp("layer3/attn", "com.acme.Rotary", "no lowering for 'com.acme.Rotary'")
    first, *others = some_kernels()[:4]
    odd = replace(first, unknown=(strange, strange), bound="unknown", macs=0, flops=0)
    return make_report((odd, *others))


@pytest.fixture(scope="module")
def real() -> Report:
    return graphs.run("default", graphs.load(MODELS / "resnet50.onnx"), target="jetson-orin-agx@30W", precision="fp16")


# -- the table ---------------------------------------------------------------------------------------------------------

VIEWS = {
    "width_80": View(width=80),
    "width_120": View(width=120),
    "width_200": View(width=200),
    "wide": View(width=80, wide=True),
    "colour": View(width=120, color=True),
    "order_graph": View(order="graph"),
    "top_2": View(top=2),
    "top_0": View(top=0),
    "by_kind": View(by="kind"),
    "by_pattern": View(by="pattern"),
    "by_module": View(by="module"),
    "quiet": View(quiet=True),
}


def check_golden(name: str, text: str) -> None:
    """Compare with tests/golden; UPDATE_GOLDEN=1 rewrites the files, whose changes are then for the eye."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def table(report: Report, view: View) -> str:
    text = emit("table", [report], view)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("name", VIEWS)
def test_the_table_is_as_it_was(name: str, report: Report) -> None:
    check_golden(f"table_{name}", table(report, VIEWS[name]))


def test_the_table_of_what_is_unknown(unknown_report: Report) -> None:
    text = table(unknown_report, View())
    check_golden("table_unknown", text)
    assert "Nothing unknown" not in text
    assert re.search(r"latency +≥ ", text) and "≤" in text and "com.acme.Rotary ×2" in text


def test_what_is_unknown_has_a_row_however_little_time_it_takes(unknown_report: Report) -> None:
    tiny = tuple(replace(item, seconds=1e-12, share=0.0) if item.unknown else item for item in unknown_report.kernels)
    others = tuple(kernel(10 + i, f"x{i}.y", f"P{i}", 1e-9) for i in range(3))
    text = table(make_report((*tiny, *others)), View())
    assert re.search(r"^  conv1 .* ≥ 0 ", text, re.MULTILINE) and "3 more kernels below 1 % each" in text


def test_the_table_without_any_cost() -> None:
    untimed = make_report(tuple(replace(item, seconds=None, joules=None, bound="", confidence="", quality=None)
                                for item in some_kernels()))  # fmt: skip
    text = table(untimed, View())
    check_golden("table_untimed", text)
    assert "time" not in text.splitlines()[2] and "latency" not in text


def test_several_reports_are_compared(report: Report) -> None:
    other = replace(report, model="other", total=replace(report.total, seconds=report.total.seconds * 2))
    text = emit("table", [report, other], View())
    assert isinstance(text, str)
    check_golden("table_comparison", text[text.index("2 models") :])


def test_theoretical_figures_are_called_so(report: Report) -> None:
    rows = (CoverageRow("THEORETICAL", 21, 10**9, 1e-3),)
    plain = replace(report, coverage=rows, total=replace(report.total, confidence="THEORETICAL"))
    assert "evidence   THEORETICAL: " in table(plain, View())


@pytest.mark.parametrize("width", range(60, 201, 7))
@pytest.mark.parametrize("by", ["kernel", "module"])
def test_no_line_is_wider_than_asked(width: int, by: str, real: Report) -> None:
    text = table(real, View(width=width, by=by))
    assert max(map(len, text.splitlines())) <= width
    header = text.splitlines()[2]
    assert "time" in header and by in header


def test_more_width_never_shows_less(real: Report) -> None:
    shown = [set(table(real, View(width=width)).splitlines()[2].split()) for width in range(60, 201, 4)]
    assert all(narrow <= wide for narrow, wide in pairwise(shown))
    assert {"MACs", "FLOPs", "Σ", "evidence", "output", "AI"} <= shown[-1]


@pytest.mark.parametrize("view", [View(), View(order="graph"), View(top=3), View(by="kind"), View(by="pattern")])
def test_rows_add_up_to_the_total(view: View, real: Report) -> None:
    from graphs.tools.emit.table import _chosen

    rows, rest = _chosen(real, view)
    everything = [*rows, *rest]
    assert sum(row.count for row in everything) == len(real.kernels)
    assert sum(row.macs for row in everything) == real.total.macs
    assert sum(row.bytes for row in everything) == real.total.bytes
    assert sum(row.seconds or 0 for row in everything) == pytest.approx(real.total.serial_seconds)
    assert everything[-1].cumulative == pytest.approx(1)


def test_colour_is_all_that_colour_changes(real: Report) -> None:
    coloured = table(real, View(color=True))
    assert "\x1b[" in coloured
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == table(real, View()).splitlines()


def test_kernels_are_most_expensive_first(report: Report) -> None:
    rows = with_shares(kernel_rows(report, grouped=True))
    assert {row.name: row.count for row in rows} == {
        "conv1": 1, "node_1": 1, "layer4.*.conv2": 3, "layer3.*.conv2": 6, "fc": 1, "tail.*": 9
    }  # fmt: skip
    lines = table(report, View()).splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["layer3.*.conv2", "layer4.*.conv2", "conv1", "node_1"]
    assert "10 more kernels below 1 % each" in lines[7]


def test_graph_order_groups_nothing(report: Report) -> None:
    lines = table(report, View(order="graph")).splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["conv1", "node_1", "layer4.0.conv2", "layer4.1.conv2"]


def test_a_module_that_holds_several_kernels_does_not_name_one(report: Report) -> None:
    shared = [replace(item, module="block") for item in report.kernels[:2]]
    assert labels(shared) == ["block/node_0", "block/node_1"]
    assert labels([replace(item, name=f"/block/{item.name}") for item in shared]) == ["/block/node_0", "/block/node_1"]


@pytest.mark.parametrize(
    ("names", "common"),
    [(["a.1.b", "a.2.b"], "a.*.b"), (["l1.1", "l1.2"], "l1.*"), (["x"], "x"), (["n_1", "n_22"], "n_*")],
)
def test_the_name_of_a_group(names: list[str], common: str) -> None:
    assert common_name(names) == common


@given(st.text(max_size=30), st.integers(1, 40))
def test_a_shortened_name_keeps_both_ends(text: str, width: int) -> None:
    text = re.sub(r"[^ -~]", "x", text)
    short = shortened(text, width)
    assert len(short) <= max(width, 1)
    if len(text) > width > 2:
        assert short[0] == text[0] and short[-1] == text[-1] and "…" in short


def test_columns_go_by_rank() -> None:
    columns = [Column("keep", ("x" * 20,), 0), Column("second", ("y" * 20,), 1), Column("first", ("z" * 20,), 2)]
    assert [column.title for column in fitted(columns, 70)] == ["keep", "second", "first"]
    assert [column.title for column in fitted(columns, 50)] == ["keep", "second"]
    assert [column.title for column in fitted(columns, 10)] == ["keep"]


def test_names_lose_their_middle_before_columns_overflow() -> None:
    columns = [Column("name", ("start_of_a_long_name_end",), 0, least=8), Column("n", ("1" * 10,), 0)]
    (name, _) = fitted(columns, 26)
    assert name.cells == ("start…me_end",) and name.width == 12
    assert [column.width for column in fitted(columns, 5)] == [8, 10]


def test_wide_characters_keep_columns_aligned() -> None:
    text = rendered([Column("名前", ("畳み込み", "x"), 0, right=False), Column("n", ("1", "2"), 0)], color=False)
    _, first, second = text.splitlines()
    assert first.index("1") + 4 == second.index("2")


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"), (1, "", "1"), (999, "", "999"), (1000, "", "1.00 k"), (999_600, "", "1.00 M"),
        (231_211_008, "", "231 M"), (4_800_000, "B", "4.80 MB"), (0.00021, "s", "210 µs"), (0.00116, "s", "1.16 ms"),
        (42.8e-6, "s", "42.8 µs"), (1.5, "s", "1.50 s"), (12.3456, "s", "12.3 s"), (5e-10, "s", "500 ps"),
        (9.99e20, "", "999 E"), (1e22, "", "1.00e22"), (2**127, "B", "1.70e38 B"),
        (None, "s", "–"), (math.nan, "s", "–"), (-2500, "", "-2.50 k"),
    ],
)  # fmt: skip
def test_si(value: float | None, unit: str, text: str) -> None:
    assert units.si(value, unit) == text


@given(st.floats(1e-14, 1e20))
def test_si_keeps_three_digits(value: float) -> None:
    number, _, prefix = units.si(value, "_").partition(" ")
    factor = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
              "P": 1e15, "E": 1e18}[prefix.removesuffix("_")]  # fmt: skip
    assert float(number) * factor == pytest.approx(value, rel=5.001e-3)
    assert len(number) <= 4


# -- JSON and CSV ------------------------------------------------------------------------------------------------------


def test_json_is_what_the_schema_says(real: Report, report: Report, unknown_report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for subject in (real, report, unknown_report, make_report(())):
        jsonschema.validate(json.loads(emit("json", [subject], View())), SCHEMA)
    several = json.loads(emit("json", [real, report], View()))
    jsonschema.validate(several, SCHEMA)
    assert [item["model"] for item in several] == ["resnet50", "resnet50"]


def test_the_schema_refuses_what_is_missing_or_unknown(report: Report) -> None:
    record = json.loads(emit("json", [report], View()))
    for key in record:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in record.items() if name != key}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "colour": 1}, SCHEMA)


def test_json_holds_every_figure(real: Report) -> None:
    record = json.loads(emit("json", [real], View()))
    assert record["total"]["macs"] == real.total.macs == 4_089_184_256
    assert [item["seconds"] for item in record["kernels"]] == [item.seconds for item in real.kernels]
    assert record["kernels"][0]["nodes"] == list(real.kernels[0].origins)


def test_json_never_holds_nan(report: Report) -> None:
    broken = replace(report, total=replace(report.total, seconds=math.nan, seconds_high=math.inf))
    record = json.loads(emit("json", [broken], View()), parse_constant=lambda name: pytest.fail(name))
    assert record["total"]["seconds"] is None and record["total"]["seconds_high"] is None


def test_csv_has_a_row_for_each_kernel(real: Report, report: Report) -> None:
    text = emit("csv", [real, report], View())
    assert isinstance(text, str) and text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(real.kernels) + len(report.kernels)
    assert [float(row["seconds"]) for row in rows[: len(real.kernels)]] == [item.seconds for item in real.kernels]


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", '=cmd|"/c calc"!A0', "\tx"])
def test_csv_holds_no_formulas(name: str, report: Report) -> None:
    hostile = replace(report, model=name, kernels=(replace(report.kernels[0], name=name, module=name),))
    (row,) = csv.DictReader(io.StringIO(str(emit("csv", [hostile], View()))))
    assert row["model"] == row["name"] == row["kernel"] == f"'{visible(name)}"


# -- text and dot ------------------------------------------------------------------------------------------------------


def test_text_parses_back_with_its_facts(real: Report) -> None:
    text = str(emit("text", [real], View()))
    assert parse(text) == real.graph
    assert "graphs.cost" in text


def test_several_texts_are_cut_apart(real: Report) -> None:
    assert len(parse_all(str(emit("text", [real, real], View())))) == 2


def test_dot_is_read_by_graphviz_readers(real: Report) -> None:
    (drawn,) = pydot.graph_from_dot_data(str(emit("dot", [real], View())))
    nodes = [node for node in drawn.get_nodes() if node.get_name().startswith("n") and node.get_name() != "node"]
    constants = [op for op in real.graph.ops if op.name == "graphs.constant"]
    assert len(nodes) == len(real.graph) - len(constants)
    text = "".join(str(node.get_label()) for node in nodes)
    assert all(item.pattern in text for item in real.kernels)
    edges = sum(value.op.name != "graphs.constant" for op in real.graph.ops for value in op.inputs)
    assert len(drawn.get_edges()) == edges


def test_dot_takes_names_literally() -> None:
    hostile = 'a"] ; b [label="x\\'
    graph = Graph(hostile)
    source = graph.add("graphs.input", [], [(hostile, graphs.TensorType(graphs.DType.F32, (1,)))])
    graph.add("graphs.output", [source.result])
    (drawn,) = pydot.graph_from_dot_data(str(emit("dot", [make_report((), model=hostile, graph=graph)], View())))
    assert sorted(node.get_name() for node in drawn.get_nodes() if node.get_name() != "node") == ["edge", "n0", "n1"]


# -- any format --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_an_empty_graph(name: str, tmp_path: Path) -> None:
    if name != "onnx":
        assert emit(name, [make_report(())], View())
