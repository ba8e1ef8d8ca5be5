"""What the command line of graphs-opt said, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from ..passes.pipeline import parse_pipeline
from .outputs import Output, outputs_of

__all__ = ["Options", "options_from"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options by the names that ``graphs-opt --help`` shows, checked as far as that needs no model."""

    models: tuple[str, ...]
    passes: str
    target: str
    precision: str | None
    dims: Mapping[str, int]
    inputs: tuple[str, ...]
    entry: str | None
    outputs: tuple[Output, ...]
    order: str
    top: int | None
    by: str
    wide: bool
    explain: str | None
    evidence: str | None
    measured: str | None
    strict: bool
    print_ir_before: tuple[str, ...]
    print_ir_after: tuple[str, ...]
    print_ir_after_all: bool
    verify_each: bool
    timing: bool
    stats: bool
    dump_pipeline: bool
    listing: str | None
    list_format: str
    load_plugin: tuple[str, ...]
    split_input_file: bool
    run_reproducer: str | None
    verbosity: int
    color: str
    width: int | None

    @property
    def coverage(self) -> bool:
        """Whether the account of the coverage is wanted beside the figures: if the pass is named, or compared."""
        return bool(self.measured) or any(call.name == "coverage" for call in parse_pipeline(self.passes).calls)

    @property
    def quiet(self) -> bool:
        """Whether only totals and errors are wanted."""
        return self.verbosity == 0


def options_from(given: dict[str, Any]) -> Options:
    """Return the options that click parsed, checked against each other.

    Raises:
        click.UsageError: they exclude each other, or there is nothing to do.
    """
    quiet, verbose = given.pop("quiet"), given.pop("verbose")
    if quiet and verbose:
        raise click.UsageError("-q and -v exclude each other")
    if not any(given[name] for name in ("models", "listing", "run_reproducer", "dump_pipeline")):
        raise click.UsageError("name a model file, such as model.onnx")
    if given["run_reproducer"] and given["models"]:
        raise click.UsageError("--run-reproducer names its own model: leave out the others")
    outputs = tuple(outputs_of(given.pop("formats"), given.pop("paths")))
    if any(output.format == "onnx" for output in outputs) and len(given["models"]) > 1:
        raise click.UsageError("an ONNX file holds one model: name one")
    if given["measured"] and len(given["models"]) > 1:
        raise click.UsageError("--measured is of one model: name one")
    given["dims"] = dict(given["dims"])
    return Options(outputs=outputs, verbosity=0 if quiet else 1 + verbose, **given)
