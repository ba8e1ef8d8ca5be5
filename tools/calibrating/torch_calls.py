"""A call of a captured program as PyTorch code makes it, ready to be made again and again.

What a network's own code calls is a function of torch's Python bindings (``torch.conv2d``, ``Tensor.view``), which is
quicker than the dispatcher's entry for the same operator (``torch.ops.aten``). The former is taken where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...calibration.errors import CalibrationError
from ...frontends.torch_launches import COMPOSITES, launched
from ...frontends.torch_records import Argument, Body, Call, Reference, TensorSpec, references
from ...ir import Kind, definition
from ...ir.counts import substituted, symbols_of
from ...ir.expression import Expression

__all__ = ["bound", "runner_of", "step_names"]

_WORDS = ("dtype", "layout", "memory_format")
"""Arguments whose texts are names of torch's own: ``float32``, ``strided``, ``channels_last``."""

_BINDINGS = ("builtin_function_or_method", "method_descriptor")
_ANY = "*"

Run = Callable[[Sequence[Any]], tuple[Any, ...]]


def bound(count: Any, dims: Mapping[str, int]) -> Any:
    """Return a number that may depend on open dimensions; ``dims`` are their extents, ``"*"`` that of all others.

    What follows from data, which may be zero, is left open.
    """
    if not isinstance(count, Expression):
        return count
    chosen = [symbol for symbol in symbols_of(count) if symbol.lower]
    return substituted(count, {symbol.name: dims.get(symbol.name, dims.get(_ANY, 1)) for symbol in chosen})


def step_names(call: Call, specs: Mapping[str, TensorSpec]) -> tuple[str, bool]:
    """Return the operator that a call launches, without its dialect, and whether that is a view."""
    writes = call.operator.endswith("_") and not call.operator.endswith("__")
    name = call.operator.removesuffix("_") if writes else launched(call, specs).operator
    entry = definition(name)
    return name.rpartition(".")[2], entry is not None and entry.kind is Kind.VIEW


def runner_of(call: Call, device: str, dims: Mapping[str, int]) -> tuple[tuple[str, ...], Run]:
    """Return the tensors that a call reads, and the function that makes it with them.

    Raises:
        CalibrationError: it calls a function of the program, an operator that is not there, or with a number that only
            a run tells.
    """
    if any(isinstance(argument, Body) for _, argument in call.arguments):
        raise _refused(call, "runs functions of its own")
    if not _is_known(call.operator):
        raise _refused(call, "has no entry, so that nobody knows what it does")
    operator = _operator(call)
    given = {word: _made(word, argument, call, device, dims) for word, argument in call.arguments}
    names = tuple(
        ref.name for _, argument in call.arguments for ref in references(_tensors(argument)) if ref is not None
    )
    places = iter(range(len(names)))
    shape = {word: _placed(argument, given[word], places) for word, argument in call.arguments}
    return names, _Chosen([_caller(function, operator, shape) for function in (*_bindings(call), operator)])


def _is_known(operator: str) -> bool:
    """Whether there is an entry for an operator: a file from anywhere may name some that write to the disk."""
    plain = operator.removesuffix("_")
    return operator in COMPOSITES or definition(operator) is not None or definition(plain) is not None


# -- which function ----------------------------------------------------------------------------------------------------


def _operator(call: Call) -> Any:
    import torch

    found: Any = torch.ops
    for part in (*call.operator.split("."), call.overload or "default"):
        found = getattr(found, part, None)
    if not isinstance(found, torch._ops.OpOverload):
        raise _refused(call, "is no operator of this PyTorch")
    return found


def _bindings(call: Call) -> Iterator[Any]:
    import torch

    dialect, _, name = call.operator.partition(".")
    homes: tuple[Any, ...] = (torch, torch._C._nn, torch.Tensor) if dialect == "aten" else ()
    for home in homes:
        function = getattr(home, name, None)
        if type(function).__name__ in _BINDINGS:
            yield function


class _Chosen:
    """Makes a call by the first function that takes its arguments: bindings lack some forms, and say so at once."""

    __slots__ = ("_run",)

    def __init__(self, candidates: Sequence[Run]) -> None:
        self._run: Run = partial(self._first, candidates)

    def __call__(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        return self._run(operands)

    def _first(self, candidates: Sequence[Run], operands: Sequence[Any]) -> tuple[Any, ...]:
        *bindings, last = candidates
        for run in bindings:
            try:
                results = run(operands)
            except TypeError:
                continue
            self._run = run
            return results
        self._run = last
        return last(operands)


# -- with which arguments ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """An argument that is the operand of this index."""

    index: int


def _tensors(argument: Argument) -> Argument:
    return argument if isinstance(argument, Reference | tuple) else None


def _made(word: str, argument: Argument, call: Call, device: str, dims: Mapping[str, int]) -> Any:
    """An argument that is no tensor as torch takes it."""
    import torch

    if isinstance(argument, tuple):
        return [_made(word, item, call, device, dims) for item in argument]
    if isinstance(argument, Expression):
        number = bound(argument, dims)
        if isinstance(number, Expression):
            raise _refused(call, f"takes a number that only a run tells ({word}={argument})")
        return number
    if word == "device" and argument is not None:
        return device
    if isinstance(argument, str) and word in _WORDS:
        return getattr(torch, argument, argument)
    return argument


def _placed(argument: Argument, made: Any, places: Iterator[int]) -> Any:
    if isinstance(argument, Reference):
        return _Place(next(places))
    if isinstance(argument, tuple):
        return [_placed(item, part, places) for item, part in zip(argument, made, strict=True)]
    return made


def _caller(function: Any, operator: Any, arguments: Mapping[str, Any]) -> Run:
    """Leading tensors go by position, numbers by name, so that all but the tensors is settled once."""
    by_name = {argument.name for argument in operator._schema.arguments if argument.kwarg_only}
    leading = 0
    for word, argument in arguments.items():
        if not isinstance(argument, _Place) or word in by_name:
            break
        leading += 1
    rest = dict(list(arguments.items())[leading:])
    if not any(map(_has_place, rest.values())):
        called = partial(function, **rest) if rest else function
        return lambda operands: _results(called(*operands))
    positional = [argument for word, argument in arguments.items() if word not in by_name]
    named = {word: argument for word, argument in arguments.items() if word in by_name}
    in_order = list(arguments)[: len(positional)] == [a.name for a in operator._schema.arguments][: len(positional)]
    if not in_order:
        positional, named = positional[:leading], rest

    def run(operands: Sequence[Any]) -> tuple[Any, ...]:
        filled = [_filled(argument, operands) for argument in positional]
        return _results(function(*filled, **{word: _filled(argument, operands) for word, argument in named.items()}))

    return run


def _has_place(argument: Any) -> bool:
    return isinstance(argument, _Place) or (isinstance(argument, list) and any(map(_has_place, argument)))


def _filled(argument: Any, operands: Sequence[Any]) -> Any:
    if isinstance(argument, _Place):
        return operands[argument.index]
    return [_filled(item, operands) for item in argument] if isinstance(argument, list) else argument


def _results(made: Any) -> tuple[Any, ...]:
    """The tensors that a call gives, as the program counts them."""
    if not isinstance(made, tuple | list):
        return (made,)
    return tuple(item for item in made if hasattr(item, "dtype"))


def _refused(call: Call, why: str) -> CalibrationError:
    return CalibrationError(
        f'pytorch: {call.operator} (node "{call.name}") {why}, and cannot be run by itself',
        help="measure a part of the network that is without it, or the network exported to ONNX",
    )
