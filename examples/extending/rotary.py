"""An operator of one's own: one entry says what `com.acme.Rotary` is and what it costs.

graphs-opt --load-plugin=examples/extending/rotary.py --dim seq=128 examples/extending/rotary.onnx
"""

from graphs.ir import Kind, Lowering, Op, define
from graphs.ir.primitives import Elementwise

PER_ELEMENT = 3
"""Each pair of elements is rotated: four multiplications and two additions for two results."""


@define("com.acme.Rotary", kind=Kind.ELEMENTWISE, infer=lambda op: [op.operands[0].type])
def rotary(op: Op) -> Lowering:
    """Rotary position embedding of an activation by tables of sines and cosines."""
    type = op.result.type
    work = Elementwise("rotary", type.elements, type.dtype, PER_ELEMENT)
    rows = type.bytes // 2  # one sine and one cosine for each pair: not the whole tables
    return Lowering((work,), reads={1: rows, 2: rows})
