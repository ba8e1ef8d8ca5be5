"""The file that a campaign appends to: a header, then a line of JSON for each sample, refusal and reading.

What belongs to one benchmark is written at once, ends with a line that says so, and is on the disk before the next one
begins: a campaign that is killed loses the benchmark it was at, and goes on behind the last complete one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...ir.codec import decode, encode
from ..errors import CalibrationError
from ..kernel import Kernel
from ..sample import Sample, Setting, Statistics
from ..sample_table import SAMPLE_SOURCES, check_statistics, decode_kernel
from ..strict_json import Entry, parse_json
from .environment import Environment
from .reference import Reading, correctable, level_of, slowness

__all__ = ["FORMAT", "VERSION", "Refused", "SampleRow", "SamplesFile", "Torn", "header_line", "line", "parse_samples",
           "read_samples", "sample_line"]  # fmt: skip

FORMAT, VERSION = "graphs-samples", 1
_KINDS = ("sample", "refused", "reference", "done")


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A sample, the setting that it was measured in, and the benchmark that gave it."""

    sample: Sample
    setting: Setting
    benchmark: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A benchmark that gave no sample, in which setting, and why."""

    benchmark: str
    setting: Setting
    reason: str


@dataclass(frozen=True, slots=True)
class SamplesFile:
    """What a file of samples holds; ``done`` are the complete benchmarks.

    ``baseline`` is the speed that the times of ``rows`` refer to: the machine's when the campaign began, or when it
    turned out faster. That may have been a quick or a slow moment, so samples are given at the ``typical`` speed.
    """

    setting: Setting
    environment: Environment
    rows: tuple[SampleRow, ...]
    refused: tuple[Refused, ...]
    references: tuple[Reading, ...]
    done: frozenset[tuple[str, Setting]]
    baseline: Reading | None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples of the header's setting."""
        return self.of(self.setting)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings that samples were measured in, in the order of their first."""
        return tuple(dict.fromkeys(row.setting for row in self.rows))

    @property
    def typical(self) -> Reading | None:
        """The campaign's usual speed: the median of all readings of the reference, with the baseline's handover."""
        if not self.references:
            return None
        handover = self.baseline.handover if self.baseline is not None else 0.0
        return replace(level_of(self.references), handover=handover)

    def of(self, setting: Setting) -> tuple[Sample, ...]:
        """The samples of one setting, at the campaign's usual speed."""
        found = [row.sample for row in self.rows if row.setting == setting]
        if self.baseline is None or self.typical is None or self.baseline.gemm == self.typical.gemm:
            return tuple(found)
        factor = slowness(self.typical, self.baseline)
        return tuple(_at_speed(sample, factor) for sample in found)


@dataclass(frozen=True, slots=True)
class Torn:
    """A file's content, and how many of its bytes are complete: what is behind them was being written."""

    content: SamplesFile
    complete: int


