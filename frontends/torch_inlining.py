"""Puts the calls of functions that are run exactly once in the place of the call that runs them.

Exports wrap what is done without gradients, under autocast or in a checkpoint into a function of its own. Nothing is
launched for that: the calls inside are the program's own, under names that are unique in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .torch_records import Argument, Body, Call, Reference, TensorSpec, references

__all__ = ["inlined"]

_RUN_ONCE = frozenset(
    {
        "higher_order.wrap_with_set_grad_enabled",
        "higher_order.wrap_with_autocast",
        "higher_order.tag_activation_checkpoint",
        "higher_order.wrap_activation_checkpoint",
        "higher_order.invoke_subgraph",
        "higher_order.hints_wrapper",
        "higher_order.strict_mode",
    }
)
"""Higher-order operators that run one function once: its tensors are the arguments after it."""


def inlined(body: Body) -> Body:
    """Return a program, and those inside its other higher-order operators, without functions that are run once."""
    found = _Inlining(Body(body.name, list(body.inputs), list(body.weights)))
    found.values.taken |= {spec.name for spec in body.inputs} | {weight.spec.name for weight in body.weights}
    for call in body.calls:
        found.add(call)
    found.body.outputs = [found.current(name) for name in body.outputs]
    return found.body


@dataclass(slots=True)
class _Names:
    """Names that are taken, and where the search for a free one goes on."""

    taken: set[str] = field(default_factory=set)
    next: dict[str, int] = field(default_factory=dict)

    def take(self, name: str) -> str:
        """Return the name, or it with a number behind it that nobody has."""
        found, number = name, self.next.get(name, 1)
        while found in self.taken:
            found, number = f"{name}_{number}", number + 1
        self.taken.add(found)
        self.next[name] = number
        return found


@dataclass(slots=True)
class _Inlining:
    """The program as it grows; ``names`` are what tensors of the function at hand are called in it."""

    body: Body
    names: dict[str, str] = field(default_factory=dict)
    values: _Names = field(default_factory=_Names)
    calls: _Names = field(default_factory=_Names)

    def current(self, name: str) -> str:
        return self.names.get(name, name)

    def add(self, call: Call) -> None:
        """Add a call, or the calls that it stands for."""
        function = _run_once(call)
        if function is not None:
            self._add_all(call, *function)
            return
        arguments = tuple((word, self._argument(argument)) for word, argument in call.arguments)
        results = tuple(self._named(spec) for spec in call.results)
        name = self.calls.take(call.name)
        self.body.calls.append(replace(call, arguments=arguments, results=results, name=name))

    def _add_all(self, call: Call, function: Body, tensors: list[str]) -> None:
        inputs = dict(zip((spec.name for spec in function.inputs), map(self.current, tensors), strict=True))
        inner = _Inlining(self.body, inputs, self.values, self.calls)
        for weight in function.weights:
            self.body.weights.append(replace(weight, spec=inner._named(weight.spec)))
        for inside in function.calls:
            inner.add(inside)
        for spec, name in zip(call.results, function.outputs, strict=False):
            self.names[spec.name] = inner.current(name)

    def _named(self, spec: TensorSpec) -> TensorSpec:
        name = self.names[spec.name] = self.values.take(spec.name)
        return spec if name == spec.name else replace(spec, name=name)

    def _argument(self, argument: Argument) -> Argument:
        if isinstance(argument, Reference):
            return Reference(self.current(argument.name))
        if isinstance(argument, Body):
            return inlined(argument)
        if isinstance(argument, tuple):
            return tuple(self._argument(item) for item in argument)
        return argument


def _run_once(call: Call) -> tuple[Body, list[str]] | None:
    """The function that a call runs once, and the tensors that it is called with."""
    if call.operator not in _RUN_ONCE:
        return None
    given = [argument for _, argument in call.arguments]
    position = next((i for i, argument in enumerate(given) if isinstance(argument, Body)), len(given))
    tensors = [ref.name for ref in _tensors(given[position + 1 :])]
    body = given[position] if position < len(given) else None
    return (body, tensors) if isinstance(body, Body) and len(tensors) == len(body.inputs) else None


def _tensors(arguments: list[Argument]) -> Iterator[Reference]:
    for argument in arguments:
        yield from (ref for ref in references(argument) if ref is not None)
