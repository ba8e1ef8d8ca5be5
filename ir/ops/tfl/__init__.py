"""The operators of TFLite's schema, by family; they lower to the same primitives as the others.

Activations and results are channels last; results of integer kernels are requantised (:mod:`.stages`).
"""

from . import (
    contraction,
    control,
    elementwise,
    gather,
    layout,
    miscellaneous,
    recurrent,
    reduction,
    stablehlo,
    views,
    window,
)

__all__ = [
    "contraction",
    "control",
    "elementwise",
    "gather",
    "layout",
    "miscellaneous",
    "recurrent",
    "reduction",
    "stablehlo",
    "views",
    "window",
]