def read_samples(path: Path) -> SamplesFile:
    """Return what a file of samples holds; a last line that was not finished is left out.

    Raises:
        CalibrationError: the file cannot be read, is no such file, or has a line that is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"{path}: cannot read the samples: {error.strerror or error}") from error
    return parse_samples(content, str(path)).content


def parse_samples(content: bytes, file: str) -> Torn:
    """Return what a file's bytes hold, and where its last complete benchmark ends.

    Raises:
        CalibrationError: as :func:`read_samples`.
    """
    lines = content.split(b"\n")
    lines.pop()  # what is behind the last line's end: nothing, or a line that was not finished
    if not lines:
        raise CalibrationError(f"{file}: not a file of samples: it has no complete line", help=_HELP)
    reader = _Reader(file, _entry(lines[0], file, 1))
    complete = position = len(lines[0]) + 1
    for number, text in enumerate(lines[1:], 2):
        position += len(text) + 1
        try:
            closed = reader.read(_entry(text, file, number))
        except CalibrationError:
            if number == len(lines) and not _is_json(text):
                break  # a power cut may leave the end of a file as zeros
            raise
        complete = position if closed else complete
    return Torn(reader.content(), complete)


_HELP = "graphs-calibrate measure writes such files"


class _Reader:
    """Reads a file line by line."""

    def __init__(self, file: str, header: Entry) -> None:
        header.mapping  # noqa: B018  # fails with a clear message for what is no object
        if header.mapping.get("format") != FORMAT:
            raise CalibrationError(f"{file}: not a file of samples: its first line does not say so", help=_HELP)
        if header["version"].value != VERSION:
            raise header.fail(
                f"version {header['version'].value!r}; this program reads version {VERSION}",
                "measure again, or use the program that wrote it",
            )
        header.only(("format", "version", "setting", "environment"))
        self.setting: Setting = _decoded(Setting, header["setting"])
        self.environment: Environment = _decoded(Environment, header["environment"])
        self.rows: list[SampleRow] = []
        self.refused: list[Refused] = []
        self.references: list[Reading] = []
        self.done: set[tuple[str, Setting]] = set()
        self.baseline: Reading | None = None
        self._kernels: dict[str, Kernel] = {}

    def read(self, row: Entry) -> bool:
        """Take a line; return whether what it belongs to is complete with it."""
        kinds = [kind for kind in _KINDS if kind in row.mapping]
        if len(kinds) != 1:
            raise row.fail(f"expected one of the keys {', '.join(_KINDS)}", "is the line of another program's?")
        (kind,) = kinds
        row.only((kind,), ("setting", "benchmark", "reason", "baseline"))
        setting = _decoded(Setting, row["setting"]) if "setting" in row else self.setting
        if kind == "reference":
            return self._reference(row)
        if kind == "sample":
            benchmark = row["benchmark"].text if "benchmark" in row else ""
            self.rows.append(SampleRow(_sample(row["sample"], self._kernel), setting, benchmark))
            return not benchmark
        if kind == "refused":
            self.refused.append(Refused(row["refused"].text, setting, row["reason"].text))
            return True
        self.done.add((row["done"].text, setting))
        return True

    def _kernel(self, entry: Entry) -> Kernel:
        """A kernel as it was read before: networks repeat theirs, and campaigns repeat networks."""
        written = repr(entry.value)
        if written not in self._kernels:
            self._kernels[written] = decode_kernel(entry)
        return self._kernels[written]

    def _reference(self, row: Entry) -> bool:
        entry = row["reference"].only(("at", "gemm", "stream"), ("handover",))
        handover = entry["handover"].share if "handover" in entry else 0.0
        reading = Reading(entry["at"].share, entry["gemm"].positive, entry["stream"].positive, handover)
        self.references.append(reading)
        if "baseline" in row and row["baseline"].flag:
            self._rebase(reading)
        return True

    def _rebase(self, reading: Reading) -> None:
        """Take a new baseline: what was measured before refers to the old one, and is brought to the new.

        What was measured while the machine was too slow for that, or its cores too far apart, is to be measured again.
        """
        old, self.baseline = self.baseline or reading, reading
        factor = slowness(reading, old)
        if not correctable(old, reading):
            self.refused += [Refused(name, setting, _SLOW) for name, setting in sorted(self.done, key=str)]
            self.rows, self.done = [], set()
        elif factor != 1.0:
            self.rows = [replace(row, sample=_at_speed(row.sample, factor)) for row in self.rows]

    def content(self) -> SamplesFile:
        """Everything read so far."""
        return SamplesFile(
            self.setting,
            self.environment,
            tuple(self.rows),
            tuple(self.refused),
            tuple(self.references),
            frozenset(self.done),
            self.baseline,
        )


def _entry(text: bytes, file: str, number: int) -> Entry:
    where = f"{file}:{number}"
    try:
        return parse_json(text.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{where}: not text (byte {error.start} of the line is no UTF-8)", help=_HELP) from error


_SLOW = "the machine turned out to have been far below its speed"


def _at_speed(sample: Sample, factor: float) -> Sample:
    """A sample on a machine that is faster by a factor."""
    seconds = sample.seconds
    faster = replace(
        seconds,
        **{name: getattr(seconds, name) / factor for name in _TIMES},
    )
    return replace(sample, seconds=faster, drift=sample.drift * factor)


_TIMES = ("median", "mean", "std", "minimum", "maximum", "ci_low", "ci_high")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _decoded(cls: type[Any], entry: Entry) -> Any:
    _ = entry.checked()
    try:
        return decode(cls, entry.mapping)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise entry.fail(f"no {cls.__name__.lower()}: {error}") from None


def _sample(entry: Entry, kernel: Callable[[Entry], Kernel]) -> Sample:
    entry.only(("kernels", "seconds", "source"), ("model", "nodes", "drift"))
    kernels = entry["kernels"].each(kernel)
    if not kernels:
        raise entry["kernels"].expected("at least one kernel")
    seconds: Statistics = _decoded(Statistics, entry["seconds"])
    wrong = check_statistics(seconds)
    if wrong:
        raise entry["seconds"].expected(wrong)
    return Sample(
        kernels,
        seconds,
        entry["source"].choice(SAMPLE_SOURCES),
        entry["model"].text if "model" in entry else "",
        entry["nodes"].each(lambda node: node.text) if "nodes" in entry else (),
        entry["drift"].positive if "drift" in entry else 1.0,
    )


# -- writing ----------------------------------------------------------------------------------------------------------


def header_line(setting: Setting, environment: Environment) -> bytes:
    """Return a file's first line."""
    return line({"format": FORMAT, "version": VERSION, "setting": encode(setting), "environment": encode(environment)})


def sample_line(sample: Sample, benchmark: str, setting: Mapping[str, Any]) -> bytes:
    """Return the line of a sample; ``setting`` is ``{"setting": …}``, or empty for the header's."""
    return line({"sample": encode(sample), "benchmark": benchmark, **setting})


def line(row: Mapping[str, Any]) -> bytes:
    """Return a line of JSON; what has no finite value is refused rather than written."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8") + b"\n"
