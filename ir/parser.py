"""Reads the text form back: the inverse of :mod:`graphs.ir.printer`."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

from .attributes import Attribute, Dense
from .codec import decode
from .expression import UNKNOWN_DIM, Expression
from .expression_text import ExpressionError, parse_expression
from .facts import fact_types
from .graph import Graph, Op, Value
from .lexer import DIGIT_LIMIT, Lexer, ParseError
from .limits import MOST_NESTED, make_room
from .location import UNKNOWN_LOCATION, Location, Origin
from .printer import RESERVED_KEY, UNIQUE_SUFFIX
from .types import DType, OptionalType, SequenceType, Symbol, TensorType, Type, UnknownType

__all__ = ["ParseError", "parse", "parse_all"]

_DTYPES = {dtype.mlir: dtype for dtype in DType}
_MOST_REGIONS = MOST_NESTED + 1
"""A kernel's region may be around the others."""

_SOURCE_KEY = "graphs.source."
_FLOAT_BITS = {DType.F64: (16, ">d"), DType.F32: (8, ">f"), DType.F16: (4, ">e")}


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


class _Parser(Lexer):
    """Recursive descent over the tokens, one function per construct."""

    _regions_open = 0

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
        graph.attributes = _source_attributes(attributes)

    def _region(self, graph: Graph) -> None:
        self._regions_open += 1
        if self._regions_open > _MOST_REGIONS:
            self.fail(f"regions nested more than {_MOST_REGIONS} deep")
        make_room(self._regions_open)
        scope: dict[str, Value] = {}
        while not self._accept("}"):
            self._op(graph, scope)
        self._regions_open -= 1

    def _op(self, graph: Graph, scope: dict[str, Value]) -> Op:
        identifiers = [] if self.kind == "string" else self._results()
        name = self._string()
        self._expect("(")
        operands = self._list(lambda: self._operand(scope), ")")
        regions = self._regions()
        attributes = dict(self._dictionary()) if self.token == "{" and self.kind == "mark" else {}
        types = self._signature(operands, identifiers)
        loc = self._location() if self._accept("loc") else UNKNOWN_LOCATION
        headers = attributes.get("graphs.regions", ())
        if not isinstance(headers, tuple) or len(headers) != len(regions):
            self.fail("graphs.regions does not fit the regions")
        for region, header in zip(regions, headers, strict=True):
            self._name(region, header if isinstance(header, Mapping) else {})
        results = list(zip(self._names(identifiers, attributes.get("graphs.names")), types, strict=True))
        spread = self._spread(operands, attributes.get("operandSegmentSizes"))
        op = graph.add(name, spread, results, _source_attributes(attributes), regions=regions, loc=loc)
        self._facts(op, attributes)
        self._define(op, identifiers, [wanted for wanted, _ in results], scope)
        return op

    def _names(self, identifiers: Sequence[str], written: Attribute | None) -> list[str]:
        if written is None:
            return [UNIQUE_SUFFIX.sub("", identifier[1:]) for identifier in identifiers]
        names = [item for item in written if isinstance(item, str)] if isinstance(written, tuple) else []
        if len(names) != len(identifiers):
            self.fail("graphs.names does not fit the results")
        return names

    def _define(self, op: Op, identifiers: Sequence[str], names: Sequence[str], scope: dict[str, Value]) -> None:
        for identifier, name, value in zip(identifiers, names, op.results, strict=True):
            if identifier in scope:
                self.fail(f"{identifier} is defined twice")
            if value.name != name:
                self.fail(f"two values are called {name!r}")
            scope[identifier] = value

    def _results(self) -> list[str]:
        identifiers = [self._take("value", "a result or an operation")]
        while self._accept(","):
            identifiers.append(self._take("value", "a result"))
        self._expect("=")
        return identifiers

    def _operand(self, scope: Mapping[str, Value]) -> Value:
        value = scope.get(self.token) if self.kind == "value" else None
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
            if encoded is None:
                continue
            if not isinstance(encoded, Mapping):
                self.fail(f"graphs.{key} is no dictionary")
            try:
                op.facts.add(decode(fact_type, encoded))
            except (ValueError, KeyError, TypeError) as error:
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
            self._enter()
            groups = self._list(lambda: self._origins(module), "]")
            self._depth -= 1
            return [origin for group in groups for origin in group]
        name = self._string()
        index = None
        if self._accept("("):
            self._string()
            self._expect(":")
            index = self._integer("an index")
            self._expect(":")
            self._integer("a column")
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
        self._enter()
        element = self._type()
        self._depth -= 1
        self._expect(">")
        return SequenceType(element) if name == "!graphs.seq" else OptionalType(element)

    def _tensor(self) -> TensorType:
        self._expect("<")
        extents = self._extents()
        dtype = self._dtype()
        symbols: list[Expression] = []
        if self._accept(","):
            self._expect("[")
            symbols = self._list(self._symbol, "]")
        if symbols and len(symbols) != (extents or []).count(None):
            self.fail("there are not as many symbols as open dimensions")
        self._expect(">")
        if extents is None:
            return TensorType(dtype, None)
        given = iter(symbols)
        return TensorType(dtype, tuple(next(given, UNKNOWN_DIM) if extent is None else extent for extent in extents))

    def _symbol(self) -> Expression:
        return self._expression() if self._accept("#graphs.dim") else Symbol(self._string())

    def _expression(self) -> Expression:
        self._expect("<")
        start = self._start
        made = self._parsed(self._string(), start)
        self._expect(">")
        if not isinstance(made, Expression) or not made.integral:
            self._start = start
            self.fail("expected an expression of whole numbers")
        return made

    def _parsed(self, text: str, start: int) -> object:
        try:
            return parse_expression(text)
        except ExpressionError as error:
            self._start = start
            self.fail(str(error))

    def _extents(self) -> list[int | None] | None:
        """The dimensions, ``None`` for one that is open; ``None`` in their place where not even the rank is known."""
        if self.kind != "dims":
            return []
        if self.token == "*x":
            self._advance()
            return None
        written = self.token[:-1].split("x")
        if "*" in written or len(self.token) > DIGIT_LIMIT:
            self.fail(f"expected dimensions, found {self.token!r}")
        self._advance()
        return [None if extent == "?" else int(extent) for extent in written]

    def _dtype(self) -> DType:
        name = self.token
        if name == "complex":
            self._advance()
            self._expect("<")
            name = f"complex<{self.token}>"
        dtype = _DTYPES.get(name)
        if dtype is None:
            self.fail(f"unknown element type {name!r}")
        self._advance()
        if name.startswith("complex"):
            self._expect(">")
        return dtype

    def _dictionary(self) -> dict[str, Attribute]:
        self._expect("{")
        return dict(self._list(self._entry, "}"))

    def _entry(self) -> tuple[str, Attribute]:
        key = self._string() if self.kind == "string" else self._take("word", "an attribute name")
        self._expect("=")
        return key, self._attribute()

    def _attribute(self) -> Attribute:
        self._enter()
        value = self._attribute_inside()
        self._depth -= 1
        return value

    def _attribute_inside(self) -> Attribute:
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
            return self._bytes()
        if self._accept("#graphs.count"):
            return self._expression()
        if self._accept("#graphs.dense"):
            return self._open_dense()
        return self._type()

    def _bytes(self) -> bytes:
        self._expect("<")
        try:
            digits = bytes.fromhex(self.token[1:-1] if self.kind == "string" else "?")
        except ValueError:
            self.fail("expected a string of hexadecimal digits")
        self._advance()
        self._expect(">")
        return digits

    def _number(self) -> int | float:
        token, start = self._advance(), self._start
        dtype = None
        if self._accept(":"):
            if re.fullmatch(r"i[0-9]{1,5}", self.token):
                self._advance()
            else:
                dtype = self._dtype()
        if token.startswith("0x") and dtype is None:
            self._start = start
            self.fail("a hexadecimal number needs a floating-point type")
        return self._scalar(token, dtype or DType.F64)

    def _scalar(self, token: str, dtype: DType) -> int | float:
        if "0x" in token:
            digits, layout = token[2:], _FLOAT_BITS.get(dtype)
            if dtype is DType.BF16 and len(digits) == 4:
                digits, layout = digits + "0000", _FLOAT_BITS[DType.F32]
            if layout is None or len(digits) != layout[0] or token.startswith("-"):
                self.fail(f"{token} is no number of type {dtype.mlir}")
            return float(struct.unpack(layout[1], bytes.fromhex(digits))[0])
        if len(token) > DIGIT_LIMIT:
            self.fail(f"a number of {len(token)} digits is too long")
        if "." in token and dtype.is_integer:
            self.fail(f"{token} is no number of type {dtype.mlir}")
        return float(token) if "." in token else int(token)

    def _dense(self) -> Dense:
        self._expect("<")
        elements: list[bool | str | tuple[str]] = []
        self._elements(elements)
        self._expect(">")
        self._expect(":")
        type = self._type()
        if not isinstance(type, TensorType) or type.elements != len(elements):
            self.fail("the dense constant does not have as many elements as its type")
        return Dense(type, tuple(self._scalar(*e, type.dtype) if isinstance(e, tuple) else e for e in elements))

    def _open_dense(self) -> Dense:
        """Shape arithmetic with open dimensions: numbers, and strings that hold expressions."""
        self._expect("<")
        self._expect("[")
        read = self._list(self._open_element, "]")
        self._expect(">")
        self._expect(":")
        type = self._type()
        if not isinstance(type, TensorType) or type.elements != len(read):
            self.fail("the dense constant does not have as many elements as its type")
        return Dense(type, tuple(self._scalar(*e, type.dtype) if isinstance(e, tuple) else e for e in read))

    def _open_element(self) -> tuple[str] | bool | Expression:
        if self.kind == "number":
            return (self._advance(),)
        if self.token in ("true", "false"):
            return self._advance() == "true"
        start = self._start
        made = self._parsed(self._string(), start)
        if not isinstance(made, Expression):
            self._start = start
            self.fail("a number is no expression")
        return made

    def _elements(self, elements: list[bool | str | tuple[str]]) -> None:
        """Read the elements of a dense constant, row by row; a number stays text until its type is known."""
        while self.token != ">" or self.kind == "string":
            if self.kind == "string":
                elements.append(self._string())
            elif self.kind == "number":
                elements.append((self._advance(),))
            elif self.token in ("true", "false"):
                elements.append(self._advance() == "true")
            elif self.token in ("[", "]", ","):
                self._advance()
            else:
                self.fail(f"unexpected {self.token!r} in a dense constant")


def _source_attributes(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The attributes that the text form does not use itself, under their own names."""
    return {
        key.removeprefix(_SOURCE_KEY): value
        for key, value in attributes.items()
        if key.startswith(_SOURCE_KEY) or not RESERVED_KEY.fullmatch(key)
    }
