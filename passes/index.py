"""The built-in passes and named pipelines: one line each, imported when used.

The order is that of a whole run; where two passes provide the same state, the first one listed is inserted for it.
"""

from __future__ import annotations

__all__ = ["BUILTIN_PASSES", "NAMED_PIPELINES"]

BUILTIN_PASSES: dict[str, str] = {
    "bind": "bind:Bind",
    "shape": "shape:ShapeInference",
    "precision": "precision:Precision",
    "fuse": "fuse:Fuse",
    "lower": "lower:Lower",
    "calibrate": "calibrate:Calibrate",
    "memory": "memory:Memory",
    "cost": "cost:CostPass",
    "coverage": "coverage:Coverage",
}

NAMED_PIPELINES: dict[str, str] = {
    "default": "fuse,lower,memory,cost,coverage",
}
