"""Whether an ONNX node can be what its operator's schema says: how many operands and results.

A file that breaks this runs nowhere, so it is refused; what a schema says of attributes and types is left to the
operators' entries, which report what they cannot count.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["misfit"]


def misfit(node: NodeProto, opset: int) -> str:
    """Say what is wrong with a node of ``ai.onnx``; empty if nothing is, or nothing is known of the operator."""
    arity = _arity(node.op_type, opset) if node.domain in ("", "ai.onnx") else None
    if arity is None:
        return ""
    required, most_inputs, least_outputs, most_outputs = arity
    inputs, outputs = len(node.input), len(node.output)
    if inputs > most_inputs:
        return f"has {inputs} operands; {node.op_type} takes at most {most_inputs}"
    if inputs < required or not all(node.input[:required]):
        return f"lacks an operand; {node.op_type} takes at least {required}"
    if not least_outputs <= outputs <= most_outputs:
        return f"has {outputs} results; {node.op_type} gives {least_outputs} to {most_outputs}"
    return ""


@cache
def _arity(operator: str, opset: int) -> tuple[int, int, int, int] | None:
    """The operands that must be there, and the most operands, the fewest and the most results."""
    from onnx import defs

    try:
        schema = defs.get_schema(operator, opset, "")
    except defs.SchemaError:
        return None
    optional = defs.OpSchema.FormalParameterOption.Optional
    required = next((i for i, p in enumerate(schema.inputs) if p.option == optional), schema.min_input)
    return min(required, schema.min_input), schema.max_input, schema.min_output, schema.max_output
