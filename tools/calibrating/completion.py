"""What the shell offers after TAB for the options of graphs-calibrate."""

from __future__ import annotations

from click.shell_completion import CompletionItem

from ..completion import complete as complete_target

__all__ = ["complete"]


def complete(option: str, incomplete: str) -> list[CompletionItem]:
    """What may stand where ``incomplete`` is typed as an option's value."""
    if option == "target":
        return complete_target(option, incomplete)
    from ...calibration.kernel import OPERATION_TYPES

    return [CompletionItem(name) for name in OPERATION_TYPES if name.startswith(incomplete)]
