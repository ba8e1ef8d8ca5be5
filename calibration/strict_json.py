"""Strict reading of JSON that others wrote: every key known and given once, every value of the kind asked for.

A mistake is a :class:`CalibrationError` that names the file and the path of keys to the place.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..targets.errors import suggestion
from .errors import CalibrationError

__all__ = ["LARGEST_FILE", "Entry", "parse_json", "read_json", "read_text"]

LARGEST_FILE = 256 * 1024 * 1024
"""Bytes, after decompression, above which a file is refused."""

_LONGEST_SHOWN = 40
_WORDS = {int: "whole number", float: "number", str: "text", list: "list"}
T = TypeVar("T")


def read_text(path: Path) -> str:
    """Return the text of a file, decompressed where its first bytes are gzip's.

    Raises:
        CalibrationError: the file cannot be read, is too large, damaged, or no text.
    """
    try:
        if path.exists() and not path.is_file():
            raise CalibrationError(f"{path}: not a file")
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            source = gzip.GzipFile(fileobj=file) if packed else file
            content = source.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise CalibrationError(f"{path}: more than {LARGEST_FILE:,} bytes, the most that is read")
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path}: not a text file (byte {error.start} is no UTF-8)") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CalibrationError(f"{path}: damaged gzip file: {error}", "fetch or write it again") from error
    except OSError as error:
        raise CalibrationError(f"{path}: cannot read the file: {error.strerror or error}") from error


def read_json(path: Path) -> Entry:
    """Return what a ``.json`` or ``.json.gz`` file holds. Raises :class:`CalibrationError`."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, file: str) -> Entry:
    """Return what a JSON text holds; ``file`` is what errors call it.

    Raises:
        CalibrationError: it is no JSON, a key is given twice in one object, or a number is NaN or infinite.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            seen: set[str] = set()
            twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add returns None
            raise CalibrationError(f'{file}: the key "{twice}" is given twice in one object')
        return made

    def constant(word: str) -> Any:
        raise CalibrationError(f"{file}: {word} is no number in JSON", "leave out what was not measured")

    try:
        return Entry(json.loads(text, object_pairs_hook=pairs, parse_constant=constant), file, "")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CalibrationError(f"{file}: not valid JSON ({place}: {error.msg})", "is the file cut off?") from None
    except ValueError as error:
        raise CalibrationError(f"{file}: not valid JSON ({error})") from None
    except RecursionError:
        raise CalibrationError(f"{file}: nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in a JSON file and the path of keys to it; every question about it fails with both."""

    value: Any
    file: str
    path: str

    def fail(self, message: str, help: str = "") -> CalibrationError:
        """The error for this value."""
        return CalibrationError(f"{self.file}: {f'{self.path}: ' if self.path else ''}{message}", help)

    def expected(self, what: str) -> CalibrationError:
        """The error for a value of another kind."""
        shown = json.dumps(self.value, default=str)
        if len(shown) > _LONGEST_SHOWN:
            shown = shown[:_LONGEST_SHOWN] + "…"
        return self.fail(f"expected {what}, got {shown}")

    # -- objects ------------------------------------------------------------------------------------------------------

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The value as an object."""
        if not isinstance(self.value, dict):
            raise self.expected("an object")
        return self.value

    def only(self, required: Iterable[str], optional: Iterable[str] = ()) -> Entry:
        """This object, whose keys are all of ``required`` and none beside those and ``optional``."""
        required, known = tuple(required), {*required, *optional}
        for key in self.mapping:
            if key not in known:
                raise self.fail(f'unknown key "{key}"{suggestion(key, known)}', f"known: {', '.join(sorted(known))}")
        for key in required:
            if key not in self.mapping:
                raise self.fail(f'"{key}" is missing')
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.mapping and self.mapping[key] is not None

    def __getitem__(self, key: str) -> Entry:
        """The value under a key, which must be there."""
        if key not in self.mapping:
            raise self.fail(f'"{key}" is missing')
        return Entry(self.mapping[key], self.file, f"{self.path}.{key}" if self.path else key)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Keys and values of an object."""
        for key in self.mapping:
            yield key, self[key]

    # -- lists and scalars --------------------------------------------------------------------------------------------

    def elements(self) -> Iterator[Entry]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            raise self.expected("a list")
        for i, element in enumerate(self.value):
            yield Entry(element, self.file, f"{self.path}[{i}]")

    def each(self, read: Callable[[Entry], T]) -> tuple[T, ...]:
        """The elements of a list, each as ``read`` makes it."""
        return tuple(read(element) for element in self.elements())

    @property
    def text(self) -> str:
        """The value as a text."""
        if not isinstance(self.value, str):
            raise self.expected("a text")
        return self.value

    @property
    def flag(self) -> bool:
        """The value as true or false."""
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def choice(self, options: Iterable[str]) -> str:
        """The value as one of a few words."""
        options = tuple(options)
        if self.value not in options:
            raise self.expected(f"one of {', '.join(options)}")
        return str(self.value)

    @property
    def number(self) -> float:
        """The value as a finite number, of either sign."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.expected("a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.expected("a finite number")
        return number

    def numbers(self, low: float, high: float) -> list[float]:
        """The value as a list of finite numbers from ``low`` to ``high``."""
        numbers = self.list_of(int, float)
        if not numbers or (low <= min(numbers) and max(numbers) <= high and math.isfinite(sum(numbers))):
            return numbers
        for element in self.elements():
            if not low <= element.number <= high:
                raise element.expected(f"a number from {low:g} to {high:g}")
        return numbers

    def list_of(self, *types: type) -> list[Any]:
        """The value as a list, long ones quickly read, of nothing but values of these types."""
        if not isinstance(self.value, list):
            raise self.expected("a list")
        if not set(map(type, self.value)) <= set(types):
            wrong = next(element for element in self.elements() if type(element.value) not in types)
            raise wrong.expected("a " + " or ".join(_WORDS[kind] for kind in types))
        return self.value

    @property
    def positive(self) -> float:
        """The value as a number above zero."""
        if self.number <= 0:
            raise self.expected("a number above zero")
        return self.number

    @property
    def share(self) -> float:
        """The value as a number of at least zero: an efficiency may be above one, but never below zero."""
        if self.number < 0:
            raise self.expected("a number of at least zero")
        return self.number

    @property
    def count(self) -> int:
        """The value as a whole number of at least zero."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self.expected("a whole number of at least zero")
        return self.value

    def scalar(self) -> str | int | float | bool | None:
        """The value as a text, number, true, false or null."""
        if isinstance(self.value, list | dict):
            raise self.expected("a text or number")
        if isinstance(self.value, float):
            return self.number
        value: str | int | bool | None = self.value
        return value

    def checked(self) -> Any:
        """The value with everything in it, whose numbers are all finite."""
        if isinstance(self.value, dict):
            return {key: child.checked() for key, child in self.items()}
        if isinstance(self.value, list):
            return list(self.value) if _plain(self.value) else [child.checked() for child in self.elements()]
        return self.scalar()


def _plain(values: list[Any]) -> bool:
    """Whether a list, of thousands of numbers perhaps, is clearly one of texts or of finite numbers."""
    kinds = set(map(type, values))
    return kinds <= {str} or (kinds <= {float} and math.isfinite(sum(values)))
