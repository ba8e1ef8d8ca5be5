"""What the names of an ONNX model's open dimensions mean.

Names in the inputs' types are the model's symbols. A name that is arithmetic on others (``past_length + length``, as
exporters write) is that expression. Elsewhere exporters and onnx's own inference make names up (``unk__12``): there
only names of inputs, and arithmetic on them, are believed; what else is open is left to inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..ir import (
    UNKNOWN_DIM,
    Dim,
    Expression,
    ExpressionError,
    Graph,
    OptionalType,
    SequenceType,
    Symbol,
    TensorType,
    Type,
    parse_expression,
)

__all__ = ["declare_dims"]


def declare_dims(graph: Graph) -> None:
    """Give every open dimension of a graph as loaded its meaning, in place."""
    inputs = {op.result: None for op in graph.inputs}
    declared = {dim.name for value in inputs for dim in _dims(value.type) if isinstance(dim, Symbol)}

    def of_input(dim: Dim) -> Dim:
        return _arithmetic(dim, declared - {str(dim)}) or dim

    def of_other(dim: Dim) -> Dim:
        if isinstance(dim, int) or (isinstance(dim, Symbol) and dim.name in declared):
            return of_input(dim)
        return _arithmetic(dim, declared) or UNKNOWN_DIM

    for op in graph.walk():
        for value in op.results:
            value.type = _mapped(value.type, of_input if value in inputs else of_other)
    graph.revision += 1


_SUMS = {"total_sequence_length": "past_sequence_length + sequence_length"}
"""What names mean by which onnxruntime's model builder calls a decoder's dimensions."""


def _arithmetic(dim: Dim, names: set[str]) -> Dim | None:
    """The expression that a symbol's name spells, or stands for, if it is arithmetic on some of ``names``."""
    if not isinstance(dim, Symbol) or (dim.name.isidentifier() and dim.name not in _SUMS):
        return None
    try:
        made = parse_expression(_SUMS.get(dim.name, dim.name))
    except ExpressionError:
        return None
    fits = isinstance(made, Expression) and made.integral and {symbol.name for symbol in made.symbols} <= names
    return made if fits else None


def _dims(type: Type) -> Iterator[Dim]:
    if isinstance(type, SequenceType | OptionalType):
        yield from _dims(type.element)
    elif isinstance(type, TensorType):
        yield from type.shape or ()


def _mapped(type: Type, meaning: Callable[[Dim], Dim]) -> Type:
    if isinstance(type, SequenceType | OptionalType):
        return type.__class__(_mapped(type.element, meaning))
    if not isinstance(type, TensorType) or type.static or type.shape is None:
        return type
    return TensorType(type.dtype, tuple(meaning(dim) for dim in type.shape))
