"""What a TFLite tensor is: its type, its quantisation, and its elements where it is a constant small enough to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..ir import FLOAT_FOLD_LIMIT, FOLD_LIMIT, UNKNOWN_DIM, Attribute, Dense, DType, Shape, Symbol, TensorType
from .registry import FrontendError
from .stored import LITTLE_ENDIAN

if TYPE_CHECKING:
    from tflite.Model import Model
    from tflite.QuantizationParameters import QuantizationParameters
    from tflite.SparsityParameters import SparsityParameters
    from tflite.Tensor import Tensor

__all__ = [
    "Buffers",
    "dtype_of",
    "name_of",
    "named",
    "quantization_of",
    "scalar_if_one",
    "sparsity_of",
    "stated",
    "type_of",
]

# TensorType of the schema, in its order; resources and variants are handles.
_DTYPES = (
    DType.F32, DType.F16, DType.I32, DType.UI8, DType.I64, DType.STRING, DType.BOOL, DType.I16, DType.C64, DType.I8,
    DType.F64, DType.C128, DType.UI64, DType.UNKNOWN, DType.UNKNOWN, DType.UI32, DType.UI16, DType.I4, DType.BF16,
    DType.I2, DType.UI4, DType.F8E4M3FN, DType.F8E5M2,
)  # fmt: skip


def name_of(tensor: Tensor, index: int) -> str:
    """Return a tensor's name; ``tensor_7`` where it has none."""
    name: bytes | None = tensor.Name()
    return name.decode("utf-8", "replace") if name else f"tensor_{index}"


def dtype_of(code: int) -> DType:
    """Return the element type of this number in the schema; unknown if it is newer than this table."""
    return _DTYPES[code] if 0 <= code < len(_DTYPES) else DType.UNKNOWN


def type_of(tensor: Tensor, where: str) -> TensorType:
    """Return a tensor's type; a dimension that its signature leaves open is a symbol without a name.

    An empty shape is that of a scalar, or, in files from before there was a flag for it, of a tensor whose rank is not
    known: then inference has to say.

    Raises:
        FrontendError: an extent is negative.
    """
    dtype = dtype_of(tensor.Type())
    shape = _integers(tensor.ShapeAsNumpy())
    signature = _integers(tensor.ShapeSignatureAsNumpy())
    if not shape and not signature:
        return TensorType(dtype, () if tensor.HasRank() else None)
    if any(extent < 0 for extent in shape):
        raise FrontendError(f"{where} has a negative dimension: {list(shape)}")
    if len(signature) != len(shape):
        return TensorType(dtype, shape)
    pairs = zip(signature, shape, strict=True)
    return TensorType(dtype, tuple(UNKNOWN_DIM if signed < 0 else known for signed, known in pairs))


def _integers(vector: Any) -> tuple[int, ...]:
    """A vector of the flatbuffer; the accessors give 0 for one that is absent."""
    return () if isinstance(vector, int) else tuple(vector.tolist())


