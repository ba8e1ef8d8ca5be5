"""Option values that click does not know: durations and limits, with the error that says how to write one."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["Duration", "Share"]

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """``90s``, ``10m``, ``1h30m``; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        parts = _PART.findall(text) if text.isascii() else []
        whole = bool(parts) and _PART.sub("", text).strip() == "" and all(unit in _SECONDS for _, unit in parts)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts) if whole else 0.0
        if not 0.0 < seconds < float("inf"):
            self.fail(f"{value!r}: expected a time such as 10m, 90s or 1h30m", param, ctx)
        return seconds


class Share(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """``10%`` or ``0.1``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share, 0.1 for ``10%``."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            share = float("nan")
        if not 0.0 < share < float("inf"):
            self.fail(f"{value!r}: expected a share above zero, such as 10%", param, ctx)
        return share
