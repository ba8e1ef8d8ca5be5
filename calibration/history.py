"""How accuracy went over time: one line for each validation, in a file that is only ever appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from .errors import CalibrationError

__all__ = ["Entry", "append", "history_path", "read"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One validation: when, of what, with which versions, and what came of it. Errors are shares, not per cent.

    ``versions`` joins names and versions: ``graphs 0.1.0, onnxruntime 1.31.0``. ``kernel_mape`` is ``None`` where no
    kernel was measured alone.
    """

    date: str
    device: str
    runtime: str
    mode: str
    precision: str
    method: str
    models: int
    mape: float
    median: float
    within: float
    bias: float
    inside: float
    versions: str
    kernel_mape: float | None = None
    evidence: str = ""


def history_path() -> Path:
    """``$XDG_DATA_HOME/graphs/history.jsonl``, below ``~/.local/share`` where that is not set."""
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "graphs" / "history.jsonl"


def append(entry: Entry, path: Path) -> None:
    """Add a line; one that a killed run left torn is closed first, so that it costs nobody else.

    Raises:
        CalibrationError: the file cannot be written.
    """
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    line = json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + line if torn else line)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror or error}") from None


def read(path: Path) -> tuple[list[Entry], list[str]]:
    """Return the entries, oldest first, and what is wrong with lines that are none.

    Raises:
        CalibrationError: the file is there and cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror or error}") from None
    entries: list[Entry] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(json.loads(line)))
        except (ValueError, RecursionError) as error:
            problems.append(f"{path}:{number}: not an entry: {error}")
    return sorted(entries, key=lambda entry: entry.date), problems


def _entry(values: Any) -> Entry:
    if not isinstance(values, Mapping):
        raise ValueError("expected an object")
    known = {field.name: str(field.type) for field in fields(Entry)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    for name, value in values.items():
        if not _is_a(value, known[name]):
            raise ValueError(f"{name}: expected {known[name]}, got {value!r}")
    try:
        return Entry(**values)
    except TypeError:
        lacking = [field.name for field in fields(Entry) if field.name not in values]
        raise ValueError(f"{lacking[0]} is missing") from None


def _is_a(value: object, wanted: str) -> bool:
    if value is None:
        return "None" in wanted
    if wanted.startswith("str"):
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isfinite(value) and (isinstance(value, int) or wanted != "int")
