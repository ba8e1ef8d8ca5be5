"""The list of operators: generated, complete, and true of what entries lower to."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from conftest import Run

from graphs.ir import definitions
from graphs.tools.operator_table import operator_rows

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"


def test_the_page_is_what_the_command_writes(apart: Run) -> None:
    outcome = apart("--list-ops", "--list-format=markdown")
    assert outcome.code == 0
    assert outcome.out == PAGE.read_text(encoding="utf-8"), (
        "docs/operators.md is stale: graphs-opt --list-ops --list-format=markdown > docs/operators.md"
    )


def test_json_has_what_the_page_has(run: Run) -> None:
    rows = json.loads(run("--list-ops", "--list-format=json").out)
    assert [row["name"] for row in rows] == list(definitions())
    page = PAGE.read_text(encoding="utf-8")
    conv = next(row for row in rows if row["name"] == "onnx.Conv")
    assert (conv["kind"], conv["primitives"], conv["status"]) == ("contraction", ["conv"], "counted")
    assert "| Conv | contraction | conv | inferred | counted |" in page


def test_every_operator_of_the_installed_onnx_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for schema in onnx.defs.get_all_schemas_with_history():
        section = page.partition(f"\n## {schema.domain or 'onnx'}\n")[2].partition("\n## ")[0]
        assert f"\n| {schema.name} | " in section, f"{schema.domain or 'onnx'}.{schema.name} has no entry"


def test_what_is_counted_names_its_primitives() -> None:
    for row in operator_rows():
        assert (row.status == "counted") == bool(row.primitives and row.status not in ("view", "bodies")), row.name
        assert row.doc
