"""Decoders made up for their dimensions, as exporters and as onnxruntime's model builder write them: structure only.

The exporters' form has attention, norms, rotary embedding and repeated heads as single operations, and experts one by
one; the builder's form has them as contrib operators, with weights as they are or packed in a few bits. Weights,
multiply-accumulates and the cache of each follow from the dimensions in closed form (:class:`Decoder`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import onnx
from onnx import TensorProto
from synthetic import Network

__all__ = ["LLAMA_1B", "LLAMA_70B", "MAVERICK_400B", "Decoder", "as_built", "as_exported"]

HALF = TensorProto.FLOAT16
MICROSOFT = "com.microsoft"
BLOCK = 32
"""Weights that share a scale where they are packed."""


@dataclass(frozen=True)
class Decoder:
    """Grouped-query attention, RMS norms, gated feed-forward networks, rotary embedding.

    Every ``moe_step``-th layer has ``experts`` of width ``ffn``, of which each token takes ``chosen``, and a shared one
    where ``shared`` says so; other layers have one network of width ``dense_ffn``.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    vocab: int
    dense_ffn: int
    ffn: int = 0
    experts: int = 0
    chosen: int = 0
    shared: bool = False
    moe_step: int = 1
    tied: bool = False

    @property
    def mixtures(self) -> int:
        """Layers that have experts."""
        return self.layers // self.moe_step if self.experts else 0

    def is_mixture(self, layer: int) -> bool:
        """Whether a layer has experts: the last of each step."""
        return bool(self.experts) and (layer + 1) % self.moe_step == 0

    @property
    def attention(self) -> int:
        """Weights of a layer's four projections."""
        return 2 * self.hidden * self.head * (self.heads + self.kv_heads)

    def networks(self, taken: int) -> int:
        """Weights of all feed-forward networks and routers, with ``taken`` experts of each mixture."""
        expert = 3 * self.hidden * self.ffn
        mixture = (taken + self.shared) * expert + self.hidden * self.experts
        return self.mixtures * mixture + (self.layers - self.mixtures) * 3 * self.hidden * self.dense_ffn

    @property
    def parameters(self) -> int:
        """All weights."""
        tables = (1 if self.tied else 2) * self.vocab * self.hidden
        norms = (2 * self.layers + 1) * self.hidden
        return tables + norms + self.layers * self.attention + self.networks(self.experts)

    def macs(self, batch: int, tokens: int, past: int) -> int:
        """Each token meets every projection and its experts; each query every key, twice."""
        weights = self.layers * self.attention + self.networks(self.chosen) + self.vocab * self.hidden
        scores = self.layers * self.heads * self.head * tokens * (past + tokens)
        return batch * (tokens * weights + 2 * scores)

    def cache_bytes(self, batch: int, length: int) -> int:
        """Keys and values in half precision."""
        return 2 * self.layers * batch * self.kv_heads * self.head * length * 2


LLAMA_1B = Decoder(16, 2048, 32, 8, 64, 128256, 8192, tied=True)
LLAMA_70B = Decoder(80, 8192, 64, 8, 128, 128256, 28672)
MAVERICK_400B = Decoder(48, 5120, 40, 8, 128, 202048, 16384, 8192, 128, 1, shared=True, moe_step=2)


# -- as exporters write them ------------------------------------------------------------------------------------------


