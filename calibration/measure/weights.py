"""Makes a model fit to run whose weights are elsewhere, and makes up what it is fed with.

Weights are normal numbers over the square root of the fan-in, so that activations neither vanish nor overflow, and
positive ones near one half where a tensor has one dimension, since it may hold variances. None is denormal: denormals
are slow and would spoil timings.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import CalibrationError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["made_up", "made_up_feed", "made_up_inputs", "pool", "runnable"]

Array = NDArray[Any]

_POOL = 1_000_003
"""A prime, so that rows of a weight are not repetitions of each other."""
_LEAST = 1e-2
_VOCABULARY = 10
_LARGEST_INLINE = 1 << 30
_LARGEST_INPUT = 1 << 32
_WEIGHTS = "made-up-weights.bin"
_ALIGNMENT = 64
_FREE_SHARE = 0.9


def made_up(shape: tuple[int, ...], dtype: np.dtype[Any], pool: NDArray[np.float32]) -> Array:
    """Return numbers that a weight of this shape and type might hold; integers are small and not negative."""
    count = prod(shape)
    values = np.resize(pool, count)
    if np.issubdtype(dtype, np.bool_):
        return np.ones(shape, np.bool_)
    if np.issubdtype(dtype, np.integer):
        return (np.abs(values * _VOCABULARY).astype(np.int64) % _VOCABULARY).astype(dtype).reshape(shape)
    if len(shape) < 2:
        return (0.5 + 0.05 * np.abs(np.tanh(values))).astype(dtype).reshape(shape)
    fan_in = shape[0] if len(shape) == 2 else prod(shape[1:])
    return (values * np.float32(1 / sqrt(max(1, fan_in)))).astype(dtype).reshape(shape)


@contextmanager
def runnable(model: ModelProto | Path) -> Iterator[str | bytes]:
    """Yield what a runtime can load: the model's path or its bytes, or a copy whose missing weights are made up.

    If a file of weights is missing, all weights outside the model are made up. They go to disk one tensor at a time, in
    a folder for temporary files that is removed in the end.

    Raises:
        CalibrationError: the model cannot be read, or there is no room for its weights.
    """
    import onnx

    if isinstance(model, Path):
        structure, home = _read(model), model.parent
    else:
        structure, home = model, None
    outside = [tensor for tensor in _tensors(structure.graph) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if isinstance(model, Path) and all(_is_there(model.parent, tensor) for tensor in outside):
        yield str(model)
        return
    if not outside and structure.ByteSize() < _LARGEST_INLINE:
        yield structure.SerializeToString()
        return
    with tempfile.TemporaryDirectory(prefix="weights-") as name:
        folder = Path(name)
        copy = structure
        if home is None:
            copy = onnx.ModelProto()
            copy.CopyFrom(structure)
            outside = [t for t in _tensors(copy.graph) if t.data_location == onnx.TensorProto.EXTERNAL]
        _make_up(outside, folder)
        onnx.save(copy, folder / "model.onnx")
        del copy, outside, structure
        yield str(folder / "model.onnx")


def _read(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot read the model: {error.strerror or error}") from error
    except (DecodeError, ValueError) as error:
        raise CalibrationError(f"{path}: not an ONNX model: {error}") from error


def _is_there(folder: Path, tensor: TensorProto) -> bool:
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    return bool(location) and (folder / location).is_file()


def _make_up(tensors: Iterable[TensorProto], folder: Path) -> None:
    numbers = pool()
    tensors = list(tensors)
    needed, free = sum(map(_size, tensors)), shutil.disk_usage(folder).free
    if needed > free * _FREE_SHARE:
        raise CalibrationError(
            f"made-up weights take {needed:,} bytes; {folder.parent} has {free:,} left",
            help="free some, or set TMPDIR to a folder with more room",
        )
    with (folder / _WEIGHTS).open("wb") as file:
        for tensor in tensors:
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            offset = file.tell()
            _write(tensor, file, numbers)
            del tensor.external_data[:]
            entries = (("location", _WEIGHTS), ("offset", str(offset)), ("length", str(file.tell() - offset)))
            for key, value in entries:
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value


def _write(tensor: TensorProto, file: BinaryIO, pool: NDArray[np.float32]) -> None:
    import onnx

    if _bits(tensor) < 8:  # packed: each nibble holds 1
        file.write(b"\x11" * _size(tensor))
        return
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    file.write(made_up(tuple(tensor.dims), dtype, pool).tobytes())


def _size(tensor: TensorProto) -> int:
    if any(extent < 0 for extent in tensor.dims):
        raise CalibrationError(f'weight "{tensor.name}" has a negative extent: {list(tensor.dims)}')
    elements: int = prod(tensor.dims)
    return -(-elements * _bits(tensor) // 8)


def _bits(tensor: TensorProto) -> int:
    import onnx

    names = onnx.TensorProto.DataType
    packed = {names.Value(name) for name in ("INT4", "UINT4", "FLOAT4E2M1") if name in names.keys()}  # noqa: SIM118  # no mapping
    if tensor.data_type in packed:
        return 4
    if tensor.data_type == onnx.TensorProto.STRING or tensor.data_type not in names.values():
        raise CalibrationError(
            f'weight "{tensor.name}": values of its type (number {tensor.data_type}) cannot be made up'
        )
    dtype: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return 8 * dtype.itemsize


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor in a graph and in the bodies inside it."""
    yield from graph.initializer
    for node in graph.node:
        yield from _attached(node)


