"""What every command of graphs-calibrate does alike: messages, errors, and where text goes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from ...ir.errors import GraphsError
from ...ir.files import write_atomically
from ..emit.layout import Column, fitted, rendered
from ..terminal import Messages, ascii_only, takes_color, width_of

__all__ = ["Console", "cell_column", "run_guarded", "table", "write_file"]


@dataclass(frozen=True, slots=True)
class Console:
    """How to talk to the user: messages to standard error, what was asked for to standard output."""

    messages: Messages
    width: int
    color: bool
    quiet: bool

    def show(self, text: str) -> None:
        """Write to standard output; characters that the terminal's encoding lacks are replaced by the nearest ASCII."""
        text = text if text.endswith("\n") else text + "\n"
        encoding = sys.stdout.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = ascii_only(text).encode(encoding, "replace").decode(encoding)
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Tell what was done, on standard error, unless the user asked for quiet."""
        if not self.quiet:
            self.messages.plain(text)


def run_guarded(load: Callable[[], ModuleType], given: dict[str, Any]) -> int:
    """Run a command's module; an error that the user can do something about is shown with the way out.

    Raises:
        click.UsageError: ``-q`` and ``-v`` exclude each other.
    """
    quiet, verbose, color = given.pop("quiet"), given.pop("verbose"), given.pop("color")
    if quiet and verbose:
        raise click.UsageError("-q and -v exclude each other")
    messages = Messages(0 if quiet else 1 + verbose, takes_color(sys.stderr, color))
    console = Console(messages, width_of(sys.stdout, None), takes_color(sys.stdout, color), quiet)
    try:
        code: int = load().run(console, **given)
    except GraphsError as error:
        messages.error(str(error), error.help)
        return 1
    return code


def cell_column(title: str, cells: list[str], rank: int = 0, right: bool = True, least: int = 0) -> Column:
    """Return a column; texts stand on the left. Where there is a ``least`` width, it may be shortened to that."""
    return Column(title, tuple(cells), rank, right=right, least=least)


def table(columns: list[Column], console: Console) -> str:
    """Return a table that fits the terminal."""
    return rendered(fitted(columns, console.width), console.color)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        GraphsError: it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise GraphsError(f"{path}: cannot be written: {error.strerror or error}") from None
