"""What an exported PyTorch program says, whichever door it came by: live objects (:mod:`.torch_program`) or an archive
(:mod:`.pt2_program`). Nothing here imports torch.

Tensors are named as the exported graph names them. Scalars that depend on symbolic dimensions are text expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..ir import Attribute, Dense, DType, TensorType
from ..ir.types import Dim

__all__ = ["DTYPES", "Argument", "Body", "Call", "Module", "Reference", "TensorSpec", "Weight", "references"]

DTYPES = {
    "float64": DType.F64,
    "float32": DType.F32,
    "float16": DType.F16,
    "bfloat16": DType.BF16,
    "float8_e4m3fn": DType.F8E4M3FN,
    "float8_e4m3fnuz": DType.F8E4M3FNUZ,
    "float8_e5m2": DType.F8E5M2,
    "float8_e5m2fnuz": DType.F8E5M2FNUZ,
    "float8_e8m0fnu": DType.F8E8M0FNU,
    "int64": DType.I64,
    "int32": DType.I32,
    "int16": DType.I16,
    "int8": DType.I8,
    "int4": DType.I4,
    "uint64": DType.UI64,
    "uint32": DType.UI32,
    "uint16": DType.UI16,
    "uint8": DType.UI8,
    "uint4": DType.UI4,
    "bool": DType.BOOL,
    "complex64": DType.C64,
    "complex128": DType.C128,
}
"""Element types by torch's names for them."""

Module = tuple[str, str]
"""A module's path and the name of its class."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An argument that is a tensor: the name of the value."""

    name: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor: its name, type and strides in elements, where the program states them."""

    name: str
    type: TensorType
    strides: tuple[Dim, ...] | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter, buffer or constant: weights of one ``storage`` are one and the same.

    ``target`` is the name that the module has for it (``layer1.0.conv1.weight``); ``values`` are kept of small ones.
    """

    spec: TensorSpec
    target: str
    storage: object
    values: Dense | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator: ``aten.conv2d``, its overload, and its arguments by the names in its schema.

    ``name`` is the exported graph's own; ``modules`` are those that the call is made in, outermost first.
    """

    operator: str
    overload: str
    arguments: tuple[tuple[str, Argument], ...]
    results: tuple[TensorSpec, ...]
    name: str
    modules: tuple[Module, ...] = ()

    def argument(self, name: str, default: Argument = None) -> Argument:
        """Return an argument that is not left out, else ``default``."""
        return next((value for key, value in self.arguments if key == name), default)


@dataclass(slots=True)
class Body:
    """A graph of calls: the program itself, or one that a higher-order operator calls."""

    name: str
    inputs: list[TensorSpec] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


Argument = Reference | Attribute | Body | None | tuple["Argument", ...]


def references(argument: Argument) -> Iterator[Reference | None]:
    """Return the tensors of an argument, ``None`` where a list leaves one out."""
    if isinstance(argument, Reference):
        yield argument
    elif isinstance(argument, tuple):
        for item in argument:
            if item is None:
                yield None
            else:
                yield from references(item)
