"""Products with weights of a few bits that a runtime unpacks as it multiplies (MatMulNBits).

A weight that is dequantised before a MatMul or Gemm, in blocks along the sum, for each column or as a whole, stays
packed. Source of the behaviour: onnxruntime ``core/optimizer/qdq_transformer/selectors_actions/qdq_selectors.cc``
(``DQMatMulNodeGroupSelector``), and the optimised graphs of onnxruntime 1.32. Up to 1.31 no product whose other factor
was dequantised, or whose result was quantised, had its weight packed; since then those in 16 bits have.
"""

from __future__ import annotations

from collections import Counter

from ..ir import CONSTANT, Attribute, DType, Graph, Location, Op, TensorType, Value
from .quantized import DEQUANTIZE, QUANTIZE

__all__ = ["pack_weights"]

_OPERATOR = "com.microsoft.MatMulNBits"
_WIDTHS = (2, 4, 8)
_SCALES = frozenset({DType.F32, DType.F16})
_LEAST_BLOCK = 16
_USUAL_BLOCK = 32
"""Block size that a weight with one scale, or one for each column, is packed in."""
_NO_INTEGER_KERNEL = frozenset({DType.I16, DType.UI16})
"""Types of which there are no integer products: what is converted from them and to them is as good as a float."""
_MOST_SHARED = 8
"""Elements up to which equal constants become one (``constant_sharing.cc``)."""


def pack_weights(graph: Graph, accuracy_level: int) -> int:
    """Put a product with packed weights in the place of each that reads dequantised ones; return how many.

    ``accuracy_level`` is what the operator is told: with 4 it quantises its other factor and multiplies 8-bit integers.
    """
    packed = 0
    readers = _readers(graph)
    for op in graph.body:
        dequantize = _weight(graph, op)
        if dequantize is None or any(readers[_identity(value)] > 1 for value in dequantize.operands[:2] if value):
            continue
        block = _block_size(dequantize)
        if block is not None:
            _replace(graph, op, dequantize, block, accuracy_level)
            packed += 1
    return packed


def _readers(graph: Graph) -> Counter[object]:
    """How many operations read each constant: a weight stays packed only where its elements and scales are its own."""
    constants = (value for op in graph.ops if op.name == CONSTANT for value in op.results)
    counts: Counter[object] = Counter()
    for value in constants:
        counts[_identity(value)] += len(graph.uses(value))
    return counts


def _identity(value: Value) -> object:
    """What small constants of the same elements have in common, and a large one only with itself."""
    dense = value.constant
    return value if dense is None or len(dense.values) > _MOST_SHARED else (dense.type, dense.values)


def _weight(graph: Graph, op: Op) -> Op | None:
    """What dequantises the weight of a product whose other factor, and result, are floats or come as 16 bits."""
    if op.name not in ("onnx.MatMul", "onnx.Gemm") or len(op.results) != 1 or len(op.operands) < 2:
        return None
    data, weight = op.operands[:2]
    if data is None or weight is None or weight.op.name not in DEQUANTIZE or graph.users(weight.op) != [op]:
        return None
    if data.op.name in DEQUANTIZE and not _as_good_as_float(data.op.operand(0)):
        return None
    users = graph.users(op)
    quantizers = [user for user in users if user.name in QUANTIZE]
    if quantizers and not (users == quantizers and all(_as_good_as_float(user.result) for user in quantizers)):
        return None
    return weight.op if op.name == "onnx.MatMul" or _plain(op, weight.type) else None


def _as_good_as_float(integers: Value | None) -> bool:
    type_ = integers.type if integers is not None else None
    return isinstance(type_, TensorType) and type_.dtype in _NO_INTEGER_KERNEL


def _plain(gemm: Op, weight: object) -> bool:
    """Whether a Gemm is a product and at most a bias for each column."""
    factors = all(gemm.attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    bias = gemm.operand(2)
    columns = weight.shape[-1:] if isinstance(weight, TensorType) and weight.shape else None
    fits = bias is None or (isinstance(bias.type, TensorType) and bias.type.shape == columns)
    return factors and fits and not gemm.attributes.get("transA", 0) and not gemm.attributes.get("transB", 0)


def _block_size(dequantize: Op) -> int | None:
    """In what blocks a dequantised weight is packed; ``None`` where it is not."""
    parameters = [value for value in dequantize.operands if value is not None]
    types = [value.type for value in parameters if isinstance(value.type, TensorType) and value.type.static]
    if len(types) < len(parameters) or len(types) < 2 or not all(value.is_constant for value in parameters):
        return None
    weight, *others = types
    if weight.dtype.bits not in _WIDTHS or not weight.dtype.is_integer or others[0].dtype not in _SCALES:
        return None
    if len(weight.dims) != 2 or len({other.dims for other in others}) > 1:
        return None
    (k, n), scales = weight.dims, others[0].dims
    block, axis = dequantize.attributes.get("block_size", 0), dequantize.attributes.get("axis", 1)
    if not isinstance(block, int):
        return None
    if block > 0:
        fits = axis == 0 and block >= _LEAST_BLOCK and not block & (block - 1) and scales == (-(-k // block), n)
        return block if fits else None
    return _USUAL_BLOCK if scales == () or (scales == (n,) and axis == 1) else None


def _replace(graph: Graph, op: Op, dequantize: Op, block: int, accuracy_level: int) -> None:
    weight, scale, zero = (dequantize.operand(index) for index in range(3))
    assert weight is not None and scale is not None
    assert isinstance(weight.type, TensorType) and isinstance(scale.type, TensorType)
    (k, n), bits = weight.type.dims, weight.type.dtype.bits
    blocks = -(-k // block)
    unsigned = weight.type.dtype in (DType.UI2, DType.UI4, DType.UI8)
    zeros = TensorType(DType.UI8, (n * -(-blocks * bits // 8),)) if zero is not None or unsigned else None
    operands = [
        op.operands[0],
        _constant(graph, weight, TensorType(DType.UI8, (n, blocks, block * bits // 8)), op),
        _constant(graph, scale, TensorType(scale.type.dtype, (n * blocks,)), op),
        _constant(graph, zero or weight, zeros, op) if zeros is not None else None,
        None,
        op.operand(2),
    ]
    while operands[-1] is None:
        operands.pop()
    attributes: dict[str, Attribute] = {"K": k, "N": n, "bits": bits, "block_size": block}
    attributes["accuracy_level"] = accuracy_level
    name, loc = op.result.name, Location.union([op.loc, dequantize.loc])
    made = graph.add(_OPERATOR, operands, [(name, op.result.type)], attributes, loc=loc, before=op)
    graph.replace(op, [made.result])
    graph.rename(made.result, name)
    graph.erase(dequantize)


def _constant(graph: Graph, value: Value, type_: TensorType, before: Op) -> Value:
    return graph.add(CONSTANT, [], [(f"{value.name}.packed", type_)], loc=value.op.loc, before=before).result
