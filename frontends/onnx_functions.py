"""Calls of a model's local functions replaced by what the functions do, so that nothing is hidden in them.

onnx's own inliner loses the defaults of a function's attributes, the names of calls, and functions written for another
opset than the model's; and it takes as long as the expansion is large, which grows exponentially with the nesting. Here
a node inside is called after its call (``block.3/attention/MatMul``), and one whose operator differs between the two
opsets remembers its own (:func:`opset_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from .registry import FrontendError

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

__all__ = ["inlined", "inner_graphs", "opset_of"]

MOST_NODES = 500_000
"""Nodes that calls may expand to."""

MOST_DEPTH = 64
"""Functions that may call one another in a row."""

_OPSET = "graphs.opset"

Key = tuple[str, str, str]


def inlined(model: ModelProto, label: str) -> ModelProto:
    """Return the model without local functions; it is not changed.

    Raises:
        FrontendError: functions call themselves, or expand to more than any network has.
    """
    if not model.functions:
        return model
    functions = {(_domain(f.domain), f.name, f.overload): f for f in model.functions}
    result = model.__class__()
    result.CopyFrom(model)
    expansion = _Expansion(functions, _opsets(model.opset_import), label)
    expansion.check(result.graph)
    expansion.graph(result.graph)
    del result.functions[:]
    known = {_domain(opset.domain) for opset in result.opset_import}
    for function in functions.values():
        result.opset_import.extend(opset for opset in function.opset_import if _domain(opset.domain) not in known)
        known.update(_domain(opset.domain) for opset in function.opset_import)
    return result


def opset_of(node: NodeProto, default: int) -> int:
    """Return the opset of ``ai.onnx`` that a node was written for."""
    for entry in node.metadata_props:
        if entry.key == _OPSET and entry.value.isdigit():
            return int(entry.value)
    return default


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _opsets(imports: Iterable[object]) -> dict[str, int]:
    return {_domain(opset.domain): opset.version for opset in imports}  # type: ignore[attr-defined]  # protobuf


def inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else attribute.graphs)


def _all_nodes(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """The nodes and those of graphs inside them."""
    pending = list(reversed(nodes))
    while pending:
        node = pending.pop()
        yield node
        for graph in inner_graphs(node):
            pending.extend(reversed(graph.node))


@dataclass(slots=True)
class _Expansion:
    functions: Mapping[Key, FunctionProto]
    opsets: Mapping[str, int]
    label: str
    calls: int = 0
    depth: dict[Key, int] = field(default_factory=dict)

    def function_of(self, node: NodeProto) -> FunctionProto | None:
        return self.functions.get((_domain(node.domain), node.op_type, node.overload))

    # -- before anything is expanded ----------------------------------------------------------------------------------

    def check(self, graph: GraphProto) -> None:
        """Refuse what would never end or not fit, by counting alone."""
        sizes: dict[Key, int] = {}
        called = {key: [self._key(node) for node in _all_nodes(f.node)] for key, f in self.functions.items()}
        pending = [(key, False) for key in self.functions]
        open_: dict[Key, None] = {}
        while pending:
            key, done = pending.pop()
            if done:
                inner = [callee for callee in called[key] if callee is not None]
                sizes[key] = len(called[key]) - len(inner) + sum(sizes[callee] for callee in inner)
                self.depth[key] = 1 + max((self.depth[callee] for callee in inner), default=0)
                del open_[key]
            elif key in open_:
                path = " → ".join(name for _, name, _ in (*list(open_)[list(open_).index(key) :], key))
                raise FrontendError(f"{self.label}: local functions call themselves: {path}")
            elif key not in sizes:
                open_[key] = None
                pending.append((key, True))
                pending.extend((callee, False) for callee in called[key] if callee is not None)
        outside = map(self._key, _all_nodes(graph.node))
        self._refuse_too_large([each for each in outside if each is not None], sizes)

    def _key(self, node: NodeProto) -> Key | None:
        key = (_domain(node.domain), node.op_type, node.overload)
        return key if key in self.functions else None

    def _refuse_too_large(self, keys: Sequence[Key], sizes: Mapping[Key, int]) -> None:
        whole = sum(sizes[key] for key in keys)
        if whole > MOST_NODES:
            raise FrontendError(
                f"{self.label}: its local functions expand to {whole:,} nodes; {MOST_NODES:,} are read",
                help="no network is that large: functions that call each other twice double with every level",
            )
        deepest = max((self.depth[key] for key in keys), default=0)
        if deepest > MOST_DEPTH:
            raise FrontendError(f"{self.label}: local functions call one another {deepest} deep; {MOST_DEPTH} are read")

    # -- expanding ----------------------------------------------------------------------------------------------------

    def graph(self, graph: GraphProto) -> None:
        """Expand all calls in a graph, in place."""
        if not any(self._key(node) for node in _all_nodes(graph.node)):
            return
        nodes = list(self._expanded(graph.node))
        del graph.node[:]
        graph.node.extend(nodes)

    def _expanded(self, nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
        for node in nodes:
            function = self.function_of(node)
            if function is not None:
                yield from self._called(node, function)
                continue
            for inner in inner_graphs(node):
                self.graph(inner)
            yield node

    def _called(self, call: NodeProto, function: FunctionProto) -> Iterator[NodeProto]:
        """What a call does: the function's nodes on the caller's values, named after the call."""
        self.calls += 1
        where = call.name or next(filter(None, call.output), function.name)
        given = dict.fromkeys(function.input, "") | dict(zip(function.input, call.input, strict=False))
        results = [(inner, outer) for inner, outer in zip(function.output, call.output, strict=False) if outer]
        names = given | {inner: outer for inner, outer in results if inner not in given}
        attributes = {a.name: a for a in (*function.attribute_proto, *call.attribute)}
        body = _Body(names, attributes, where, self.calls)
        made = [body.copy(node) for node in function.node]
        version = _opsets(function.opset_import).get("", 0)
        for node in _all_nodes(made):
            _remember_opset(node, version, self.opsets.get("", 0))
        yield from self._expanded(made)
        yield from (_identity(given[inner], outer) for inner, outer in results if inner in given)


@dataclass(frozen=True, slots=True)
class _Body:
    """One call's copy of a function: ``names`` are its values outside, ``number`` makes those of others unique."""

    names: dict[str, str]
    attributes: Mapping[str, AttributeProto]
    where: str
    number: int

    def _name(self, name: str) -> str:
        if name and name not in self.names:
            self.names[name] = f"{self.where}/{name}#{self.number}"
        return self.names[name] if name else ""

    def copy(self, node: NodeProto) -> NodeProto:
        """Return a node of the function with the caller's values and attributes."""
        made = node.__class__()
        made.CopyFrom(node)
        own = node.name or next(filter(None, node.output), node.op_type)
        made.name = f"{self.where}/{own}"
        made.input[:] = [self._name(name) for name in node.input]
        made.output[:] = [self._name(name) for name in node.output]
        del made.attribute[:]
        made.attribute.extend(filter(None, map(self._attribute, node.attribute)))
        return made

    def _attribute(self, attribute: AttributeProto) -> AttributeProto | None:
        """The attribute; one that refers to the call's has its value, or is left out where the call lacks it."""
        source = self.attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if source is None:
            return None
        made = attribute.__class__()
        made.CopyFrom(source)
        made.name = attribute.name
        if not attribute.ref_attr_name:
            for graph in [made.g] if made.HasField("g") else made.graphs:
                self._rename(graph)
        return made

    def _rename(self, graph: GraphProto) -> None:
        """Give the values of a graph inside the function their names outside, in place."""
        for info in (*graph.input, *graph.output, *graph.value_info):
            info.name = self._name(info.name)
        for tensor in graph.initializer:
            tensor.name = self._name(tensor.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = self._name(sparse.values.name)
        nodes = [self.copy(node) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)


def _identity(source: str, result: str) -> NodeProto:
    from onnx import helper

    return helper.make_node("Identity", [source], [result], name=f"{result}/identity")


def _remember_opset(node: NodeProto, own: int, models: int) -> None:
    """Note the opset of a node whose operator is another one in the model's."""
    if node.domain not in ("", "ai.onnx") or not own or own == models or opset_of(node, 0):
        return
    if _since(node.op_type, own) != _since(node.op_type, models):
        entry = node.metadata_props.add()
        entry.key, entry.value = _OPSET, str(own)


@cache
def _since(operator: str, opset: int) -> int | None:
    from onnx import defs

    try:
        version: int = defs.get_schema(operator, opset, "").since_version
    except defs.SchemaError:
        return None
    return version
