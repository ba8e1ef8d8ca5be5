"""ONNX models to IR: opsets 1 to the newest, with local functions inlined and subgraphs as regions.

Weights are types, not bytes: they are skipped when the file is read (:mod:`.onnx_file`), and external data may be
absent. Result types come from onnx's own inference (:mod:`.onnx_inference`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..ir import (
    CONSTANT,
    FOLD_LIMIT,
    INPUT,
    OUTPUT,
    Attribute,
    Dense,
    DType,
    Graph,
    Location,
    Symbol,
    TensorType,
    Type,
    Value,
)
from ..ir.onnx_types import dtype_of, type_from_proto
from ..ir.types import UnknownType
from .onnx_dims import declare_dims
from .onnx_file import DamagedFileError, NestingError, read_model
from .onnx_functions import inlined, opset_of
from .onnx_gradients import give_bodies
from .onnx_inference import check_names, infer_types, keeps_values, strip_weights
from .onnx_reading import Reading
from .onnx_schema import misfit
from .onnx_upgrade import UPGRADED, upgrade
from .registry import Frontend, FrontendError, register

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

__all__ = ["load_onnx"]

UNNAMED = Symbol("?")
_MOST_OPSET = 2**31 - 1
_LAST_AXIS_SINCE = 13
_SOFTMAXES = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_BOOLEAN_MASK_SINCE = 10
_FIRST_BRANCH = "then_branch"
"""Attributes may be stored in any order; an If has the branch of a true condition first."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_QUOTED = re.compile(r"'([^']*)'")


def load_onnx(source: Path | ModelProto) -> Graph:
    """Read an ONNX model from a file, or take one that is loaded already (it is not changed).

    Raises:
        FrontendError: the file holds no ONNX model, or one that cannot be run (a cycle, a value that nothing makes).
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        model, path = onnx.ModelProto(), None
        model.CopyFrom(source)
    else:
        model, path = _parse(source), source
    label = str(path or "model")
    check_names(model, label)
    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    _check(model, opsets, label)
    strip_weights(model, label)
    if opsets.get("ai.onnx", UPGRADED) < UPGRADED:
        upgrade(model, label)
        opsets["ai.onnx"] = UPGRADED
    model = infer_types(inlined(model, label))
    give_bodies(model)
    name = path.stem if path else model.graph.name or "model"
    graph = Graph(name, {"format": "onnx", "opset": {key: opsets[key] for key in sorted(opsets)}})
    if model.producer_name:
        graph.attributes["producer"] = f"{model.producer_name} {model.producer_version}".strip()
    if path:
        graph.attributes["path"] = str(path)
    _Builder(graph, label, opsets.get("ai.onnx", UPGRADED), Reading()).build(model.graph)
    declare_dims(graph)
    return graph


def _parse(path: Path) -> ModelProto:
    try:
        return read_model(path)
    except DamagedFileError:
        raise FrontendError(
            f"{path}: not a readable ONNX model: the protobuf is truncated or damaged", help="fetch or export it again"
        ) from None
    except NestingError as error:
        raise FrontendError(f"{path}: {error}") from None
    except OSError as error:
        raise FrontendError(f"{path}: {error.strerror or error}") from None


def _check(model: ModelProto, opsets: Mapping[str, int], label: str) -> None:
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise FrontendError(f"{label}: not an ONNX model: it has no graph", help="was the right file named?")
    for domain, version in opsets.items():
        if not 0 <= version <= _MOST_OPSET:
            raise FrontendError(f"{label}: {version} is no version of the operators of {domain!r}")


# -- graphs -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Scope:
    """The names that a graph's nodes can read: values made so far, weights not yet added, and what is outside."""

    graph: Graph
    values: dict[str, Value] = field(default_factory=dict)
    weights: dict[str, TensorProto | SparseTensorProto] = field(default_factory=dict)


