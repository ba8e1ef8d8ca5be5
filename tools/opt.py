"""``graphs-opt``: runs a pipeline of passes over models and says what each kernel costs on a target.

Only click is imported here, so that ``--help`` and completion are quick; the rest is, once there is something to do.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from .command import ALL_PASSES, OPTIONAL_VALUES, command
from .guard import guarded

__all__ = ["collect_rarely", "main"]

_ALLOCATIONS = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 bad input or a failure, 2 wrong usage, 130 interrupted."""
    collect_rarely()
    sys.exit(guarded(command, "graphs-opt", _with_values(sys.argv[1:] if arguments is None else arguments)))


def collect_rarely() -> None:
    """Let Python look for garbage once in a million objects, not in 700.

    A graph is one large web of references that lives until the process ends: every look goes through all of it for
    nothing, a third of the time on 100,000 operations.
    """
    gc.set_threshold(_ALLOCATIONS)


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Click takes the next word for the value of an option that may lack one: write out the value that is meant."""
    return [f"{word}={ALL_PASSES}" if word in OPTIONAL_VALUES else word for word in arguments]


if __name__ == "__main__":
    main()
