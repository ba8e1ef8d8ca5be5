"""Where output goes: from ``--emit`` and ``-o`` to one format for each destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from .emit import FORMATS

__all__ = ["Output", "outputs_of"]

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """A format and the file that it is written to; ``None`` is standard output."""

    format: str
    path: Path | None = None


def outputs_of(formats: Sequence[str], paths: Sequence[str]) -> list[Output]:
    """Return what is to be written where.

    A known suffix says the format; another one, and standard output, take the one that ``--emit`` gives.

    Raises:
        click.UsageError: a destination has no format, or a format no destination.
    """
    distinct = list(dict.fromkeys(formats))
    if not paths:
        if len(distinct) > 1:
            raise click.UsageError(f"--emit={' and --emit='.join(distinct)} would both go to standard output: use -o")
        outputs = [Output(distinct[0] if distinct else "table")]
    else:
        outputs = [_output(path, distinct) for path in dict.fromkeys(paths)]
    unused = [name for name in distinct if name not in {output.format for output in outputs}]
    if unused:
        raise click.UsageError(f"--emit={unused[0]} has nowhere to go: add -o FILE, or -o - for standard output")
    if any(output.format == "onnx" and output.path is None for output in outputs):
        raise click.UsageError("--emit=onnx writes a binary file: name it with -o FILE.onnx")
    return outputs


def _output(path: str, formats: Sequence[str]) -> Output:
    if path == STANDARD_OUTPUT:
        return Output(formats[0] if len(formats) == 1 else "table")
    name = Path(path).name.lower()
    fitting = {suffix: format for format, suffixes in FORMATS.items() for suffix in suffixes if name.endswith(suffix)}
    wanted = fitting[max(fitting, key=len)] if fitting else None
    if len(formats) == 1 and any(suffix.endswith(tail) for suffix in FORMATS[formats[0]] for tail in fitting):
        wanted = formats[0]  # -o x.json --emit=coverage-json
    if wanted is None and len(formats) != 1:
        suffixes = ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
        raise click.UsageError(f"-o {path}: say the format with --emit, or by one of these suffixes: {suffixes}")
    return Output(wanted or formats[0], Path(path))