@dataclass(slots=True)
class _Builder:
    graph: Graph
    label: str
    opset: int
    reading: Reading

    def build(self, proto: GraphProto, captures: Sequence[Value] = (), constants: Sequence[Value] = ()) -> None:
        """Fill the graph from ``proto``.

        ``captures`` are outer values, which become inputs of the same names; outer ``constants`` whose elements are
        known are made anew inside, since shape arithmetic there needs them.
        """
        scope = _Scope(self.graph)
        for value in constants:
            copy = self.graph.add(CONSTANT, [], [(value.name, value.type)], value.op.attributes, loc=value.op.loc)
            scope.values[value.name] = copy.result
        scope.weights.update((tensor.name, tensor) for tensor in proto.initializer)
        scope.weights.update((tensor.values.name, tensor) for tensor in proto.sparse_initializer)
        types = {info.name: type_from_proto(info.type) for info in (*proto.value_info, *proto.output)}
        for info in proto.input:
            if info.name not in scope.weights:
                self._input(scope, info.name, _named_dims(type_from_proto(info.type), info.name))
        for value in captures:
            self._input(scope, value.name, value.type, {"constant": True} if value.is_constant else {})
        for index, node in self._ordered(proto.node, scope):
            self._node(scope, node, index, types)
        for info in proto.output:
            self.graph.add(OUTPUT, [self._read(scope, info.name, "the graph's output")], loc=Location.of(info.name))

    def _input(self, scope: _Scope, name: str, type: Type, attributes: Mapping[str, Attribute] | None = None) -> None:
        if name in scope.values:
            raise FrontendError(f"{self.label}: two inputs are called {name!r}")
        scope.values[name] = self.graph.add(INPUT, [], [(name, type)], attributes, loc=Location.of(name)).result

    def _ordered(self, nodes: Sequence[NodeProto], scope: _Scope) -> Iterator[tuple[int, NodeProto]]:
        """The nodes so that each comes after what it reads: as stored in a valid model, sorted otherwise."""
        made = set(scope.values) | set(scope.weights)
        for node in nodes:
            if any(name and name not in made for name in self.reading.of(node)):
                return iter(self._sorted(nodes, set(scope.values) | set(scope.weights)))
            made.update(node.output)
        return enumerate(nodes)

    def _sorted(self, nodes: Sequence[NodeProto], made: set[str]) -> list[tuple[int, NodeProto]]:
        makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        waiting: dict[int, set[int]] = {}
        users: dict[int, list[int]] = {}
        for index, node in enumerate(nodes):
            reads = [name for name in self.reading.of(node) if name and name not in made]
            missing = next((name for name in reads if name not in makers), None)
            if missing is not None:
                raise FrontendError(f"{self.label}: node {_label(node)!r} reads {missing!r}, which nothing makes")
            waiting[index] = {makers[name] for name in reads}
            for maker in waiting[index]:
                users.setdefault(maker, []).append(index)
        ready = [index for index in reversed(range(len(nodes))) if not waiting[index]]
        order: list[tuple[int, NodeProto]] = []
        while ready:
            index = ready.pop()
            order.append((index, nodes[index]))
            for user in users.get(index, ()):
                waiting[user].discard(index)
                if not waiting[user]:
                    ready.append(user)
        if len(order) < len(nodes):
            stuck = next(nodes[index] for index in range(len(nodes)) if waiting[index])
            raise FrontendError(f"{self.label}: the graph has a cycle through node {_label(stuck)!r}")
        return order

    def _node(self, scope: _Scope, node: NodeProto, index: int, types: Mapping[str, Type]) -> None:
        opset = opset_of(node, self.opset)
        wrong = misfit(node, opset)
        if wrong:
            raise FrontendError(f"{self.label}: node {_label(node)!r} {wrong}", help="is it exported right?")
        for name in node.output:
            if name and name in scope.values:
                raise FrontendError(f"{self.label}: two nodes make {name!r}; the second is {_label(node)!r}")
        reader = f"node {_label(node)!r}"
        operands = [self._read(scope, name, reader) if name else None for name in node.input]
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            self._constant(scope, node)
            return
        attributes, bodies = self._attributes(node)
        regions: list[Graph] = []
        if bodies:
            outer = [
                self._read(scope, name, reader)
                for name in self.reading.captured(bodies)
                if name in scope.values or name in scope.weights
            ]
            captured = [value for value in outer if value.constant is None]
            known = [value for value in outer if value.constant is not None]
            operands.extend(captured)
            attributes["captures"] = len(captured)
            for name, body in bodies:
                regions.append(Graph(name))
                _Builder(regions[-1], f"{self.label}: {reader}", self.opset, self.reading).build(body, captured, known)
        results = [
            (name or f"{_label(node)}.{i}", types.get(name, UnknownType())) for i, name in enumerate(node.output)
        ]
        if node.op_type == "Dropout" and opset < _BOOLEAN_MASK_SINCE and operands and operands[0]:
            results[1:] = [(name, operands[0].type) for name, _ in results[1:]]  # ONNX Dropout-7: mask is of type T
        loc = Location.of(
            node.name or (node.output[0] if node.output else node.op_type), _module(node, operands), index
        )
        domain = "onnx" if node.domain in ("", "ai.onnx") else node.domain
        op = self.graph.add(f"{domain}.{node.op_type}", operands, results, attributes, regions=regions, loc=loc)
        scope.values.update((name, op.results[i]) for i, name in enumerate(node.output) if name)

    def _read(self, scope: _Scope, name: str, reader: str) -> Value:
        value = scope.values.get(name)
        if value is None:
            tensor = scope.weights.get(name)
            if tensor is None:
                raise FrontendError(f"{self.label}: {reader} reads {name!r}, which nothing makes")
            value = self._weight(name, tensor)
            scope.values[name] = value
        return value

    def _weight(self, name: str, tensor: TensorProto | SparseTensorProto) -> Value:
        from onnx import TensorProto

        dense = tensor if isinstance(tensor, TensorProto) else tensor.values
        type = TensorType(dtype_of(dense.data_type), tuple(tensor.dims))
        if any(extent < 0 for extent in tensor.dims):
            raise FrontendError(f"{self.label}: weight {name!r} has a negative dimension: {list(tensor.dims)}")
        kept = _dense(dense, f"{self.label}: weight {name!r}") if dense is tensor else None
        attributes: dict[str, Attribute] = {"value": kept} if kept else {}
        return self.graph.add(CONSTANT, [], [(name, type)], attributes, loc=Location.of(name)).result

    def _constant(self, scope: _Scope, node: NodeProto) -> None:
        attribute = node.attribute[0] if node.attribute else None
        name = node.output[0]
        where = f"{self.label}: constant {name!r}"
        if attribute is None:
            raise FrontendError(f"{where} has no value")
        if attribute.name in ("value", "sparse_value"):
            tensor = attribute.t if attribute.name == "value" else attribute.sparse_tensor
            scope.values[name] = self._weight(name, tensor)
            return
        value = _attribute(attribute, where)
        values = value if isinstance(value, tuple) else (value,)
        dtype = (
            DType.STRING if attribute.s or attribute.strings else DType.F32 if "float" in attribute.name else DType.I64
        )
        type = TensorType(dtype, (len(values),) if isinstance(value, tuple) else ())
        kept = Dense(type, tuple(item for item in values if isinstance(item, int | float | str)))
        if len(kept.values) < len(values):
            raise FrontendError(f"{where}: its value is no text, number or list of these")
        attributes: dict[str, Attribute] = {"value": kept} if len(kept.values) <= FOLD_LIMIT else {}
        scope.values[name] = self.graph.add(CONSTANT, [], [(name, type)], attributes, loc=Location.of(name)).result

    def _attributes(self, node: NodeProto) -> tuple[dict[str, Attribute], list[tuple[str, GraphProto]]]:
        attributes: dict[str, Attribute] = {}
        bodies: list[tuple[str, GraphProto]] = []
        where = f"{self.label}: node {_label(node)!r}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                bodies.append((attribute.name, attribute.g))
            elif attribute.graphs:
                bodies.extend((f"{attribute.name}.{i}", body) for i, body in enumerate(attribute.graphs))
            else:
                attributes[attribute.name] = _attribute(attribute, where)
        if node.op_type in _SOFTMAXES and opset_of(node, self.opset) < _LAST_AXIS_SINCE:
            attributes.setdefault("axis", 1)
        return attributes, sorted(bodies, key=lambda body: body[0] != _FIRST_BRANCH)


