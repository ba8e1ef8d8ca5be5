"""The text form: MLIR's generic operation syntax, so that any MLIR tool that allows unregistered dialects reads it.

    "graphs.graph"() ({
      %x = "graphs.input"() : () -> tensor<1x8xf32> loc("x")
      %y = "onnx.Relu"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32> loc("relu_1")
      "graphs.output"(%y) : (tensor<1x8xf32>) -> () loc("y")
    }) {sym_name = "tiny"} : () -> ()

:func:`graphs.ir.parser.parse` reads it back to an equal graph.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping

from .attributes import Attribute, Dense
from .codec import encode
from .expression import Expression
from .expression_text import expression_text
from .graph import Graph, Op, Value
from .location import Location, Origin
from .quoting import quote
from .types import DType, OptionalType, SequenceType, TensorType, UnknownType

__all__ = ["NON_FINITE", "RESERVED_KEY", "UNIQUE_SUFFIX", "escape_key", "print_attribute", "print_graph"]

UNIQUE_SUFFIX = re.compile(r"\$[0-9]+\Z")
"""What an identifier has after its value's name where an enclosing region has one of that name: MLIR lets none be
defined again inside, and a kernel's region has inputs called like what the kernel reads."""

RESERVED_KEY = re.compile(r"sym_name|operandSegmentSizes|graphs\..*", re.DOTALL)
"""Attribute names that the text form uses itself; a source's own attribute of such a name is printed escaped."""

_IDENTIFIER = re.compile(r"[A-Za-z_$.-][A-Za-z0-9_$.-]*|[0-9]+")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_$.]*")
_TYPES = (TensorType, SequenceType, OptionalType, UnknownType)


def print_graph(graph: Graph, locations: bool = True) -> str:
    """Return the text of a graph, facts included; ``locations`` may be left out for reading."""
    return "\n".join(_graph_lines(graph, "", locations)) + "\n"


def _graph_lines(graph: Graph, indent: str, locations: bool) -> Iterator[str]:
    yield f'{indent}"graphs.graph"() ({{'
    yield from _region_lines(graph, indent + "  ", locations, set())
    yield f"{indent}}}) {print_attribute(_header(graph))} : () -> ()"


def _header(graph: Graph) -> dict[str, Attribute]:
    return {"sym_name": graph.name, **{escape_key(key): value for key, value in graph.attributes.items()}}


def escape_key(key: str) -> str:
    """Return the name under which an attribute of the source is printed."""
    return f"graphs.source.{key}" if RESERVED_KEY.fullmatch(key) else key


def _region_lines(graph: Graph, indent: str, locations: bool, taken: set[str]) -> Iterator[str]:
    """``taken`` are the identifiers of the graphs around this one, and its own while it is printed."""
    names = _identifiers(graph, taken)
    for op in graph.ops:
        yield from _op_lines(op, names, indent, locations, taken)
    taken.difference_update(names.values())


def _identifiers(graph: Graph, taken: set[str]) -> dict[Value, str]:
    """The identifiers of a graph's values, which are then taken."""
    names: dict[Value, str] = {}
    for value in graph.values():
        name = value.name
        if not _IDENTIFIER.fullmatch(name):
            name = "_" + re.sub(r"[^A-Za-z0-9_$.-]", "_", name)
        identifier, suffix = name, 0
        while identifier in taken:
            suffix += 1
            identifier = f"{'_' if name.isdigit() else ''}{name}${suffix}"
        taken.add(identifier)
        names[value] = identifier
    return names


def _op_lines(op: Op, names: Mapping[Value, str], indent: str, locations: bool, taken: set[str]) -> Iterator[str]:
    results = ", ".join(f"%{names[value]}" for value in op.results)
    operands = ", ".join(f"%{names[value]}" for value in op.inputs)
    head = f"{indent}{results}{' = ' if results else ''}{quote(op.name)}({operands})"
    tail = f"{_attribute_dictionary(op, names)} : {_signature(op)}"
    if locations and op.loc.origins:
        tail += f" loc({_location(op.loc)})"
    if not op.regions:
        yield head + tail
        return
    yield head + " ({"
    for number, region in enumerate(op.regions):
        if number:
            yield f"{indent}}}, {{"
        yield from _region_lines(region, indent + "  ", locations, taken)
    yield f"{indent}}}){tail}"


