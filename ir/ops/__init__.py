"""The operators that come with the tool, by family. Importing this package registers them all."""

from . import (
    attention,
    contraction,
    control,
    einsum,
    elementwise,
    gather,
    generator,
    layout,
    machine_learning,
    normalization,
    quantization,
    recurrent,
    reduction,
    signal,
    views,
    window,
)

__all__ = [
    "attention",
    "contraction",
    "control",
    "einsum",
    "elementwise",
    "gather",
    "generator",
    "layout",
    "machine_learning",
    "normalization",
    "quantization",
    "recurrent",
    "reduction",
    "signal",
    "views",
    "window",
]
