"""Which kernels onnxruntime's CPU provider really runs for a network, and how alike two lists of kernels are.

The runtime saves the graph that it executes, after every optimisation including the blocked (NCHWc) convolution
layout. Each node of that graph is one kernel; the reorders between the plain and the blocked layout are left out, and
views, which move nothing, are marked.

A kernel's shape is its first output's logical one. That is the executed shape but in two cases. A blocked output's
channels are padded to the block: the shape is that of the plain value. Where the runtime put a view of its own behind
the kernel, so that the two together give a value of the original graph (MatMul + Add runs as Reshape, Gemm, Reshape;
indexing as Split, Squeeze), the shape is that value's.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from execution import Executed, cpu_session, executed_shapes, shapes_of_run
from materialise import materialised, random_inputs

__all__ = ["KINDS", "VIEWS", "Kernel", "executed_kernels", "f1", "kind_of", "optimised_model"]

Shape = tuple[int, ...]

BLOCKED = "com.microsoft.nchwc"
DEPTHWISE = {"_bn": "BatchNormalization", "_mul": "Mul", "_add": "Add"}
REORDERS = frozenset({"ReorderInput", "ReorderOutput"})
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Ops whose output shares its input's buffer, so that the kernel only writes a new shape."""

_KIND_MEMBERS = {
    "contraction": "Conv ConvTranspose FusedConv MatMul Gemm FusedMatMul FusedGemm Einsum MatMulInteger ConvInteger "
    "QLinearConv QLinearMatMul QGemm MatMulIntegerToFloat DynamicQuantizeMatMul MatMulNBits DeformConv",
    "window": "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool Resize Upsample LRN MaxUnpool "
    "NhwcMaxPool QLinearAveragePool QLinearGlobalAveragePool",
    "elementwise": "Abs Acos Acosh Add And Asin Asinh Atan Atanh BiasGelu BitShift BitwiseAnd BitwiseOr BitwiseXor "
    "BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp FastGelu Floor Gelu Greater "
    "GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not "
    "Or PRelu Pow QuickGelu Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum "
    "Swish Tan Tanh ThresholdedRelu Where Xor QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearWhere",
    "reduction": "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "QLinearReduceMean ReduceSumSquare ArgMax ArgMin TopK",
    "scan": "CumSum",
    "normalization": "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization "
    "LpNormalization MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization "
    "SkipSimplifiedLayerNormalization EmbedLayerNormalization",
    "softmax": "QLinearSoftmax Softmax LogSoftmax Hardmax BiasSoftmax",
    "layout": "Concat DepthToSpace Expand Flatten Identity Pad Reshape Slice SpaceToDepth Split Squeeze Tile Transpose "
    "Trilu Unsqueeze Shape Size ConstantOfShape Range EyeLike SplitToSequence ConcatFromSequence SequenceAt "
    "QLinearConcat",
    "gather": "Gather GatherElements GatherND OneHot Scatter ScatterElements ScatterND Compress NonZero",
    "attention": "Attention MultiHeadAttention GroupQueryAttention RotaryEmbedding",
    "recurrent": "LSTM GRU RNN DynamicQuantizeLSTM",
    "quantization": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    "control": "If Loop Scan",
}
KINDS: Mapping[str, str] = {op: kind for kind, ops in _KIND_MEMBERS.items() for op in ops.split()}
"""Kind of every op type that is known here; the names of ops mean the same in every domain."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One node of the executed graph; the shapes are its first output's, None where that is a sequence."""

    op_type: str
    domain: str
    name: str
    kind: str
    shape: Shape | None
    executed_shape: Shape | None
    dtype: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    stands_for: str = ""
    """The op that a 1x1 depthwise convolution is run for: a batch normalisation or a scale of each channel."""

    @property
    def is_view(self) -> bool:
        """Whether it moves no data."""
        return self.op_type in VIEWS

    @property
    def key(self) -> tuple[str, Shape | None]:
        """What kernels are matched on."""
        return self.kind, self.shape

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {**asdict(self), "is_view": self.is_view}


def kind_of(op_type: str) -> str:
    """The kind of an op type; raises KeyError for one that nobody has sorted yet."""
    if op_type not in KINDS:
        raise KeyError(f"kernels.py: '{op_type}' has no kind; add it to _KIND_MEMBERS")
    return KINDS[op_type]


def optimised_model(complete: Path, folder: Path) -> Path:
    """Have the runtime save the graph that it executes into `folder`, its weights beside it; returns the file."""
    target = folder / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "optimised.bin")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    cpu_session(complete, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, options)
    return target


def _blocked_values(graph: onnx.GraphProto) -> set[str]:
    """Values in the blocked layout: what its ops write, and what a plain elementwise op makes of those."""
    blocked: set[str] = set()
    for node in graph.node:
        if node.op_type == "ReorderOutput":
            continue
        if node.domain == BLOCKED or any(name in blocked for name in node.input):
            blocked.update(node.output)
    return blocked


