"""Networks captured from PyTorch, as a campaign measures them: a saved program, or a module of the user's own.

Both are run call by call, as they were captured. A saved program is not unpickled: what its operators are called with
is in its text, and its weights are made up. A module has its own weights, and its whole runs are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...calibration.errors import CalibrationError
from ...calibration.measure.torch_program import Network, Program, Step, torch_of
from ...calibration.measure.weights import made_up, made_up_feed, pool
from ...frontends import load
from ...frontends.pt2 import read_pt2
from ...frontends.torch import graph_of_export
from ...frontends.torch_factory import Captured, InputSpec, capture_factory
from ...frontends.torch_graph import CHECKS
from ...frontends.torch_inlining import inlined
from ...frontends.torch_program import program_of_export
from ...frontends.torch_records import DTYPES, Body, TensorSpec, Weight
from ...ir import Graph
from .torch_calls import bound, runner_of, step_names

__all__ = ["TorchNetwork", "network_of_factory", "network_of_file"]

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LARGEST = 1 << 34


@dataclass(frozen=True)
class TorchNetwork(Network):
    """A captured program; ``tensors`` are the weights that it has by their names in the module, ``own`` the module."""

    title: str
    named: str
    body: Body
    read: Callable[[], Graph]
    tensors: Mapping[str, Any] = field(default_factory=dict)
    own: Captured | None = None

    @property
    def name(self) -> str:
        """The factory's name, or the file's without its ending."""
        return self.title

    @property
    def label(self) -> str:
        """The file's path, or ``package.module:factory``."""
        return self.named

    def graph(self) -> Graph:
        """Return its graph, made anew at each call."""
        return self.read()

    def program(self, device: str, dims: Mapping[str, int]) -> tuple[Program, Mapping[str, Any]]:
        """Return its calls and what they are fed with.

        Raises:
            CalibrationError: a call cannot be made by itself, or a tensor is too large to be made up.
        """
        body = inlined(self.body)
        specs = {spec.name: spec for spec in _specs(body)}
        steps = []
        for call in body.calls:
            if call.operator not in CHECKS:
                (op_type, view), (operands, run) = step_names(call, specs), runner_of(call, device, dims)
                writes = tuple(spec.name for spec in call.results)
                steps.append(Step(op_type, call.name, run, operands, writes, view))
        weights = self._weights(body.weights, device, dims)
        return Program(weights, steps, body.outputs), _feeds(body.inputs, device, dims)

    def whole(self, device: str) -> Callable[[], Any] | None:
        """Return a call of the module, where it has weights."""
        if self.own is None or self.own.module is None or _on_meta(self.own.module):
            return None
        inputs = self.own.inputs
        specs = [TensorSpec(spec.name, _type_of(spec)) for spec in inputs]
        made = [_feed(spec, device, {}) for spec in specs]
        positional = [tensor for spec, tensor in zip(inputs, made, strict=True) if not spec.name]
        keyword = {spec.name: tensor for spec, tensor in zip(inputs, made, strict=True) if spec.name}
        return partial(self.own.module.to(device), *positional, **keyword)

    def _weights(self, weights: Sequence[Weight], device: str, dims: Mapping[str, int]) -> dict[str, Any]:
        """The weights by the program's names for them; what is one in the module is one here."""
        made: dict[object, Any] = {}
        numbers = pool()
        for weight in weights:
            if weight.storage not in made:
                own = self.tensors.get(weight.target)
                if own is None or own.device.type == "meta":
                    own = _made_up(weight, numbers, dims)
                made[weight.storage] = own.detach().to(device)
        return {weight.spec.name: made[weight.storage] for weight in weights}


def network_of_file(path: Path) -> TorchNetwork:
    """Read a saved program.

    Raises:
        FrontendError: it is none.
    """
    torch_of()
    return TorchNetwork(path.stem, str(path), read_pt2(path), partial(load, path))


def network_of_factory(name: str, inputs: Sequence[InputSpec]) -> TorchNetwork:
    """Import ``package.module:factory`` from where the user stands, and capture what it makes.

    Raises:
        FrontendError: there is no such factory, its code fails, or what it makes cannot be captured.
    """
    torch_of()
    captured = capture_factory(name, inputs)
    exported = captured.exported
    tensors = {**exported.state_dict, **exported.constants}
    graph = partial(graph_of_export, exported, captured.name)
    return TorchNetwork(captured.name, name, program_of_export(exported, {}), graph, tensors, captured)


# -- tensors -----------------------------------------------------------------------------------------------------------


def _specs(body: Body) -> Iterable[TensorSpec]:
    yield from body.inputs
    yield from (weight.spec for weight in body.weights)
    yield from (spec for call in body.calls for spec in call.results)


def _on_meta(module: Any) -> bool:
    return any(tensor.device.type == "meta" for tensor in (*module.parameters(), *module.buffers()))


def _type_of(spec: InputSpec) -> Any:
    from ...ir import TensorType

    return TensorType(DTYPES[spec.dtype], spec.dims)


def _shape(spec: TensorSpec, dims: Mapping[str, int]) -> tuple[int, ...]:
    shape = tuple(bound(extent, dims) for extent in spec.type.shape or ())
    size = 1
    for extent in shape:
        if not isinstance(extent, int):
            raise CalibrationError(f'pytorch: the extents of "{spec.name}" are known to a run alone')
        size *= extent
    if size * spec.type.dtype.bits > 8 * _LARGEST:
        raise CalibrationError(f'pytorch: "{spec.name}" of shape {list(shape)} is too large to be made up')
    return shape


def _dtypes(spec: TensorSpec) -> tuple[Any, Any]:
    """The type that numbers are made up in, and torch's own."""
    import numpy as np

    torch, dtype = torch_of(), spec.type.dtype
    if dtype not in _NAMES:
        raise CalibrationError(f'pytorch: a value for "{spec.name}", of type {dtype.mlir}, cannot be made up')
    word = _NAMES[dtype]
    numbers = np.dtype(np.bool_ if word == "bool" else np.int64 if dtype.is_integer else np.float32)
    return numbers, getattr(torch, word)


def _feeds(specs: Sequence[TensorSpec], device: str, dims: Mapping[str, int]) -> dict[str, Any]:
    return {spec.name: _feed(spec, device, dims) for spec in specs}


def _feed(spec: TensorSpec, device: str, dims: Mapping[str, int]) -> Any:
    import numpy as np

    numbers, dtype = _dtypes(spec)
    values = made_up_feed(_shape(spec, dims), numbers, np.random.default_rng(0))
    return torch_of().from_numpy(np.asarray(values)).to(device, dtype)


def _made_up(weight: Weight, numbers: Any, dims: Mapping[str, int]) -> Any:
    """A weight's own values where the program states them, else some like them."""
    import numpy as np

    spec = weight.spec
    own, dtype = _dtypes(spec)
    shape = _shape(spec, dims)
    if weight.values is not None and not weight.values.open:
        return torch_of().tensor(list(weight.values.values)).reshape(shape).to(dtype)
    return torch_of().from_numpy(np.asarray(made_up(shape, own, numbers))).to(dtype)
