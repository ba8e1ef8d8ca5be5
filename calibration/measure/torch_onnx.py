"""An ONNX model as a row of calls of torch functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CalibrationError
from .torch_operators import FACTORIES, TorchNode, tensor_of
from .torch_program import Program, Step, failures_named

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["loaded", "onnx_program"]

_FREE = ("Constant",)


def onnx_program(model: ModelProto, device: str) -> Program:
    """Return the program of a model, its weights on ``device``.

    Raises:
        CalibrationError: an operator has no counterpart in the table, or fails on constants.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    constants = _constants(model, device)
    nodes = _unfolded([node for node in model.graph.node if node.op_type not in _FREE], constants, opset)
    outputs = tuple(value.name for value in model.graph.output)
    return Program(constants, [_step(node, constants, opset) for node in nodes], outputs)


def _unfolded(nodes: Sequence[NodeProto], constants: dict[str, Any], opset: int) -> list[NodeProto]:
    """Compute what reads only constants, once: an eager network has it ready among its weights. Return the rest."""
    left = []
    for proto in nodes:
        if not all(name in constants for name in proto.input if name):
            left.append(proto)
            continue
        step = _step(proto, constants, opset)
        with failures_named(step.op_type, step.name):
            results = step.run([constants.get(name) for name in proto.input])
        constants.update((name, value) for name, value in zip(proto.output, results, strict=False) if name)
    return left


def _step(proto: NodeProto, constants: dict[str, Any], opset: int) -> Step:
    factory = FACTORIES.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
    name = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
    if factory is None:
        raise CalibrationError(
            f'pytorch: no torch function for {name} (node "{proto.name}")',
            help="add one to the table with @named (calibration/measure/torch_operators.py)",
        )
    known = tuple(constants.get(operand) if operand else None for operand in proto.input)
    wanted = max((place + 1 for place, result in enumerate(proto.output) if result), default=0)
    with failures_named(proto.op_type, proto.name):
        run = factory(TorchNode(proto.op_type, proto.name, _attributes(proto), known, wanted, opset))
    return Step(proto.op_type, proto.name, run, tuple(proto.input), tuple(proto.output))


# -- reading the model ------------------------------------------------------------------------------------------------


def loaded(loadable: str | bytes) -> ModelProto:
    """Return the model of a file or of its bytes, weights and all."""
    import onnx

    return onnx.load(loadable) if isinstance(loadable, str) else onnx.load_model_from_string(loadable)


def _constants(model: ModelProto, device: str) -> dict[str, Any]:
    """Initialisers and Constant nodes as tensors; the messages' own copies are let go one by one."""
    from onnx import numpy_helper

    found = {}
    for tensor in model.graph.initializer:
        found[tensor.name] = tensor_of(numpy_helper.to_array(tensor)).to(device)
        tensor.ClearField("raw_data")
    for node in model.graph.node:
        if node.op_type in _FREE:
            found[node.output[0]] = tensor_of(_constant_value(node)).to(device)
    return found


def _constant_value(node: NodeProto) -> Any:
    import numpy as np
    from onnx import numpy_helper

    values = _attributes(node)
    if "value" in values:
        return numpy_helper.to_array(values["value"])
    for key, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in values:
            return np.array(values[key], dtype)
    raise CalibrationError(f'pytorch: Constant "{node.name}" has no number', help="only tensors and numbers can be run")


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif not isinstance(value, str | int | float) and not hasattr(value, "DESCRIPTOR"):
            value = [entry.decode() if isinstance(entry, bytes) else entry for entry in value]
        found[attribute.name] = value
    return found
