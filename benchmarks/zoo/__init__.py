"""Architectures of many families that PyTorch builds with random weights, small enough to export in seconds.

They are what claims about shapes and about counted work are checked on. Nothing is imported before an architecture is
built; those whose packages are not installed say so (:attr:`Architecture.missing`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .architecture import EXPORTERS, Architecture, Input
from .language import LANGUAGE
from .plain import PLAIN
from .vision import VISION

__all__ = ["ARCHITECTURES", "EXPORTERS", "Architecture", "Input", "exported"]

ARCHITECTURES = {architecture.name: architecture for architecture in (*PLAIN, *VISION, *LANGUAGE)}
"""All of them by name."""


def exported(names: Iterable[str], folder: Path, exporter: str = "dynamo") -> Iterator[tuple[Architecture, Path]]:
    """Yield the architectures of these names that can be exported, and their files in the folder, made if not there.

    What cannot be had is told to stderr: its packages are not installed, or the exporter refuses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for architecture in (ARCHITECTURES[name] for name in names):
        path = folder / f"{architecture.name}.{exporter}.onnx"
        if architecture.missing:
            print(f"{architecture.name}: left out, needs {', '.join(architecture.missing)}", file=sys.stderr)
            continue
        try:
            if not path.exists():
                architecture.export(path, exporter)
        except Exception as error:  # whatever an exporter raises
            path.unlink(missing_ok=True)
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            print(f"{architecture.name}: left out, {exporter} does not export it: {reason}", file=sys.stderr)
            continue
        yield architecture, path