def _views_behind(optimised: onnx.GraphProto, plain: Mapping[str, Executed]) -> dict[str, str]:
    """For a value that only the optimised graph has, the original value that its only use, a view, makes of it."""
    uses = Counter(name for node in optimised.node for name in node.input)
    return {
        node.input[0]: node.output[0]
        for node in optimised.node
        if node.op_type in VIEWS and uses[node.input[0]] == 1 and node.input[0] not in plain and node.output[0] in plain
    }


def _logical(
    node: onnx.NodeProto,
    first_output: Mapping[str, str],
    plain: Mapping[str, Executed],
    known: Mapping[str, Executed],
    physical: Mapping[str, Executed],
) -> Executed:
    """The type that a blocked output stands for; `known` are those of the blocked values before it.

    The runtime names a blocked node after its plain output, `X_nchwc`, or `X_bn_nchwc` for what it runs as a depthwise
    convolution instead. Elementwise nodes, which it lets run on blocked values, keep their input's type.
    """
    output = node.output[0]
    if node.domain == BLOCKED:
        name = node.name.rpartition("_nchwc")[0]
        return plain[name if name in plain else name.rpartition("_")[0]]
    for name in node.input:
        if name in known and physical[name].shape == physical[output].shape:
            return known[name]
    return plain[first_output[node.name]]


def _stands_for(node: onnx.NodeProto) -> str:
    made_up = node.domain == BLOCKED and node.op_type == "Conv" and "kernel_shape" not in _attributes(node)
    name = node.name.rpartition("_nchwc")[0]
    return next((op for suffix, op in DEPTHWISE.items() if made_up and name.endswith(suffix)), "")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, onnx.GraphProto | onnx.TensorProto):
            return type(value).__name__
        return value if isinstance(value, int | float | str) else list(value)

    return {attribute.name: plain(onnx.helper.get_attribute_value(attribute)) for attribute in node.attribute}


def _kernels(
    original: onnx.GraphProto,
    optimised: onnx.GraphProto,
    plain: Mapping[str, Executed],
    physical: Mapping[str, Executed],
) -> Iterator[Kernel]:
    blocked = _blocked_values(optimised)
    first_output = {node.name: node.output[0] for node in original.node if node.name}
    behind = _views_behind(optimised, plain)
    known: dict[str, Executed] = {}
    for node in optimised.node:
        if node.op_type in REORDERS:
            continue
        output = next(filter(None, node.output))
        value = physical[behind.get(output, output)]
        if output in blocked:
            value = _unblocked(physical[output], _logical(node, first_output, plain, known, physical))
            known[output] = value
        yield Kernel(
            op_type=node.op_type,
            domain=node.domain,
            name=node.name,
            kind=kind_of(node.op_type),
            shape=None if value.elements is not None else value.shape,
            executed_shape=None if value.elements is not None else physical[output].shape,
            dtype=value.dtype,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes=_attributes(node),
            stands_for=_stands_for(node),
        )


def _unblocked(physical: Executed, logical: Executed) -> Executed:
    """The logical type, once the two agree on everything but the padding of the channels."""
    batch, channels, *rest = logical.shape
    if physical.shape[0] != batch or list(physical.shape[2:]) != rest or not 0 <= physical.shape[1] - channels < 16:
        raise ValueError(f"blocked shape {physical.shape} does not hold {logical.shape}")
    return logical


def executed_kernels(path: Path, plain: Mapping[str, Executed] | None = None, seed: int = 0) -> list[Kernel]:
    """The kernels of a model file, in the order of the optimised graph; missing weights are made up.

    `plain` are the executed shapes of the original graph, if they are known already.
    """
    original = onnx.load(path, load_external_data=False)
    plain = plain or executed_shapes(path, seed)
    with materialised(path, seed) as complete, tempfile.TemporaryDirectory(prefix="optimised-") as folder:
        target = optimised_model(complete, Path(folder))
        physical = shapes_of_run(target, random_inputs(original, seed))
        optimised = onnx.load(target, load_external_data=False)
    return list(_kernels(original.graph, optimised.graph, plain, physical))


def f1(predicted: Iterable[tuple[str, Shape | None]], actual: Iterable[tuple[str, Shape | None]]) -> float:
    """Harmonic mean of precision and recall over two multisets of (kind, first output's logical shape).

    1.0 for two empty lists: nothing was predicted and nothing ran.
    """
    predicted_counts, actual_counts = Counter(predicted), Counter(actual)
    total = predicted_counts.total() + actual_counts.total()
    if total == 0:
        return 1.0
    return 2 * (predicted_counts & actual_counts).total() / total
