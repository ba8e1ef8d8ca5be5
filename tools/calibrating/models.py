"""The models that a campaign or a validation is about: their files, and their kernels on the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...frontends import load
from ...frontends.onnx import load_onnx
from ...ir import DType, Graph
from ...ir.errors import GraphsError
from ...passes.base import Context
from ...passes.calibrate import described
from ...passes.manager import PassManager, parse_passes
from ...targets import Target

if TYPE_CHECKING:
    from onnx import ModelProto

    from ...calibration.measure.described import Described

__all__ = ["Describe", "files_of"]

_SUFFIX = ".onnx"
_PASSES = "fuse,lower"


def files_of(paths: Sequence[str]) -> list[Path]:
    """Return the model files that are named, and of folders those that lie in them, in the order of their names.

    Raises:
        GraphsError: a path does not exist, a folder has no model, or two models have one name.
    """
    found: dict[str, Path] = {}
    for name in paths:
        path = Path(name)
        if not path.exists():
            raise GraphsError(f"{name}: no such file or folder")
        files = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise GraphsError(f"{name}: no model in this folder", help=f"models are files named *{_SUFFIX}")
        for file in files:
            other = found.setdefault(file.stem, file)
            if other.resolve() != file.resolve():
                raise GraphsError(f"{other} and {file} are both called {file.stem}",
                                  help="samples are told apart by model: rename one")  # fmt: skip
    return list(found.values())


class Describe:
    """Tells the kernels that a target launches for a model: from a file, or from a model in memory."""

    def __init__(self, target: Target, precision: DType | None = None) -> None:
        self.target = target
        self.precision = precision

    def __call__(self, model: Path | ModelProto) -> Sequence[Described]:
        """Return the kernels in graph order.

        Raises:
            GraphsError: the model cannot be read, or a pass failed.
        """
        return described(self.graph(model), self.target)

    def graph(self, model: Path | ModelProto) -> Graph:
        """Return the model's graph, fused and lowered for the target; open dimensions are 1.

        Raises:
            GraphsError: the model cannot be read, or a pass failed.
        """
        graph = load(model) if isinstance(model, Path) else load_onnx(model)
        context = Context(self.target, self.precision, {"*": 1})
        PassManager(parse_passes(_PASSES), ()).run(graph, context)
        return graph
