"""Latencies that others measured: a CSV of models and their times, and the profile that onnxruntime writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from ..errors import CalibrationError
from ..measure.executed import Executed, ExecutedNode, spread
from ..strict_json import Entry, read_json, read_text

__all__ = ["read_latencies", "read_runtime_profile"]

_SCALES = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_COLUMNS = {
    "latency": None,
    "latency_s": "s",
    "seconds": "s",
    "latency_ms": "ms",
    "latency_us": "us",
    "latency_ns": "ns",
}
_LONGEST_SECONDS = 86_400.0
_KERNEL_TIME = "_kernel_time"
_MICROSECOND = 1e-6
Wiring = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]


# -- CSV --------------------------------------------------------------------------------------------------------------


def read_latencies(path: Path) -> dict[str, float]:
    """Return each model's latency in seconds from a CSV file.

    Its first row names the columns: ``model``, and ``latency_ms`` (or ``_s``, ``_us``, ``_ns``), or ``latency`` with a
    column ``unit``.

    Raises:
        CalibrationError: with the row, for a missing column or unit, a model named twice, or a latency that is no
            number above zero.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_text(path)), strict=True))
    except csv.Error as error:
        raise CalibrationError(f"{path}: not a CSV file: {error}") from None
    header = [name.strip().lower().lstrip("\ufeff") for name in rows[0]] if rows else []
    column, scale = _columns(header, path)
    latencies: dict[str, float] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise CalibrationError(f"{path}: row {number}: {len(row)} cells under {len(header)} columns")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        if not cells["model"] or cells["model"] in latencies:
            word = "is given twice" if cells["model"] else "has no name"
            raise CalibrationError(f'{path}: row {number}: the model "{cells["model"]}" {word}')
        latencies[cells["model"]] = _seconds(cells[column], scale or cells["unit"], f"{path}: row {number}")
    if not latencies:
        raise CalibrationError(f"{path}: no latency in it", "expected rows of model,latency_ms")
    return latencies


def _columns(header: list[str], path: Path) -> tuple[str, str | None]:
    """The column that latencies stand in, and their unit where its name says it."""
    if len(set(header)) < len(header):
        raise CalibrationError(f"{path}: a column is named twice")
    found = [name for name in header if name in _COLUMNS]
    if "model" not in header or len(found) != 1:
        raise CalibrationError(
            f"{path}: expected the columns model and one of {', '.join(_COLUMNS)}, got {', '.join(header) or 'none'}",
            "write a first row such as  model,latency_ms",
        )
    unit = _COLUMNS[found[0]]
    if unit is None and "unit" not in header:
        raise CalibrationError(f"{path}: the column latency has no unit", "name it latency_ms, or add a column unit")
    return found[0], unit


def _seconds(text: str, unit: str, where: str) -> float:
    if unit not in _SCALES:
        raise CalibrationError(f'{where}: unknown unit "{unit}"', f"known: {', '.join(_SCALES)}")
    try:
        seconds = float(text) * _SCALES[unit]
    except ValueError:
        raise CalibrationError(f'{where}: expected a latency, got "{text}"') from None
    if not isfinite(seconds) or seconds <= 0:
        raise CalibrationError(f"{where}: expected a latency above zero, got {text}")
    if seconds > _LONGEST_SECONDS:
        raise CalibrationError(f"{where}: {text} {unit} is more than a day", "is the unit right?")
    return seconds


# -- onnxruntime's profile --------------------------------------------------------------------------------------------


def read_runtime_profile(path: Path, wiring: Wiring | None = None, skip_runs: int = 1) -> Executed:
    """Return what a profile of onnxruntime says was executed: each node with its times, and the runs' own.

    A profile names nodes but not the values they read and write; ``wiring`` gives those by the node's name, from the
    model that onnxruntime optimised. The first ``skip_runs`` runs are warm-up and left out, unless there are no others.
    Times under a profiler are a little longer than without one; so are the runs'.

    Raises:
        CalibrationError: no such profile, no run in it, or runs of different nodes, as where models were mixed.
    """
    root = read_json(path)
    if not isinstance(root.value, list):
        raise root.expected("a list of events, as onnxruntime's profiler writes it")
    runs: list[list[tuple[str, str, int]]] = []
    whole: list[int] = []
    open_run: list[tuple[str, str, int]] = []
    for event in root.elements():
        name, category = _word(event, "name"), _word(event, "cat")
        if category == "Node" and name.endswith(_KERNEL_TIME):
            open_run.append((name.removesuffix(_KERNEL_TIME), _word(event["args"], "op_name"), event["dur"].count))
        elif category == "Session" and name == "model_run":
            runs.append(open_run)
            whole.append(event["dur"].count)
            open_run = []
    if not runs or not runs[0]:
        raise root.fail("no run of a model in it", "run the model at least once before the profile is ended")
    kept = runs[skip_runs:] or runs
    names = [(name, op_type) for name, op_type, _ in kept[0]]
    for number, run in enumerate(kept):
        if [(name, op_type) for name, op_type, _ in run] != names:
            raise root.fail(f"run {number + len(runs) - len(kept) + 1} executed other nodes than the first one",
                            "profile one model, with one thread per run")  # fmt: skip
    wires = wiring or {}
    nodes = tuple(
        ExecutedNode(op_type, name, *wires.get(name, ((), ())), spread([run[i][2] for run in kept], _MICROSECOND))
        for i, (name, op_type) in enumerate(names)
    )
    return Executed(nodes, spread(whole[skip_runs:] or whole, _MICROSECOND))


def _word(event: Entry, key: str) -> str:
    return event[key].text if key in event else ""
