"""Typed reading of one level of a YAML tree: every key known, every value of the kind asked for, else an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .device import Source
from .document import Node
from .errors import TargetError, Where, suggestion
from .quantity import DIMENSIONS, Quantity, QuantityError, parse_quantity

__all__ = ["Cited", "Section", "fail"]

_QUANTITY_KEYS = ("value", "source", "note")
_COUNT_LIMIT = 10_000_000


def fail(message: str, node: Node, path: str, help: str | None = None) -> TargetError:
    """The error for a value, at its place."""
    return TargetError(message, node.where, path, help)


@dataclass(frozen=True, slots=True)
class Cited:
    """A source and a note that hold for all numbers of a section that were written in the same file."""

    source: str | None = None
    source_file: str = ""
    note: str = ""
    note_file: str = ""

    def source_for(self, node: Node) -> str | None:
        """The source of a number that names none itself."""
        return node.source or (self.source if self.source_file == node.where.file else None)

    def note_for(self, node: Node) -> str:
        """The remark on a number that carries none itself."""
        if node.note is not None:
            return node.note
        return self.note if self.note_file == node.where.file else ""


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping in a file, its dotted path, the sources that it may cite, and the one that holds by default.

    `strict` refuses numbers without a source; everything that ships is read so.
    """

    node: Node
    path: str
    sources: Mapping[str, Source]
    cited: Cited
    strict: bool

    @staticmethod
    def root(node: Node, sources: Mapping[str, Source], strict: bool, path: str = "") -> Section:
        """The section of a whole file."""
        if not isinstance(node.value, dict):
            raise fail("expected a mapping of keys to values", node, path)
        return Section(node, path, sources, Cited(), strict)

    @property
    def children(self) -> dict[str, Node]:
        """The mapping itself."""
        assert isinstance(self.node.value, dict)
        return self.node.value

    def __contains__(self, key: str) -> bool:
        return key in self.children

    def path_of(self, key: str) -> str:
        """The dotted path of a key in this section."""
        return f"{self.path}.{key}" if self.path else key

    def only(self, *allowed: str) -> None:
        """Refuse keys that mean nothing here."""
        for key, child in self.children.items():
            if key not in allowed:
                known = ", ".join(sorted(allowed))
                raise TargetError(
                    f'unknown key "{key}"{suggestion(key, allowed)}', child.key_where, self.path, help=f"known: {known}"
                )

    def need(self, key: str) -> Node:
        """A value that must be there."""
        if key not in self.children:
            raise TargetError(f'"{key}" is missing', self.node.key_where or self.node.where, self.path)
        return self.children[key]

    def text(self, key: str, default: str | None = None) -> str:
        """A word or sentence; an absent one is an error unless there is a default."""
        if key not in self.children and default is not None:
            return default
        node = self.need(key)
        if not isinstance(node.value, str) or not node.value.strip() or node.is_null:
            raise fail("expected a text", node, self.path_of(key))
        return node.value.strip()

    def choice(self, key: str, options: Iterable[str], default: str | None = None) -> str:
        """One of a few words."""
        if key not in self.children and default is not None:
            return default
        word = self.text(key)
        if word not in tuple(options):
            raise fail(f'expected one of {", ".join(options)}, got "{word}"', self.need(key), self.path_of(key))
        return word

    def names(self, key: str, known: Iterable[str] | None = None) -> tuple[str, ...]:
        """A list of words, each known and given once."""
        node = self.need(key)
        if not isinstance(node.value, list):
            raise fail("expected a list such as [first, second]", node, self.path_of(key))
        return tuple(self._word(item, self.path_of(key), known, node.value[:i]) for i, item in enumerate(node.value))

    def _word(self, item: Node, path: str, known: Iterable[str] | None, before: list[Node]) -> str:
        if not isinstance(item.value, str) or not item.value:
            raise fail("expected a word", item, path)
        if known is not None and item.value not in tuple(known):
            raise fail(f'unknown "{item.value}"{suggestion(item.value, known)}', item, path)
        if any(other.value == item.value for other in before):
            raise fail(f'"{item.value}" is listed twice', item, path)
        return item.value

    def section(self, key: str) -> Section:
        """The mapping under a key, with its own default source where it names one."""
        return self._below(self.need(key), self.path_of(key))

    def sections(self, *besides: str) -> Iterator[tuple[str, Section]]:
        """Every mapping in this section, but for the keys named."""
        for key, child in self.children.items():
            if key not in besides:
                yield key, self._below(child, self.path_of(key))

    def _below(self, node: Node, path: str) -> Section:
        if not isinstance(node.value, dict):
            raise fail("expected a mapping of keys to values", node, path)
        below = Section(node, path, self.sources, self.cited, self.strict)
        return Section(node, path, self.sources, below._own_citation(), self.strict)

    def _own_citation(self) -> Cited:
        source, note = self.children.get("source"), self.children.get("note")
        if source is None and note is None:
            return self.cited
        cited = self.cited
        if source is not None:
            name = self._source_name(source, self.path_of("source"))
            cited = replace(cited, source=name, source_file=source.where.file)
        return cited if note is None else replace(cited, note=self.text("note"), note_file=note.where.file)

    def _source_name(self, node: Node, path: str) -> str:
        if not isinstance(node.value, str) or node.value not in self.sources:
            word = node.value if isinstance(node.value, str) else ""
            raise fail(f'no source "{word}" in `sources`{suggestion(word, self.sources)}', node, path)
        return node.value

    def quantity(self, key: str, dimension: str) -> Quantity:
        """A number with a unit: `68 GB/s`, or `{value: 68 GB/s, source: datasheet, note: …}`."""
        return self.number(self.need(key), self.path_of(key), dimension)

    def varying(self, key: str, dimension: str) -> Quantity:
        """A number that varies from case to case: `{value: 5 us, range: [3 us, 12 us], …}`."""
        node, path = self.need(key), self.path_of(key)
        made = self.number(node, path, dimension, (*_QUANTITY_KEYS, "range"))
        if not isinstance(node.value, dict) or "range" not in node.value:
            return made
        ends = node.value["range"]
        if not isinstance(ends.value, list) or len(ends.value) != 2:
            raise fail("expected the two ends, such as [3 us, 12 us]", ends, f"{path}.range")
        cited = self._below(node, path)
        low, high = (cited.number(end, f"{path}.range", dimension).value for end in ends.value)
        if not low <= made.value <= high:
            raise fail(f"expected a range that holds the value, {made}", ends, f"{path}.range")
        return replace(made, span=(low, high))

    def number(self, node: Node, path: str, dimension: str, keys: Sequence[str] = _QUANTITY_KEYS) -> Quantity:
        """The number that a node is; see `quantity`. The dimension `count` is a whole number above zero."""
        written, cited, note = node, self.cited, None
        if isinstance(node.value, dict):
            spelled = Section(node, path, self.sources, self.cited, self.strict)
            spelled.only(*keys)
            written, cited = spelled.need("value"), spelled._own_citation()
            note = cited.note if "note" in spelled else None
        if not isinstance(written.value, str):
            raise fail("expected one number with its unit", written, path)
        try:
            value = _count(written.value) if dimension == "count" else parse_quantity(written.value, dimension)
        except QuantityError as error:
            raise fail(str(error), written, path) from None
        note = cited.note_for(written) if note is None else note
        return Quantity(value, _si_unit(dimension), self.source_of(written, cited, path), str(written.where), note)

    def source_of(self, written: Node, cited: Cited, path: str) -> str | None:
        """The source of a number; having none is an error in a file that ships."""
        source = cited.source_for(written)
        if source is None and self.strict:
            raise fail("needs a source: name one of `sources` here or one level up", written, path)
        if source is not None and source not in self.sources:
            raise fail(f'no source "{source}" in `sources`{suggestion(source, self.sources)}', written, path)
        return source

    def where(self) -> Where:
        """The place of this section's key."""
        return self.node.key_where or self.node.where


def _count(text: str) -> float:
    if len(text) > 8 or not text.isdecimal() or not 1 <= int(text) <= _COUNT_LIMIT:
        raise QuantityError(f'expected a whole number above zero, got "{text}"')
    return float(int(text))


def _si_unit(dimension: str) -> str:
    return "" if dimension == "count" else DIMENSIONS[dimension].si_unit