# -- nodes ------------------------------------------------------------------------------------------------------------


def _label(node: NodeProto) -> str:
    return node.name or next(iter(node.output), "") or node.op_type


def _module(node: NodeProto, operands: Sequence[Value | None]) -> str:
    """The module path that torch's exporter left, else the path that the weights' names share (``layer1.0.conv1``)."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = _QUOTED.findall(entry.value)
            return scopes[-2] if len(scopes) > 1 else ""
    for value in operands:
        if value is not None and value.is_constant and "." in value.name:
            return value.name.rpartition(".")[0]
    return ""


def _attribute(attribute: AttributeProto, where: str) -> Attribute:
    from onnx import AttributeProto as A

    match attribute.type:
        case A.INT:
            return attribute.i
        case A.FLOAT:
            return attribute.f
        case A.STRING:
            return _text(attribute.s)
        case A.INTS:
            return tuple(attribute.ints)
        case A.FLOATS:
            return tuple(attribute.floats)
        case A.STRINGS:
            return tuple(_text(item) for item in attribute.strings)
        case A.TENSOR:
            dense = _dense(attribute.t, f"{where}: attribute {attribute.name!r}")
            return dense or TensorType(dtype_of(attribute.t.data_type), tuple(attribute.t.dims))
        case A.TYPE_PROTO:
            return type_from_proto(attribute.tp)
        case A.SPARSE_TENSOR:
            values = attribute.sparse_tensor.values
            return TensorType(dtype_of(values.data_type), tuple(attribute.sparse_tensor.dims))
    raise FrontendError(f"{where}: attribute {attribute.name!r} has type {attribute.type}, which is not supported")


def _named_dims(type: Type, name: str) -> Type:
    """Call an input's unnamed dimensions ``input.axis``, so that ``--dim`` can bind them."""
    if not isinstance(type, TensorType) or type.shape is None or type.static:
        return type
    shape = (Symbol(f"{name}.{i}") if dim == UNNAMED else dim for i, dim in enumerate(type.shape))
    return TensorType(type.dtype, tuple(shape))


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _dense(tensor: TensorProto, where: str) -> Dense | None:
    """Return a tensor's values where it is small enough to keep them."""
    from onnx import numpy_helper

    if tensor.data_location == 1 or not keeps_values(tensor):
        return None
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:  # numpy_helper raises several unrelated types on damaged tensors
        raise FrontendError(f"{where}: its data do not fit its type and shape: {error}") from None
    values = array.reshape(-1).tolist()
    return Dense.of(dtype_of(tensor.data_type), tuple(tensor.dims), values)


def _recognises(head: bytes) -> bool:
    """A ModelProto starts with a protobuf field header: any of its fields, most often ``ir_version`` (08)."""
    fields_and_types = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2}
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:16]):
        return False  # text, whatever its first letter would be as a header
    number, wire = head[0] >> 3, head[0] & 7
    return fields_and_types.get(number) == wire


register(Frontend("onnx", _recognises, load_onnx))
