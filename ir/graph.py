"""The graph: operations joined by values, kept in a networkx ``MultiDiGraph``.

Operations are the nodes. Each operand use is one edge from the operation that makes the value to the one that reads it,
keyed by operand index and carrying the value: ``Mul(x, x)`` has two edges. Graph inputs, constants and outputs are
operations too, so every edge has two ends.

The one truth about uses is :attr:`Op.operands`; the edges, and what each value keeps for itself, index the other
direction. Only :meth:`Graph.add`, :meth:`Graph.set_operand`, :meth:`Graph.replace` and :meth:`Graph.erase` touch them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import networkx as nx

from .attributes import Attribute, Dense, same_attribute
from .facts import FactMap
from .limits import make_room
from .location import UNKNOWN_LOCATION, Location
from .order import topological_order
from .types import TensorType, Type

__all__ = ["CONSTANT", "INPUT", "OUTPUT", "Graph", "Op", "Value"]

INPUT = "graphs.input"
OUTPUT = "graphs.output"
CONSTANT = "graphs.constant"

T = TypeVar("T")

_LAST = 1 << 62
"""Ends an operation's place in the order: what is put before it takes its place, then its own number, and so on."""


class Value:
    """What an operation makes and others read. Compares by identity."""

    __slots__ = ("_uses", "index", "name", "op", "type")

    def __init__(self, name: str, type: Type, op: Op, index: int) -> None:
        self._uses: dict[tuple[Op, int], None] = {}
        self.name = name
        self.type = type
        self.op = op
        self.index = index

    @property
    def is_constant(self) -> bool:
        """Whether the value is a weight or another constant; inside a kernel, whether the input stands for one."""
        return self.op.name == CONSTANT or self.op.attributes.get("constant") is True

    @property
    def constant(self) -> Dense | None:
        """The value's elements where it is a constant small enough to be kept, else ``None``."""
        value = self.op.attributes.get("value") if self.is_constant else None
        return value if isinstance(value, Dense) else None

    @property
    def bytes(self) -> int | None:
        """Size in memory; ``None`` where it is not known or the value is no tensor."""
        return self.type.bytes if isinstance(self.type, TensorType) else None

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


class Op:
    """An operation: a dialect-qualified name, operands, results, attributes, regions, a location and facts.

    An operand that the source leaves out is ``None``. The last ``attributes["captures"]`` operands are values that the
    regions read from outside: every region has an input for each of them, after its own. Compares by identity.
    """

    __slots__ = ("_operands", "_pending", "attributes", "facts", "loc", "name", "order", "regions", "results")

    def __init__(
        self,
        name: str,
        operands: tuple[Value | None, ...],
        attributes: Mapping[str, Attribute],
        regions: tuple[Graph, ...],
        loc: Location,
        order: tuple[int, ...],
    ) -> None:
        self.name = name
        self._operands = operands
        self._pending: dict[int, Value | None] | None = None
        self.results: tuple[Value, ...] = ()
        self.attributes = MappingProxyType(dict(attributes))
        self.regions = regions
        self.loc = loc
        self.facts = FactMap()
        self.order = order

    @property
    def operands(self) -> tuple[Value | None, ...]:
        """What the operation reads, in order; ``None`` where the source leaves an operand out."""
        if self._pending is not None:
            changed = list(self._operands)
            for index, value in self._pending.items():
                changed[index] = value
            self._operands, self._pending = tuple(changed), None
        return self._operands

    @operands.setter
    def operands(self, operands: tuple[Value | None, ...]) -> None:
        self._operands, self._pending = operands, None

    def _put_operand(self, index: int, value: Value | None) -> Value | None:
        """Change one operand and return what it was; a join of thousands is not copied for each of them."""
        if self._pending is None:
            self._pending = {}
        old = self._pending.get(index, self._operands[index])
        self._pending[index] = value
        return old

    @property
    def dialect(self) -> str:
        """The part of the name before the last dot: ``com.microsoft`` of ``com.microsoft.FusedMatMul``."""
        return self.name.rpartition(".")[0]

    @property
    def base_name(self) -> str:
        """The name without its dialect."""
        return self.name.rpartition(".")[2]

    @property
    def label(self) -> str:
        """What to call this operation in a report: its source name, else its first result's, else its kind."""
        return self.loc.name or (self.results[0].name if self.results else self.name)

    @property
    def result(self) -> Value:
        """The only result.

        Raises:
            ValueError: there is none, or more than one.
        """
        (value,) = self.results
        return value

    @property
    def inputs(self) -> Iterator[Value]:
        """The operands that are there."""
        return (value for value in self.operands if value is not None)

    def operand(self, index: int) -> Value | None:
        """Return operand ``index``, ``None`` where the source leaves it out or has fewer."""
        return self.operands[index] if index < len(self.operands) else None

    def __repr__(self) -> str:
        return f"<{self.name} {self.label!r}>"


