"""``graphs-calibrate history``: how accuracy went over time."""

from __future__ import annotations

from collections.abc import Sequence

from ...calibration.history import Entry, history_path, read
from ...targets import parse_target
from ..units import NOTHING, percent
from .console import Console, cell_column, table
from .figures import signed

__all__ = ["history_text", "run"]


def run(console: Console, *, target: str | None = None) -> int:
    """Print the history of validations, of one target or of all."""
    path = history_path()
    entries, problems = read(path)
    for problem in problems:
        console.messages.warning(problem)
    if target:
        name = parse_target(target)
        wanted = (name.device, name.runtime, name.mode)
        entries = [entry for entry in entries if _is_of(entry, wanted)]
    if not entries:
        console.say(f"no validation so far{f' of {target}' if target else ''} (they are kept in {path})")
        return 0
    console.show(history_text(entries, console))
    return 0


def _is_of(entry: Entry, wanted: tuple[str, str | None, str | None]) -> bool:
    return all(part is None or part == own
               for part, own in zip(wanted, (entry.device, entry.runtime, entry.mode), strict=True))  # fmt: skip


def history_text(entries: Sequence[Entry], console: Console) -> str:
    """Return a table of validations, oldest first; ``change`` is that of the error since the last of the same sort."""
    last: dict[tuple[str, ...], float] = {}
    changes = []
    for entry in entries:
        key = (entry.device, entry.runtime, entry.mode, entry.precision, entry.method)
        changes.append(signed(entry.mape - last[key]) if key in last else NOTHING)
        last[key] = entry.mape
    kernels = [percent(entry.kernel_mape) for entry in entries]
    return table(
        [
            cell_column("date", [entry.date[:16].replace("T", " ") for entry in entries], right=False),
            cell_column("target", [_target(entry) for entry in entries], right=False),
            cell_column("precision", [entry.precision for entry in entries], 4, right=False),
            cell_column("method", [entry.method for entry in entries], 3, right=False),
            cell_column("networks", [str(entry.models) for entry in entries], 1),
            cell_column("error", [percent(entry.mape) for entry in entries]),
            cell_column("change", [change.replace(" %", " pt") for change in changes], 1),
            cell_column("within ±10 %", [percent(entry.within) for entry in entries], 2),
            cell_column("bias", [signed(entry.bias) for entry in entries], 3),
            cell_column("inside", [percent(entry.inside) for entry in entries], 3),
            cell_column("kernels", kernels, 4),
            cell_column("versions", [entry.versions for entry in entries], 5, right=False, least=16),
        ],
        console,
    )


def _target(entry: Entry) -> str:
    return f"{entry.device}:{entry.runtime}" + (f"@{entry.mode}" if entry.mode else "")
