"""What the output goes to: whether it takes colour, how wide it is, and messages on standard error.

Names come from files, and files from anywhere: what would drive a terminal is written out before it gets there.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TextIO

__all__ = ["HARMFUL", "PIPED_WIDTH", "Messages", "ascii_only", "harmless", "takes_color", "visible", "width_of"]

PIPED_WIDTH = 120
_STYLES = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "help": "\x1b[1;36m", "note": "\x1b[1;34m"}
_LONGEST = 4000
"""Characters of a message; names may have megabytes."""
_RESET = "\x1b[0m"
_OWN_STYLES = r"\x1b\[[0-7]{1,2}m"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, what turns the direction of writing, and halves of surrogate pairs, which no encoding has."""
_HARMFUL_BUT_STYLES = re.compile(f"({_OWN_STYLES})|{HARMFUL.pattern}")
_PLAIN = {"×": "x", "→": "->", "·": "-", "–": "-", "…": "...", "≥": ">=", "≤": "<=", "Σ": "sum", "µ": "u", "±": "+-"}


def takes_color(stream: TextIO, mode: str) -> bool:
    """Whether to write colour to ``stream``: ``always``, ``never``, or ``auto``, which asks the stream and NO_COLOR."""
    if mode != "auto":
        return mode == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO, asked: int | None) -> int:
    """Columns to fill: those asked for, else the terminal's, else 120."""
    if asked:
        return asked
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if stream.isatty() else PIPED_WIDTH


class Messages:
    """Errors, warnings and notes on standard error. ``level`` is 0 for quiet, 1 for normal, 2 for verbose."""

    def __init__(self, level: int = 1, color: bool = False) -> None:
        self.level = level
        self._color = color

    def error(self, text: str, help: str = "") -> None:
        """Say what is wrong, and the way out."""
        self._write("error", text)
        if help:
            self._write("help", help)

    def warning(self, text: str) -> None:
        """Say what the user should know, unless they asked for quiet."""
        if self.level > 0:
            self._write("warning", text)

    def note(self, text: str) -> None:
        """Say what only who asks for more wants to know."""
        if self.level > 1:
            self._write("note", text)

    def plain(self, text: str) -> None:
        """Write what was asked for by an option of its own: printed IR, timings, statistics."""
        sys.stderr.write(text if text.endswith("\n") else text + "\n")

    def _write(self, kind: str, text: str) -> None:
        head = f"{_STYLES[kind]}{kind}:{_RESET}" if self._color else f"{kind}:"
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
        sys.stderr.write(f"{head} {harmless(text)}\n")


def harmless(text: str, color: bool = False) -> str:
    """The text, of any number of lines, with characters that a terminal obeys or hides written out: ``\\x1b``.

    Plain styles stay where the tool's own output has ``color``.
    """
    if not color:
        return HARMFUL.sub(lambda match: _written_out(match[0]), text)
    return _HARMFUL_BUT_STYLES.sub(lambda match: match[1] or _written_out(match[0]), text)


def visible(text: str) -> str:
    """A name for one place in one line: whatever is no printable character is written out, line ends too."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _written_out(character) for character in text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def ascii_only(text: str) -> str:
    """The text in ASCII, for terminals whose encoding lacks the characters that it uses."""
    return text.translate({ord(character): plain for character, plain in _PLAIN.items()})
