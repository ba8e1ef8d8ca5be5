"""Binds symbolic dimensions to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir import Expression, Graph, OptionalType, SequenceType, TensorType, Type, possible
from .base import Context, Pass, PassError, closest

__all__ = ["Bind"]

EVERY = "*"


@dataclass(frozen=True)
class Bind(Pass):
    """Replace symbolic dimensions by the numbers that ``--dim`` gives; those left open become ``default``."""

    name = "bind"
    provides = ("dims",)
    invalidates = ("types", "work", "memory", "calibrated", "cost")
    default: int = 1

    def run(self, graph: Graph, context: Context) -> None:
        """Bind the dimensions of the graph's inputs, and of whatever names the same symbols.

        Raises:
            PassError: ``--dim`` names a dimension that the model does not have or makes a tensor larger than any can
                be, or one stays open under ``--strict``.
        """
        symbols = _input_symbols(graph)
        for name in context.dims:
            if name not in symbols and name != EVERY:
                known = ", ".join(symbols) or "none"
                raise PassError(
                    f"bind: the model has no symbolic dimension {name!r}{closest(name, symbols)}",
                    help=f"symbolic dimensions of this model: {known}",
                )
        extents = {name: context.dims.get(name, context.dims.get(EVERY, self.default)) for name in symbols}
        open_symbols = [name for name in symbols if name not in context.dims and EVERY not in context.dims]
        if open_symbols:
            context.warn("bind", f"{', '.join(open_symbols)} bound to {self.default}; bind with --dim NAME=VALUE")
        if extents:
            _bind_graph(graph, extents)
            _check_sizes(graph)


def _input_symbols(graph: Graph) -> list[str]:
    """Names of the symbols in the inputs' types, each once, in order."""
    types = [op.result.type for op in graph.inputs]
    return list(dict.fromkeys(name for type in types for name in _symbols(type)))


def _symbols(type: Type) -> list[str]:
    if isinstance(type, SequenceType | OptionalType):
        return _symbols(type.element)
    shape = type.shape if isinstance(type, TensorType) else None
    return [symbol.name for dim in shape or () if isinstance(dim, Expression) for symbol in dim.symbols]


def _bind_graph(graph: Graph, extents: Mapping[str, int]) -> None:
    for op in graph.walk():
        for value in op.results:
            value.type = _bound(value.type, extents)
    graph.revision += 1


def _check_sizes(graph: Graph) -> None:
    for op in graph.walk():
        for value in op.results:
            if not possible(value.type):
                raise PassError(f"bind: {value.name!r} would be {value.type}, and no tensor has so many elements", op)


def _bound(type: Type, extents: Mapping[str, int]) -> Type:
    if isinstance(type, SequenceType | OptionalType):
        return type.__class__(_bound(type.element, extents))
    if not isinstance(type, TensorType) or type.static or type.shape is None:
        return type
    shape = tuple(dim if isinstance(dim, int) else dim.substitute(extents) for dim in type.shape)
    return TensorType(type.dtype, shape)
