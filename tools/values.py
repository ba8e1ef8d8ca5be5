"""An option's value that both commands take: the type of a module's input. Nothing but click is imported here."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["InputType"]


class InputType(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """``[NAME=][TYPE:]DIMS``, checked and kept as it is."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        from ..frontends.torch_factory import parse_input

        try:
            parse_input(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)