class Graph:
    """A network, a subgraph's body or the inside of a fused kernel.

    ``attributes`` says where a graph came from (format, opsets, producer, file). ``revision`` counts mutations and keys
    the cached order and analyses. ``nested`` is how many graphs are inside each other below this one, or were.
    """

    def __init__(self, name: str = "graph", attributes: Mapping[str, Attribute] | None = None) -> None:
        self.name = name
        self.attributes: dict[str, Attribute] = dict(attributes or {})
        self.revision = 0
        self.nested = 0
        self._nx: nx.MultiDiGraph[Op] = nx.MultiDiGraph()
        self._view: nx.MultiDiGraph[Op] = _frozen_view(self._nx)
        self._values: dict[str, Value] = {}
        self._suffixes: dict[str, int] = {}
        self._serial = 0
        self._cache: dict[object, tuple[int, object]] = {}

    __hash__ = None  # type: ignore[assignment]  # graphs compare by structure

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def nx(self) -> nx.MultiDiGraph[Op]:
        """A live, read-only networkx view: nodes are :class:`Op`, each edge's ``value`` is the :class:`Value`."""
        return self._view

    @property
    def ops(self) -> tuple[Op, ...]:
        """All operations in topological order; the order depends on structure and insertion, not on names.

        Raises:
            CycleError: there is no such order.
        """
        return self.cached(topological_order)

    @property
    def inputs(self) -> tuple[Op, ...]:
        """The input operations, in order."""
        return self.cached(_inputs)

    @property
    def outputs(self) -> tuple[Op, ...]:
        """The output operations, in order; the operand of each is the value the graph returns."""
        return self.cached(_outputs)

    @property
    def body(self) -> tuple[Op, ...]:
        """The operations that compute: all but inputs, constants and outputs."""
        return self.cached(_body)

    def __len__(self) -> int:
        return len(self._nx)

    def __contains__(self, op: Op) -> bool:
        return op in self._nx

    def value(self, name: str) -> Value:
        """Return the value called ``name``.

        Raises:
            KeyError: the graph has none.
        """
        return self._values[name]

    def values(self) -> Iterator[Value]:
        """All values, in topological order of the operations that make them."""
        return (value for op in self.ops for value in op.results)

    def uses(self, value: Value) -> list[tuple[Op, int]]:
        """Return every (operation, operand index) that reads ``value``, in the order they came to."""
        return list(value._uses)

    def users(self, op: Op) -> list[Op]:
        """Return the operations that read any result of ``op``, each once."""
        return list(self._nx.successors(op))

    def each_user(self, op: Op) -> Iterator[Op]:
        """The same one at a time, for whoever stops at the first of what may be thousands."""
        return self._nx.successors(op)

    def cached(self, analysis: Callable[[Graph], T]) -> T:
        """Return ``analysis(self)``, computed at most once for each revision of the graph."""
        entry = self._cache.get(analysis)
        if entry is None or entry[0] != self.revision:
            entry = (self.revision, analysis(self))
            self._cache[analysis] = entry
        return entry[1]  # type: ignore[return-value]  # keyed by the function that made it

    def walk(self) -> Iterator[Op]:
        """All operations of this graph and of the regions inside it, outer before inner."""
        stack = [iter(self.ops)]
        while stack:
            op = next(stack[-1], None)
            if op is None:
                stack.pop()
                continue
            yield op
            stack.extend(iter(region.ops) for region in reversed(op.regions))

    # -- changing -----------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        operands: Sequence[Value | None] = (),
        results: Sequence[tuple[str, Type]] = (),
        attributes: Mapping[str, Attribute] | None = None,
        *,
        regions: Sequence[Graph] = (),
        loc: Location = UNKNOWN_LOCATION,
        before: Op | None = None,
    ) -> Op:
        """Add an operation and return it.

        ``results`` gives each result's name and type; a name that is taken gets a numeric suffix. ``before`` places the
        operation in front of another one wherever the data flow leaves a choice.

        Raises:
            ValueError: an operand is no value of this graph.
        """
        self._require(operands)
        self._serial += 1
        order = (*(before.order[:-1] if before else ()), self._serial, _LAST)
        op = Op(name, (), attributes or {}, tuple(regions), loc, order)
        if op.regions:
            self.nested = max(self.nested, *(region.nested + 1 for region in op.regions))
            make_room(self.nested)
        self._nx.add_node(op)
        op.results = tuple(Value("", type, op, index) for index, (_, type) in enumerate(results))
        for result, (wanted, _) in zip(op.results, results, strict=True):
            result.name = self._fresh(wanted)
            self._values[result.name] = result
        op.operands = tuple(operands)
        for index, value in enumerate(op.operands):
            if value is not None:
                self._join(value, op, index)
        self.revision += 1
        return op

    def set_operand(self, op: Op, index: int, value: Value | None) -> None:
        """Make operand ``index`` of ``op`` read ``value``.

        Raises:
            IndexError: the operation has no such operand.
            ValueError: ``value`` is no value of this graph.
        """
        if not 0 <= index < len(op._operands):
            raise IndexError(f"{op.label} has {len(op.operands)} operands, none is number {index}")
        self._require((value,))
        old = op._put_operand(index, value)
        if old is not None:
            self._nx.remove_edge(old.op, op, key=index)
            del old._uses[op, index]
        if value is not None:
            self._join(value, op, index)
        self.revision += 1

    def replace(self, op: Op, values: Sequence[Value]) -> None:
        """Make every reader of ``op``'s results read ``values`` instead, then erase ``op``."""
        if len(values) != len(op.results):
            raise ValueError(f"{op.label}: {len(op.results)} results cannot be replaced by {len(values)} values")
        for old, new in zip(op.results, values, strict=True):
            for user, index in self.uses(old):
                self.set_operand(user, index, new)
        self.erase(op)

    def erase(self, op: Op) -> None:
        """Remove an operation that nothing reads.

        Raises:
            ValueError: some operation still reads one of its results.
        """
        if self._nx.out_degree(op):
            raise ValueError(f"{op.label} cannot be erased: {self.users(op)[0].label} reads it")
        self._nx.remove_node(op)
        for index, operand in enumerate(op.operands):
            if operand is not None:
                del operand._uses[op, index]
        for value in op.results:
            del self._values[value.name]
        op.operands = ()
        self.revision += 1

    def retype(self, value: Value, type: Type) -> None:
        """Give a value another type."""
        value.type = type
        self.revision += 1

    def rename(self, value: Value, name: str) -> None:
        """Give a value another name, suffixed if it is taken."""
        del self._values[value.name]
        value.name = self._fresh(name)
        self._values[value.name] = value

    def clone(self, name: str | None = None) -> Graph:
        """Return a copy that shares nothing mutable with this graph; facts, being frozen, are taken along."""
        copy = Graph(self.name if name is None else name, self.attributes)
        image: dict[Value | None, Value | None] = {None: None}
        for op in self.ops:
            twin = copy.add(
                op.name,
                [image[value] for value in op.operands],
                [(value.name, value.type) for value in op.results],
                op.attributes,
                regions=[region.clone() for region in op.regions],
                loc=op.loc,
            )
            for fact in op.facts:
                twin.facts.add(fact)
            image.update(zip(op.results, twin.results, strict=True))
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        if (self.name, len(self)) != (other.name, len(other)) or not same_attribute(self.attributes, other.attributes):
            return False
        image: dict[Value | None, Value | None] = {None: None}
        for mine, theirs in zip(self.ops, other.ops, strict=True):
            if not _same_op(mine, theirs, image):
                return False
            image.update(zip(mine.results, theirs.results, strict=True))
        return True

    def __str__(self) -> str:
        from .printer import print_graph

        return print_graph(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self)} ops>"

    def _join(self, value: Value, op: Op, index: int) -> None:
        self._nx.add_edge(value.op, op, key=index, value=value)
        value._uses[op, index] = None

    def _require(self, values: Sequence[Value | None]) -> None:
        for value in values:
            if value is not None and value.op not in self._nx:
                raise ValueError(f"{value.name!r} is no value of graph {self.name!r}")

    def _fresh(self, wanted: str) -> str:
        if wanted not in self._values:
            return wanted
        suffix = self._suffixes.get(wanted, 1)
        while f"{wanted}_{suffix}" in self._values:
            suffix += 1
        self._suffixes[wanted] = suffix
        return f"{wanted}_{suffix}"


