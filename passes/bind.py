"""Binds symbolic dimensions to numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..ir import Graph, Op, TensorType, open_symbols, possible, runs_of, substitute
from ..ir.ops.control import BOUND_TRIPS, trips_symbol
from .base import Context, Pass, PassError, closest

__all__ = ["Bind"]

EVERY = "*"


@dataclass(frozen=True)
class Bind(Pass):
    """Replace symbolic dimensions by the numbers that ``--dim`` gives.

    Those left open become ``default``. Without one they become what the model's file runs with until it is told
    otherwise, if it says so (the graph's attribute ``extents``); else they stay open, unless a pass of the pipeline
    needs numbers: then they become 1.
    """

    name = "bind"
    provides = ("dims",)
    invalidates = ("types", "work", "memory", "calibrated", "cost")
    needs_numbers = False
    default: int | None = None

    def run(self, graph: Graph, context: Context) -> None:
        """Bind the dimensions of the graph's inputs, and of whatever names the same symbols.

        Raises:
            PassError: ``--dim`` names a dimension that the model does not have, leaves one negative or makes a tensor
                larger than any can be, or one that must be a number stays open under ``--strict``.
        """
        symbols, loops = _input_symbols(graph), dict(_loops(graph))
        for name in context.dims:
            if name not in symbols and name not in loops and name != EVERY:
                known = ", ".join((*symbols, *loops)) or "none"
                raise PassError(
                    f"bind: the model has no symbolic dimension {name!r}{closest(name, symbols)}",
                    help=f"symbolic dimensions of this model: {known}",
                )
        given = {name: context.dims.get(name, context.dims.get(EVERY)) for name in symbols}
        extents = _stated(graph, symbols) if self.default is None else {}
        extents.update((name, extent) for name, extent in given.items() if extent is not None)
        default = self.default if self.default is not None or not context.numbers else 1
        left = [name for name in symbols if name not in extents]
        if left and default is not None:
            context.warn("bind", f"{', '.join(left)} bound to {default}; bind with --dim NAME=VALUE")
            extents.update(dict.fromkeys(left, default))
        extents.update(_bind_trips(loops, context))
        if extents:
            _bind_graph(graph, extents)
            _check_sizes(graph)


def _stated(graph: Graph, symbols: Collection[str]) -> dict[str, int]:
    """What the model's own file gives open dimensions."""
    stated = graph.attributes.get("extents")
    known = stated.items() if isinstance(stated, Mapping) else ()
    return {name: extent for name, extent in known if name in symbols and isinstance(extent, int)}


def _input_symbols(graph: Graph) -> list[str]:
    """Names of the symbols in the inputs' types, each once, in order."""
    return list(dict.fromkeys(symbol.name for op in graph.inputs for symbol in open_symbols(op.result.type)))


def _loops(graph: Graph) -> Iterator[tuple[str, Op]]:
    """Operations whose bodies run as often as only running the model tells, by the name of their trips."""
    for op in graph.walk():
        symbol = trips_symbol(op) if op.regions else None
        if symbol is not None and any(runs.at_most or runs.times == symbol for runs in runs_of(op)):
            yield symbol.name, op


def _bind_trips(loops: Mapping[str, Op], context: Context) -> dict[str, int]:
    """Tell each loop the trips that ``--dim`` gives; leave them open as a symbol, unless figures must be numbers."""
    extents: dict[str, int] = {}
    for name, op in loops.items():
        given = context.dims.get(name, context.dims.get(EVERY))
        if given is not None:
            extents[name] = given
        if given is not None or not context.numbers:
            bound = trips_symbol(op) if given is None else given
            op.attributes = MappingProxyType({**op.attributes, BOUND_TRIPS: bound})
    return extents


def _bind_graph(graph: Graph, extents: Mapping[str, int]) -> None:
    for op in graph.walk():
        for value in op.results:
            bound = substitute(value.type, extents)
            if isinstance(bound, TensorType) and any(isinstance(dim, int) and dim < 0 for dim in bound.shape or ()):
                raise PassError(
                    f"bind: {value.name!r} of type {value.type} has a negative extent", help="check the values of --dim"
                )
            value.type = bound
        attributes = substitute(op.attributes, extents)
        if any(attributes[key] is not old for key, old in op.attributes.items()):
            op.attributes = MappingProxyType(attributes)
        for fact in list(op.facts):
            op.facts.add(substitute(fact, extents))
    graph.revision += 1


def _check_sizes(graph: Graph) -> None:
    for op in graph.walk():
        for value in op.results:
            if not possible(value.type):
                raise PassError(f"bind: {value.name!r} would be {value.type}, and no tensor has so many elements", op)
