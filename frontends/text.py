"""The text form as an input: what ``--emit=text`` wrote, or what a test or a reproducer holds."""

from __future__ import annotations

import re
from pathlib import Path

from ..ir import Graph, ParseError, parse
from .registry import Frontend, FrontendError, register

__all__ = ["load_text", "without_path"]

_START = re.compile(rb'\s*(//[^\n]*\n\s*)*"graphs\.graph"')


def load_text(path: Path) -> Graph:
    """Read a graph from its text form.

    Raises:
        FrontendError: the text is no IR.
    """
    try:
        return without_path(parse(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise FrontendError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except ParseError as error:
        raise FrontendError(f"{path}:{error}") from None


def without_path(graph: Graph) -> Graph:
    """Return the graph without the file that a text says it came from: nobody is to open what a text names."""
    graph.attributes.pop("path", None)
    return graph


register(Frontend("text", lambda head: _START.match(head) is not None or head.lstrip().startswith(b"//"), load_text))