def as_exported(shape: Decoder) -> onnx.ModelProto:
    """One step with dynamic batch, seq and past; caches are concatenated, heads repeated, experts run one by one."""
    net = Network("decoder", HALF)
    table = net.weight(shape.vocab, shape.hidden)
    x, presents = net.op("Gather", table, "tokens"), []
    for layer in range(shape.layers):
        mixed, *cache = _attention(net, shape, _rms(net, shape, x), layer)
        presents += cache
        x = net.op("Add", x, mixed)
        y = _rms(net, shape, x)
        made = _mixture(net, shape, y) if shape.is_mixture(layer) else _gated(net, y, shape.hidden, shape.dense_ffn)
        x = net.op("Add", x, made)
    head = net.op("Transpose", table, perm=[1, 0]) if shape.tied else net.weight(shape.hidden, shape.vocab)
    logits = net.op("MatMul", _rms(net, shape, x), head)
    rotary = ("batch", 1, "seq", shape.head)
    inputs = [
        ("tokens", TensorProto.INT64, ("batch", "seq")), ("cos", HALF, rotary), ("sin", HALF, rotary),
        ("mask", HALF, ("batch", 1, "seq", "past + seq")), ("epsilon", HALF, ()), ("scale", HALF, ()),
    ]  # fmt: skip
    return net.model([*inputs, *_pasts(shape)], [logits, *presents])


def _pasts(shape: Decoder) -> list[tuple[str, int, tuple[str | int, ...]]]:
    extents = ("batch", shape.kv_heads, "past", shape.head)
    return [(f"past.{layer}.{side}", HALF, extents) for layer in range(shape.layers) for side in ("key", "value")]


def _rms(net: Network, shape: Decoder, x: str) -> str:
    mean = net.op("ReduceMean", net.op("Mul", x, x), net.ints(-1), keepdims=1)
    root = net.op("Sqrt", net.op("Add", mean, "epsilon"))
    return net.op("Mul", net.op("Div", x, root), net.weight(shape.hidden))


def _gated(net: Network, x: str, hidden: int, ffn: int) -> str:
    gate, up = (net.op("MatMul", x, net.weight(hidden, ffn)) for _ in range(2))
    return net.op("MatMul", _swiglu(net, gate, up), net.weight(ffn, hidden))


def _swiglu(net: Network, gate: str, up: str) -> str:
    return net.op("Mul", net.op("Mul", gate, net.op("Sigmoid", gate)), up)


def _attention(net: Network, shape: Decoder, x: str, layer: int) -> tuple[str, str, str]:
    def heads_of(count: int) -> str:
        projected = net.op("MatMul", x, net.weight(shape.hidden, count * shape.head))
        return net.op("Transpose", net.op("Reshape", projected, net.ints(0, 0, count, shape.head)), perm=[0, 2, 1, 3])

    def rotated(value: str) -> str:
        half = shape.head // 2
        first = net.op("Slice", value, net.ints(0), net.ints(half), net.ints(3))
        second = net.op("Slice", value, net.ints(half), net.ints(shape.head), net.ints(3))
        turned = net.op("Concat", net.op("Neg", second), first, axis=-1)
        return net.op("Add", net.op("Mul", value, "cos"), net.op("Mul", turned, "sin"))

    def repeated(value: str) -> str:
        """Each of the key and value heads serves a group of query heads."""
        group = shape.heads // shape.kv_heads
        wide = net.op("Expand", net.op("Unsqueeze", value, net.ints(2)), net.ints(1, 1, group, 1, 1))
        extents = net.op("Shape", value)
        ends = [net.op("Slice", extents, net.ints(axis), net.ints(axis + 1)) for axis in (0, 2)]
        target = net.op("Concat", ends[0], net.ints(shape.heads), ends[1], net.ints(shape.head), axis=0)
        return net.op("Reshape", wide, target)

    query, key, value = rotated(heads_of(shape.heads)), rotated(heads_of(shape.kv_heads)), heads_of(shape.kv_heads)
    key = net.op("Concat", f"past.{layer}.key", key, axis=2)
    value = net.op("Concat", f"past.{layer}.value", value, axis=2)
    flipped = net.op("Transpose", repeated(key), perm=[0, 1, 3, 2])
    scores = net.op("Add", net.op("Mul", net.op("MatMul", query, flipped), "scale"), "mask")
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), repeated(value))
    width = shape.heads * shape.head
    merged = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.ints(0, 0, width))
    return net.op("MatMul", merged, net.weight(width, shape.hidden)), key, value