def _attached(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for body in (attribute.g,) if attribute.HasField("g") else attribute.graphs:
            yield from _tensors(body)


def pool() -> NDArray[np.float32]:
    """Return the numbers that weights are made up of: normal ones, none near zero, the same at each call."""
    values = np.random.default_rng(0).standard_normal(_POOL, dtype=np.float32)
    return np.where(np.abs(values) < _LEAST, np.float32(_LEAST), values)


# -- inputs -----------------------------------------------------------------------------------------------------------


def made_up_inputs(model: ModelProto | Path, dims: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Array]:
    """Return a value for each input that no initialiser provides.

    Integers stay below ten, so that they may index anything; ``dims`` gives symbolic dimensions their extents, ``"*"``
    all others; what it does not name is 1.

    Raises:
        CalibrationError: an input is no tensor, has no shape, or is larger than 4 GiB.
    """
    structure = _read(model) if isinstance(model, Path) else model
    provided = {tensor.name for tensor in structure.graph.initializer}
    generator = np.random.default_rng(seed)
    return {
        value.name: _input(value, dims or {}, generator)
        for value in structure.graph.input
        if value.name not in provided
    }


def _input(value: ValueInfoProto, dims: Mapping[str, int], generator: np.random.Generator) -> Array:
    import onnx

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise CalibrationError(f'input "{value.name}" is no tensor with a shape: a value for it cannot be made up')
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dims.get(dim.dim_param, dims.get("*", 1))
        for dim in tensor.shape.dim
    )
    known = onnx.TensorProto.DataType.values()
    if tensor.elem_type not in known or tensor.elem_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        raise CalibrationError(
            f'input "{value.name}": a value of its type (number {tensor.elem_type}) cannot be made up'
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if any(extent < 0 for extent in shape) or prod(shape) * dtype.itemsize > _LARGEST_INPUT:
        raise CalibrationError(f'input "{value.name}" of shape {list(shape)} is too large to be made up')
    return made_up_feed(shape, dtype, generator)


def made_up_feed(shape: tuple[int, ...], dtype: np.dtype[Any], generator: np.random.Generator) -> Array:
    """Return a value to feed a network with: normal numbers, small integers that may index anything, or true."""
    if dtype == np.bool_:
        return np.ones(shape, np.bool_)
    if np.issubdtype(dtype, np.integer):
        return generator.integers(0, _VOCABULARY, shape).astype(dtype)
    return generator.standard_normal(shape, dtype=np.float32).astype(dtype)
