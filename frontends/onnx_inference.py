"""What happens to an ONNX model before its graph is built: weights are dropped and onnx's own inference runs.

Weights are types, not bytes: initialisers above a small threshold lose their bytes before anything looks at them.
Result types come from onnx's whole-model inference on that stripped model, which is C++; what it leaves open the
``shape`` pass fills in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from ..ir import FLOAT_FOLD_LIMIT, FOLD_LIMIT
from ..ir.onnx_types import dtype_of
from .isolation import isolated
from .onnx_functions import opset_of
from .registry import FrontendError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto

__all__ = ["check_names", "infer_types", "keeps_values", "strip_weights"]

_HIDDEN = "graphs.hidden"
"""Domain of nodes that were written for another opset than the model's: onnx takes them for unknown."""

_LARGEST = 1 << 12
"""Extent of an input above which onnx does not propagate values: at 65,536 it takes seconds and gigabytes."""


def keeps_values(tensor: TensorProto) -> bool:
    """Whether a tensor is stored in the file and small enough that its elements are kept."""
    dtype = dtype_of(tensor.data_type)
    if any(extent < 0 for extent in tensor.dims):
        return False
    limit = FOLD_LIMIT if dtype.is_integer else FLOAT_FOLD_LIMIT
    return prod(tensor.dims) <= limit and tensor.data_location == 0 and dtype.sized


def check_names(model: ModelProto, label: str) -> None:
    """Make sure that every name is text: protobuf hands out bytes where a damaged file has something else.

    Raises:
        FrontendError: a name is no text.
    """
    names = [model.producer_name, model.producer_version, *(opset.domain for opset in model.opset_import)]
    for function in model.functions:
        names += (function.name, function.domain, *function.input, *function.output)
        names.extend(name for node in function.node for name in _node_names(node))
    for graph in _graphs(model.graph):
        names.append(graph.name)
        names.extend(tensor.name for tensor in graph.initializer)
        for info in (*graph.input, *graph.output, *graph.value_info):
            names += (info.name, *(dim.dim_param for dim in info.type.tensor_type.shape.dim))
        names.extend(name for node in graph.node for name in _node_names(node))
    broken = next((name for name in names if isinstance(name, bytes)), None)
    if broken is not None:
        raise FrontendError(
            f"{label}: not a readable ONNX model: the name {broken!r} is no text", help="fetch or export it again"
        )


def _node_names(node: NodeProto) -> Iterator[str]:
    yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    yield from (text for entry in node.metadata_props for text in (entry.key, entry.value))
    for attribute in node.attribute:
        yield attribute.name
        if attribute.HasField("t"):
            yield attribute.t.name


def strip_weights(model: ModelProto, label: str) -> None:
    """Drop the bytes of every larger tensor, in place.

    Raises:
        FrontendError: a tensor has a negative dimension.
    """
    functions = (node for function in model.functions for node in function.node)
    for tensor in (*_tensors(model.graph), *_attached_tensors(functions)):
        if any(extent < 0 for extent in tensor.dims):
            raise FrontendError(f"{label}: weight {tensor.name!r} has a negative dimension: {list(tensor.dims)}")
        _strip(tensor)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from _attached_tensors(graph.node)


def _attached_tensors(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _strip(tensor: TensorProto) -> None:
    """Drop a tensor's bytes and declare them external, which onnx's inference takes as a typed unknown."""
    from onnx import TensorProto

    if tensor.data_location == TensorProto.EXTERNAL or keeps_values(tensor):
        return
    kept = (tensor.name, tensor.data_type, list(tensor.dims))
    tensor.Clear()
    tensor.name, tensor.data_type = kept[0], kept[1]
    tensor.dims.extend(kept[2])
    tensor.data_location = TensorProto.EXTERNAL
    location = tensor.external_data.add()
    location.key, location.value = "location", "dropped"


def infer_types(model: ModelProto) -> ModelProto:
    """Return the model with onnx's inferred types; unchanged where inference fails: ``shape`` then works them out.

    onnx's inference, being C++ that trusts its input, ends the process on some ill-formed models: it runs in one of its
    own. Its propagation of values lists the elements of any vector: not done where an input has a large extent.
    """
    _forget_negative_extents(model.graph)
    values = all(dim.dim_value <= _LARGEST for info in model.graph.input for dim in _extents(info))
    content = isolated(lambda: _inferred(model, values), *_allowance(model))
    if content is None:
        return model
    inferred: ModelProto = model.__class__.FromString(content)
    return inferred


def _inferred(model: ModelProto, values: bool) -> bytes:
    from onnx import shape_inference

    foreign = [node for graph in _graphs(model.graph) for node in graph.node if opset_of(node, 0)]
    for node in foreign:  # in the process of its own, so that the model stays as it is
        node.domain = _HIDDEN
    if foreign:
        model.opset_import.add(domain=_HIDDEN, version=1)
    inferred = shape_inference.infer_shapes(model, data_prop=values)
    for graph in _graphs(inferred.graph):
        for node in graph.node:
            node.domain = "" if node.domain == _HIDDEN else node.domain
    content: bytes = inferred.SerializeToString()
    return content


def _allowance(model: ModelProto) -> tuple[int, int]:
    """Seconds and bytes: many times what a sound model of that size takes, and less than anybody waits for."""
    size: int = model.ByteSize()
    return 2 + size // 500_000, (1 << 29) + 30 * size


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all that are inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _extents(info: ValueInfoProto) -> Sequence[TensorShapeProto.Dimension]:
    return info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ()


def _negative_extents(graph: GraphProto) -> bool:
    infos = (*graph.value_info, *graph.output, *graph.input)
    return any(dim.dim_value < 0 for info in infos for dim in _extents(info))


def _forget_negative_extents(model: GraphProto) -> None:
    for graph in _graphs(model):
        if _negative_extents(graph):
            for info in (*graph.value_info, *graph.output, *graph.input):
                for dim in _extents(info):
                    if dim.dim_value < 0:
                        dim.Clear()