def _mixture(net: Network, shape: Decoder, x: str) -> str:
    """Rows sorted by expert; each expert's product over its range of rows, as transformers' exporter unrolls it."""
    flat = net.op("Reshape", x, net.ints(-1, shape.hidden))
    scores = net.op("MatMul", flat, net.weight(shape.hidden, shape.experts))
    weights, chosen = net.op("TopK", scores, net.ints(shape.chosen), outputs=2, axis=-1), ""
    chosen = net.op("Reshape", f"{weights}.1", net.ints(-1))
    order = net.op("TopK", chosen, net.op("Shape", chosen), outputs=2, largest=0)
    rows = net.op("Gather", flat, net.op("Div", f"{order}.1", net.number(shape.chosen)))
    hits = net.op("OneHot", chosen, net.ints(shape.experts), net.ints(0, 1), axis=-1)
    ends = net.op("CumSum", net.op("ReduceSum", hits, net.ints(0), keepdims=0), net.number(0))
    pieces = net.op("Split", ends, outputs=shape.experts, num_outputs=shape.experts)
    begin, ranges = net.number(0), []
    for index in range(shape.experts):
        end = net.op("Squeeze", f"{pieces}.{index}" if index else pieces, net.ints(0))
        ranges.append(net.op("Range", begin, end, net.number(1)))
        begin = end

    def grouped(value: str, wide: int, narrow: int) -> str:
        parts = (net.op("MatMul", net.op("Gather", value, each), net.weight(wide, narrow)) for each in ranges)
        return net.op("Concat", *parts, axis=0)

    gate, up = grouped(rows, shape.hidden, shape.ffn), grouped(rows, shape.hidden, shape.ffn)
    made = grouped(_swiglu(net, gate, up), shape.ffn, shape.hidden)
    back = net.op("Gather", made, net.op("TopK", f"{order}.1", net.op("Shape", chosen), outputs=2, largest=0) + ".1")
    routed = net.op("Mul", net.op("Reshape", back, net.ints(-1, shape.chosen, shape.hidden)),
                    net.op("Unsqueeze", weights, net.ints(2)))  # fmt: skip
    summed = net.op("Reshape", net.op("ReduceSum", routed, net.ints(1), keepdims=0), net.op("Shape", x))
    return net.op("Add", summed, _gated(net, x, shape.hidden, shape.ffn)) if shape.shared else summed


# -- as onnxruntime's model builder writes them -----------------------------------------------------------------------


