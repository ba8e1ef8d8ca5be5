"""`extends` and power modes: a tree laid over another, key by key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .document import Document, Node
from .errors import TargetError, suggestion
from .reader import fail

__all__ = ["apply_mode", "check_modes", "inherited", "mode_names"]

_LONGEST_CHAIN = 8
_OVERRIDABLE = ("units", "memories", "energy", "tdp", "dispatch", "efficiency")
_MODE_KEYS = ("source", "note")

Opener = Callable[[str, Document, Node], Document]


def inherited(document: Document, open_base: Opener) -> Node:
    """The tree of a file laid over that of the file it extends, and so on; raises `TargetError` on a circle."""
    chain = [document]
    while (extends := _extends(chain[-1].root)) is not None:
        base = open_base(str(extends.value), chain[-1], extends)
        if any(_same(base.path, earlier.path) for earlier in chain):
            names = " → ".join([*(_stem(link.path) for link in chain), _stem(base.path)])
            raise fail(f"extends itself: {names}", extends, "extends")
        if len(chain) == _LONGEST_CHAIN:
            raise fail(f"more than {_LONGEST_CHAIN} files extend one another", extends, "extends")
        chain.append(base)
    tree = chain.pop().root
    while chain:
        over = chain.pop().root
        _refuse_redefined_sources(tree, over)
        tree = _without(_merged(tree, over), "extends")
    return tree


def _extends(root: Node) -> Node | None:
    if not isinstance(root.value, dict) or "extends" not in root.value:
        return None
    node = root.value["extends"]
    if not isinstance(node.value, str) or not node.value:
        raise fail("expected the name of a device, or a path", node, "extends")
    return node


def _same(left: Path | None, right: Path | None) -> bool:
    return left is not None and right is not None and left.resolve() == right.resolve()


def _stem(path: Path | None) -> str:
    return path.stem if path is not None else "?"


def _refuse_redefined_sources(base: Node, over: Node) -> None:
    """A source that changes its meaning would make the base's numbers cite what they never stood in."""
    old, new = _mapping(base, "sources"), _mapping(over, "sources")
    for name, node in new.items():
        if name in old:
            raise TargetError(
                f'"{name}" is a source of the file that this one extends: choose another name',
                node.key_where,
                "sources",
            )


def _mapping(tree: Node, key: str) -> dict[str, Node]:
    child = tree.value.get(key) if isinstance(tree.value, dict) else None
    return child.value if child is not None and isinstance(child.value, dict) else {}


def _merged(base: Node, over: Node) -> Node:
    """`over` where it says something, `base` elsewhere; `null` takes a key away."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict) or "value" in over.value:
        return over
    children = dict(base.value)
    for key, node in over.value.items():
        if node.is_null:
            children.pop(key, None)
        else:
            children[key] = _merged(children[key], node) if key in children else node
    return Node(over.where, children, key_where=over.key_where)


def _without(tree: Node, key: str) -> Node:
    assert isinstance(tree.value, dict)
    return Node(tree.where, {name: node for name, node in tree.value.items() if name != key}, key_where=tree.key_where)


def mode_names(tree: Node) -> tuple[str, ...]:
    """The names of a device's power modes, as written."""
    return tuple(_mapping(tree, "modes"))


def check_modes(tree: Node) -> None:
    """Apply every mode once, so that a mistake in one shows whichever is asked for."""
    for mode in mode_names(tree):
        apply_mode(tree, mode)


def apply_mode(tree: Node, mode: str) -> Node:
    """The tree with a mode's overrides in place: `units.matrix.clock: 0.6 GHz`. Raises `TargetError`."""
    node = _mapping(tree, "modes")[mode]
    path = f"modes.{mode}"
    if node.is_null:
        return tree
    if not isinstance(node.value, dict):
        raise fail("expected a mapping such as {units.matrix.clock: 0.6 GHz}", node, path)
    source, note = _text(node.value.get("source")), _text(node.value.get("note"))
    for target, value in node.value.items():
        if target not in _MODE_KEYS:
            tree = _overridden(tree, target.split("."), _cited(value, source, note or ""), f"{path}.{target}")
    return tree


def _text(node: Node | None) -> str | None:
    return node.value if node is not None and isinstance(node.value, str) else None


def _cited(node: Node, source: str | None, note: str) -> Node:
    """A copy of an overriding value that carries the mode's source and note down to each number in it."""
    value: dict[str, Node] | list[Node] | str = node.value
    if isinstance(value, dict):
        value = {key: _cited(child, source, note) for key, child in value.items()}
    return Node(node.where, value, node.plain, node.key_where, source, note)


def _overridden(tree: Node, steps: list[str], new: Node, path: str) -> Node:
    here = tree
    for depth, step in enumerate(steps):
        children = here.value if isinstance(here.value, dict) else {}
        if step not in children or (depth == 0 and step not in _OVERRIDABLE):
            known = [key for key in children if depth or key in _OVERRIDABLE]
            raise TargetError(
                f'nothing to override at "{".".join(steps[: depth + 1])}"{suggestion(step, known)}', new.key_where, path
            )
        here = children[step]
    return _replaced(tree, steps, new)


def _replaced(tree: Node, steps: list[str], new: Node) -> Node:
    if not steps:
        return new if "value" in _keys(tree) else _merged(tree, new)
    assert isinstance(tree.value, dict)
    children = dict(tree.value)
    children[steps[0]] = _replaced(children[steps[0]], steps[1:], new)
    return Node(tree.where, children, key_where=tree.key_where)


def _keys(tree: Node) -> dict[str, Node]:
    return tree.value if isinstance(tree.value, dict) else {}
