"""Give a network whose weights are elsewhere random ones, so that a runtime can run it.

Only what is missing is made up: initialisers that are stored in the file, or beside it, stay as they are. What is made
up is fit to run: normal numbers over the square root of the fan-in, so that activations neither vanish nor overflow,
and positive ones near one half for one-dimensional tensors, which may be variances. Nothing is denormal, since
denormals are slow and would spoil timings.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

__all__ = ["fan_in", "is_complete", "materialise", "materialised", "random_inputs", "random_tensor"]

Shape = tuple[int, ...]
Array = NDArray[Any]


def fan_in(shape: Shape) -> int:
    """The number of products summed into one output of a weight of `shape`: (K, N), (O, I, kh, kw) or (dirs, 4h, i)."""
    if len(shape) < 2:
        return 1
    return max(1, shape[0] if len(shape) == 2 else prod(shape[1:]))


def random_tensor(shape: Shape, dtype: np.dtype[Any], generator: np.random.Generator) -> Array:
    """Numbers that a weight of this shape might hold; integers are small and never negative."""
    if not np.issubdtype(dtype, np.floating):
        return generator.integers(0, 10, shape).astype(dtype)
    if len(shape) < 2:
        values = 0.5 + 0.05 * generator.random(shape, dtype=np.float32)
    else:
        values = generator.standard_normal(shape, dtype=np.float32)
        np.multiply(values, 1 / sqrt(fan_in(shape)), out=values)
        # A normal sample is denormal with probability 1e-38; adding the smallest normal number would change nothing.
    return values.astype(dtype, copy=False)


def _external(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, ExternalDataInfo]]:
    return ((t, ExternalDataInfo(t)) for t in model.graph.initializer if uses_external_data(t))


def is_complete(path: Path) -> bool:
    """Whether every external file that the model refers to is there."""
    model = onnx.load(path, load_external_data=False)
    return all((path.parent / entry.location).exists() for _, entry in _external(model))


def materialise(path: Path, seed: int = 0) -> onnx.ModelProto:
    """The model with every weight inside the message: for tools that take a `ModelProto` (2 GB at most)."""
    if is_complete(path):
        return onnx.load(path)
    model = onnx.load(path, load_external_data=False)
    generator = np.random.default_rng(seed)
    for tensor, _ in _external(model):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        values = random_tensor(tuple(tensor.dims), dtype, generator)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = values.tobytes()
    return model


@contextmanager
def materialised(path: Path, seed: int = 0) -> Iterator[Path]:
    """A file with the same graph whose external data exists: the file itself, or a copy in a folder that goes away.

    The weights go straight to disk, so the memory needed is that of the largest tensor.
    """
    if is_complete(path):
        yield path
        return
    model = onnx.load(path, load_external_data=False)
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="weights-") as name:
        folder = Path(name)
        for tensor, entry in _external(model):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            target = folder / entry.location
            target.touch()
            with target.open("r+b") as file:
                file.seek(entry.offset or 0)
                file.write(random_tensor(tuple(tensor.dims), dtype, generator).tobytes())
        shutil.copy(path, folder / path.name)
        yield folder / path.name


def random_inputs(
    model: onnx.ModelProto, seed: int = 0, unbound: int = 1, dims: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """One value per graph input that no initialiser provides; integers stay under 10, so that they index a vocabulary.

    `dims` binds dimensions by name; `unbound` stands for every other that has no number.
    """
    extents = dims or {}
    generator = np.random.default_rng(seed)
    provided = {tensor.name for tensor in model.graph.initializer}
    inputs: dict[str, Array] = {}
    for value in model.graph.input:
        if value.name in provided:
            continue
        tensor_type = value.type.tensor_type
        shape = tuple(dim.dim_value or extents.get(dim.dim_param, unbound) for dim in tensor_type.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)
        if dtype == np.bool_:
            inputs[value.name] = np.ones(shape, np.bool_)
        elif np.issubdtype(dtype, np.floating):
            inputs[value.name] = generator.standard_normal(shape).astype(dtype)
        else:
            inputs[value.name] = generator.integers(0, 10, shape).astype(dtype)
    return inputs
