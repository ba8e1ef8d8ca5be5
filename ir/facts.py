"""Typed facts: what a pass has found out about one operation.

A fact is a frozen dataclass that derives from :class:`Fact`; ``op.facts[Cost]`` is then a ``Cost``. Each fact type
has a ``key``, under which the text form prints it (``graphs.cost = {…}``) and exporters write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, TypeVar

from .attributes import same_attribute
from .codec import encode

__all__ = ["Fact", "FactMap", "fact_type", "fact_types"]

F = TypeVar("F", bound="Fact")

_TYPES: dict[str, type[Fact]] = {}


class Fact:
    """Base of all facts. A subclass names its key: ``class Cost(Fact, key="cost")``."""

    __slots__ = ()
    key: ClassVar[str]

    def __init_subclass__(cls, key: str | None = None) -> None:
        if key is None:
            # dataclass(slots=True) creates the class a second time and passes no keyword: the copy takes the key over.
            key = cls.key
        elif key in _TYPES:
            raise ValueError(f"fact key {key!r} is taken by {_TYPES[key].__qualname__}")
        cls.key = key
        _TYPES[key] = cls


def fact_type(key: str) -> type[Fact]:
    """Return the fact type registered under ``key``.

    Raises:
        KeyError: no module that defines it has been imported.
    """
    return _TYPES[key]


def fact_types() -> dict[str, type[Fact]]:
    """Return a copy of the registry: key to fact type."""
    return dict(_TYPES)


class FactMap:
    """The facts of one operation, at most one of each type."""

    __slots__ = ("_facts",)

    def __init__(self) -> None:
        self._facts: dict[type[Fact], Fact] = {}

    def add(self, fact: Fact) -> None:
        """Set the fact of this type, replacing an earlier one."""
        self._facts[type(fact)] = fact

    def discard(self, fact_type: type[Fact]) -> None:
        """Forget the fact of this type, if there is one."""
        self._facts.pop(fact_type, None)

    def get(self, fact_type: type[F]) -> F | None:
        """Return the fact of this type or ``None``."""
        fact = self._facts.get(fact_type)
        return fact if isinstance(fact, fact_type) else None

    def __getitem__(self, fact_type: type[F]) -> F:
        fact = self.get(fact_type)
        if fact is None:
            raise KeyError(fact_type.key)
        return fact

    def __contains__(self, fact_type: type[Fact]) -> bool:
        return fact_type in self._facts

    def __iter__(self) -> Iterator[Fact]:
        return iter(sorted(self._facts.values(), key=lambda fact: fact.key))

    def __len__(self) -> int:
        return len(self._facts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FactMap) or self._facts.keys() != other._facts.keys():
            return False
        return all(fact == other._facts[kind] or _same(fact, other._facts[kind]) for kind, fact in self._facts.items())

    __hash__ = None  # type: ignore[assignment]  # mutable, compares by value

    def __repr__(self) -> str:
        return f"FactMap({list(self)!r})"


def _same(mine: Fact, theirs: Fact) -> bool:
    """Whether two facts of one type are written alike: NaN is NaN then."""
    return same_attribute(encode(mine), encode(theirs))
