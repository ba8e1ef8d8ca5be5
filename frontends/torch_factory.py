"""A module of the user's own, ``package.module:factory``, imported from where the user stands and captured.

    graphs-opt my_models:small --input 1x3x224x224
    graphs-opt my_models:decoder --input i64:1x128 --input mask=bool:1x128

The factory is a module, or something that makes one when it is called with nothing; it is put in evaluation mode.
Importing it runs its code, which is why a file's name never does.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..ir import Graph
from .registry import FrontendError
from .torch import exported_program, graph_of_export, imported_torch
from .torch_records import DTYPES

__all__ = [
    "Captured", "InputSpec", "capture_factory", "example_inputs", "is_factory_name", "load_factory", "parse_input",
]  # fmt: skip

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_INPUT = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?:(?P<dtype>[A-Za-z]\w*):)?(?P<dims>[0-9]+(?:x[0-9]+)*)?")
_WORDS = {dtype.mlir: name for name, dtype in DTYPES.items()} | {"bool": "bool", **{name: name for name in DTYPES}}
_WORDS |= {f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input to come: its keyword, empty for a positional one, torch's name of its type, its shape."""

    name: str
    dtype: str
    dims: tuple[int, ...]


def is_factory_name(name: str) -> bool:
    """Whether a name is one of a factory, ``package.module:factory``, and of no file."""
    return _FACTORY.fullmatch(name) is not None and not os.path.exists(name)


def parse_input(text: str) -> InputSpec:
    """Read ``1x3x224x224``, ``i64:1x128`` or ``mask=bool:1x128``; ``f32:`` alone is a scalar.

    Raises:
        ValueError: it is none of these.
    """
    match = _INPUT.fullmatch(text)
    if match is None or not text or (match["dims"] is None and match["dtype"] is None):
        raise ValueError(f"{text!r}: expected dimensions, such as 1x3x224x224, i64:1x128 or mask=bool:1x128")
    word = match["dtype"] or "f32"
    if word not in _WORDS:
        raise ValueError(f"{text!r}: no element type {word!r}; there are {', '.join(sorted(_WORDS))}")
    dims = tuple(int(dim) for dim in match["dims"].split("x")) if match["dims"] else ()
    return InputSpec(match["name"] or "", _WORDS[word], dims)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a factory made, in evaluation mode, its program, and the inputs to call it with.

    ``module`` is ``None`` where the factory made a program.
    """

    name: str
    module: Any
    exported: Any
    inputs: tuple[InputSpec, ...]


def load_factory(name: str, inputs: Sequence[InputSpec]) -> Graph:
    """Import what ``package.module:factory`` names, make the module and capture it with zeros of these types.

    Raises:
        FrontendError: torch is not installed, there is no such factory, or its code fails.
    """
    captured = capture_factory(name, inputs)
    return graph_of_export(captured.exported, captured.name)


def capture_factory(name: str, inputs: Sequence[InputSpec]) -> Captured:
    """Do what :func:`load_factory` does, up to the program.

    Raises:
        FrontendError: as :func:`load_factory`.
    """
    torch = imported_torch()
    with _standing_here():
        made = _made(name)
        module = made.eval() if isinstance(made, torch.nn.Module) else None
        if module is not None and not inputs:
            raise FrontendError(
                f"{name}: no inputs are given", help="say their types: --input 1x3x224x224 --input i64:1x128"
            )
        positional, keyword = example_inputs(name, inputs)
        exported = exported_program(made, positional, keyword)
    return Captured(name.partition(":")[2].rpartition(".")[2], module, exported, tuple(inputs))


def example_inputs(name: str, inputs: Sequence[InputSpec]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return zeros of these types, those by position and those by keyword.

    Raises:
        FrontendError: there is no such tensor; ``name`` says of what.
    """
    torch = imported_torch()
    try:
        tensors = [torch.zeros(spec.dims, dtype=getattr(torch, spec.dtype)) for spec in inputs]
    except (RuntimeError, AttributeError, TypeError, OverflowError) as error:
        raise FrontendError(f"{name}: its inputs cannot be made: {str(error).splitlines()[0]}") from None
    pairs = list(zip(inputs, tensors, strict=True))
    positional = tuple(tensor for spec, tensor in pairs if not spec.name)
    return positional, {spec.name: tensor for spec, tensor in pairs if spec.name}


def _made(name: str) -> Any:
    """Import the module, find the factory, and call it unless it is a module already."""
    torch = imported_torch()
    package, _, path = name.partition(":")
    found = _run(lambda: import_module(package), f"{name}: importing {package}")
    for part in path.split("."):
        if not hasattr(found, part):
            raise FrontendError(
                f"{name}: {package} has no {path!r}", help="name a module, or a function that makes one"
            )
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module | torch.export.ExportedProgram):
        return found
    if not callable(found):
        raise FrontendError(f"{name}: {type(found).__name__} is no module and makes none")
    made = _run(found, f"{name}: calling {path}")
    if not isinstance(made, torch.nn.Module | torch.export.ExportedProgram):
        raise FrontendError(f"{name}: it makes {type(made).__name__}, no torch.nn.Module")
    return made


def _run(function: Callable[[], Any], what: str) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        lines = str(error).strip().splitlines()
        said = f": {lines[0]}" if lines else ""
        raise FrontendError(f"{what} fails with {type(error).__name__}{said}") from error


@contextmanager
def _standing_here() -> Iterator[None]:
    """Let imports find what is in the current directory, as ``python -m`` does."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
