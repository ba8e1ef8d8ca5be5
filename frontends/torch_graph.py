"""A program of ATen calls to IR: one operation for each call that eager PyTorch launches, and for each view.

Calls that write in place become operations that give a new value, which all later readers of the old one read; the
attribute ``inplace`` keeps what they do to memory. A write through a view is followed by ``graphs.updated``, a view of
the whole that later readers read. Functions that a higher-order operator runs once are inlined; those that it chooses
among or repeats become regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..ir import CONSTANT, INPUT, OUTPUT, Attribute, Graph, Kind, Location, Value, definition, kind_of
from .registry import FrontendError
from .torch_inlining import inlined
from .torch_launches import launched
from .torch_records import Argument, Body, Call, Reference, TensorSpec, Weight, references

__all__ = ["CHECKS", "graph_of"]

UPDATED = "graphs.updated"

_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "higher_order.cond": ("predicate", "then", "else", "captures"),
    "higher_order.while_loop": ("cond", "body", "carried", "captures"),
    "higher_order.scan": ("combine", "init", "xs", "captures"),
    "higher_order.map_impl": ("body", "xs", "captures"),
    "higher_order.associative_scan": ("combine", "xs", "captures"),
}
"""What the arguments of higher-order operators are called, which have no schema. Functions read ``captures`` as they
are, whatever they are called with."""

CHECKS = frozenset({"aten._assert_tensor_metadata", "aten._assert_async", "aten.sym_constrain_range_for_size"})
"""Checks, of which inference keeps nothing."""


def graph_of(body: Body, name: str, attributes: Mapping[str, Attribute]) -> Graph:
    """Build the graph of a program.

    Raises:
        FrontendError: a call reads a tensor that nothing makes.
    """
    graph = Graph(name, attributes)
    classes: dict[str, str] = {}
    builder = _Builder(graph, classes)
    builder.build(inlined(body))
    named = {path: kind for path, kind in classes.items() if path}
    if named:
        graph.attributes["modules"] = dict(sorted(named.items()))
    return graph


@dataclass(slots=True)
class _Builder:
    graph: Graph
    classes: dict[str, str]
    values: dict[str, Value] = field(default_factory=dict)
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    roots: dict[Value, Value] = field(default_factory=dict)
    rewritten: dict[Value, Value] = field(default_factory=dict)
    calls: int = 0

    def build(self, body: Body) -> None:
        for spec in body.inputs:
            self._enter(spec, self.graph.add(INPUT, [], [(spec.name, spec.type)], loc=Location.of(spec.name)).result)
        self._weights(body.weights)
        for call in body.calls:
            self._call(call)
        for name in body.outputs:
            self.graph.add(OUTPUT, [self._read(name, "the program's output")], loc=Location.of(name))

    def _enter(self, spec: TensorSpec, value: Value) -> None:
        self.values[spec.name] = value
        self.specs[spec.name] = spec

    def _weights(self, weights: Sequence[Weight]) -> None:
        made: dict[object, Value] = {}
        for weight in weights:
            if weight.storage not in made:
                attributes: dict[str, Attribute] = {"value": weight.values} if weight.values else {}
                loc = Location.of(weight.target, weight.target.rpartition(".")[0])
                named = [(weight.target, weight.spec.type)]
                made[weight.storage] = self.graph.add(CONSTANT, [], named, attributes, loc=loc).result
            self._enter(weight.spec, made[weight.storage])

    def _read(self, name: str, reader: str) -> Value:
        value = self.values.get(name)
        if value is None:
            raise FrontendError(f"torch: {reader} reads {name!r}, which nothing makes")
        return self._current(value)

    def _current(self, value: Value) -> Value:
        passed = []
        while value in self.rewritten:
            passed.append(value)
            value = self.rewritten[value]
        self.rewritten.update(dict.fromkeys(passed, value))
        return value

    # -- calls --------------------------------------------------------------------------------------------------------

    def _call(self, call: Call) -> None:
        if call.operator in CHECKS:
            return
        writes = call.operator.endswith("_") and not call.operator.endswith("__")
        call = launched(call if not writes else _functional(call), self.specs)
        operands, attributes, regions = self._operands(call)
        renames = writes and _views(call.operator)
        if writes and not renames:
            attributes["inplace"] = True
        if call.overload not in ("", "default"):
            attributes["overload"] = call.overload
        op = self.graph.add(
            call.operator,
            operands,
            [(spec.name, spec.type) for spec in call.results],
            attributes,
            regions=regions,
            loc=self._location(call),
        )
        for spec, value in zip(call.results, op.results, strict=True):
            self._enter(spec, value)
        source = op.operand(0)
        if writes and not renames and source is not None and op.results:
            self._written(source, op.results[0])
        elif source is not None and kind_of(op) is Kind.VIEW:
            self.roots.update((value, self.roots.get(source, source)) for value in op.results)
            if renames:
                self.rewritten[source] = op.results[0]

    def _written(self, target: Value, result: Value) -> None:
        """Let later readers of what was written over read the result."""
        root = self.roots.get(target)
        self.rewritten[target] = result
        if root is None:
            return
        whole = self._current(root)
        loc = result.op.loc
        named = [(f"{whole.name}.updated", whole.type)]
        self.rewritten[whole] = self.graph.add(UPDATED, [whole, result], named, loc=loc).result
        self.roots[result] = self.roots[self.rewritten[whole]] = root

    def _location(self, call: Call) -> Location:
        for path, kind in call.modules:
            self.classes.setdefault(path, kind)
        self.calls += 1
        return Location.of(call.name, call.modules[-1][0] if call.modules else "", self.calls - 1)

    def _operands(self, call: Call) -> tuple[list[Value | None], dict[str, Attribute], list[Graph]]:
        """Tensors become operands in the order of the schema, all else attributes, functions regions.

        Of a list of tensors the attribute of its name says how many operands it is.
        """
        operands: list[Value | None] = []
        attributes: dict[str, Attribute] = {}
        bodies: list[Body] = []
        reader, words = f"call {call.name!r}", _ARGUMENTS.get(call.operator)
        if words is not None and any(isinstance(argument, Body) for _, argument in call.arguments):
            call = replace(call, arguments=tuple(zip(words, (given for _, given in call.arguments), strict=False)))
            attributes["captures"] = 0
        for name, argument in call.arguments:
            if isinstance(argument, Body):
                bodies.append(argument)
            elif isinstance(argument, Reference):
                operands.append(self._read(argument.name, reader))
            elif _has_tensors(argument):
                found = [None if ref is None else self._read(ref.name, reader) for ref in references(argument)]
                operands += found
                attributes[name] = len(found)
            elif argument is None:
                if _may_be_tensor(call.operator, name):
                    operands.append(None)
            elif name != "captures":
                operands += [None] if name == "predicate" else []
                attributes[name] = _plain(argument)
        while operands and operands[-1] is None:
            operands.pop()
        return operands, attributes, [self._region(body) for body in bodies]

    # -- higher-order operators ---------------------------------------------------------------------------------------

    def _region(self, body: Body) -> Graph:
        region = Graph(body.name)
        _Builder(region, self.classes).build(body)
        return region


def _views(operator: str) -> bool:
    """Whether an operator that ends in an underscore changes how its operand is seen, and no element: ``detach_``."""
    entry = definition(operator)
    return entry is not None and entry.kind is Kind.VIEW


def _functional(call: Call) -> Call:
    return replace(call, operator=call.operator.removesuffix("_"))


def _has_tensors(argument: Argument) -> bool:
    return isinstance(argument, tuple) and any(ref is not None for ref in references(argument))


_OPTIONAL_TENSORS = frozenset({"weight", "bias", "running_mean", "running_var", "attn_mask", "min", "max", "mask"})


def _may_be_tensor(operator: str, name: str) -> bool:
    """Whether an argument that is left out leaves an operand out: bounds of ``clamp`` are numbers there."""
    return name in _OPTIONAL_TENSORS and not (operator == "aten.clamp" and name in ("min", "max"))


def _plain(argument: Argument) -> Attribute:
    if isinstance(argument, tuple):
        return tuple(_plain(item) for item in argument if item is not None)
    assert not isinstance(argument, Reference | Body) and argument is not None
    return argument
