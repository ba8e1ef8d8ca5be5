"""PyTorch modules to IR, by ``torch.export``: no weight is read, and none needs to be there.

    graph = from_torch(model, torch.zeros(1, 3, 224, 224))

Composites are kept as the user's code calls them (``linear``, ``scaled_dot_product_attention``), so that an
operation is what eager PyTorch launches. What has no entry is decomposed by torch itself as far as that helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from ..ir import Graph, definition, verify
from ..ir.garbage import uncollected
from .registry import FrontendError
from .torch_graph import CHECKS, graph_of
from .torch_launches import COMPOSITES
from .torch_program import program_of_export, program_of_graph_module
from .torch_records import Body
from .torch_symbols import Names

__all__ = ["exported_program", "from_torch", "graph_of_export", "imported_torch"]


def imported_torch() -> Any:
    """Return the module ``torch``.

    Raises:
        FrontendError: it is not installed.
    """
    try:
        return import_module("torch")
    except ImportError:
        raise FrontendError(
            "torch: PyTorch is not installed, and only PyTorch can run a module's code",
            help="pip install 'graphs-opt[torch]'",
        ) from None


def from_torch(
    module: Any,
    example_inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
) -> Graph:
    """Capture a PyTorch module by ``torch.export`` and return its verified graph.

    An ``ExportedProgram``, and a ``torch.fx.GraphModule`` of ATen calls, are taken as they are.

    Args:
        module: what to capture, in the mode (training or evaluation) that it is in; it may be on the meta device.
        example_inputs: one tensor or a tuple of positional inputs; only their types matter.
        kwargs: inputs by keyword.
        dynamic_shapes: as ``torch.export.export`` takes it; dimensions keep the names that they are given.

    Raises:
        FrontendError: torch is not installed, or cannot export the module.
    """
    torch = imported_torch()
    if isinstance(module, torch.export.ExportedProgram):
        return graph_of_export(_known(module), "ExportedProgram")
    if isinstance(module, torch.fx.GraphModule) and _is_typed(module):
        return _finished(program_of_graph_module(module, {}), "GraphModule")
    exported = exported_program(module, example_inputs, kwargs, dynamic_shapes)
    return graph_of_export(exported, type(module).__name__, dynamic_shapes)


def exported_program(
    module: Any, example_inputs: Any = (), kwargs: Mapping[str, Any] | None = None, dynamic_shapes: Any = None
) -> Any:
    """Return the ``ExportedProgram`` that :func:`from_torch` reads: what has no entry is decomposed in it.

    Raises:
        FrontendError: torch is not installed, or cannot export the module.
    """
    torch = imported_torch()
    if isinstance(module, torch.export.ExportedProgram):
        return _known(module)
    if not isinstance(module, torch.nn.Module):
        raise FrontendError(
            f"torch: {type(module).__name__} is no torch.nn.Module, ExportedProgram or fx.GraphModule",
            help="wrap a function in a module",
        )
    inputs = example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)
    placed = _placed(module, (tuple(inputs), dict(kwargs or {})))
    return _known(_exported(torch, module, placed, dynamic_shapes))


def graph_of_export(exported: Any, name: str, dynamic_shapes: Any = None) -> Graph:
    """Return the verified graph of a program that :func:`exported_program` gave."""
    with uncollected():
        return _finished(program_of_export(exported, _names(exported, dynamic_shapes)), name)


def _finished(body: Body, name: str) -> Graph:
    torch = imported_torch()
    graph = graph_of(body, name, {"format": "torch", "producer": f"pytorch {torch.__version__}"})
    verify(graph)
    return graph


def _is_typed(module: Any) -> bool:
    """Whether a GraphModule is made of operators whose results are known, not of modules and methods."""
    calls = [node for node in module.graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    return all(node.op == "call_function" and "val" in node.meta for node in calls)


def _placed(module: Any, inputs: Any) -> Any:
    """The inputs on the meta device where the module is: shapes and types are all that an export needs."""
    import itertools

    from torch.utils._pytree import tree_map_only

    torch = imported_torch()
    devices = {tensor.device.type for tensor in itertools.chain(module.parameters(), module.buffers())}
    if "meta" not in devices:
        return inputs
    return tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), inputs)


def _exported(torch: Any, module: Any, placed: Any, dynamic_shapes: Any) -> Any:
    args, kwargs = placed
    try:
        return torch.export.export(module, args, kwargs, dynamic_shapes=dynamic_shapes)
    except Exception as error:  # whatever the user's code, or torch's tracing of it, raises
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        raise FrontendError(
            f"torch: {type(module).__name__} cannot be exported: {type(error).__name__}: {lines[0] if lines else ''}",
            help="see whether torch.export.export(module, inputs) takes it; code that depends on values has to go",
        ) from error


def _known(exported: Any) -> Any:
    """The program with operators that have no entry decomposed by torch, where it knows how."""
    unknown = {
        node.target
        for node in exported.graph.nodes
        if node.op == "call_function" and hasattr(node.target, "_schema") and _is_unknown(node.target)
    }
    if not unknown:
        return exported
    from torch.export import default_decompositions

    table = default_decompositions()
    wanted = {target: table[target] for target in unknown if target in table}
    return exported.run_decompositions(wanted) if wanted else exported


def _is_unknown(target: Any) -> bool:
    name = target._schema.name.replace("::", ".")
    known = name in COMPOSITES or definition(name) is not None or definition(name.removesuffix("_")) is not None
    return not known and name not in CHECKS


def _names(exported: Any, dynamic_shapes: Any) -> Names:
    """The names that the user gave to dimensions, by torch's symbols."""
    if dynamic_shapes is None:
        return {}
    given = _flat(dynamic_shapes.values() if isinstance(dynamic_shapes, Mapping) else dynamic_shapes)
    names: dict[str, str] = {}
    visible = set(exported.graph_signature.user_inputs)
    inputs = [node for node in exported.graph.nodes if node.op == "placeholder" and node.name in visible]
    for node, wanted in zip(inputs, given, strict=False):
        value = node.meta.get("val")
        for axis, dimension in _dimensions(wanted):
            expression = getattr(getattr(value.shape[axis], "node", None), "expr", None)
            name = getattr(dimension, "__name__", dimension if isinstance(dimension, str) else "")
            if name and expression is not None and getattr(expression, "is_Symbol", False):
                names.setdefault(str(expression), name)
    return names


def _flat(shapes: Iterable[Any]) -> Iterable[Any]:
    """What is said of each tensor, in the order of inputs: nested lists and mappings of tensors opened."""
    for shape in shapes:
        if shape is None or _of_one_tensor(shape):
            yield shape
        else:
            yield from _flat(shape.values() if isinstance(shape, Mapping) else shape)


def _of_one_tensor(shape: Any) -> bool:
    if isinstance(shape, Mapping):
        return all(isinstance(key, int) for key in shape)
    return not any(isinstance(item, Mapping | tuple | list) for item in shape)


def _dimensions(wanted: Any) -> Iterable[tuple[int, Any]]:
    if isinstance(wanted, Mapping):
        return wanted.items()
    return enumerate(wanted or ())
