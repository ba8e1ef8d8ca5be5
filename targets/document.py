"""YAML files as trees in which every key and value knows its line.

The files are read as untrusted: one plain document, at most a megabyte, no aliases, no tags, little nesting, no
key twice. Plain scalars mean what they mean in YAML 1.2 (`on` is a word, `1:30` is no number of seconds).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import TargetError, Where

__all__ = ["Document", "Node", "parse_document", "read_document"]

LARGEST_FILE = 1_000_000
DEEPEST_NESTING = 24
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(slots=True)
class Node:
    """A value in a YAML file: a mapping, a list or a scalar's text; `key_where` is the place of the key it is under.

    `source` and `note` are set by a power mode that overrides the value, and hold instead of those around it.
    """

    where: Where
    value: dict[str, Node] | list[Node] | str
    plain: bool = False
    key_where: Where | None = None
    source: str | None = None
    note: str | None = None

    @property
    def is_null(self) -> bool:
        """Whether this is an empty or `null` scalar."""
        return self.plain and self.value in ("", "null", "~")

    def to_python(self) -> Any:
        """Dicts, lists, strings, numbers, booleans and None."""
        if isinstance(self.value, dict):
            return {key: child.to_python() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.to_python() for child in self.value]
        return self.value if not self.plain else _plain_scalar(self.value)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's tree, and where the file is (None for a text that is in no file)."""

    root: Node
    path: Path | None = None


def read_document(path: Path, shown: str | None = None) -> Document:
    """The tree of a YAML file; `shown` is what errors call the file. Raises `TargetError`."""
    name = shown or str(path)
    try:
        if path.exists() and not path.is_file():
            raise TargetError("not a file", Where(name))
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise TargetError(f"the file has more than {LARGEST_FILE:,} bytes, the most for a target", Where(name))
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TargetError(f"not a text file (byte {error.start} is no UTF-8)", Where(name)) from error
    except OSError as error:
        raise TargetError(f"cannot read the file: {error.strerror or error}", Where(name)) from error
    return Document(parse_document(text, name), path)


def parse_document(text: str, file: str) -> Node:
    """The tree of a YAML text; `file` is what errors call it. Raises `TargetError`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = _Builder(file).build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Where(file, mark.line + 1, mark.column + 1) if mark else Where(file)
        raise TargetError(f"not valid YAML: {error.problem or error.context}", where) from error
    except yaml.YAMLError as error:
        raise TargetError(f"not valid YAML: {' '.join(str(error).split())}", Where(file)) from error
    if root is None:
        raise TargetError("the file is empty", Where(file))
    return root


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been seen, and in a mapping the key that waits for its value."""

    node: Node
    key: Node | None = None


@dataclass(slots=True)
class _Builder:
    """Builds the tree from parser events, without recursion, so that hostile nesting costs nothing."""

    file: str
    stack: list[_Open] = field(default_factory=list)
    root: Node | None = None

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and self.root is not None:
                raise TargetError("expected one YAML document, found a second", self._where(event))
            if kind == "AliasEvent":
                raise TargetError(f"aliases are not allowed (*{event.anchor}): write the value out, or use `extends`",
                                  self._where(event))  # fmt: skip
            if kind in ("MappingEndEvent", "SequenceEndEvent"):
                self.stack.pop()
            elif kind in ("ScalarEvent", "MappingStartEvent", "SequenceStartEvent"):
                self._refuse(event)
                self._place(self._node(event, kind))
        return self.root

    def _where(self, event: Any) -> Where:
        return Where(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _refuse(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            raise TargetError(f"tags are not allowed ({event.tag})", self._where(event))
        if event.anchor is not None:
            raise TargetError(f"anchors are not allowed (&{event.anchor}): use `extends`", self._where(event))
        if len(self.stack) >= DEEPEST_NESTING:
            raise TargetError(f"nested deeper than {DEEPEST_NESTING} levels", self._where(event))

    def _node(self, event: Any, kind: str) -> Node:
        where = self._where(event)
        if kind == "ScalarEvent":
            return Node(where, event.value, plain=not event.style)
        return Node(where, {} if kind == "MappingStartEvent" else [])

    def _place(self, node: Node) -> None:
        if self.root is None:
            self.root = node
        elif self.stack:
            self._place_inside(self.stack[-1], node)
        if not isinstance(node.value, str):
            self.stack.append(_Open(node))

    def _place_inside(self, parent: _Open, node: Node) -> None:
        children = parent.node.value
        if isinstance(children, list):
            children.append(node)
            return
        assert isinstance(children, dict)
        if parent.key is None:
            self._check_key(children, node)
            parent.key = node
            return
        node.key_where = parent.key.where
        children[str(parent.key.value)] = node
        parent.key = None

    def _check_key(self, children: dict[str, Node], key: Node) -> None:
        if not isinstance(key.value, str):
            raise TargetError("a key must be a word", key.where)
        if key.value in children:
            first = children[key.value].key_where
            line = first.line if first else 0
            raise TargetError(f'"{key.value}" is given twice (first on line {line})', key.where)


def _plain_scalar(text: str) -> Any:
    if text in ("", "null", "~"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
