"""``graphs-opt``: runs a pipeline of passes over models and says what each kernel costs on a target.

Only click is imported here, so that ``--help`` and completion are quick; the rest is, once there is something to do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence

import click

from .command import ALL_PASSES, OPTIONAL_VALUES, command

__all__ = ["collect_rarely", "main"]

_ALLOCATIONS = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 bad input or a failure, 2 wrong usage, 130 interrupted."""
    collect_rarely()
    sys.exit(_guarded(sys.argv[1:] if arguments is None else arguments))


def collect_rarely() -> None:
    """Let Python look for garbage once in a million objects, not in 700.

    A graph is one large web of references that lives until the process ends: every look goes through all of it for
    nothing, a third of the time on 100,000 operations.
    """
    gc.set_threshold(_ALLOCATIONS)


def _guarded(arguments: Sequence[str]) -> int:
    """Run the command; whatever happens, the user is shown a message and never a traceback.

    A reader that closes the pipe is click's business: it exits with 1, quietly.
    """
    with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there sees to signals
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        code = command.main(args=_with_values(arguments), prog_name="graphs-opt", standalone_mode=False)
    except click.UsageError as error:
        _say(_decapitalised(error.format_message()), help="graphs-opt --help lists the options")
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    except Exception as error:
        if os.environ.get("GRAPHS_DEBUG"):
            raise
        return _unexpected(error)
    return int(code or 0)


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Click takes the next word for the value of an option that may lack one: write out the value that is meant."""
    return [f"{word}={ALL_PASSES}" if word in OPTIONAL_VALUES else word for word in arguments]


def _unexpected(error: Exception) -> int:
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.filename}: {error.strerror}")
    elif isinstance(error, MemoryError):
        _say("out of memory")
    else:
        _say(f"{type(error).__name__}: {error}", help="this is a defect of graphs-opt; GRAPHS_DEBUG=1 shows where")
    return 1


def _say(message: str, help: str = "") -> None:
    from .terminal import Messages, takes_color

    Messages(color=takes_color(sys.stderr, "auto")).error(message, help)


def _decapitalised(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


if __name__ == "__main__":
    main()
