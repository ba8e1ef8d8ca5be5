"""``graphs-calibrate``: measures machines, fits evidence to what was measured, and proves how good it is.

Only click is imported here, so that ``--help`` and completion are quick; the rest is, once there is something to do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .calibrating.command import command
from .guard import guarded
from .opt import collect_rarely

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 bad input or a failure, 2 wrong usage, 130 interrupted."""
    collect_rarely()
    sys.exit(guarded(command, "graphs-calibrate", sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
