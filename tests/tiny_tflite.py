"""Small TFLite files, written with the ``tflite`` package: what tests need, and what no converter makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import flatbuffers
import numpy as np

FLOAT32, FLOAT16, INT32, UINT8, INT64, BOOL, INT8 = 0, 1, 2, 3, 4, 6, 9
INT16, RESOURCE, INT4 = 7, 13, 17


@dataclass
class Tensor:
    """A tensor of a subgraph; with ``data`` it is a constant, with ``signature`` some extents are open."""

    name: str
    shape: Sequence[int] = ()
    type: int = FLOAT32
    data: bytes | np.ndarray | None = None
    signature: Sequence[int] = ()
    scale: Sequence[float] = ()
    zero_point: Sequence[int] = ()
    axis: int = 0
    variable: bool = False
    ranked: bool = True
    outside: bool = False
    sparsity: Mapping[str, Any] | None = None


@dataclass
class Operator:
    """An operator by its name in the schema, or by number; ``options`` are fields of the table ``table``."""

    name: str | int
    inputs: Sequence[int]
    outputs: Sequence[int]
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: bytes = b""


@dataclass
class Subgraph:
    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    inputs: Sequence[int]
    outputs: Sequence[int]
    name: str = "main"


@dataclass
class Signature:
    name: str
    subgraph: int
    inputs: Mapping[str, int] = field(default_factory=dict)


def constant(name: str, values: Sequence[int] | int) -> Tensor:
    """A constant of 32-bit integers: a shape, axes, a count."""
    array = np.array(values, dtype="<i4")
    return Tensor(name, array.shape, INT32, array)


def model(
    *subgraphs: Subgraph, signatures: Sequence[Signature] = (), metadata: Mapping[str, bytes] | None = None
) -> bytes:
    """Serialise a model; buffers marked ``outside`` come behind the flatbuffer."""
    first = _Writer(metadata or {}).write(subgraphs, signatures, 0)
    if not any(tensor.outside for subgraph in subgraphs for tensor in subgraph.tensors):
        return first
    writer = _Writer(metadata or {})
    whole = writer.write(subgraphs, signatures, len(first))
    assert len(whole) == len(first)
    return whole + b"".join(writer.behind)


class _Writer:
    def __init__(self, metadata: Mapping[str, bytes]) -> None:
        self.builder = flatbuffers.Builder(1024)
        self.codes: dict[str | int, int] = {}
        self.buffers: list[tuple[bytes, int, int]] = [(b"", 0, 0)]
        self.behind: list[bytes] = []
        self.metadata = metadata

    def write(self, subgraphs: Sequence[Subgraph], signatures: Sequence[Signature], size: int) -> bytes:
        self.end = size
        parts = [self.subgraph(subgraph) for subgraph in subgraphs]
        metadata = []
        for name, content in self.metadata.items():
            self.buffers.append((content, 0, 0))
            metadata.append(self.table("Metadata", Name=self.text(name), Buffer=len(self.buffers) - 1))
        fields = {
            "Version": 3,
            "Description": self.text("written by a test"),
            "Subgraphs": self.tables(parts),
            "OperatorCodes": self.tables([self.code(name) for name in self.codes]),
            "Buffers": self.tables([self.buffer(*buffer) for buffer in self.buffers]),
        }
        if metadata:
            fields["Metadata"] = self.tables(metadata)
        if signatures:
            fields["SignatureDefs"] = self.tables([self.signature(signature) for signature in signatures])
        self.builder.Finish(self.table("Model", **fields), b"TFL3")
        return bytes(self.builder.Output())

    # -- pieces of a flatbuffer ---------------------------------------------------------------------------------------

    def table(self, name: str, **fields: Any) -> int:
        module = import_module(f"tflite.{name}")
        getattr(module, f"{name}Start")(self.builder)
        for key, value in fields.items():
            getattr(module, f"{name}Add{key}")(self.builder, value)
        return int(getattr(module, f"{name}End")(self.builder))

    def text(self, value: str) -> int:
        return int(self.builder.CreateString(value))

    def vector(self, values: Any, dtype: str) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(values, dtype=dtype)))

    def tables(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    # -- the model's tables -------------------------------------------------------------------------------------------

    def code(self, name: str | int) -> int:
        operators = import_module("tflite.BuiltinOperator").BuiltinOperator
        number = name if isinstance(name, int) else getattr(operators, name, 32)
        custom = {} if isinstance(name, int) or number != 32 else {"CustomCode": self.text(name)}
        return self.table(
            "OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number, Version=1, **custom
        )

    def buffer(self, content: bytes, offset: int, size: int) -> int:
        if size:
            return self.table("Buffer", Offset=offset, Size=size)
        return self.table("Buffer", **({"Data": self.vector(np.frombuffer(content, "u1"), "u1")} if content else {}))

    def signature(self, signature: Signature) -> int:
        maps = [self.table("TensorMap", Name=self.text(n), TensorIndex=i) for n, i in signature.inputs.items()]
        key = self.text(signature.name)
        return self.table("SignatureDef", Inputs=self.tables(maps), SignatureKey=key, SubgraphIndex=signature.subgraph)

    def subgraph(self, subgraph: Subgraph) -> int:
        fields = {
            "Tensors": self.tables([self.tensor(tensor) for tensor in subgraph.tensors]),
            "Inputs": self.vector(subgraph.inputs, "<i4"),
            "Outputs": self.vector(subgraph.outputs, "<i4"),
            "Operators": self.tables([self.operator(operator) for operator in subgraph.operators]),
            "Name": self.text(subgraph.name),
        }
        return self.table("SubGraph", **fields)

    def tensor(self, tensor: Tensor) -> int:
        fields: dict[str, Any] = {
            "Shape": self.vector(tensor.shape, "<i4"),
            "Type": tensor.type,
            "Name": self.text(tensor.name),
            "IsVariable": tensor.variable,
            "HasRank": tensor.ranked,
        }
        if tensor.data is not None:
            content = tensor.data if isinstance(tensor.data, bytes) else tensor.data.tobytes()
            fields["Buffer"] = self.place(content, tensor.outside)
        if tensor.signature:
            fields["ShapeSignature"] = self.vector(tensor.signature, "<i4")
        if tensor.scale:
            scale, zero = self.vector(tensor.scale, "<f4"), self.vector(tensor.zero_point or [0], "<i8")
            fields["Quantization"] = self.table(
                "QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=tensor.axis
            )
        if tensor.sparsity:
            dims = [self.table("DimensionMetadata", Format=code) for code in tensor.sparsity["formats"]]
            order = self.vector(tensor.sparsity["traversal_order"], "<i4")
            fields["Sparsity"] = self.table("SparsityParameters", TraversalOrder=order, DimMetadata=self.tables(dims))
        return self.table("Tensor", **fields)

    def place(self, content: bytes, outside: bool) -> int:
        if outside:
            start = self.end + sum(map(len, self.behind)) or 2
            self.behind.append(content)
            self.buffers.append((b"", start, len(content)))
        else:
            self.buffers.append((content, 0, 0))
        return len(self.buffers) - 1

    def operator(self, operator: Operator) -> int:
        index = self.codes.setdefault(operator.name, len(self.codes))
        fields: dict[str, Any] = {
            "OpcodeIndex": index,
            "Inputs": self.vector(operator.inputs, "<i4"),
            "Outputs": self.vector(operator.outputs, "<i4"),
        }
        if operator.table:
            fields.update(self.options(operator))
        if operator.custom:
            fields["CustomOptions"] = self.vector(np.frombuffer(operator.custom, "u1"), "u1")
        return self.table("Operator", **fields)

    def options(self, operator: Operator) -> dict[str, int]:
        values = {key: self.option(operator.table, key, value) for key, value in operator.options.items()}
        table = self.table(operator.table, **values)
        for suffix in ("", "2"):
            union = getattr(import_module(f"tflite.BuiltinOptions{suffix}"), f"BuiltinOptions{suffix}")
            if hasattr(union, operator.table):
                return {
                    f"BuiltinOptions{suffix}Type": getattr(union, operator.table),
                    f"BuiltinOptions{suffix}": table,
                }
        raise ValueError(f"no options {operator.table!r}")

    def option(self, table: str, key: str, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, (list, tuple)):
            return value
        wide = table.startswith("Stable")
        return self.vector(value, "<i8" if wide else "<f4" if table == "BucketizeOptions" else "<i4")
