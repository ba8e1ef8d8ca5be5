"""PyTorch's operators, by family: core ATen, and the composites that exported programs keep.

An operator is named ``aten.`` and its schema's name; which overload was called is an attribute. Result types come with
every program, so entries infer none.
"""

from . import (
    attention,
    backward,
    contraction,
    control,
    elementwise,
    gather,
    layout,
    normalization,
    recurrent,
    reduction,
    views,
    window,
)

__all__ = [
    "attention",
    "backward",
    "contraction",
    "control",
    "elementwise",
    "gather",
    "layout",
    "normalization",
    "recurrent",
    "reduction",
    "views",
    "window",
]
