"""An architecture: how to build it with random weights, what it takes, and which extents of that are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["EXPORTERS", "Architecture", "Input"]

Extents = Mapping[str, int]
EXPORTERS = ("dynamo", "unoptimized", "torchscript")


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that a module takes by this name; the dimensions that are words are open."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"

    def extents(self, extents: Extents) -> tuple[int, ...]:
        """Return the shape with every open dimension bound."""
        return tuple(extents[dim] if isinstance(dim, str) else dim for dim in self.shape)

    def value(self, extents: Extents) -> Any:
        """Return a tensor fit to be fed: integers stay below ten, so that they may index anything."""
        import torch

        shape, dtype = self.extents(extents), getattr(torch, self.dtype)
        if dtype.is_floating_point:
            return torch.randn(shape, dtype=dtype)
        return torch.ones(shape, dtype=dtype) if dtype == torch.bool else torch.randint(0, 10, shape, dtype=dtype)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network in PyTorch with random weights.

    ``bindings`` are three ways to bind the open dimensions; the first has no extent of 1, since `torch.export` takes an
    extent of 1 for a constant. ``needs`` names the packages that ``build`` imports beside torch.
    """

    name: str
    build: Callable[[], Any]
    inputs: tuple[Input, ...]
    bindings: tuple[Extents, Extents, Extents]
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages it needs that are not installed."""
        return tuple(name for name in ("torch", *self.needs) if find_spec(name) is None)

    def module(self) -> Any:
        """Return the module, ready for inference, with the same random weights every time."""
        import torch

        torch.manual_seed(0)
        return self.build().eval()

    def arguments(self, extents: Extents | None = None) -> dict[str, Any]:
        """Return what the module is called with, by name, at these extents (the first binding's unless told)."""
        return {item.name: item.value(self.bindings[0] if extents is None else extents) for item in self.inputs}

    def dynamic_shapes(self) -> dict[str, dict[int, str]]:
        """Return which axes of which inputs are open, and what they are called."""
        return {
            item.name: {axis: dim for axis, dim in enumerate(item.shape) if isinstance(dim, str)}
            for item in self.inputs
        }

    def program(self) -> Any:
        """Return the module as `torch.export` captures it, with its open dimensions."""
        import torch

        shapes = {name: dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for name, axes in self.dynamic_shapes().items()}
        with torch.no_grad():
            return torch.export.export(self.module(), (), self.arguments(), dynamic_shapes=shapes)

    def export(self, path: Path, exporter: str = "dynamo") -> None:
        """Write the network as ONNX with its open dimensions, its weights beside it.

        ``exporter`` is one of :data:`EXPORTERS`: ``dynamo`` is torch's today, ``unoptimized`` the same without its
        optimiser, ``torchscript`` the one before it, which most files in the world were made with.
        """
        import torch

        with torch.no_grad():
            if exporter == "torchscript":
                _export_traced(self, path)
                return
            program = torch.onnx.export(
                self.module(),
                (),
                kwargs=self.arguments(),
                dynamo=True,
                dynamic_shapes=self.dynamic_shapes(),
                optimize=exporter == "dynamo",
                verbose=False,
            )
        program.save(str(path), external_data=True)


def _export_traced(architecture: Architecture, path: Path) -> None:
    import torch

    names = [item.name for item in architecture.inputs]

    class Positional(torch.nn.Module):
        """The module taking its arguments in order and returning a tuple, as tracing wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.named = architecture.module()

        def forward(self, *values: Any) -> Any:
            leaves = torch.utils._pytree.tree_leaves(self.named(**dict(zip(names, values, strict=True))))
            return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it has operators of its own, which cannot be exported
    try:
        torch.onnx.export(
            Positional().eval(),
            tuple(architecture.arguments().values()),
            str(path),
            dynamo=False,
            input_names=names,
            dynamic_axes=architecture.dynamic_shapes(),
            do_constant_folding=False,
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
