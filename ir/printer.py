"""The text form: MLIR's generic operation syntax, so that any MLIR tool that allows unregistered dialects reads it.

    "graphs.graph"() ({
      %x = "graphs.input"() : () -> tensor<1x8xf32> loc("x")
      %y = "onnx.Relu"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32> loc("relu_1")
      "graphs.output"(%y) : (tensor<1x8xf32>) -> () loc("y")
    }) {sym_name = "tiny"} : () -> ()

:func:`graphs.ir.parser.parse` reads it back to an equal graph.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping

from .attributes import Attribute, Dense
from .codec import encode
from .graph import Graph, Op, Value
from .location import Location, Origin
from .types import OptionalType, SequenceType, TensorType, UnknownType

__all__ = ["print_attribute", "print_graph"]

_IDENTIFIER = re.compile(r"[A-Za-z_$.-][A-Za-z0-9_$.-]*|[0-9]+")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_$.]*")
_TYPES = (TensorType, SequenceType, OptionalType, UnknownType)


def print_graph(graph: Graph, locations: bool = True) -> str:
    """Return the text of a graph, facts included; ``locations`` may be left out for reading."""
    return "\n".join(_graph_lines(graph, "", locations)) + "\n"


def _graph_lines(graph: Graph, indent: str, locations: bool) -> Iterator[str]:
    yield f'{indent}"graphs.graph"() ({{'
    yield from _region_lines(graph, indent + "  ", locations)
    yield f"{indent}}}) {print_attribute({'sym_name': graph.name, **graph.attributes})} : () -> ()"


def _region_lines(graph: Graph, indent: str, locations: bool) -> Iterator[str]:
    names = _identifiers(graph)
    for op in graph.ops:
        yield from _op_lines(op, names, indent, locations)


def _identifiers(graph: Graph) -> dict[Value, str]:
    names: dict[Value, str] = {}
    taken: set[str] = set()
    for value in graph.values():
        name = value.name
        if not _IDENTIFIER.fullmatch(name):
            name = "_" + re.sub(r"[^A-Za-z0-9_$.-]", "_", name)
        identifier, suffix = name, 0
        while identifier in taken:
            suffix += 1
            identifier = f"{name}_{suffix}" if not name.isdigit() else f"_{name}_{suffix}"
        taken.add(identifier)
        names[value] = identifier
    return names


def _op_lines(op: Op, names: Mapping[Value, str], indent: str, locations: bool) -> Iterator[str]:
    results = ", ".join(f"%{names[value]}" for value in op.results)
    operands = ", ".join(f"%{names[value]}" for value in op.inputs)
    head = f'{indent}{results}{" = " if results else ""}"{op.name}"({operands})'
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
        yield from _region_lines(region, indent + "  ", locations)
    yield f"{indent}}}){tail}"


def _attribute_dictionary(op: Op, names: Mapping[Value, str]) -> str:
    attributes: dict[str, Attribute] = dict(op.attributes)
    if any(value is None for value in op.operands):
        attributes["operandSegmentSizes"] = tuple(int(value is not None) for value in op.operands)
    if any(names[value] != value.name for value in op.results):
        attributes["graphs.names"] = tuple(value.name for value in op.results)
    if op.regions:
        attributes["graphs.regions"] = tuple({"sym_name": region.name, **region.attributes} for region in op.regions)
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
    text = _quote(origin.name)
    if origin.index is not None:
        text += f'("op":{origin.index}:0)'
    return f"fused<{_quote(origin.module)}>[{text}]" if origin.module else text


def print_attribute(value: Attribute) -> str:
    """Return the MLIR spelling of an attribute value."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if -(1 << 63) <= value < 1 << 63 else f"{value} : i128"
        case float():
            return _float(value)
        case str():
            return _quote(value)
        case bytes():
            return f'#graphs.bytes<"{value.hex()}">'
        case Dense():
            return f"dense<{_dense(value)}> : {value.type}"
        case tuple():
            return f"[{', '.join(print_attribute(item) for item in value)}]"
        case Mapping():
            return "{" + ", ".join(f"{_key(key)} = {print_attribute(item)}" for key, item in value.items()) + "}"
        case _ if isinstance(value, _TYPES):
            return str(value)
    raise TypeError(f"no attribute: {value!r}")


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) else _quote(key)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return f"0x{struct.pack('>d', value).hex().upper()} : f64"
    text = repr(value)
    if "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def _quote(text: str) -> str:
    """MLIR strings escape quotes, backslashes and control characters as two hex digits."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _dense(dense: Dense) -> str:
    if not dense.values:
        return ""
    integers = dense.type.dtype.is_integer
    items = [_element(item, integers) for item in dense.values]
    for extent in reversed(dense.type.dims):
        items = [f"[{', '.join(items[i : i + extent])}]" for i in range(0, len(items), extent)]
    return items[0]


def _element(item: bool | int | float | str, integers: bool) -> str:
    if isinstance(item, str):
        return json.dumps(item)
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float) and not integers:
        return f"0x{struct.pack('>d', item).hex().upper()}" if not math.isfinite(item) else _float(item)
    return str(item)