# -- constants --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Buffers:
    """The model's buffers: where in the file each lies. Only those of small constants are ever read."""

    model: Model
    content: memoryview
    label: str

    def find(self, tensor: Tensor, where: str) -> memoryview | None:
        """Return the bytes of a constant tensor; ``None`` where the tensor has none and is computed.

        Larger models have their buffers behind the flatbuffer, at an offset from the start of the file.

        Raises:
            FrontendError: there is no such buffer, or it reaches beyond the file.
        """
        index = tensor.Buffer()
        if index == 0:  # an empty buffer by convention
            return None
        if index >= self.model.BuffersLength():
            raise FrontendError(f"{where} has buffer {index}, of which there are {self.model.BuffersLength()}")
        buffer = self.model.Buffers(index)
        start, size = buffer.Offset(), buffer.Size()
        if start > 1 and size:
            if start + size > len(self.content):
                raise FrontendError(
                    f"{where} has its {size:,} bytes at byte {start:,}, beyond the end of the file",
                    help="did a download fail?",
                )
            return self.content[start : start + size]
        data = buffer.DataAsNumpy()
        return None if isinstance(data, int) or not data.size else memoryview(data)

    def dense(self, type: TensorType, data: memoryview | None, where: str) -> Dense | None:
        """Return the elements of a constant that is small enough to keep them.

        Raises:
            FrontendError: there are more or fewer bytes than its type has.
        """
        import numpy as np

        elements, code = type.elements, LITTLE_ENDIAN.get(type.dtype)
        limit = FLOAT_FOLD_LIMIT if type.dtype.is_float else FOLD_LIMIT
        if elements is None or code is None or elements > limit:
            return None
        size = 0 if data is None else len(data)
        if size != elements * np.dtype(code).itemsize:
            raise FrontendError(f"{where} is {type}, which does not fit the {size:,} bytes of its buffer")
        values = [] if data is None else np.frombuffer(data, code).tolist()
        return Dense(type, tuple(values))


def scalar_if_one(type: TensorType, data: memoryview) -> TensorType:
    """A constant of unknown rank is the scalar that its bytes are, if they are those of one."""
    if type.shape is None and type.dtype.bits and len(data) * 8 == max(8, type.dtype.bits):
        return TensorType(type.dtype, ())
    return type


# -- quantisation and sparsity ----------------------------------------------------------------------------------------


def quantization_of(tensor: Tensor) -> dict[str, Attribute] | None:
    """Return a tensor's scale and zero point, or those of each slice along ``axis``; ``None`` if it has none.

    Of many slices the scales are as good as weights: their type stays.
    """
    parameters: QuantizationParameters | None = tensor.Quantization()
    if parameters is None or parameters.ScaleLength() == 0:
        return None
    scales, zero_points = parameters.ScaleAsNumpy(), parameters.ZeroPointAsNumpy()
    zeros = [] if isinstance(zero_points, int) else zero_points
    if len(scales) == 1:
        return {"scale": float(scales[0]), "zero_point": int(zeros[0]) if len(zeros) else 0}
    kept: dict[str, Attribute] = {"axis": parameters.QuantizedDimension(), "scale": _kept(DType.F32, scales)}
    if any(zeros):
        kept["zero_point"] = _kept(DType.I64, zeros)
    return kept


def _kept(dtype: DType, values: Any) -> Attribute:
    type = TensorType(dtype, (len(values),))
    return Dense(type, tuple(values.tolist())) if len(values) <= FLOAT_FOLD_LIMIT else type


def sparsity_of(tensor: Tensor) -> dict[str, Attribute] | None:
    """Return how a sparse constant is stored: its dimensions in the order of traversal, and its blocks."""
    parameters: SparsityParameters | None = tensor.Sparsity()
    if parameters is None:
        return None
    formats = [
        "dense" if metadata is None or metadata.Format() == 0 else "sparse_csr"
        for metadata in (parameters.DimMetadata(i) for i in range(parameters.DimMetadataLength()))
    ]
    return {
        "traversal_order": _integers(parameters.TraversalOrderAsNumpy()),
        "block_map": _integers(parameters.BlockMapAsNumpy()),
        "formats": tuple(formats),
    }


def named(shape: Shape, name: str) -> Shape:
    """Call an input's open dimensions ``name.axis``, so that ``--dim`` can bind them."""
    return tuple(Symbol(f"{name}.{i}") if dim == UNKNOWN_DIM else dim for i, dim in enumerate(shape))


def stated(type: TensorType, tensor: Tensor) -> dict[str, int]:
    """The extents that an interpreter gives a tensor's open dimensions until it is resized."""
    pairs = zip(type.shape or (), _integers(tensor.ShapeAsNumpy()), strict=True)
    return {dim.name: extent for dim, extent in pairs if isinstance(dim, Symbol)}
