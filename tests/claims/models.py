"""Model files: those of a folder, those bundled with the project, and the real networks inside the onnx package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["BUNDLED", "LIGHT", "label", "model_files"]

BUNDLED = Path(__file__).resolve().parents[2] / "examples" / "models"


def _light() -> Path:
    import onnx

    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


LIGHT = _light()
"""Nine networks of 2016 to 2018, opsets 7 to 9, whose weights are made by ConstantOfShape."""


def model_files(names: Iterable[str | Path]) -> list[Path]:
    """The files named and those in the folders named; ``light`` and ``bundled`` stand for those sets.

    Raises:
        FileNotFoundError: there is no such file, or a folder without a model.
    """
    files: list[Path] = []
    for name in names:
        path = {"light": LIGHT, "bundled": BUNDLED}.get(str(name), Path(name))
        found = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise FileNotFoundError(f"{path}: no model there")
        files.extend(found)
    return files


def label(path: Path) -> str:
    """A network's name with its folder's, since two folders may each have a resnet50."""
    return f"{path.parent.name}/{path.stem}"