def _frozen_view(graph: nx.MultiDiGraph[Op]) -> Any:
    """A graph that shares ``graph``'s dictionaries and refuses mutation. networkx's stubs leave its type open."""
    return nx.freeze(nx.graphviews.generic_graph_view(graph))  # type: ignore[type-var]  # stubs bound it to Graph[int]


def _same_op(mine: Op, theirs: Op, image: dict[Value | None, Value | None]) -> bool:
    return (
        mine.name == theirs.name
        and len(mine.operands) == len(theirs.operands)
        and all(image[a] is b for a, b in zip(mine.operands, theirs.operands, strict=True))
        and [(v.name, v.type) for v in mine.results] == [(v.name, v.type) for v in theirs.results]
        and same_attribute(mine.attributes, theirs.attributes)
        and mine.loc == theirs.loc
        and mine.facts == theirs.facts
        and mine.regions == theirs.regions
    )


def _named(graph: Graph, name: str) -> tuple[Op, ...]:
    return tuple(op for op in graph.ops if op.name == name)


def _inputs(graph: Graph) -> tuple[Op, ...]:
    return _named(graph, INPUT)


def _outputs(graph: Graph) -> tuple[Op, ...]:
    return _named(graph, OUTPUT)


def _body(graph: Graph) -> tuple[Op, ...]:
    return tuple(op for op in graph.ops if op.name not in (INPUT, OUTPUT, CONSTANT))
