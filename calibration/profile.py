"""Evidence as data: efficiency calibration files of the published schema 1.0, and 1.1, which adds what was measured.

A 1.1 file holds everything that a 1.0 file does, so a reader of 1.0 that passes over keys it does not know can use it.
docs/calibration-format.md describes both; the JSON Schemas are beside this module in ``schema/``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..ir.files import write_atomically
from .curve import Curve, encode_curve, read_curve
from .errors import CalibrationError
from .sample import Sample, Setting
from .sample_table import check_sample, encode_samples, read_samples
from .strict_json import Entry, parse_json, read_text

__all__ = [
    "DEVICE_TYPES", "PRECISIONS", "SCHEMA_VERSIONS", "Breakdown", "Profile", "SourceDocument", "Validation",
    "json_schema", "parse_profile", "print_profile", "read_profile", "write_profile",
]  # fmt: skip

SCHEMA_VERSIONS = ("1.0", "1.1")
DEVICE_TYPES = ("gpu", "cpu", "dsp", "tpu", "kpu")
PRECISIONS = ("FP32", "FP16", "INT8", "TF32", "BF16")
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """How many models were predicted how well: within 10, 20, 50 %, and worse."""

    excellent: int
    good: int
    fair: int
    poor: int


@dataclass(frozen=True, slots=True)
class Validation:
    """How well the evidence predicted models that it does not hold; errors in percent."""

    models_tested: int
    mape: float
    max_error: float
    breakdown: Breakdown


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """Where evidence comes from that somebody else measured: what it is called, where it is, under which licence."""

    title: str
    url: str
    licence: str


@dataclass(frozen=True, slots=True)
class Profile:
    """The evidence for one device, runtime, power mode and precision.

    ``curves`` are over FLOPs, ``bandwidth_curves`` over bytes, by operation type. Version 1.1 adds ``setting``, the
    ``environment`` that was measured in, the ``samples`` themselves, what the ``estimator`` needs to stand up without
    being fitted again, and the ``sources`` of evidence that was imported.
    """

    hardware_id: str
    hardware_name: str
    device_type: str
    precision: str
    calibration_date: str
    calibration_tool_version: str
    curves: Mapping[str, Curve]
    bandwidth_curves: Mapping[str, Curve] = field(default_factory=dict)
    validation: Validation | None = None
    notes: str = ""
    setting: Setting | None = None
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    estimator: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[SourceDocument, ...] = ()
    schema_version: str = "1.1"

    @property
    def extended(self) -> bool:
        """Whether anything is in it that schema 1.0 has no place for."""
        return bool(self.setting or self.environment or self.samples or self.estimator or self.sources)


def json_schema(version: str) -> dict[str, Any]:
    """Return the published JSON Schema of a version. Raises :class:`CalibrationError` for one that is not supported."""
    _check_version(version, "JSON Schema")
    path = files(__package__).joinpath("schema", f"evidence-{version}.json")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def _check_version(version: object, file: str) -> None:
    if version not in SCHEMA_VERSIONS:
        known = ", ".join(SCHEMA_VERSIONS)
        raise CalibrationError(
            f"{file}: schema version {json.dumps(version)} is none of those that are supported ({known})",
            "a newer graphs may read it; older evidence can be imported or measured anew",
        )


# -- reading ----------------------------------------------------------------------------------------------------------

_REQUIRED = (
    "schema_version", "hardware_id", "hardware_name", "device_type", "precision", "calibration_date",
    "calibration_tool_version", "curves",
)  # fmt: skip
_OPTIONAL = ("bandwidth_curves", "validation", "notes")
_EXTENDED = ("setting", "environment", "samples", "estimator", "sources")


def read_profile(path: Path) -> Profile:
    """Return the evidence in a ``.json`` or ``.json.gz`` file.

    Raises:
        CalibrationError: the file cannot be read, or does not hold to the schema; the message says where.
    """
    return parse_profile(read_text(path), str(path))


def parse_profile(text: str, file: str) -> Profile:
    """Return the evidence in a text; ``file`` is what errors call it. Raises :class:`CalibrationError`."""
    root = parse_json(text, file)
    version = root["schema_version"].value
    _check_version(version, file)
    root.only(_REQUIRED, (*_OPTIONAL, *(_EXTENDED if version != "1.0" else ())))
    precision = root["precision"].choice(PRECISIONS)
    return Profile(
        root["hardware_id"].text,
        root["hardware_name"].text,
        root["device_type"].choice(DEVICE_TYPES),
        precision,
        _read_date(root["calibration_date"]),
        root["calibration_tool_version"].text,
        {name: read_curve(curve, name) for name, curve in root["curves"].items()},
        _read_curves(root, "bandwidth_curves"),
        _read_validation(root["validation"]) if "validation" in root else None,
        root["notes"].text if "notes" in root else "",
        _read_setting(root["setting"], precision) if "setting" in root else None,
        {key: value.scalar() for key, value in root["environment"].items()} if "environment" in root else {},
        read_samples(root["samples"]) if "samples" in root else (),
        _read_estimator(root["estimator"]) if "estimator" in root else {},
        root["sources"].each(_read_source) if "sources" in root else (),
        str(version),
    )


def _read_curves(root: Entry, key: str) -> dict[str, Curve]:
    return {name: read_curve(curve, name) for name, curve in root[key].items()} if key in root else {}


def _read_date(entry: Entry) -> str:
    try:
        datetime.fromisoformat(entry.text)
    except ValueError:
        raise entry.expected("a date and time as ISO 8601 writes them, such as 2026-02-04T18:48:13") from None
    return entry.text


def _read_validation(entry: Entry) -> Validation:
    entry.only(("models_tested", "mape", "max_error", "breakdown"))
    rows = entry["breakdown"].only(("excellent", "good", "fair", "poor"))
    return Validation(
        entry["models_tested"].count,
        entry["mape"].share,
        entry["max_error"].share,
        Breakdown(rows["excellent"].count, rows["good"].count, rows["fair"].count, rows["poor"].count),
    )


def _read_setting(entry: Entry, precision: str) -> Setting:
    entry.only(("device", "runtime", "mode", "precision"))
    setting = Setting(entry["device"].text, entry["runtime"].text, entry["mode"].text, entry["precision"].text)
    if setting.precision.upper() != precision:
        raise entry["precision"].expected(f'"{precision.lower()}", the precision of the whole file')
    return setting


def _read_estimator(entry: Entry) -> Mapping[str, Any]:
    checked: Mapping[str, Any] = Entry(dict(entry.mapping), entry.file, entry.path).checked()
    return checked


def _read_source(entry: Entry) -> SourceDocument:
    entry.only(("title", "url", "licence"))
    return SourceDocument(entry["title"].text, entry["url"].text, entry["licence"].text)


# -- writing ----------------------------------------------------------------------------------------------------------


def write_profile(profile: Profile, path: Path) -> None:
    """Write evidence to ``path``, whole or not at all; compressed where the name ends in ``.gz``.

    The same evidence gives the same bytes.

    Raises:
        CalibrationError: the evidence does not hold to its schema version, or the file cannot be written.
    """
    text = print_profile(profile)
    content = gzip.compress(text.encode("utf-8"), 9, mtime=0) if path.suffix == ".gz" else text
    try:
        write_atomically(path, content)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot write the evidence: {error.strerror or error}") from error


def print_profile(profile: Profile) -> str:
    """Return the text of an evidence file, which :func:`parse_profile` reads back as the same profile.

    Raises:
        CalibrationError: a value that the schema does not allow, or an addition of 1.1 in a profile of version 1.0.
    """
    name = f"evidence for {profile.hardware_id}"
    _check_version(profile.schema_version, name)
    extended = profile.schema_version != "1.0"
    if profile.extended and not extended:
        raise CalibrationError(f"{name}: schema 1.0 has no place for samples, settings, estimators or sources",
                               "write it as version 1.1")  # fmt: skip
    for sample in profile.samples:
        check_sample(sample, name)
    try:
        text = _document(profile, extended)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{name}: a value that JSON has no form for ({error})") from None
    if parse_profile(text, name) != profile:
        raise CalibrationError(f"{name}: holds values that a file cannot keep, such as tuples in `estimator`")
    return text


def _document(profile: Profile, extended: bool) -> str:
    body: dict[str, object] = {
        "schema_version": profile.schema_version,
        "hardware_id": profile.hardware_id,
        "hardware_name": profile.hardware_name,
        "device_type": profile.device_type,
        "precision": profile.precision,
        "calibration_date": profile.calibration_date,
        "calibration_tool_version": profile.calibration_tool_version,
        "curves": _encode_curves(profile.curves, extended),
        "bandwidth_curves": _encode_curves(profile.bandwidth_curves, extended),
        "validation": _encode_validation(profile.validation),
        "notes": profile.notes,
    }
    if profile.setting is not None:
        setting = profile.setting
        body["setting"] = {"device": setting.device, "runtime": setting.runtime, "mode": setting.mode,
                           "precision": setting.precision}  # fmt: skip
    if profile.environment:
        body["environment"] = dict(sorted(profile.environment.items()))
    if profile.estimator:
        body["estimator"] = json.loads(json.dumps(dict(profile.estimator), sort_keys=True, allow_nan=False))
    if profile.sources:
        body["sources"] = [{"title": row.title, "url": row.url, "licence": row.licence} for row in profile.sources]
    text = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False)
    if not profile.samples:
        return text + "\n"
    lists = (f'  "{key}": [\n{_lines(rows)}\n  ]' for key, rows in encode_samples(profile.samples).items())
    return "".join((text[:-2], ',\n "samples": {\n', ",\n".join(lists), "\n }\n}\n"))


def _encode_curves(curves: Mapping[str, Curve], extended: bool) -> dict[str, object]:
    return {name: encode_curve(curve, extended) for name, curve in sorted(curves.items())}


def _lines(rows: list[dict[str, object]]) -> str:
    """One row a line: samples are many, and each is short."""
    return ",\n".join("   " + json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)


def _encode_validation(validation: Validation | None) -> dict[str, object] | None:
    if validation is None:
        return None
    rows = validation.breakdown
    return {
        "models_tested": validation.models_tested,
        "mape": validation.mape,
        "max_error": validation.max_error,
        "breakdown": {"excellent": rows.excellent, "good": rows.good, "fair": rows.fair, "poor": rows.poor},
    }
