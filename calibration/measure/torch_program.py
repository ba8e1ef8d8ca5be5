"""An ONNX model as a row of calls of torch functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CalibrationError
from .torch_operators import FACTORIES, Step, TorchNode

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Program", "loaded", "torch_of"]

_FREE = ("Constant",)


@dataclass(frozen=True)
class _Step:
    """A node that is run: what it reads of computed values and of all, what it makes, and what is not needed after."""

    node: TorchNode
    run: Step
    operands: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    drops: tuple[str, ...]


class Program:
    """A model as steps of torch functions over named values."""

    def __init__(self, model: ModelProto, device: str) -> None:
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        self.constants = _constants(model, device)
        nodes = self._unfolded([node for node in model.graph.node if node.op_type not in _FREE], opset)
        last = {name: index for index, node in enumerate(nodes) for name in node.input if name}
        kept = self.outputs = frozenset(value.name for value in model.graph.output)
        self.steps = tuple(self._step(node, index, opset, last, kept) for index, node in enumerate(nodes))

    def _unfolded(self, nodes: Sequence[NodeProto], opset: int) -> list[NodeProto]:
        """Compute what reads only constants, once: an eager network has it ready among its weights. Return the rest."""
        left = []
        for proto in nodes:
            if not all(name in self.constants for name in proto.input if name):
                left.append(proto)
                continue
            step = self._step(proto, 0, opset, dict.fromkeys(proto.output, 0), frozenset())
            with _failures_named(step.node):
                results = step.run([self.constants.get(name) for name in proto.input])
            self.constants.update((name, value) for name, value in zip(proto.output, results, strict=False) if name)
        return left

    def _step(self, proto: NodeProto, index: int, opset: int, last: Mapping[str, int], kept: frozenset[str]) -> _Step:
        factory = FACTORIES.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
        name = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
        if factory is None:
            raise CalibrationError(
                f'pytorch: no torch function for {name} (node "{proto.name}")',
                help="add one to the table with @named (calibration/measure/torch_operators.py)",
            )
        constants = tuple(self.constants.get(operand) if operand else None for operand in proto.input)
        wanted = max((place + 1 for place, result in enumerate(proto.output) if result), default=0)
        node = TorchNode(proto.op_type, proto.name, _attributes(proto), constants, wanted, opset)
        computed = tuple(dict.fromkeys(operand for operand in proto.input if operand and operand not in self.constants))
        drops = tuple(operand for operand in computed if last[operand] == index and operand not in kept)
        unread = tuple(result for result in proto.output if result and result not in last and result not in kept)
        with _failures_named(node):
            return _Step(node, factory(node), tuple(proto.input), computed, tuple(proto.output), drops + unread)

    def run(self, feeds: Mapping[str, Any], mark: Callable[[], None] | None = None) -> dict[str, Any]:
        """Run all steps once and return the results; ``mark`` is called before the first and after each.

        Values live until their last reader has run.
        """
        values: dict[str, Any] = {"": None, **self.constants, **feeds}
        if mark is not None:
            mark()
        for step in self.steps:
            operands = [values[name] for name in step.operands]
            try:
                results = step.run(operands)
            except Exception as error:
                raise _failure(step.node, error) from error
            del operands
            values.update(zip(step.writes, results, strict=False))
            del results
            for name in step.drops:
                del values[name]
            if mark is not None:
                mark()
        return {name: values[name] for name in self.outputs}


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
        found[tensor.name] = _tensor(numpy_helper.to_array(tensor), device)
        tensor.ClearField("raw_data")
    for node in model.graph.node:
        if node.op_type in _FREE:
            found[node.output[0]] = _tensor(_constant_value(node), device)
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


def _tensor(values: Any, device: str) -> Any:
    import numpy as np

    torch = torch_of()
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16).to(device)
    try:
        return torch.from_numpy(np.array(values)).to(device)
    except TypeError as error:
        raise CalibrationError(f"pytorch: no tensors of type {values.dtype}") from error


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


@contextmanager
def _failures_named(node: TorchNode) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _failure(node, error) from error


def _failure(node: TorchNode, error: Exception) -> Exception:
    """Whatever torch raises in a node, as an error of ours that names the node."""
    if isinstance(error, CalibrationError | MemoryError):
        return error
    message = " ".join(str(error).split()) or type(error).__name__
    return CalibrationError(f'pytorch: {node.op_type} (node "{node.name}") failed: {message}')


def torch_of() -> Any:
    """Return PyTorch, all operators entered into the table. Raises :class:`CalibrationError` where it is missing."""
    try:
        import torch

        from . import torch_layout, torch_reductions, torch_windows  # noqa: F401  # they enter their operators into the table
    except ImportError as error:
        raise CalibrationError(f"PyTorch is not there: {error}", help="pip install torch") from error
    return torch
