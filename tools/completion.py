"""What the shell offers after TAB. Names only: nothing is loaded that ``--help`` would not load."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from ..passes.index import BUILTIN_PASSES, NAMED_PIPELINES

__all__ = ["complete", "script"]


def script(shell: str, command: click.Command) -> str:
    """Return the script that a shell sources: ``eval "$(graphs-opt --completion=bash)"``."""
    program = command.name or ""
    cls = get_completion_class(shell)
    if cls is None:
        raise click.UsageError(f"no completion for {shell}")
    completion = cls(command, {}, program, f"_{program.upper().replace('-', '_')}_COMPLETE")
    return completion.source_template % completion.source_vars()


def complete(option: str, incomplete: str) -> list[CompletionItem]:
    """What may stand where ``incomplete`` is typed as an option's value."""
    return _passes(incomplete) if option == "passes" else _target(incomplete)


def _passes(incomplete: str) -> list[CompletionItem]:
    """The passes that may come next in a pipeline text."""
    before, comma, last = incomplete.rpartition(",")
    names = [*BUILTIN_PASSES, *NAMED_PIPELINES]
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]


def _target(incomplete: str) -> list[CompletionItem]:
    """The devices, after a colon the runtimes; file names where it looks like a path."""
    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="file")]
    device, colon, runtime = incomplete.partition(":")
    names = _names("runtimes") if colon else _names("devices")
    start = runtime if colon else device
    return [CompletionItem(f"{device}:{name}" if colon else name) for name in names if name.startswith(start)]


def _names(kind: str) -> list[str]:
    shipped = Path(__file__).parent.parent / "targets" / kind
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    own = Path(home) / "graphs" / ("targets" if kind == "devices" else kind)
    return sorted({path.stem for folder in (shipped, own) for path in folder.rglob("*.yaml")})