def _attribute_dictionary(op: Op, names: Mapping[Value, str]) -> str:
    attributes: dict[str, Attribute] = {escape_key(key): value for key, value in op.attributes.items()}
    if any(value is None for value in op.operands):
        attributes["operandSegmentSizes"] = tuple(int(value is not None) for value in op.operands)
    if any(UNIQUE_SUFFIX.sub("", names[value]) != value.name for value in op.results):
        attributes["graphs.names"] = tuple(value.name for value in op.results)
    if op.regions:
        attributes["graphs.regions"] = tuple(_header(region) for region in op.regions)
    for fact in op.facts:
        attributes[f"graphs.{fact.key}"] = encode(fact)
    return f" {print_attribute(attributes)}" if attributes else ""


def _signature(op: Op) -> str:
    operands = ", ".join(str(value.type) for value in op.inputs)
    results = ", ".join(str(value.type) for value in op.results)
    return f"({operands}) -> {results if len(op.results) == 1 else f'({results})'}"


def _location(loc: Location) -> str:
    if len(loc.origins) == 1:
        return _origin(loc.origins[0])
    return f"fused[{', '.join(_origin(origin) for origin in loc.origins)}]"


def _origin(origin: Origin) -> str:
    text = quote(origin.name)
    if origin.index is not None:
        text += f'("op":{origin.index}:0)'
    return f"fused<{quote(origin.module)}>[{text}]" if origin.module else text


def print_attribute(value: Attribute) -> str:
    """Return the MLIR spelling of an attribute value."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if -(1 << 63) <= value < 1 << 63 else f"{value} : i{value.bit_length() // 64 * 64 + 64}"
        case float():
            return _float(value)
        case str():
            return quote(value)
        case bytes():
            return f'#graphs.bytes<"{value.hex()}">'
        case Expression():
            return f"#graphs.count<{quote(expression_text(value, bounds=True))}>"
        case Dense():
            if value.open:
                items = ", ".join(_element(item, value.type.dtype) for item in value.values)
                return f"#graphs.dense<[{items}]> : {value.type}"
            return f"dense<{_dense(value)}> : {value.type}"
        case tuple():
            return f"[{', '.join(print_attribute(item) for item in value)}]"
        case Mapping():
            return "{" + ", ".join(f"{_key(key)} = {print_attribute(item)}" for key, item in value.items()) + "}"
        case _ if isinstance(value, _TYPES):
            return str(value)
    raise TypeError(f"no attribute: {value!r}")


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) else quote(key)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return f"0x{struct.pack('>d', value).hex().upper()} : f64"
    text = repr(value)
    if "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def _dense(dense: Dense) -> str:
    if not dense.values:
        return ""
    items = [_element(item, dense.type.dtype) for item in dense.values]
    for extent in reversed(dense.type.dims):
        items = [f"[{', '.join(items[i : i + extent])}]" for i in range(0, len(items), extent)]
    return items[0]


def _element(item: bool | int | float | str | Expression, dtype: DType) -> str:
    if isinstance(item, Expression):
        return quote(expression_text(item, bounds=True))
    if isinstance(item, str):
        return quote(item)
    if dtype is DType.BOOL:
        return "true" if item else "false"
    if dtype.is_integer:
        return str(int(item))
    if math.isfinite(item):
        return _float(float(item))
    return "0x" + NON_FINITE.get(dtype, NON_FINITE[DType.F64])[_which(item)]


def _which(item: float) -> int:
    return 2 if math.isnan(item) else int(item < 0)


NON_FINITE = {
    DType.F64: ("7FF0000000000000", "FFF0000000000000", "7FF8000000000000"),
    DType.F32: ("7F800000", "FF800000", "7FC00000"),
    DType.F16: ("7C00", "FC00", "7E00"),
    DType.BF16: ("7F80", "FF80", "7FC0"),
}
"""Infinity, minus infinity and not-a-number in the bits of an element type, as MLIR wants them in a dense constant."""
