"""A program in memory (``ExportedProgram``, ``torch.fx.GraphModule``) as calls of ATen operators.

Result types are those of the fake tensors that the export left in ``meta["val"]``. Weights are types; of small integer
ones the values are read, where there are any (not on the meta device).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..ir import FLOAT_FOLD_LIMIT, FOLD_LIMIT, Dense, DType, TensorType
from ..ir.types import Dim
from .registry import FrontendError
from .torch_records import DTYPES, Argument, Body, Call, Module, Reference, TensorSpec, Weight
from .torch_symbols import Names, dim_of

__all__ = ["program_of_export", "program_of_graph_module"]


def program_of_export(exported: Any, names: Names) -> Body:
    """Return the program of an ``ExportedProgram``."""
    reader = _Reader(exported.graph_module, names)
    signature = exported.graph_signature
    lifted = signature.inputs_to_lifted_tensor_constants
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **lifted}
    held = {**exported.state_dict, **exported.constants}
    weights = {name: (target, held.get(target)) for name, target in targets.items()}
    reader.lifted = frozenset(lifted)
    body = reader.body("graph", exported.graph_module, weights)
    visible = set(signature.user_outputs)
    body.outputs = [name for name in body.outputs if name in visible]
    return body


def program_of_graph_module(module: Any, names: Names) -> Body:
    """Return the program of a ``GraphModule`` of ATen calls whose nodes say what they give (``meta["val"]``)."""
    return _Reader(module, names).body("graph", module, {})


@dataclass(slots=True)
class _Reader:
    owner: Any
    names: Names
    results: dict[Any, tuple[TensorSpec, ...]] = field(default_factory=dict)
    lifted: frozenset[str] = frozenset()

    def body(self, name: str, module: Any, weights: Mapping[str, tuple[str, Any]]) -> Body:
        """Read a graph; ``weights`` says which of its inputs are weights: what each is called, and the tensor."""
        body = Body(name)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(body, node, weights)
            elif node.op == "get_attr":
                self._attribute(body, node, module)
            elif node.op == "call_function":
                self._call(body, node, module)
            elif node.op == "output":
                body.outputs = [name for argument in node.args for name in self._output_names(argument)]
            else:
                raise FrontendError(
                    f"torch: node {node.name!r} calls a module or a method, not an operator",
                    help="give example inputs, so that it can be exported",
                )
        return body

    # -- tensors ------------------------------------------------------------------------------------------------------

    def _spec(self, name: str, value: Any) -> TensorSpec:
        dtype = DTYPES.get(str(value.dtype).removeprefix("torch."), DType.UNKNOWN)
        shape = tuple(self._dim(extent) for extent in value.shape)
        try:
            strides: tuple[Dim, ...] | None = tuple(self._dim(stride) for stride in value.stride())
        except RuntimeError:  # sparse tensors have none
            strides = None
        return TensorSpec(name, TensorType(dtype, shape), strides)

    def _dim(self, extent: Any) -> Dim:
        return extent if type(extent) is int else dim_of(str(extent.node.expr), self.names)

    def _placeholder(self, body: Body, node: Any, weights: Mapping[str, tuple[str, Any]]) -> None:
        value = node.meta.get("val")
        if not _is_tensor(value):
            return
        spec = self._spec(node.name, value)
        self.results[node] = (spec,)
        if node.name in weights:
            target, tensor = weights[node.name]
            body.weights.append(_weight(spec, target, tensor, node.name in self.lifted))
        else:
            body.inputs.append(spec)

    def _attribute(self, body: Body, node: Any, module: Any) -> None:
        tensor = _attribute_of(module, node.target)
        if _is_tensor(tensor):
            spec = self._spec(node.name, node.meta.get("val", tensor))
            self.results[node] = (spec,)
            body.weights.append(_weight(spec, str(node.target), tensor, True))

    # -- calls --------------------------------------------------------------------------------------------------------

    def _call(self, body: Body, node: Any, module: Any) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            if source in self.results:
                self.results[node] = (self._item(source, index),)
            return
        specs = self._result_specs(node)
        if not specs and not _higher_order(node.target):
            return  # arithmetic on symbols, assertions: nothing is launched
        self.results[node] = specs
        target, overload = _operator_name(node.target)
        arguments = tuple(self._arguments(node, module))
        body.calls.append(Call(target, overload, arguments, specs, node.name, _modules(node)))

    def _item(self, source: Any, index: int) -> TensorSpec:
        position = sum(_is_tensor(value) for value in source.meta["val"][:index])
        return self.results[source][position]

    def _result_specs(self, node: Any) -> tuple[TensorSpec, ...]:
        value = node.meta.get("val")
        if _is_tensor(value):
            return (self._spec(node.name, value),)
        if not isinstance(value, tuple | list):
            return ()
        taken = {user.args[1]: user.name for user in node.users if user.target is operator.getitem}
        return tuple(
            self._spec(taken.get(index, f"{node.name}.{index}"), item)
            for index, item in enumerate(value)
            if _is_tensor(item)
        )

    def _arguments(self, node: Any, module: Any) -> Iterator[tuple[str, Argument]]:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            given: list[tuple[str, Any]] = [(str(index), value) for index, value in enumerate(node.args)]
            given += node.kwargs.items()
        else:
            words = [argument.name for argument in schema.arguments]
            given = list(zip(words, node.args, strict=False))
            given += [(word, node.kwargs[word]) for word in words if word in node.kwargs]
        for name, value in given:
            yield name, self._argument(value, module)

    def _argument(self, value: Any, module: Any) -> Argument:
        if isinstance(value, tuple | list):
            return tuple(self._argument(item, module) for item in value)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if hasattr(value, "meta") and hasattr(value, "users"):
            return self._node_argument(value, module)
        return str(value).removeprefix("torch.")

    def _node_argument(self, node: Any, module: Any) -> Argument:
        if node in self.results:
            specs = self.results[node]
            single = _is_tensor(node.meta.get("val")) or node.op == "get_attr" or len(specs) == 1
            return Reference(specs[0].name) if single else tuple(Reference(spec.name) for spec in specs)
        if node.op == "get_attr":
            inner = _attribute_of(module, node.target)
            if hasattr(inner, "graph"):
                return _Reader(inner, self.names).body(str(node.target), inner, {})
        value = node.meta.get("val")
        if isinstance(value, bool | int | float):
            return value
        expression = getattr(getattr(value, "node", None), "expr", None)
        return None if expression is None else dim_of(str(expression), self.names)

    def _output_names(self, argument: Any) -> Iterator[str]:
        if isinstance(argument, tuple | list):
            for item in argument:
                yield from self._output_names(item)
        elif hasattr(argument, "users") and argument in self.results:
            yield from (spec.name for spec in self.results[argument])


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "stride") and hasattr(value, "shape")


def _attribute_of(module: Any, path: str) -> Any:
    for part in str(path).split("."):
        module = getattr(module, part, None)
    return module


def _higher_order(target: Any) -> bool:
    return any(kind.__name__ == "HigherOrderOperator" for kind in type(target).__mro__)


def _operator_name(target: Any) -> tuple[str, str]:
    """The dialect-qualified name of an operator and its overload: ``aten.add`` and ``Tensor``."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return f"higher_order.{getattr(target, '__name__', target)}", ""
    return schema.name.replace("::", "."), schema.overload_name


