"""Runs a command so that the user is shown a message and never a traceback, and the exit code means something."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

import click

__all__ = ["guarded"]


def guarded(command: click.Command, program: str, arguments: Sequence[str]) -> int:
    """Run ``command`` and return the exit code: 0 done, 1 bad input or a failure, 2 wrong usage, 130 interrupted.

    A reader that closes the pipe is click's business: it exits with 1, quietly.
    """
    with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there sees to signals
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        code = command.main(args=list(arguments), prog_name=program, standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else program
        _say(_decapitalised(error.format_message()), help=f"{path} --help lists the options")
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    except Exception as error:
        if os.environ.get("GRAPHS_DEBUG"):
            raise
        return _unexpected(error, program)
    return int(code or 0)


def _unexpected(error: Exception, program: str) -> int:
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.filename}: {error.strerror}")
    elif isinstance(error, MemoryError):
        _say("out of memory")
    else:
        _say(f"{type(error).__name__}: {error}", help=f"this is a defect of {program}; GRAPHS_DEBUG=1 shows where")
    return 1


def _say(message: str, help: str = "") -> None:
    from .terminal import Messages, takes_color

    Messages(color=takes_color(sys.stderr, "auto")).error(message, help)


def _decapitalised(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")
