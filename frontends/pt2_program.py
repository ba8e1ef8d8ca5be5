"""The JSON of a saved PyTorch program as calls of ATen operators (torch/_export/serde/schema.py, versions 5 to 8).

Whatever does not fit the schema is refused: files come from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Dense, DType, TensorType
from ..ir.expression import UNKNOWN_DIM, Expression
from ..ir.types import Dim
from .torch_records import DTYPES, Argument, Body, Call, Module, Reference, TensorSpec, Weight
from .torch_symbols import dim_of, dim_of_sympy

__all__ = ["DamagedProgramError", "ProgramReader", "Stored", "mapping", "text"]

_LARGEST_EXTENT = 1 << 62
_DEEPEST = 40

_SCALAR_TYPES = (
    "", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex32", "complex64",
    "complex128", "bool", "bfloat16",
)  # fmt: skip
_LATER_TYPES = {28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz"}
_MEMORY_FORMATS = ("", "contiguous_format", "channels_last", "channels_last_3d", "preserve_format")
_LAYOUTS = {7: "strided"}


class DamagedProgramError(ValueError):
    """The JSON is no program."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a weight is kept, by which tied ones are known, and how to read it if it is a constant."""

    file: str
    values: Callable[[TensorType, bool], Dense | None] | None


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        DamagedProgramError: it is none.
    """
    if not isinstance(value, dict):
        raise DamagedProgramError(f"{where} is no object")
    return value


def sequence(value: Any, where: str) -> Sequence[Any]:
    """Return a JSON array.

    Raises:
        DamagedProgramError: it is none.
    """
    if not isinstance(value, list):
        raise DamagedProgramError(f"{where} is no list")
    return value


def text(value: Any, where: str) -> str:
    """Return a JSON string.

    Raises:
        DamagedProgramError: it is none.
    """
    if not isinstance(value, str):
        raise DamagedProgramError(f"{where} is no text")
    return value


def tagged(value: Any, where: str) -> tuple[str, Any]:
    """Return the tag and content of a union: ``{"as_int": 3}``.

    Raises:
        DamagedProgramError: it is none.
    """
    union = mapping(value, where)
    if len(union) != 1:
        raise DamagedProgramError(f"{where} has {len(union)} tags, not one")
    return next(iter(union.items()))


@dataclass(slots=True)
class ProgramReader:
    """Reads one program; ``stored`` has what the archive says of its weights."""

    stored: Mapping[str, Stored]

    def program(self, document: Mapping[str, Any]) -> Body:
        """Read the whole document.

        Raises:
            DamagedProgramError: it does not fit the schema.
        """
        module = mapping(document.get("graph_module"), "graph_module")
        signature = mapping(module.get("signature"), "signature")
        weights = dict(self._weight_names(sequence(signature.get("input_specs"), "input_specs")))
        body = _GraphReader(mapping(module.get("graph"), "graph"), 0).body("graph", weights, self.stored)
        visible = set(_user_outputs(sequence(signature.get("output_specs"), "output_specs")))
        body.outputs = [name for name in body.outputs if name in visible]
        return body

    def _weight_names(self, specs: Sequence[Any]) -> Iterator[tuple[str, tuple[str, bool]]]:
        """The graph's name of each weight, and the module's."""
        targets = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
        for spec in specs:
            tag, content = tagged(spec, "an input's specification")
            if tag in targets:
                name = mapping(mapping(content, tag).get("arg"), tag).get("name")
                target = text(content.get(targets[tag]), tag)
                yield text(name, tag), (target, tag == "tensor_constant")


def _user_outputs(specs: Sequence[Any]) -> Iterator[str]:
    for spec in specs:
        tag, content = tagged(spec, "an output's specification")
        if tag == "user_output":
            kind, argument = tagged(mapping(content, tag).get("arg"), tag)
            if kind == "as_tensor":
                yield text(mapping(argument, tag).get("name"), tag)


@dataclass(slots=True)
class _GraphReader:
    """Reads one graph: the program's, or one that a higher-order operator calls."""

    graph: Mapping[str, Any]
    depth: int

    def body(self, name: str, weights: Mapping[str, tuple[str, bool]], stored: Mapping[str, Stored]) -> Body:
        if self.depth > _DEEPEST:
            raise DamagedProgramError("its graphs are nested too deeply")
        body = Body(name)
        for argument in sequence(self.graph.get("inputs"), "inputs"):
            tag, content = tagged(argument, "an input")
            if tag != "as_tensor":
                continue
            spec = self._spec(self._name(content))
            if spec.name in weights:
                body.weights.append(_weight(spec, *weights[spec.name], stored))
            else:
                body.inputs.append(spec)
        for node in sequence(self.graph.get("nodes"), "nodes"):
            call = self._call(mapping(node, "a node"))
            if call.results or call.operator.startswith("higher_order."):
                body.calls.append(call)
        for argument in sequence(self.graph.get("outputs"), "outputs"):
            body.outputs.extend(self._tensor_names(argument))
        return body

    # -- types --------------------------------------------------------------------------------------------------------

    def _name(self, content: Any) -> str:
        return text(mapping(content, "a tensor").get("name"), "a tensor's name")

    def _spec(self, name: str) -> TensorSpec:
        values = mapping(self.graph.get("tensor_values"), "tensor_values")
        if name not in values:
            raise DamagedProgramError(f"no type is stated for {name!r}")
        meta = mapping(values[name], name)
        dtype = DTYPES.get(_scalar_type(meta.get("dtype")), DType.UNKNOWN)
        shape = tuple(_extent(item, name) for item in sequence(meta.get("sizes"), name))
        strides = tuple(_extent(item, name) for item in sequence(meta.get("strides"), name))
        if any(isinstance(extent, int) and extent < 0 for extent in shape):
            raise DamagedProgramError(f"{name!r} has a negative extent: {list(shape)}")
        return TensorSpec(name, TensorType(dtype, shape), strides if len(strides) == len(shape) else None)

    # -- calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: Mapping[str, Any]) -> Call:
        operator, overload = _operator(text(node.get("target"), "a node's target"))
        results = tuple(
            self._spec(name)
            for output in sequence(node.get("outputs"), "a node's outputs")
            for name in self._tensor_names(output)
        )
        given = node.get("name")
        name = given if isinstance(given, str) and given else results[0].name if results else operator
        arguments = []
        for index, entry in enumerate(sequence(node.get("inputs"), "a node's inputs")):
            entry = mapping(entry, "an argument")
            word = text(entry.get("name", ""), "an argument's name") or str(index)
            arguments.append((word, self._argument(entry.get("arg"))))
        metadata = node.get("metadata")
        stack = metadata.get("nn_module_stack", "") if isinstance(metadata, dict) else ""
        modules = tuple(_modules(stack)) if isinstance(stack, str) else ()
        return Call(operator, overload, tuple(arguments), results, name, modules)

    def _tensor_names(self, argument: Any) -> Iterator[str]:
        tag, content = tagged(argument, "a result")
        if tag == "as_tensor":
            yield self._name(content)
        elif tag == "as_tensors":
            yield from (self._name(item) for item in sequence(content, tag))
        elif tag == "as_optional_tensors":
            for item in sequence(content, tag):
                yield from self._tensor_names(item)

    def _argument(self, argument: Any) -> Argument:
        tag, content = tagged(argument, "an argument")
        match tag:
            case "as_none":
                return None
            case "as_tensor":
                return Reference(self._name(content))
            case "as_tensors":
                return tuple(Reference(self._name(item)) for item in sequence(content, tag))
            case "as_optional_tensors":
                return tuple(self._argument(item) for item in sequence(content, tag))
            case "as_optional_tensor":
                return self._argument(content)
            case "as_nested_tensors":
                return tuple(
                    Reference(self._name(item)) for row in sequence(content, tag) for item in sequence(row, tag)
                )
            case "as_graph":
                inner = mapping(content, tag)
                reader = _GraphReader(mapping(inner.get("graph"), tag), self.depth + 1)
                return reader.body(text(inner.get("name", "graph"), tag), {}, {})
            case "as_sym_int" | "as_sym_float" | "as_sym_bool":
                return self._symbolic(content)
            case "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
                return tuple(self._symbolic(item) for item in sequence(content, tag))
            case "as_scalar_type":
                return _scalar_type(content)
            case "as_memory_format":
                return _entry(_MEMORY_FORMATS, content)
            case "as_layout":
                return _LAYOUTS.get(content, str(content)) if isinstance(content, int) else ""
            case "as_device":
                device = mapping(content, tag)
                kind, index = text(device.get("type"), tag), device.get("index")
                return kind if index is None else f"{kind}:{index}"
        return _plain(content)

    def _symbolic(self, content: Any) -> Argument:
        tag, value = tagged(content, "a symbolic number")
        if tag in ("as_int", "as_bool", "as_float"):
            return _plain(value)
        for table in ("sym_int_values", "sym_bool_values", "sym_float_values"):
            known = self.graph.get(table)
            if isinstance(known, dict) and isinstance(value, str) and value in known:
                return _number(known[value])
        return UNKNOWN_DIM


