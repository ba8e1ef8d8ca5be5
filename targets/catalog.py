"""Which devices and runtimes there are: those that ship with the package, and the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .document import Document, Node, read_document
from .errors import TargetError, suggestion
from .inheritance import inherited, mode_names

__all__ = ["RuntimeSummary", "TargetSummary", "list_runtimes", "list_targets", "open_file", "open_named"]

SHIPPED = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """A device as a list shows it; `error` says why its file cannot be used."""

    name: str
    title: str
    device_class: str
    modes: tuple[str, ...]
    runtimes: tuple[str, ...]
    path: Path
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RuntimeSummary:
    """A runtime as a list shows it; `error` says why its file cannot be used."""

    name: str
    title: str
    device_classes: tuple[str, ...]
    path: Path
    error: str | None = None


def user_folder() -> Path:
    """Where the user's own targets and runtimes are: `$XDG_DATA_HOME/graphs`, else `~/.local/share/graphs`."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "graphs"


def _folders(kind: str) -> tuple[Path, ...]:
    """Folders to look in, the user's own first. `kind` is `devices` or `runtimes`."""
    own = user_folder() / ("targets" if kind == "devices" else "runtimes")
    shipped = SHIPPED / kind
    return (own, *sorted(path for path in shipped.iterdir() if path.is_dir()), shipped)


def files(kind: str) -> dict[str, Path]:
    """Every file of a kind by name; the user's own hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in _folders(kind):
        for path in sorted(_yaml_files(folder)):
            found.setdefault(path.stem, path)
    return found


def _yaml_files(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except OSError:
        return


def is_path(text: str) -> bool:
    """Whether a target's text means a file, not a name."""
    return text.endswith(_SUFFIXES) or "/" in text or "\\" in text


def is_shipped(path: Path | None) -> bool:
    """Whether a file belongs to the package, whose numbers must all have sources."""
    return path is not None and SHIPPED in path.parents


def shown(path: Path) -> str:
    """What messages call a file: shipped ones by their place in this folder, others as the user wrote them."""
    return path.relative_to(SHIPPED).as_posix() if is_shipped(path) else str(path)


def open_file(path: Path) -> Document:
    """The tree of a device's or runtime's own file, nothing inherited yet. Raises `TargetError`."""
    document = read_document(path, shown(path))
    root = document.root
    if not isinstance(root.value, dict):
        raise TargetError("expected a mapping of keys to values", root.where)
    schema = root.value.get("schema")
    if schema is None:
        raise TargetError('"schema" is missing: begin the file with `schema: 1`', root.where)
    if schema.value != "1":
        raise TargetError(f'this version reads schema 1, not "{schema.value}"', schema.where, "schema")
    return document


def open_named(kind: str, name: str) -> Document:
    """The tree of the device or runtime of that name, or at that path. Raises `TargetError`."""
    if is_path(name):
        return open_file(Path(name))
    known = files(kind)
    if name not in known:
        word = "target" if kind == "devices" else "runtime"
        raise TargetError(f'no {word} "{name}"{suggestion(name, known)}', help=f"known: {', '.join(sorted(known))}")
    return open_file(known[name])


def resolved(kind: str, document: Document, completed: Callable[[Document], Document] = lambda opened: opened) -> Node:
    """A file's tree with all that it inherits; `completed` fills in a file that is not complete as it stands.

    Raises `TargetError`.
    """

    def open_base(name: str, child: Document, node: Node) -> Document:
        try:
            if is_path(name) and child.path is not None:
                return completed(open_file(child.path.parent / name))
            return completed(open_named(kind, name))
        except TargetError as error:
            if error.where is None:
                raise TargetError(error.message, node.where, "extends", error.help) from None
            raise

    return inherited(completed(document), open_base)


def list_targets() -> list[TargetSummary]:
    """Every device by name, each read no further than a list needs; a broken file is listed with its error."""
    return [_target_summary(name, path) for name, path in sorted(files("devices").items())]


def list_runtimes() -> list[RuntimeSummary]:
    """Every runtime by name, each read no further than a list needs; a broken file is listed with its error."""
    return [_runtime_summary(name, path) for name, path in sorted(files("runtimes").items())]


def _target_summary(name: str, path: Path) -> TargetSummary:
    try:
        tree = resolved("devices", open_file(path))
    except TargetError as error:
        return TargetSummary(name, "", "", (), (), path, str(error))
    title, device_class = _word(tree, "title"), _word(tree, "class")
    return TargetSummary(name, title, device_class, mode_names(tree), _words(tree, "runtimes"), path)


def _runtime_summary(name: str, path: Path) -> RuntimeSummary:
    try:
        tree = resolved("runtimes", open_file(path))
    except TargetError as error:
        return RuntimeSummary(name, "", (), path, str(error))
    return RuntimeSummary(name, _word(tree, "title"), _words(tree, "device_classes"), path)


def _child(tree: Node, key: str) -> Node | None:
    return tree.value.get(key) if isinstance(tree.value, dict) else None


def _word(tree: Node, key: str) -> str:
    node = _child(tree, key)
    return node.value if node is not None and isinstance(node.value, str) else ""


def _words(tree: Node, key: str) -> tuple[str, ...]:
    node = _child(tree, key)
    items = node.value if node is not None and isinstance(node.value, list) else []
    return tuple(item.value for item in items if isinstance(item.value, str))
