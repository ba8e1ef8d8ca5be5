"""What the models named on the command line are: files of any format a frontend knows, or text on standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..frontends import FrontendError, load
from ..frontends.text import without_path
from ..frontends.torch_factory import is_factory_name, load_factory, parse_input
from ..ir import Graph, ParseError, parse, verify

__all__ = ["Input", "inputs_of"]

STANDARD_INPUT = "-"
_CUT = re.compile(r"^// -----[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Input:
    """A model to come: what to call it in messages, and how to read it; each call reads it anew.

    ``warning`` says what reading does beside reading.
    """

    label: str
    read: Callable[[], Graph]
    warning: str = ""


def inputs_of(name: str, split: bool, example: Sequence[str] = (), entry: str | None = None) -> list[Input]:
    """Return the models that one argument names; several only for text that is to be split.

    ``example`` are the types of the inputs of a module that a factory makes, ``entry`` names one of a file's several
    entry points.

    Raises:
        FrontendError: text that is to be split, or standard input, cannot be read.
    """
    if is_factory_name(name):
        specs = [parse_input(text) for text in example]
        return [Input(name, lambda: load_factory(name, specs), f"{name}: this imports the module and runs its code")]
    if name != STANDARD_INPUT and not split:
        return [Input(name, lambda: load(name, entry))]
    label = "standard input" if name == STANDARD_INPUT else name
    text = _text(name, label)
    chunks = _chunks(text) if split else [text]
    return [Input(label, _reader(chunk, label)) for chunk in chunks]


def _text(name: str, label: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise FrontendError(f"{label}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise FrontendError(f"{label}: not text", help="a model in a binary format is named by its file") from None


def _chunks(text: str) -> list[str]:
    """The parts of a text between its cuts, each behind as many empty lines as stand before it in the file."""
    chunks = []
    start = 0
    for end in (*(match.start() for match in _CUT.finditer(text)), len(text)):
        if text[start:end].strip():
            chunks.append("\n" * text.count("\n", 0, start) + text[start:end])
        start = end
    return chunks


def _reader(text: str, label: str) -> Callable[[], Graph]:
    def read() -> Graph:
        try:
            graph = without_path(parse(text))
        except ParseError as error:
            raise FrontendError(f"{label}:{error}") from None
        verify(graph)
        return graph

    return read
