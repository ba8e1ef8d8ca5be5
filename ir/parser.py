"""Reads the text form back: the inverse of :mod:`graphs.ir.printer`."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn, TypeVar

from .attributes import Attribute, Dense
from .codec import decode
from .errors import GraphsError
from .facts import fact_types
from .graph import Graph, Op, Value
from .location import UNKNOWN_LOCATION, Location, Origin
from .types import Dim, DType, OptionalType, SequenceType, Symbol, TensorType, Type, UnknownType

__all__ = ["ParseError", "parse", "parse_all"]

T = TypeVar("T")

_TOKEN = re.compile(
    r"""(?P<space>(?:\s+|//[^\n]*)+)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<value>%(?:[A-Za-z_$.-][A-Za-z0-9_$.-]*|[0-9]+))
      | (?P<opaque>[\#!][A-Za-z_][A-Za-z0-9_.]*)
      | (?P<arrow>->)
      | (?P<dims>(?:[0-9]+|\?|\*)x(?:(?:[0-9]+|\?)x)*(?=[A-Za-z!]))
      | (?P<number>-?(?:0x[0-9A-Fa-f]+|[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?)?))
      | (?P<word>[A-Za-z_][A-Za-z0-9_$.]*)
      | (?P<mark>[()\[\]{}<>=,:])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb'\\([0-9A-Fa-f]{2}|["\\nt])')
_DTYPES = {dtype.mlir: dtype for dtype in DType}
_RESERVED = ("operandSegmentSizes", "graphs.names", "graphs.regions")
_NESTING_LIMIT = 250


class ParseError(GraphsError, ValueError):
    """The text is not IR; ``line`` and ``column`` (from 1) say where."""

    def __init__(self, message: str, line: int, column: int) -> None:
        self.line = line
        self.column = column
        super().__init__(f"{line}:{column}: {message}")


def parse(text: str) -> Graph:
    """Return the one graph that ``text`` holds.

    Raises:
        ParseError: the text is no IR, or holds none or several graphs.
    """
    graphs = parse_all(text)
    if len(graphs) != 1:
        raise ParseError(f"expected one graph, found {len(graphs)}", 1, 1)
    return graphs[0]


def parse_all(text: str) -> list[Graph]:
    """Return the graphs of ``text``, in order."""
    parser = _Parser(text)
    graphs = []
    while parser.kind != "end":
        graphs.append(parser.graph())
    return graphs


class _Parser:
    """Recursive descent over the tokens, one function per construct."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self.kind = self.token = ""
        self._start = 0
        self._advance()

    # -- tokens -------------------------------------------------------------------------------------------------------

    def _advance(self) -> str:
        taken = self.token
        while True:
            match = _TOKEN.match(self._text, self._position)
            self._start = self._position
            if match is None:
                self.kind, self.token = "end", ""
                if self._position < len(self._text):
                    self.fail(f"unexpected character {self._text[self._position]!r}")
                return taken
            self._position = match.end()
            if match.lastgroup != "space":
                self.kind, self.token = str(match.lastgroup), match.group()
                return taken

    def fail(self, message: str) -> NoReturn:
        line = self._text.count("\n", 0, self._start) + 1
        raise ParseError(message, line, self._start - (self._text.rfind("\n", 0, self._start) + 1) + 1)

    def _expect(self, token: str) -> None:
        if self.token != token or self.kind == "string":
            self.fail(
                f"expected {token!r}, found {self.token!r}" if self.token else f"expected {token!r} before the end"
            )
        self._advance()

    def _accept(self, token: str) -> bool:
        if self.token != token or self.kind == "string":
            return False
        self._advance()
        return True

    def _take(self, kind: str, what: str) -> str:
        if self.kind != kind:
            self.fail(f"expected {what}, found {self.token!r}")
        return self._advance()

    def _list(self, item: Callable[[], T], close: str) -> list[T]:
        items: list[T] = []
        while not self._accept(close):
            if items:
                self._expect(",")
            items.append(item())
        return items

    def _string(self) -> str:
        token = self._take("string", "a string")[1:-1]
        return token if "\\" not in token else _ESCAPE.sub(_unescape, token.encode()).decode("utf-8", "surrogatepass")

    # -- operations ---------------------------------------------------------------------------------------------------

    def graph(self) -> Graph:
        if self._string() != "graphs.graph":
            self.fail('expected "graphs.graph"')
        for token in ("(", ")", "(", "{"):
            self._expect(token)
        graph = Graph()
        self._region(graph)
        self._expect(")")
        self._name(graph, self._dictionary())
        for token in (":", "(", ")", "->", "(", ")"):
            self._expect(token)
        return graph

    def _name(self, graph: Graph, attributes: Mapping[str, Attribute]) -> None:
        name = attributes.get("sym_name")
        if not isinstance(name, str):
            self.fail("a graph needs a sym_name")
        graph.name = name
        graph.attributes = {key: value for key, value in attributes.items() if key != "sym_name"}

    def _region(self, graph: Graph) -> None:
        self._depth += 1
        if self._depth > _NESTING_LIMIT:
            self.fail(f"regions are nested more than {_NESTING_LIMIT} deep")
        scope: dict[str, Value] = {}
        while not self._accept("}"):
            self._op(graph, scope)
        self._depth -= 1

    def _op(self, graph: Graph, scope: dict[str, Value]) -> Op:
        identifiers = [] if self.kind == "string" else self._results()
        name = self._string()
        self._expect("(")
        operands = self._list(lambda: self._operand(scope), ")")
        regions = self._regions()
        attributes = dict(self._dictionary()) if self.token == "{" and self.kind == "mark" else {}
        types = self._signature(operands, identifiers)
        loc = self._location() if self._accept("loc") else UNKNOWN_LOCATION
        names = _strings(attributes.get("graphs.names")) or [identifier[1:] for identifier in identifiers]
        for region, header in zip(regions, _mappings(attributes.get("graphs.regions")), strict=True):
            self._name(region, header)
        facts = fact_types()
        kept = {
            key: value
            for key, value in attributes.items()
            if key not in _RESERVED and key.removeprefix("graphs.") not in facts
        }
        spread = self._spread(operands, attributes.get("operandSegmentSizes"))
        op = graph.add(name, spread, list(zip(names, types, strict=True)), kept, regions=regions, loc=loc)
        self._facts(op, attributes)
        for identifier, value in zip(identifiers, op.results, strict=True):
            if identifier in scope:
                self.fail(f"{identifier} is defined twice")
            scope[identifier] = value
        return op

    def _results(self) -> list[str]:
        identifiers = [self._take("value", "a result or an operation")]
        while self._accept(","):
            identifiers.append(self._take("value", "a result"))
        self._expect("=")
        return identifiers

    def _operand(self, scope: Mapping[str, Value]) -> Value:
        value = scope.get(self.token)
        if value is None:
            self.fail(f"{self.token} is not defined before it is used")
        self._advance()
        return value

    def _regions(self) -> list[Graph]:
        regions: list[Graph] = []
        if self._accept("("):
            while not regions or self._accept(","):
                self._expect("{")
                regions.append(Graph())
                self._region(regions[-1])
            self._expect(")")
        return regions

    def _signature(self, operands: Sequence[Value], identifiers: Sequence[str]) -> list[Type]:
        self._expect(":")
        self._expect("(")
        written = self._list(self._type, ")")
        if written != [value.type for value in operands]:
            self.fail("the operand types written are not those of the operands")
        self._expect("->")
        types = self._list(self._type, ")") if self._accept("(") else [self._type()]
        if len(types) != len(identifiers):
            self.fail(f"{len(identifiers)} results but {len(types)} result types")
        return types

    def _spread(self, operands: Sequence[Value], segments: Attribute | None) -> list[Value | None]:
        if segments is None:
            return list(operands)
        if not isinstance(segments, tuple) or sum(bool(size) for size in segments) != len(operands):
            self.fail("operandSegmentSizes does not fit the operands")
        remaining = iter(operands)
        return [next(remaining) if size else None for size in segments]

    def _facts(self, op: Op, attributes: Mapping[str, Attribute]) -> None:
        for key, fact_type in fact_types().items():
            encoded = attributes.get(f"graphs.{key}")
            if isinstance(encoded, Mapping):
                try:
                    op.facts.add(decode(fact_type, encoded))
                except (ValueError, KeyError) as error:
                    self.fail(f"graphs.{key}: {error}")

    # -- locations ----------------------------------------------------------------------------------------------------

    def _location(self) -> Location:
        self._expect("(")
        origins = self._origins("")
        self._expect(")")
        return Location(tuple(origins))

    def _origins(self, module: str) -> list[Origin]:
        if self._accept("fused"):
            if self._accept("<"):
                module = self._string()
                self._expect(">")
            self._expect("[")
            return [origin for group in self._list(lambda: self._origins(module), "]") for origin in group]
        name = self._string()
        index = None
        if self._accept("("):
            self._string()
            self._expect(":")
            index = int(self._take("number", "an index"))
            self._expect(":")
            self._take("number", "a column")
            self._expect(")")
        return [Origin(name, module, index)]

    # -- types and attributes -----------------------------------------------------------------------------------------

    def _type(self) -> Type:
        if self._accept("tensor"):
            return self._tensor()
        name = self._take("opaque", "a type")
        if name == "!graphs.any":
            return UnknownType()
        if name not in ("!graphs.seq", "!graphs.opt"):
            self.fail(f"unknown type {name}")
        self._expect("<")
        element = self._type()
        self._expect(">")
        return SequenceType(element) if name == "!graphs.seq" else OptionalType(element)

    def _tensor(self) -> TensorType:
        self._expect("<")
        extents = self._advance()[:-1].split("x") if self.kind == "dims" else []
        dtype = self._dtype()
        names: Iterator[str] = iter(())
        if self._accept(","):
            self._expect("[")
            names = iter(self._list(self._string, "]"))
        self._expect(">")
        if extents == ["*"]:
            return TensorType(dtype, None)
        shape: list[Dim] = []
        for extent in extents:
            name = next(names, "") if extent == "?" else ""
            shape.append(Symbol(name or "?") if extent == "?" else int(extent))
        return TensorType(dtype, tuple(shape))

    def _dtype(self) -> DType:
        name = self._advance()
        if name == "complex":
            self._expect("<")
            name = f"complex<{self._advance()}>"
            self._expect(">")
        dtype = _DTYPES.get(name)
        if dtype is None:
            self.fail(f"unknown element type {name!r}")
        return dtype

    def _dictionary(self) -> dict[str, Attribute]:
        self._expect("{")
        return dict(self._list(self._entry, "}"))

    def _entry(self) -> tuple[str, Attribute]:
        key = self._string() if self.kind == "string" else self._take("word", "an attribute name")
        self._expect("=")
        return key, self._attribute()

    def _attribute(self) -> Attribute:
        if self.kind == "string":
            return self._string()
        if self.kind == "number":
            return self._number()
        if self.token == "{":
            return self._dictionary()
        if self._accept("["):
            return tuple(self._list(self._attribute, "]"))
        if self.token in ("true", "false"):
            return self._advance() == "true"
        if self._accept("dense"):
            return self._dense()
        if self._accept("#graphs.bytes"):
            self._expect("<")
            digits = self._string()
            self._expect(">")
            return bytes.fromhex(digits)
        return self._type()

    def _number(self) -> int | float:
        token = self._advance()
        if self._accept(":"):
            self._advance()
        return _number(token)

    def _dense(self) -> Dense:
        self._expect("<")
        values: list[bool | int | float | str] = []
        while self.token != ">":
            if self.kind == "string":
                values.append(json.loads(self._advance()))
            elif self.kind == "number":
                values.append(_number(self._advance()))
            elif self.token in ("true", "false"):
                values.append(self._advance() == "true")
            elif self.token in ("[", "]", ","):
                self._advance()
            else:
                self.fail(f"unexpected {self.token!r} in a dense constant")
        self._expect(">")
        self._expect(":")
        type = self._type()
        if not isinstance(type, TensorType) or type.elements != len(values):
            self.fail("the dense constant does not have as many elements as its type")
        return Dense(type, tuple(values))


def _number(token: str) -> int | float:
    if token.startswith("0x"):
        return float(struct.unpack(">d", bytes.fromhex(token[2:].zfill(16)))[0])
    return float(token) if "." in token else int(token)


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match.group(1)
    named = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\"}
    return named[escape] if escape in named else bytes.fromhex(escape.decode())


def _strings(value: Attribute | None) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, tuple) else []


def _mappings(value: Attribute | None) -> list[Mapping[str, Attribute]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, tuple) else []