def _weight(spec: TensorSpec, target: str, written_out: bool, stored: Mapping[str, Stored]) -> Weight:
    kept = stored.get(target)
    if kept is None:
        return Weight(spec, target, target)
    return Weight(spec, target, kept.file, kept.values(spec.type, written_out) if kept.values else None)


def _operator(target: str) -> tuple[str, str]:
    """``torch.ops.aten.add.Tensor`` is ``aten.add`` and ``Tensor``."""
    parts = target.removeprefix("#").removeprefix("torch.ops.").split(".")
    if parts[0] == "higher_order" or len(parts) < 3 or target.startswith(("_operator", "math")):
        return ".".join(parts), ""
    return ".".join(parts[:-1]), parts[-1]


def _modules(stack: str) -> Iterator[Module]:
    """``L__self__,,net.Net;L__self__layer1,layer1,torch.nn.Sequential``: key, path and class of each module."""
    for entry in stack.split(";"):
        parts = entry.split(",")
        if len(parts) == 3 and not parts[0].startswith("_empty_nn_module_stack"):
            yield parts[1].partition("@")[0].removeprefix("L['self']").strip("."), parts[2].rpartition(".")[2]


def _entry(names: Sequence[str], number: Any) -> str:
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else str(number)


def _scalar_type(number: Any) -> str:
    return _LATER_TYPES[number] if isinstance(number, int) and number in _LATER_TYPES else _entry(_SCALAR_TYPES, number)


def _extent(value: Any, where: str) -> Dim:
    found = _number(value)
    if isinstance(found, bool) or not isinstance(found, int | Expression):
        raise DamagedProgramError(f"{where!r} has an extent that is no number")
    if isinstance(found, int) and abs(found) > _LARGEST_EXTENT:
        raise DamagedProgramError(f"{where!r} has an extent of more than {_LARGEST_EXTENT:,}")
    return found


def _number(value: Any) -> Argument:
    """A number, or an expression: as sympy's ``srepr`` writes it, or as text in older files."""
    tag, content = tagged(value, "a number")
    if tag != "as_expr":
        return _plain(content)
    written = text(mapping(content, tag).get("expr_str"), tag)
    return dim_of_sympy(written) if "(" in written else dim_of(written, {})


def _plain(value: Any) -> Argument:
    if isinstance(value, list):
        return tuple(_plain(item) for item in value)
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return str(value)
