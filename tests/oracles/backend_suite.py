"""The cases of onnx's own backend suite: models of its operators, and files inside the onnx package, with outputs.

Inputs of small integers are what a model holds as constants (shapes, axes, trip counts), and so they are made
constants: what is left to be inferred is what a tool that never runs the model can know.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from graphs.ir import DType, OptionalType, SequenceType, TensorType, Type
from graphs.ir.onnx_types import dtype_of

__all__ = ["SuiteCase", "disagreement", "file_cases", "node_cases", "steered"]

_MOST_ELEMENTS = 64
_STEERING = ("int64", "int32", "int16", "uint8", "bool")
_DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


@dataclass(frozen=True, slots=True)
class SuiteCase:
    """A model, what it is given and what it gives back: arrays, lists of arrays, or nothing."""

    name: str
    model: ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]

    @property
    def operators(self) -> set[str]:
        """The operators of its graph's nodes."""
        return {f"{node.domain or 'onnx'}.{node.op_type}" for node in self.model.graph.node}


@cache
def node_cases() -> tuple[SuiteCase, ...]:
    """Return the cases that onnx makes of its operators, those that write functions out among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    return tuple(
        SuiteCase(case.name, case.model, *([_readable(item) for item in items] for items in case.data_sets[0]))
        for case in found
    )


def file_cases() -> Iterator[SuiteCase]:
    """Return the cases that lie as files inside the onnx package."""
    for path in sorted((*_DATA.glob("*/*/model.onnx"), *_DATA.glob("light/*.onnx"))):
        folder = path.parent / "test_data_set_0"
        given, made = (_read(sorted(folder.glob(f"{kind}_*.pb"))) for kind in ("input", "output"))
        model = onnx.load(path, load_external_data=False)
        yield SuiteCase(f"{path.parent.name}/{path.stem}", model, given, made)


def _read(paths: Sequence[Path]) -> list[Any]:
    """Tensors; of a file that holds something else, nothing."""
    numbered = sorted(paths, key=lambda path: int(path.stem.partition("_")[2]))
    tensors = [onnx.TensorProto.FromString(path.read_bytes()) for path in numbered]
    return [numpy_helper.to_array(tensor) if tensor.data_type else () for tensor in tensors]


def _readable(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


def steered(case: SuiteCase) -> ModelProto:
    """Return the case's model with the inputs that steer shapes made constants."""
    model = ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    infos = [info for info in graph.input if info.name not in weights]
    for info, array in zip(infos, case.inputs, strict=False):
        if isinstance(array, np.ndarray) and _steers_shapes(array) and info.type.HasField("tensor_type"):
            graph.initializer.append(numpy_helper.from_array(array, info.name))
            graph.input.remove(info)
    return model


def _steers_shapes(array: np.ndarray) -> bool:
    if array.dtype.name in _STEERING:
        return array.size <= _MOST_ELEMENTS
    return array.dtype.name in ("float32", "float16") and array.ndim <= 1 and 0 < array.size <= 8


def disagreement(inferred: Type, output: Any, open_dims: bool = False) -> str:
    """Return how an inferred type is wrong about an output; empty if it is right.

    ``open_dims`` allows dimensions that are no numbers.
    """
    if isinstance(inferred, OptionalType):
        return "" if output is None else disagreement(inferred.element, output, open_dims)
    if isinstance(output, list | tuple):
        if not isinstance(inferred, SequenceType):
            return f"{inferred} is no sequence"
        element = inferred.element
        # Elements may differ, so an extent that is not the same in all is open.
        return next((fault for item in output if (fault := disagreement(element, item, True))), "")
    array = np.asarray(output)
    actual = TensorType(_dtype(array), array.shape)
    if not isinstance(inferred, TensorType) or inferred.dtype is not actual.dtype or inferred.shape is None:
        return (
            ""
            if open_dims and isinstance(inferred, TensorType) and inferred.shape is None
            else f"{inferred} is not {actual}"
        )
    if len(inferred.shape) != array.ndim:
        return f"{inferred} is not {actual}"
    for mine, theirs in zip(inferred.shape, array.shape, strict=True):
        if isinstance(mine, int) and mine != theirs:
            return f"{inferred} is not {actual}"
        if not isinstance(mine, int) and not open_dims:
            return f"{inferred} leaves open what is {actual}"
    return ""


def _dtype(array: np.ndarray) -> DType:
    if array.dtype.kind in "OUS":
        return DType.STRING
    return dtype_of(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