def _modules(node: Any) -> tuple[Module, ...]:
    stack = node.meta.get("nn_module_stack") or {}
    found = []
    for path, kind in stack.values():
        word = kind if isinstance(kind, str) else kind.__qualname__
        found.append((path.partition("@")[0].removeprefix("L['self']").strip("."), word.rpartition(".")[2]))
    return tuple(found)


# -- weights ----------------------------------------------------------------------------------------------------------


def _weight(spec: TensorSpec, target: str, tensor: Any, written_out: bool) -> Weight:
    """``written_out`` constants stand in the module's code: floating ones, too, keep their values if they are small."""
    reads = spec.type.dtype.is_integer or written_out
    return Weight(spec, target, _storage(target, tensor), _values(spec.type, tensor) if reads else None)


def _storage(target: str, tensor: Any) -> object:
    """What two names for one tensor have in common: tied parameters are one."""
    if tensor is None:
        return target
    try:
        place = tensor.untyped_storage()._cdata
    except (AttributeError, NotImplementedError, RuntimeError):
        return target
    return place, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())


def _values(type: TensorType, tensor: Any) -> Dense | None:
    """The elements of a small tensor that has any."""
    if tensor is None or not type.static or tensor.device.type == "meta" or _is_fake(tensor):
        return None
    limit = FOLD_LIMIT if type.dtype.is_integer else FLOAT_FOLD_LIMIT
    if prod(type.dims) > limit or not (type.dtype.is_integer or type.dtype.is_float) or "complex" in type.dtype.mlir:
        return None
    return Dense(type, tuple(_flat(tensor.detach().tolist())))


def _is_fake(tensor: Any) -> bool:
    return hasattr(tensor, "fake_mode")


def _flat(values: Any) -> Iterator[Any]:
    if isinstance(values, Sequence):
        for item in values:
            yield from _flat(item)
    else:
        yield values
