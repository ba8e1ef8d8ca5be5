"""Appends to a file of samples so that nothing that was measured is lost: not by a kill, nor by a full disk."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ...ir.codec import encode
from ..errors import CalibrationError
from ..sample import Sample, Setting
from ..sample_table import check_sample
from .environment import Environment
from .reference import Reading
from .samples_file import FORMAT, SamplesFile, header_line, line, parse_samples, sample_line

__all__ = ["SamplesWriter"]


class SamplesWriter:
    """An open file of samples that only this process appends to; a context that closes it.

    ``found`` is what the file had when it was opened: ``None`` if it is new. What was being written when an earlier
    campaign broke off is cut away.

    Raises:
        CalibrationError: the file cannot be opened or written, is no file of samples, another campaign is writing it,
        or
            it was measured on another machine, device or runtime.
    """

    def __init__(self, path: Path, setting: Setting, environment: Environment) -> None:
        self.path, self.setting, self.environment = path, setting, environment
        self.found: SamplesFile | None = None
        self.kept = 0
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise CalibrationError(f"{path}: cannot write samples there: {error.strerror or error}") from error
        try:
            self._lock()
            self._end = self._resume()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> SamplesWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def has(self, benchmark: str, setting: Setting) -> bool:
        """Whether the file had all of a benchmark when it was opened."""
        return self.found is not None and (benchmark, setting) in self.found.done

    # -- appending ----------------------------------------------------------------------------------------------------

    def add(self, benchmark: str, samples: Iterable[Sample], setting: Setting | None = None) -> None:
        """Append all samples of a benchmark; they are on the disk when this returns.

        Raises:
            CalibrationError: a sample is none that can have been measured, or the file cannot be written.
        """
        rows, where = [], self._place(setting)
        for sample in samples:
            check_sample(sample, benchmark)
            rows.append(sample_line(sample, benchmark, where))
        self._append(b"".join(rows) + line({"done": benchmark, **where}))
        self.kept += len(rows)

    def refuse(self, benchmark: str, reason: str, setting: Setting | None = None) -> None:
        """Append that a benchmark gave no sample, and why."""
        self._append(line({"refused": benchmark, "reason": reason, **self._place(setting)}))

    def reference(self, reading: Reading, baseline: bool = False) -> None:
        """Append a reading of the reference kernel; the campaign's baseline is marked."""
        self._append(line({"reference": encode(reading), **({"baseline": True} if baseline else {})}))

    def _place(self, setting: Setting | None) -> dict[str, Any]:
        own = self.found.setting if self.found is not None else self.setting
        return {} if (setting or self.setting) == own else {"setting": encode(setting or self.setting)}

    def _append(self, rows: bytes) -> None:
        done = 0
        try:
            while done < len(rows):
                done += os.pwrite(self._descriptor, rows[done:], self._end + done)
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise CalibrationError(
                f"{self.path}: cannot write: {error.strerror or error}; {self.kept} samples of this run are saved",
                help="make room, then give the same command again: it goes on from there",
            ) from error
        self._end += len(rows)

    # -- opening ------------------------------------------------------------------------------------------------------

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CalibrationError(
                f"{self.path}: another measurement is writing this file", help="wait, or use another -o"
            ) from None
        except OSError as error:
            raise CalibrationError(f"{self.path}: cannot be locked: {error.strerror or error}") from error

    def _resume(self) -> int:
        """Return where to go on: behind the last complete benchmark of a file that is there, else behind a new
        header.
        """
        content = b""
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                content = file.read()
        header = header_line(self.setting, self.environment)
        if b"\n" not in content:
            self._require_torn_header(content)
            self._end = 0
            self._truncate(0)
            self._append(header)
            return self._end
        torn = parse_samples(content, str(self.path))
        found = torn.content
        self._require_ours(found)
        self._truncate(torn.complete)
        rows = (row for row in found.rows if not row.benchmark or (row.benchmark, row.setting) in found.done)
        self.found = replace(found, rows=tuple(rows))
        return torn.complete

    def _truncate(self, size: int) -> None:
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, size)

    def _require_torn_header(self, content: bytes) -> None:
        """An unfinished first line is overwritten only if it began as one of ours does."""
        begins = line({"format": FORMAT})[:-2]
        if not (content.startswith(begins) or begins.startswith(content)):
            raise CalibrationError(
                f"{self.path}: not a file of samples; it is left as it is", help="name another file with -o"
            )

    def _require_ours(self, found: SamplesFile) -> None:
        theirs, ours = found.environment.machine, self.environment.machine
        if theirs != ours:
            raise CalibrationError(
                f"{self.path}: measured on another machine ({theirs}; this one is {ours})",
                help="use another file: samples of two machines do not belong together",
            )
        for what in ("device", "runtime"):
            there, here = getattr(found.setting, what), getattr(self.setting, what)
            if there != here:
                raise CalibrationError(
                    f"{self.path}: measured with {what} '{there}', not '{here}'",
                    help="use another file for another setting",
                )
