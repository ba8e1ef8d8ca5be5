"""Operators alone, over the grids of sizes that real networks span.

A model holds several independent operators of one sort, sizes drawn at random: a session costs more than the kernels
that it is made for. There is no end of models; each sort comes round in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from . import contractions, memory_bound, quantized
from .benchmark import Benchmark, opset_for
from .builder import Builder
from .draws import Draw

__all__ = ["GRIDS", "operators"]

Grid = Callable[[Builder, Draw], None]

_conv = contractions.convolutions

GRIDS: dict[str, Grid] = {
    "conv_3x3": partial(_conv, windows=(3,)),
    "weight_products": contractions.weight_products,
    "activations": memory_bound.activations,
    "conv_1x1": partial(_conv, windows=(1,)),
    "conv_joined": contractions.joined,
    "activation_products": contractions.activation_products,
    "broadcasts": memory_bound.broadcasts,
    "conv_depthwise": contractions.depthwise,
    "softmaxes": memory_bound.softmaxes,
    "transposes": memory_bound.transposes,
    "conv_strided": partial(_conv, windows=(3, 1, 5, 3), strides=(2, 2, 2, 3)),
    "softmaxes_across": memory_bound.softmaxes_across,
    "normalizations": memory_bound.normalizations,
    "single_rows": contractions.single_rows,
    "reductions": memory_bound.reductions,
    "conv_large": partial(_conv, windows=(5, (1, 7), (7, 1), 7)),
    "attentions": contractions.attentions,
    "pools": memory_bound.pools,
    "conv_grouped": contractions.grouped,
    "layouts": memory_bound.layouts,
    "maps": memory_bound.maps,
    "recurrences": contractions.recurrences,
    "conv_stem": contractions.stems,
    "conv_channels_last": contractions.channels_last,
    "lookups": memory_bound.lookups,
    "lookups_along": memory_bound.lookups_along,
    "heads": contractions.heads,
    "einsums": contractions.einsums,
    "conv_dilated": partial(_conv, windows=(3, 3, 5), dilations=(2, 2, 3, 4, 6, 12)),
    "elementwise": memory_bound.elementwise,
    "conv_1d": contractions.signals,
    "conv_long": contractions.long_signals,
    "resizes": memory_bound.resizes,
    "conv_transposed": contractions.transposed,
    "vocabularies": contractions.vocabularies,
    "scans": memory_bound.scans,
    "conv_3d": contractions.volumes,
}
"""Every sort of floating-point operators by name, in the order in which they come round."""

_DOUBLE: dict[str, Grid] = {
    "weight_products": partial(contractions.weight_products, activations=("", "", "relu")),
    **{name: GRIDS[name] for name in ("activation_products", "broadcasts", "softmaxes", "transposes", "single_rows")},
    **{
        name: GRIDS[name]
        for name in ("reductions", "layouts", "lookups", "heads", "elementwise", "vocabularies", "scans")
    },
}
"""What onnxruntime has kernels for in double precision: no convolution, nor anything like it."""

_OF: dict[tuple[str, str], dict[str, Grid]] = {
    ("onnxruntime", "fp64"): _DOUBLE,
    ("onnxruntime", "bf16"): {},
    ("onnxruntime", "int8"): quantized.GRIDS,
    ("pytorch", "bf16"): {name: grid for name, grid in GRIDS.items() if name != "einsums"},  # ONNX types it without
    ("pytorch", "int8"): {},
}
"""Sorts by runtime and precision, where they are not all of those above."""


def _recipe(builder: Builder, grid: Grid, seed: str) -> None:
    grid(builder, Draw(seed))


def operators(runtime: str, precision: str) -> Iterator[Benchmark]:
    """Yield models of operators without end, sorts in turn; none where the runtime has no kernels for the precision."""
    grids = _OF.get((runtime, precision), GRIDS)
    opset = opset_for(precision)
    for index in count() if grids else ():
        for name, grid in grids.items():
            recipe = partial(_recipe, grid=grid, seed=f"{name}-{index}")
            yield Benchmark(f"{name}-{precision}-{index}", "operators", precision, recipe, (name,), opset)
