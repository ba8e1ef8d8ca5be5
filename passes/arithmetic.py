"""In which precision a kernel's arithmetic really runs, and why one on quantised values runs in floats."""

from __future__ import annotations

from collections.abc import Iterable

from ..calibration.roofline import Roofline
from ..ir import Graph, Op
from ..ir.primitives import Unknown
from .fuse import kernel_ops, main_op
from .lower import QUANTIZED, Work
from .quantized import DEQUANTIZE, QUANTIZE
from .replacement import Declined

__all__ = ["arithmetic_precision", "macs_by_precision", "why_floats"]


def arithmetic_precision(op: Op, roofline: Roofline) -> str:
    """The precision of a kernel's multiply-accumulates, else of what it does first; empty where that is not known."""
    work = op.facts.get(Work)
    known = [one for one in work.primitives if not isinstance(one, Unknown)] if work else []
    multiplying = (one for one in known if one.macs)
    main = next(multiplying, None) or next(iter(known), None)
    return roofline.precision_of(main) if main is not None else ""


def macs_by_precision(ops: Iterable[Op], roofline: Roofline) -> dict[str, int]:
    """The multiply-accumulates of kernels by the precision that they run in."""
    counted: dict[str, int] = {}
    for op in ops:
        for primitive in op.facts[Work].primitives if Work in op.facts else ():
            if primitive.macs:
                precision = roofline.precision_of(primitive)
                counted[precision] = counted.get(precision, 0) + primitive.macs
    return counted


def why_floats(op: Op, graph: Graph) -> tuple[str, str]:
    """Why a kernel beside conversions runs in floats, and the rule that says so; empty where it does not.

    The rule is that of an integer kernel whose conditions the operation does not meet, if there is one.
    """
    main = main_op(op)
    if op.attributes.get(QUANTIZED) is True or main.name in QUANTIZE | DEQUANTIZE or not _beside_conversions(op, graph):
        return "", ""
    declined = next((fact for inner in kernel_ops(op) if (fact := inner.facts.get(Declined))), None)
    if declined is not None:
        return f"no {declined.operator}, which wants {declined.condition}", declined.rule
    return f"no rule of the runtime makes an integer kernel of {main.base_name} here", ""


def _beside_conversions(op: Op, graph: Graph) -> bool:
    return any(value.op.name in DEQUANTIZE for value in op.inputs) or any(
        user.name in QUANTIZE for user in graph.users(op)
    )