def as_built(shape: Decoder, bits: int = 16, packed_attention: bool = True) -> onnx.ModelProto:
    """One step by contrib operators; with ``bits`` below 16 all products but the router's have packed weights."""
    net = Network("built_decoder", HALF, MICROSOFT)
    product = partial(_packed_product, net, bits) if bits < 16 else partial(_product, net)
    counted = net.op("ReduceSum", "attention_mask", net.ints(1), keepdims=0)
    lengths = net.op("Cast", net.op("Sub", counted, net.number(1)), to=TensorProto.INT32)
    extent = net.op("Gather", net.op("Shape", "attention_mask"), net.number(1), axis=0)
    total = net.op("Cast", extent, to=TensorProto.INT32)
    tables = [net.weight(131072, shape.head // 2) for _ in range(2)]
    x = net.op("Gather", net.weight(shape.vocab, shape.hidden), "input_ids")
    normed, presents = net.op("SimplifiedLayerNormalization", x, net.weight(shape.hidden), axis=-1), []
    for layer in range(shape.layers):
        operands = _projections(net, shape, product, normed, packed_attention)
        pasts = [f"past.{layer}.{side}" for side in ("key", "value")]
        mixed = net.op("GroupQueryAttention", *operands, *pasts, lengths, total, *tables, outputs=3, domain=MICROSOFT,
                       num_heads=shape.heads, kv_num_heads=shape.kv_heads, do_rotary=1)  # fmt: skip
        presents += [f"{mixed}.1", f"{mixed}.2"]
        normed, x = _skip_norm(net, shape, x, product(mixed, shape.heads * shape.head, shape.hidden))
        made = _built_network(net, shape, product, normed, layer, bits)
        normed, x = _skip_norm(net, shape, x, made)
    logits = product(normed, shape.hidden, shape.vocab)
    inputs = [
        ("input_ids", TensorProto.INT64, ("batch", "seq")),
        ("attention_mask", TensorProto.INT64, ("batch", "past + seq")),
    ]
    return net.model([*inputs, *_pasts(shape)], [logits, *presents])


def _product(net: Network, x: str, k: int, n: int) -> str:
    return net.op("MatMul", x, net.weight(k, n))


def _packed_product(net: Network, bits: int, x: str, k: int, n: int) -> str:
    """MatMulNBits with scales and zero points."""
    blocks = k // BLOCK
    operands = (
        net.weight(n, blocks, BLOCK * bits // 8, dtype=TensorProto.UINT8),
        net.weight(n * blocks),
        net.weight(n * -(-blocks * bits // 8), dtype=TensorProto.UINT8),
    )
    return net.op("MatMulNBits", x, *operands, domain=MICROSOFT, K=k, N=n, bits=bits, block_size=BLOCK)


def _projections(net: Network, shape: Decoder, product: partial[str], x: str, packed: bool) -> tuple[str, ...]:
    query, key = shape.heads * shape.head, shape.kv_heads * shape.head
    if packed:
        return product(x, shape.hidden, query + 2 * key), "", ""
    return tuple(product(x, shape.hidden, width) for width in (query, key, key))


def _skip_norm(net: Network, shape: Decoder, x: str, y: str) -> tuple[str, str]:
    made = net.op("SkipSimplifiedLayerNormalization", x, y, net.weight(shape.hidden), outputs=4, domain=MICROSOFT)
    return made, f"{made}.3"


def _built_network(net: Network, shape: Decoder, product: partial[str], x: str, layer: int, bits: int) -> str:
    if not shape.is_mixture(layer):
        return _built_gated(net, product, x, shape.hidden, shape.dense_ffn)
    router = net.op("MatMul", x, net.weight(shape.hidden, shape.experts))
    flat = net.op("Reshape", router, net.ints(-1, shape.experts))
    made = _packed_experts(net, shape, x, flat, bits) if bits < 16 else _experts(net, shape, x, flat)
    return net.op("Add", made, _built_gated(net, product, x, shape.hidden, shape.ffn)) if shape.shared else made


def _built_gated(net: Network, product: partial[str], x: str, hidden: int, ffn: int) -> str:
    return product(_swiglu(net, product(x, hidden, ffn), product(x, hidden, ffn)), ffn, hidden)


def _experts(net: Network, shape: Decoder, x: str, router: str) -> str:
    def stacked(n: int, k: int) -> str:
        return net.weight(shape.experts, n, k)

    first, second = stacked(shape.ffn, shape.hidden), stacked(shape.hidden, shape.ffn)
    third = stacked(shape.ffn, shape.hidden)
    return net.op("MoE", x, router, first, "", second, "", third, domain=MICROSOFT, k=shape.chosen,
                  activation_type="silu", normalize_routing_weights=1)  # fmt: skip


def _packed_experts(net: Network, shape: Decoder, x: str, router: str, bits: int) -> str:
    """QMoE with gate and up projections interleaved in one, scales for each block."""

    def stacked(n: int, k: int) -> tuple[str, str]:
        packed = net.weight(shape.experts, n, k * bits // 8, dtype=TensorProto.UINT8)
        return packed, net.weight(shape.experts, n, k // BLOCK)

    first, second = stacked(2 * shape.ffn, shape.hidden), stacked(shape.hidden, shape.ffn)
    return net.op("QMoE", x, router, *first, "", *second, domain=MICROSOFT, k=shape.chosen, expert_weight_bits=bits,
                  block_size=BLOCK, activation_type="swiglu", swiglu_fusion=1)  # fmt: skip
