"""Proves that a file is a TFLite flatbuffer before anything walks it: offsets, vtables, vectors and strings in bounds.

A flatbuffer is read by following offsets that are stored in it, and the generated accessors follow whatever they find.
The layout is flatbuffers' (https://flatbuffers.dev/internals): a table starts with the distance to its vtable, which
gives the size of the table and where in it each field lies; a vector starts with its length.

The fields that lead elsewhere are few and written down here by table, in the order of their slots: ``[4]`` is a vector
of elements of four bytes, ``[Tensor]`` one of tables, ``text`` a string, ``Tensor`` a table, and a number the bytes of
a scalar. Tables that are not written down (most operators' options) hold scalars only. What is reached, counted as
often as it is reached, may not be much larger than the file: offsets that share what they lead to blow nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error

__all__ = ["OPTIONS", "OPTIONS_2", "TABLES", "DamagedFlatbufferError", "verify_flatbuffer"]

_STRUCTURE = """
Model: 4 [OperatorCode] [SubGraph] text [Buffer] [4] [Metadata] [SignatureDef]
OperatorCode: 1 text 4 4
SubGraph: [Tensor] [4] [4] [Operator] text 4
Tensor: [4] 1 4 text QuantizationParameters 1 SparsityParameters [4] 1 [VariantSubType]
VariantSubType: [4] 1 1
Buffer: [1] 8 8
Operator: 4 [4] [4] 1 OPTIONS [1] 1 [1] [4] 8 8 1 OPTIONS_2 4
QuantizationParameters: [4] [4] [4] [8] 1 QUANTIZATION 4
CustomQuantization: [1]
SparsityParameters: [4] [4] [DimensionMetadata]
DimensionMetadata: 1 4 1 INDICES 1 INDICES
Int32Vector: [4]
Uint16Vector: [2]
Uint8Vector: [1]
SignatureDef: [TensorMap] [TensorMap] text text 4
TensorMap: text 4
Metadata: text 4
BucketizeOptions: [4]
ConcatEmbeddingsOptions: 4 [4] [4]
ReshapeOptions: [4]
SqueezeOptions: [4]
VarHandleOptions: text text
StableHLOCompositeOptions: text 4 [1] 1 4
StablehloBroadcastInDimOptions: [8]
StablehloConvolutionOptions: [8] [8] [8] [8] [1] 8 8 [8] 8 8 [8] 8 8 [8] 8 8 [4]
StablehloCustomCallOptions: text 1 text 4 [4] [1]
StablehloDotGeneralOptions: [8] [8] [8] [8] [4]
StablehloDynamicSliceOptions: [8]
StablehloGatherOptions: [8] [8] [8] 8 [8] 1
StablehloPadOptions: [8] [8] [8]
StablehloReduceOptions: [8] 4
StablehloReduceWindowOptions: [8] [8] [8] [8] [8] 4
StablehloScatterOptions: 1 [8] [8] [8] 8 1 4
StablehloSliceOptions: [8] [8] [8]
StablehloTransposeOptions: [8]
"""
TABLES = {name: tuple(fields.split()) for name, _, fields in (row.partition(": ") for row in _STRUCTURE.split("\n"))}
"""Tables that have fields which lead elsewhere, with the kind of each field."""

OPTIONS, OPTIONS_2 = "OPTIONS", "OPTIONS_2"
_INDICES = ("", "Int32Vector", "Uint16Vector", "Uint8Vector")
_QUANTIZATION = ("", "CustomQuantization")

_ROOT_BYTES = 8
_SHARED = 8
"""How many times the file's size may be reached by way of offsets that lead to the same place."""

_MOST_TABLES = 4_000_000

_U16, _U32, _I32 = Struct("<H"), Struct("<I"), Struct("<i")


class DamagedFlatbufferError(ValueError):
    """An offset leads outside the file, or what it leads to does not fit there."""


def verify_flatbuffer(content: memoryview, options: dict[str, tuple[str, ...]]) -> None:
    """Check every table, vector and string that can be reached from the root.

    ``options`` has, for the two unions of operator options, the name of each member's table.

    Raises:
        DamagedFlatbufferError: what is wrong, and at which byte.
    """
    if len(content) < _ROOT_BYTES:
        raise DamagedFlatbufferError("it ends inside its first eight bytes")
    unions = {**options, "INDICES": _INDICES, "QUANTIZATION": _QUANTIZATION}
    try:
        _Verifier(content, unions).run()
    except error:
        raise DamagedFlatbufferError("it ends in the middle of a number") from None


