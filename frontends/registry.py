"""Which frontend reads a file: the first one that recognises its content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..ir import Graph, verify
from ..ir.errors import GraphsError
from .other_formats import described

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Frontend", "FrontendError", "frontends", "load", "load_entry_points", "register"]

HEAD_BYTES = 4096


class FrontendError(GraphsError):
    """The input is not a model that can be read."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """A source format: its name, whether a file's first bytes look like it, and how to read a file.

    ``load_entry`` reads the entry point of a name, where files of the format may have several.
    """

    name: str
    recognises: Callable[[bytes], bool]
    load: Callable[[Path], Graph]
    load_entry: Callable[[Path, str], Graph] | None = None


_BUILTIN = ("text", "tflite", "pt2", "onnx")
_FRONTENDS: dict[str, Frontend] = {}

ENTRY_POINTS = "graphs.frontends"
_LOADED: list[str] = []


def register(frontend: Frontend) -> None:
    """Add a frontend.

    Raises:
        ValueError: there is one of this name.
    """
    if frontend.name in _FRONTENDS:
        raise ValueError(f"frontend {frontend.name!r} is registered already")
    _FRONTENDS[frontend.name] = frontend


@cache
def _entry_points() -> tuple[EntryPoint, ...]:
    """Those of the installed packages; finding them takes as long as reading a small model."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINTS))


def load_entry_points() -> list[str]:
    """Load the frontends of installed packages, once, and return what went wrong; a broken one stops no other.

    An entry point of the group ``graphs.frontends`` names a :class:`Frontend`, or a module whose import registers one.
    """
    problems = []
    for entry in _entry_points():
        if entry.value in _LOADED:
            continue
        _LOADED.append(entry.value)
        try:
            loaded = entry.load()
            if isinstance(loaded, Frontend):
                register(loaded)
        except Exception as error:  # whatever an installed package does wrong, the tool still works without it
            problems.append(f'frontend "{entry.name}" ({entry.value}) is not loaded: {type(error).__name__}: {error}')
    return problems


def frontends() -> tuple[Frontend, ...]:
    """Return all frontends in the order in which they are asked: those of installed packages, then those built in.

    What a package recognises may look like something else as well: a format of its own inside a zip archive.
    """
    load_entry_points()
    for name in _BUILTIN:
        import_module(f".{name}", __package__)
    builtin = {f"{__package__}.{name}" for name in _BUILTIN}
    return tuple(sorted(_FRONTENDS.values(), key=lambda frontend: frontend.load.__module__ in builtin))


def load(path: str | Path, entry: str | None = None) -> Graph:
    """Read a model file of any known format and return its verified graph.

    ``entry`` names one of several entry points that the file has; without it, the first is read.

    Raises:
        FrontendError: the file cannot be read, holds no model, or has no such entry point.
    """
    known = frontends()
    source = Path(path)
    head = _head(source)
    for frontend in known:
        if frontend.recognises(head):
            graph = frontend.load(source) if entry is None else _load_entry(frontend, source, entry)
            verify(graph)
            return graph
    names = ", ".join(sorted(_FRONTENDS))
    shown = head[:12].decode("ascii", "backslashreplace")
    what, way_out = described(head) or (f"its first bytes are {shown!r}", "did a download fail, or is it compressed?")
    raise FrontendError(f"{source}: not a model of a known format ({names}): {what}", help=way_out)


def _load_entry(frontend: Frontend, source: Path, entry: str) -> Graph:
    if frontend.load_entry is None:
        raise FrontendError(
            f"{source}: a model of format {frontend.name} has one entry point", help="leave its name out"
        )
    return frontend.load_entry(source, entry)


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise FrontendError(f"{path}: is a directory, not a model file", help="name the model file inside it")
    if path.exists() and not path.is_file():
        raise FrontendError(f"{path}: is no plain file", help="name a file: a pipe or a device cannot be read twice")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise FrontendError(f"{path}: {error.strerror or error}") from None
    if not head:
        raise FrontendError(f"{path}: the file is empty", help="did a download fail?")
    return head
