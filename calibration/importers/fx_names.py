"""Which kernels of a graph an operation of ``torch.fx`` stands for, by the name that it has there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ...ir.primitives import Gemm
from ..kernel import Kernel

__all__ = ["Placed", "assign", "is_function"]

_FUNCTIONS: dict[str, frozenset[str]] = {
    "add": frozenset({"Add", "add"}),
    "mul": frozenset({"Mul", "mul"}),
    "cat": frozenset({"Concat", "cat"}),
    "einsum": frozenset({"Einsum", "MatMul", "einsum"}),
    "softmax": frozenset({"Softmax", "softmax"}),
    "adaptive_avg_pool2d": frozenset({"ReduceMean", "GlobalAveragePool", "AveragePool", "adaptive_avg_pool2d"}),
}
"""Functions that launch a kernel, and the operators that they are in a graph, of ONNX or of ATen."""

_VIEWS = frozenset(
    {"getattr", "getitem", "eq", "_assert", "floordiv", "chunk", "flatten", "swapaxes", "stochastic_depth"}
)
"""Functions that launch nothing: shapes, views, what evaluation leaves out."""

_LAYOUT = frozenset({"Transpose"})
"""Operators that are views to PyTorch. Most kernels read through a view; a matrix product copies what it is to read."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A kernel of a network's graph, with the operator that it is named after (``Conv``) and its module's path.

    ``reads`` has the kernels, by their place in the network, whose results it reads, through views.
    """

    operator: str
    module: str
    kernel: Kernel
    reads: tuple[int, ...] = ()


def is_function(name: str) -> bool:
    """Whether a name is a function's, not a module's."""
    base = re.sub(r"_\d+$", "", name)
    return base in _FUNCTIONS or base in _VIEWS


def assign(
    names: Sequence[str], placed: Sequence[Placed], idle: Collection[str] = ()
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the kernels (by index into ``placed``) of each name, and for each name without any why it has none.

    ``names`` are all those of a network, in order; ``placed`` its kernels at batch 1, in graph order. A module that is
    called several times has as many names (``relu``, ``relu_1``), each with its share of the module's kernels. ``idle``
    are the names that move no bytes: arithmetic on shapes, which launches nothing.
    """
    leaves = _Modules(placed)
    calls: dict[str, list[str]] = {}
    functions: dict[str, list[str]] = {}
    found: dict[str, tuple[int, ...]] = {}
    reasons: dict[str, str] = {}
    for name in dict.fromkeys(names):
        base = re.sub(r"_\d+$", "", name)
        if name in idle:
            found[name] = ()
        elif leaves.of(name):
            calls.setdefault(name, []).insert(0, name)
        elif base in _FUNCTIONS:
            functions.setdefault(base, []).append(name)
        elif base in _VIEWS:
            found[name] = ()
        elif leaves.of(base) and leaves.is_leaf(base):
            calls.setdefault(base, []).append(name)
        elif leaves.encloses(name):
            found[name] = ()
        else:
            reasons[name] = f"no module or function {name!r} in the graph"
    taken: set[int] = set()
    for leaf, called in calls.items():
        indices = leaves.of(leaf)
        taken.update(indices)
        if len(indices) % len(called):
            reasons.update({name: f"{len(indices)} kernels do not divide among {len(called)} calls" for name in called})
            continue
        share = len(indices) // len(called)
        found.update({name: tuple(indices[i * share : (i + 1) * share]) for i, name in enumerate(called)})
    _assign_functions(functions, placed, taken, found, reasons)
    return found, reasons


def _assign_functions(
    functions: dict[str, list[str]],
    placed: Sequence[Placed],
    taken: set[int],
    found: dict[str, tuple[int, ...]],
    reasons: dict[str, str],
) -> None:
    """Functions' calls are joined in order to the operators that no module has; arithmetic on shapes has none."""
    owners: dict[int, str] = {}
    for function, called in functions.items():
        indices = [
            index
            for index, one in enumerate(placed)
            if index not in taken and one.operator in _FUNCTIONS[function] and one.kernel.read_bytes
        ]
        tensors = called if len(called) == len(indices) else []
        for name, index in zip(tensors, indices, strict=True):
            owners[index] = name
        if not tensors:
            reasons.update({name: f"{len(called)} calls of {function}, {len(indices)} kernels" for name in called})
    for name, indices_of in _with_layout(owners, placed, taken).items():
        found[name] = indices_of


def _with_layout(owners: dict[int, str], placed: Sequence[Placed], taken: set[int]) -> dict[str, tuple[int, ...]]:
    """Each owned kernel; a matrix product with the copies of what it reads, where nobody else has them."""
    result: dict[str, tuple[int, ...]] = {}
    copied: set[int] = set()
    for index, name in sorted(owners.items()):
        product = any(isinstance(primitive, Gemm) for primitive in placed[index].kernel.primitives)
        copies = [
            read
            for read in (placed[index].reads if product else ())
            if read not in taken and read not in copied and placed[read].operator in _LAYOUT
        ]
        copied.update(copies)
        result[name] = (*copies, index)
    return result


class _Modules:
    """The kernels below each module, by its path as ``torch.fx`` writes it."""

    def __init__(self, placed: Sequence[Placed]) -> None:
        self._below: dict[str, list[int]] = {}
        self._exact: set[str] = set()
        for index, one in enumerate(placed):
            parts = one.module.split(".") if one.module else []
            for length in range(1, len(parts) + 1):
                self._below.setdefault(_fx(parts[:length]), []).append(index)
            self._exact.add(_fx(parts))

    def of(self, name: str) -> list[int]:
        return self._below.get(name, [])

    def is_leaf(self, name: str) -> bool:
        return name in self._exact

    def encloses(self, name: str) -> bool:
        """Whether a module that has kernels encloses what ``name`` would be: it is there, and launches nothing."""
        parts = name.split("_")
        return any("_".join(parts[:length]) in self._below for length in range(len(parts) - 1, 0, -1))


def _fx(parts: Iterable[str]) -> str:
    return re.sub(r"[^0-9a-zA-Z_]", "_", "_".join(parts)).lower()
