"""The error that a user is shown: what is wrong, where, and the way out."""

from __future__ import annotations

__all__ = ["GraphsError"]


class GraphsError(Exception):
    """Base of every error that bad input may cause; ``help`` says what to do about it, if anything can be said."""

    def __init__(self, message: str, help: str = "") -> None:
        self.help = help
        super().__init__(message)