class _Verifier:
    """The file, what is left to look at, and how many more bytes may be reached."""

    def __init__(self, content: memoryview, unions: dict[str, tuple[str, ...]]) -> None:
        self._content = content
        self._size = len(content)
        self._unions = unions
        self._budget = _SHARED * self._size + _ROOT_BYTES

    def run(self) -> None:
        pending = [("Model", _U32.unpack_from(self._content)[0])]
        seen = 0
        while pending:
            name, position = pending.pop()
            pending.extend(self._table(name, position))
            seen += 1
            if seen + len(pending) > _MOST_TABLES:
                raise DamagedFlatbufferError(f"it has more than {_MOST_TABLES:,} tables")

    def _table(self, name: str, position: int) -> Iterator[tuple[str, int]]:
        """Check one table; yield the tables that it leads to."""
        slots, size = self._vtable(name, position)
        kinds = TABLES.get(name, ())
        for slot, offset in enumerate(slots):
            kind = kinds[slot] if slot < len(kinds) else "1"
            width = int(kind) if kind.isdigit() else 4
            if offset and offset + width > size:
                raise DamagedFlatbufferError(f"field {slot} of the {name} at byte {position:,} lies outside it")
            if offset and not kind.isdigit():
                yield from self._field(kind, position, offset, slots, slot)

    def _vtable(self, name: str, position: int) -> tuple[tuple[int, ...], int]:
        """Where in the table each field lies (0 for one that is absent), and the table's size."""
        self._claim(name, position, 4)
        start = position - _I32.unpack_from(self._content, position)[0]
        if not 0 <= start <= self._size - 4:
            raise DamagedFlatbufferError(f"the {name} at byte {position:,} has its vtable outside the file")
        length, size = _U16.unpack_from(self._content, start)[0], _U16.unpack_from(self._content, start + 2)[0]
        if length < 4 or length % 2 or size < 4 or start + length > self._size:
            raise DamagedFlatbufferError(f"the {name} at byte {position:,} has a vtable that makes no sense")
        self._claim(name, position, size)
        return Struct(f"<{(length - 4) // 2}H").unpack_from(self._content, start + 4), size

    def _field(
        self, kind: str, table: int, offset: int, slots: tuple[int, ...], slot: int
    ) -> Iterator[tuple[str, int]]:
        position = table + offset
        target = position + _U32.unpack_from(self._content, position)[0]
        if kind == "text":
            self._vector(kind, target, 1)
        elif kind.startswith("["):
            yield from self._elements(kind[1:-1], target)
        elif kind not in self._unions:
            yield kind, target
        else:
            member = self._member(kind, table, slots[slot - 1])
            if member:
                yield member, target

    def _member(self, union: str, table: int, offset: int) -> str:
        """The table that a union holds; the field before it says which. Empty for none or one that is not known."""
        names = self._unions[union]
        chosen = self._content[table + offset] if offset else 0
        return names[chosen] if chosen < len(names) else ""

    def _elements(self, kind: str, position: int) -> Iterator[tuple[str, int]]:
        if kind.isdigit():
            self._vector(kind, position, int(kind))
            return
        count = self._vector(kind, position, 4)
        offsets = Struct(f"<{count}I").unpack_from(self._content, position + 4)
        for index, offset in enumerate(offsets):
            yield kind, position + 4 + 4 * index + offset

    def _vector(self, kind: str, position: int, width: int) -> int:
        self._claim(kind, position, 4)
        count: int = _U32.unpack_from(self._content, position)[0]
        self._claim(kind, position, 4 + count * width)
        return count

    def _claim(self, name: str, position: int, size: int) -> None:
        """Check that a piece lies in the file, and that pieces are not reached over and over."""
        if not 0 <= position <= self._size - size:
            raise DamagedFlatbufferError(
                f"a {name} of {size:,} bytes at byte {position:,} does not fit the {self._size:,} there are"
            )
        self._budget -= size
        if self._budget < 0:
            raise DamagedFlatbufferError("its tables and vectors are shared so often that no converter made it")
