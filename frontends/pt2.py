"""Saved PyTorch programs (``torch.export.save``, ``.pt2``) to IR, without PyTorch and without running anything.

A ``.pt2`` is a zip archive whose ``models/model.json`` states the program: calls, types, modules. That is read, and
small integer constants; nothing is unpickled, nothing is extracted, and no weight is read. What is a pickle (``.pt``,
``.pth``, TorchScript) is refused, since reading one runs what is in it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile

from ..ir import FLOAT_FOLD_LIMIT, FOLD_LIMIT, Dense, Graph, TensorType
from .pt2_program import DamagedProgramError, ProgramReader, Stored, mapping, text
from .registry import Frontend, FrontendError, register
from .stored import LITTLE_ENDIAN
from .torch_graph import graph_of
from .torch_records import Body

__all__ = ["is_program", "load_pt2", "read_pt2"]

_LARGEST_PROGRAM = 1 << 27
"""Bytes of JSON up to which a program is read: one of 100,000 calls takes half of that."""

_PROGRAMS = ("models/model.json", "serialized_exported_program.json")
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PICKLE_PROTOCOLS = frozenset(range(2, 6))
_EXPORT = "save it with torch.export.save(torch.export.export(model, inputs), 'model.pt2'), or export it to ONNX"
_Read = TypeVar("_Read")
_UNREADABLE = (BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, zlib.error, ValueError)


def load_pt2(path: Path) -> Graph:
    """Read a saved program.

    Raises:
        FrontendError: the file is a pickle, or no archive of an exported program, or a damaged one.
    """
    return _opened(path, _Archive.graph)


def read_pt2(path: Path) -> Body:
    """Read the calls of a saved program.

    Raises:
        FrontendError: as :func:`load_pt2`.
    """
    return _opened(path, lambda archive: archive.program()[0])


def _opened(path: Path, read: Callable[[_Archive], _Read]) -> _Read:
    with path.open("rb") as file:
        if file.read(1) == b"\x80":
            raise FrontendError(f"{path}: a Python pickle, which runs code when it is read", help=_EXPORT)
    try:
        with ZipFile(path) as archive:
            return read(_Archive(path, archive))
    except DamagedProgramError as error:
        raise FrontendError(f"{path}: not a readable exported program: {error}", help="save it again") from None
    except _UNREADABLE as error:
        raise FrontendError(f"{path}: not a readable archive: {error}", help="fetch or save it again") from None


@dataclass(slots=True)
class _Archive:
    path: Path
    archive: ZipFile

    def graph(self) -> Graph:
        """Read the program and build its graph."""
        body, producer = self.program()
        try:
            return graph_of(body, self.path.stem, {"format": "torch", "path": str(self.path), **producer})
        except RecursionError:
            raise DamagedProgramError("its graphs are nested too deeply") from None
        except FrontendError as error:
            raise DamagedProgramError(str(error).removeprefix("torch: ")) from None

    def program(self) -> tuple[Body, Mapping[str, str]]:
        """Read the program, and what wrote it."""
        names = self.archive.namelist()
        where = next((name for wanted in _PROGRAMS for name in names if name.endswith(wanted)), None)
        if where is None:
            if any(name.endswith("data.pkl") for name in names):
                kind = "TorchScript" if any("/code/" in name for name in names) else "pickled weights or modules"
                raise FrontendError(f"{self.path}: {kind}, which run code when they are read", help=_EXPORT)
            raise FrontendError(
                f"{self.path}: a zip archive without {_PROGRAMS[0]}: no exported program",
                help="was the right file named?",
            )
        root = where.removesuffix(_PROGRAMS[0]) if where.endswith(_PROGRAMS[0]) else ""
        program = self._json(where)
        stored = self._stored(root, names)
        try:
            body = ProgramReader(stored).program(program)
        except RecursionError:
            raise DamagedProgramError("its graphs are nested too deeply") from None
        version = program.get("torch_version")
        return body, {"producer": f"pytorch {version}"} if isinstance(version, str) and version else {}

    def _json(self, name: str) -> Mapping[str, Any]:
        try:
            return mapping(json.loads(self._read(name, _LARGEST_PROGRAM)), name)
        except RecursionError:
            raise DamagedProgramError(f"{name} is nested too deeply") from None
        except ValueError as error:
            if isinstance(error, DamagedProgramError):
                raise
            raise DamagedProgramError(f"{name} is no JSON: {error}") from None

    def _read(self, name: str, limit: int) -> bytes:
        with self.archive.open(name) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise DamagedProgramError(f"{name} is larger than {limit:,} bytes")
        return content

    def _stored(self, root: str, names: Sequence[str]) -> Mapping[str, Stored]:
        """What the archive says of the weights: which are one, and the values of small constants."""
        present = set(names)
        found: dict[str, Stored] = {}
        for config in _CONFIGS:
            if root + config not in present:
                continue
            folder = (root + config).rpartition("/")[0]
            for target, entry in mapping(self._json(root + config).get("config", {}), config).items():
                entry = mapping(entry, target)
                file = f"{folder}/{text(entry.get('path_name', ''), target)}"
                keeps = file in present and entry.get("use_pickle") is False and entry.get("is_param") is not True
                found[target] = Stored(file, self._values(file) if keeps else None)
        return found

    def _values(self, file: str) -> Callable[[TensorType, bool], Dense | None]:
        """A function that reads a small constant, given its type and whether it is written out in the code."""

        def read(type_: TensorType, written_out: bool) -> Dense | None:
            import numpy as np

            limit = FOLD_LIMIT if type_.dtype.is_integer else FLOAT_FOLD_LIMIT if written_out else -1
            name = LITTLE_ENDIAN.get(type_.dtype)
            if not type_.static or name is None or prod(type_.dims) > limit:
                return None
            size = prod(type_.dims) * type_.dtype.bits // 8
            content = self._read(file, 1 << 20)[:size]
            if len(content) < size:  # a program saved on the meta device has types only
                return None
            return Dense(type_, tuple(np.frombuffer(content, name).tolist()))

        return read


def is_program(head: bytes) -> bool:
    """Whether a file's first bytes are those of a zip archive, or of a pickle, which is refused."""
    return head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and head[1:2] != b"" and head[1] in _PICKLE_PROTOCOLS)


register(Frontend("torch", is_program, load_pt2))
