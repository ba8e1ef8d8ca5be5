"""The models that a campaign or a validation is about: their files, and their kernels on the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...calibration.measure.torch_program import Network
from ...frontends import load
from ...frontends.onnx import load_onnx
from ...frontends.pt2 import is_program
from ...frontends.torch_factory import is_factory_name, parse_input
from ...ir import DType, Graph
from ...ir.errors import GraphsError
from ...passes.base import Context
from ...passes.calibrate import described
from ...passes.manager import PassManager, parse_passes
from ...targets import Target

if TYPE_CHECKING:
    from onnx import ModelProto

    from ...calibration.measure.described import Described

__all__ = ["Describe", "Named", "files_of", "graph_of", "label_of", "models_of", "title_of"]

Named = Path | Network
"""A model that the user names: a file, or a network that was captured."""

_SUFFIX, _PROGRAM_SUFFIX = ".onnx", ".pt2"
_HEAD_BYTES = 16
_PASSES = "fuse,lower"


def files_of(paths: Sequence[str]) -> list[Path]:
    """Return the model files that are named, and of folders those that lie in them, in the order of their names.

    Raises:
        GraphsError: a path does not exist, a folder has no model, or two models have one name.
    """
    found: dict[str, Path] = {}
    for file in (file for name in paths for file in _files(name, (_SUFFIX,))):
        other = found.setdefault(file.stem, file)
        if other.resolve() != file.resolve():
            raise _alike(str(other), str(file), file.stem)
    return list(found.values())


def _files(name: str, suffixes: Sequence[str]) -> list[Path]:
    path = Path(name)
    if not path.exists():
        raise GraphsError(f"{name}: no such file or folder")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in suffixes)
    if not files:
        wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise GraphsError(f"{name}: no model in this folder", help=f"models are files named {wanted}")
    return files


def _alike(one: str, other: str, name: str) -> GraphsError:
    return GraphsError(f"{one} and {other} are both called {name}", help="samples are told apart by model: rename one")


def models_of(names: Sequence[str], inputs: Sequence[str], torch: bool, warn: Callable[[str], None]) -> list[Named]:
    """Return the models that are named: files as :func:`files_of` finds them, and what factories make.

    ``inputs`` are the types of what a factory's module is called with. ``torch`` is whether PyTorch measures: saved
    programs in folders are models then. ``warn`` hears of code that is run.

    Raises:
        GraphsError: as :func:`files_of`; what is named cannot be captured, or runs under PyTorch alone.
    """
    specs = [parse_input(text) for text in inputs]
    found: list[Named] = []
    for name in dict.fromkeys(names):
        if is_factory_name(name):
            _require(torch, name)
            from .torch_networks import network_of_factory

            warn(f"{name}: this imports the module and runs its code")
            found.append(network_of_factory(name, specs))
        else:
            suffixes = (_SUFFIX, _PROGRAM_SUFFIX) if torch else (_SUFFIX,)
            found += [_captured(path, torch) for path in _files(name, suffixes)]
    known: dict[str, str] = {}
    for one in found:
        other = known.setdefault(title_of(one), label_of(one))
        if Path(other).resolve() != Path(label_of(one)).resolve():
            raise _alike(other, label_of(one), title_of(one))
    return found


def title_of(model: Named) -> str:
    """Return what samples call a model: a file's name without its ending, or the network's."""
    return model.stem if isinstance(model, Path) else model.name


def label_of(model: Named) -> str:
    """Return what messages call a model: as the user named it."""
    return str(model) if isinstance(model, Path) else model.label


def _require(torch: bool, name: str) -> None:
    if not torch:
        raise GraphsError(f"{name}: onnxruntime runs ONNX models, and no PyTorch",
                          help="measure it with --runtime=pytorch, or export it to ONNX")  # fmt: skip


def _captured(path: Path, torch: bool) -> Named:
    """A saved program of PyTorch is a network to run, any other file one to load."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not is_program(head):
        return path
    _require(torch, str(path))
    from .torch_networks import network_of_file

    return network_of_file(path)


def graph_of(model: Named | ModelProto) -> Graph:
    """Return a model's graph, as its frontend makes it.

    Raises:
        GraphsError: the model cannot be read.
    """
    if isinstance(model, Path):
        return load(model)
    return model.graph() if isinstance(model, Network) else load_onnx(model)


class Describe:
    """Tells the kernels that a target launches for a model: from a file, captured, or in memory."""

    def __init__(self, target: Target, precision: DType | None = None) -> None:
        self.target = target
        self.precision = precision

    def __call__(self, model: Named | ModelProto) -> Sequence[Described]:
        """Return the kernels in graph order.

        Raises:
            GraphsError: the model cannot be read, or a pass failed.
        """
        return described(self.graph(model), self.target)

    def graph(self, model: Named | ModelProto) -> Graph:
        """Return the model's graph, fused and lowered for the target; open dimensions are 1.

        Raises:
            GraphsError: the model cannot be read, or a pass failed.
        """
        graph = graph_of(model)
        context = Context(self.target, self.precision, {"*": 1})
        PassManager(parse_passes(_PASSES), ()).run(graph, context)
        return graph
