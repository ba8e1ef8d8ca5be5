"""Networks written in plain PyTorch, one of each kind that the collections have not: recurrent, sparse, …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .architecture import Architecture, Input

__all__ = ["PLAIN"]

BATCHES = ({"batch": 4}, {"batch": 1}, {"batch": 7})
SEQUENCES = ({"batch": 2, "seq": 12}, {"batch": 1, "seq": 7}, {"batch": 3, "seq": 33})
SIGNALS = ({"batch": 2, "time": 120}, {"batch": 1, "time": 75}, {"batch": 3, "time": 333})
IMAGES = (
    {"batch": 2, "height": 32, "width": 48},
    {"batch": 1, "height": 48, "width": 32},
    {"batch": 3, "height": 64, "width": 80},
)


def _module(name: str, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        from . import modules

        return getattr(modules, name)(**options)

    return build


def _plain(name: str, module: str, inputs: tuple[Input, ...], bindings: Any, **options: Any) -> Architecture:
    return Architecture(name, _module(module, **options), inputs, bindings)


TOKENS = (Input("tokens", ("batch", "seq"), "int64"),)
IMAGE = (Input("image", ("batch", 3, "height", "width")),)

PLAIN = (
    _plain("mlp", "Mlp", (Input("x", ("batch", 20)),), BATCHES),
    _plain("lstm", "RecurrentTagger", TOKENS, SEQUENCES, cell="LSTM", bidirectional=True),
    _plain("gru", "RecurrentTagger", TOKENS, SEQUENCES, cell="GRU", bidirectional=False),
    _plain("unet", "UNet", IMAGE, IMAGES),
    _plain("autoencoder", "Autoencoder", IMAGE, IMAGES),
    _plain("super_resolution", "SuperResolution", IMAGE, IMAGES),
    _plain("feature_pyramid", "FeaturePyramid", IMAGE, IMAGES),
    _plain("tcn", "TemporalConvolutions", (Input("signal", ("batch", 16, "time")),), SIGNALS),
    _plain("conformer", "ConformerBlock", (Input("frames", ("batch", "time", 32)),), SIGNALS),
    _plain(
        "pointnet",
        "PointNet",
        (Input("points", ("batch", 3, "points")),),
        ({"batch": 2, "points": 50}, {"batch": 1, "points": 31}, {"batch": 3, "points": 128}),
    ),
    _plain(
        "point_neighbours",
        "PointNeighbours",
        (Input("points", ("batch", "points", 3)),),
        ({"batch": 2, "points": 50}, {"batch": 1, "points": 31}, {"batch": 3, "points": 64}),
    ),
    _plain(
        "recommendation",
        "Recommendation",
        (Input("dense", ("batch", 13)), Input("sparse", ("batch", 6), "int64")),
        BATCHES,
    ),
    _plain(
        "graph_convolution",
        "GraphConvolution",
        (Input("nodes", ("nodes", 16)), Input("edges", (2, "edges"), "int64")),
        ({"nodes": 20, "edges": 50}, {"nodes": 11, "edges": 7}, {"nodes": 40, "edges": 90}),
    ),
    _plain("transformer_encoder", "TransformerEncoder", (Input("x", ("batch", "seq", 32)),), SEQUENCES),
    _plain(
        "cached_decoder",
        "CachedDecoder",
        (
            Input("tokens", ("batch", "seq"), "int64"),
            Input("past_key", ("batch", 2, "past", 16)),
            Input("past_value", ("batch", 2, "past", 16)),
        ),
        ({"batch": 2, "seq": 5, "past": 9}, {"batch": 1, "seq": 1, "past": 20}, {"batch": 3, "seq": 7, "past": 2}),
    ),
    _plain(
        "cross_attention",
        "CrossAttention",
        (Input("queries", ("batch", "queries", 32)), Input("memory", ("batch", "memory", 32))),
        (
            {"batch": 2, "queries": 6, "memory": 10},
            {"batch": 1, "queries": 3, "memory": 17},
            {"batch": 4, "queries": 9, "memory": 5},
        ),
    ),
    _plain(
        "detector_head",
        "DetectorHead",
        (Input("image", (1, 3, "height", "width")),),
        ({"height": 32, "width": 48}, {"height": 48, "width": 32}, {"height": 64, "width": 80}),
    ),
    _plain("top_proposals", "TopProposals", IMAGE, IMAGES),
    _plain(
        "selected_tokens",
        "SelectedTokens",
        (Input("x", ("batch", "seq", 8)), Input("keep", ("batch", "seq"), "bool")),
        SEQUENCES,
    ),
    _plain("einsum_attention", "EinsumAttention", (Input("x", ("batch", "seq", 32)),), SEQUENCES),
    _plain("gated_experts", "GatedExperts", (Input("x", ("batch", "seq", 16)),), SEQUENCES),
)
"""Each is one module of :mod:`.modules`."""
