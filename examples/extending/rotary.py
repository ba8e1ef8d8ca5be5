"""An operator of one's own: one entry says what `com.acme.Rotary` is and what it costs.

    graphs-opt --load-plugin=examples/extending/rotary.py model.onnx
"""

from graphs.ir import Kind, Op, define
from graphs.ir.primitives import Elementwise

PER_ELEMENT = 3
"""Each pair of elements is rotated: four multiplications and two additions for two results."""


@define("com.acme.Rotary", kind=Kind.ELEMENTWISE, infer=lambda op: [op.operands[0].type])
def rotary(op: Op) -> list[Elementwise]:
    """Rotary position embedding of an activation by tables of sines and cosines."""
    type = op.result.type
    return [Elementwise("rotary", type.elements, type.dtype, PER_ELEMENT)]
