"""Which passes there are: built in, from installed packages (entry points) and from files (``--load-plugin``).

    [project.entry-points."graphs.plugins"]
    acme = "acme_graphs.plugin"

An entry point names a module, whose import defines operators and whose passes are then registered; or a function, which
is called and may do as it likes.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ..ir.errors import GraphsError
from .base import Pass
from .index import BUILTIN_PASSES, NAMED_PIPELINES
from .pipeline import PipelineError

__all__ = ["find_pass", "load_entry_points", "load_plugin", "pass_names", "pass_that_provides", "register"]

ENTRY_POINTS = "graphs.plugins"

_REGISTERED: dict[str, type[Pass]] = {}
_LOADED: list[str] = []


def register(cls: type[Pass]) -> type[Pass]:
    """Add a pass under its ``name``; usable as a decorator.

    Raises:
        ValueError: it has no name, the name is taken, or it has options but is no dataclass.
    """
    if not cls.name:
        raise ValueError(f'pass {cls.__qualname__} has no name: add  name = "…"')
    if cls.name in BUILTIN_PASSES or cls.name in NAMED_PIPELINES or cls.name in _REGISTERED:
        raise ValueError(f'pass "{cls.name}" is registered already')
    if set(_annotated(cls)) - {field.name for field in dataclasses.fields(cls)}:
        raise ValueError(f'pass "{cls.name}" has options but is no dataclass: add @dataclass(frozen=True)')
    _REGISTERED[cls.name] = cls
    return cls


def _annotated(cls: type[Pass]) -> list[str]:
    return [name for name, hint in vars(cls).get("__annotations__", {}).items() if "ClassVar" not in str(hint)]


def pass_names() -> list[str]:
    """Return the names of all passes, the built-in ones first."""
    return [*BUILTIN_PASSES, *_REGISTERED]


def find_pass(name: str) -> type[Pass]:
    """Return the pass of that name, importing it if need be.

    Raises:
        PipelineError: there is none.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in BUILTIN_PASSES:
        close = difflib.get_close_matches(name, [*pass_names(), *NAMED_PIPELINES], n=1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        raise PipelineError(f'no pass "{name}"{hint} (graphs-opt --list-passes)')
    module, _, attribute = BUILTIN_PASSES[name].partition(":")
    cls: type[Pass] = getattr(import_module(f".{module}", __package__), attribute)
    return cls


def pass_that_provides(state: str) -> type[Pass] | None:
    """Return the first pass that provides a state of the graph, ``None`` if none does."""
    return next((cls for cls in map(find_pass, pass_names()) if state in cls.provides), None)


def load_plugin(path: Path) -> None:
    """Run a Python file that defines operators (``@define``) or passes, and register every pass it defines.

    Raises:
        GraphsError: the file is missing, fails to run, or registers what is registered already.
    """
    if not path.is_file():
        raise GraphsError(f"plugin {path}: no such file")
    name = f"graphs_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise GraphsError(f"plugin {path}: not a Python file", help="a plugin's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        _register_passes(module)
    except Exception as error:
        del sys.modules[name]
        raise GraphsError(f"plugin {path}{_line(error, path)}: {type(error).__name__}: {error}") from error


def load_entry_points() -> list[str]:
    """Load the plugins of installed packages, once, and return what went wrong; a broken one stops no other."""
    from importlib.metadata import entry_points

    problems = []
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.value in _LOADED:
            continue
        _LOADED.append(entry.value)
        try:
            loaded = entry.load()
            if isinstance(loaded, ModuleType):
                _register_passes(loaded)
            elif isinstance(loaded, type) and issubclass(loaded, Pass):
                register(loaded)
            else:
                loaded()
        except Exception as error:  # whatever an installed package does wrong, the tool still works without it
            problems.append(f'plugin "{entry.name}" ({entry.value}) is not loaded: {type(error).__name__}: {error}')
    return problems


def _register_passes(module: ModuleType) -> None:
    """Register the passes that a module defines itself; one that it registered by hand is not registered again."""
    for found in list(vars(module).values()):
        defined = isinstance(found, type) and issubclass(found, Pass) and found.__module__ == module.__name__
        if defined and found.name and _REGISTERED.get(found.name) is not found:
            register(found)


def _line(error: Exception, path: Path) -> str:
    """``:LINE`` of the plugin's own code where the error was raised."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    return f":{lines[-1]}" if lines else ""
