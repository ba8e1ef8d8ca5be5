"""TFLite models to IR: one entry point of the file, with the subgraphs of its control flow as regions.

The file is mapped into memory and never executed; weights are types, and nothing of them is read but small constants
(:mod:`.tflite_tensors`). It is proved to be a flatbuffer of the schema (:mod:`.tflite_verifier`) before the accessors
of the ``tflite`` package walk it. Operators are those of the file: ``tfl.CONV_2D``, ``tfl.custom.NAME`` for a custom
one, ``tfl.BUILTIN_300`` for one that is newer than the schema package.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from struct import error as StructError
from typing import TYPE_CHECKING

from ..ir import CONSTANT, INPUT, OUTPUT, Attribute, Graph, Location, TensorType, Value
from .registry import Frontend, FrontendError, register
from .tflite_options import attributes_of, detection_attributes, enumeration, option_tables, subgraph_indices
from .tflite_tensors import Buffers, name_of, named, quantization_of, scalar_if_one, sparsity_of, stated, type_of
from .tflite_verifier import DamagedFlatbufferError, verify_flatbuffer

if TYPE_CHECKING:
    from tflite.Model import Model
    from tflite.Operator import Operator
    from tflite.SignatureDef import SignatureDef
    from tflite.SubGraph import SubGraph

__all__ = ["DETECTION", "load_tflite"]

MAGIC = b"TFL3"
SCHEMA_VERSION = 3
SMALL_FILE = 1 << 20
DEEPEST = 64
MOST_OPERATIONS = 1_000_000
CUSTOM = 32
DETECTION = "TFLite_Detection_PostProcess"
_VERSION_METADATA = b"min_runtime_version"
_PRODUCT = re.compile(r"/(conv|depthwise|matmul)[^/]*$", re.IGNORECASE)


def load_tflite(path: Path, entry: str | None = None) -> Graph:
    """Read one entry point of a TFLite model: the signature or subgraph called ``entry``, by default the first.

    Raises:
        FrontendError: the file is damaged or no TFLite model, it has no such entry point, or the ``tflite`` package is
            missing.
    """
    if find_spec("tflite") is None:
        raise FrontendError(f"{path}: reading TFLite needs the tflite package", help='pip install "graphs-opt[tflite]"')
    label = str(path)
    try:
        content = _content(path)
        verify_flatbuffer(content, option_tables())
        return _File.open(content, label).graph(path, entry)
    except OSError as error:
        raise FrontendError(f"{label}: {error.strerror or error}") from None
    except (DamagedFlatbufferError, StructError) as error:
        raise FrontendError(
            f"{label}: not a readable TFLite model: {error}", help="is the file complete? fetch or convert it again"
        ) from None


def _content(path: Path) -> memoryview:
    with path.open("rb") as file:
        if path.stat().st_size <= SMALL_FILE:
            return memoryview(file.read())
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


# -- the file ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """The model and what all its subgraphs share; ``room`` is how many more operations may be made."""

    model: Model
    label: str
    buffers: Buffers
    operators: tuple[str, ...]
    room: int = MOST_OPERATIONS

    @staticmethod
    def open(content: memoryview, label: str) -> _File:
        from tflite.Model import Model

        model = Model.GetRootAs(content, 0)
        if model.Version() != SCHEMA_VERSION:
            raise FrontendError(f"{label}: TFLite schema version {model.Version()}; version {SCHEMA_VERSION} is read")
        if not model.SubgraphsLength():
            raise FrontendError(f"{label}: not a TFLite model: it has no subgraph", help="was the right file named?")
        return _File(model, label, Buffers(model, content, label), _operator_names(model))

    def graph(self, path: Path, entry: str | None) -> Graph:
        index, signature = self._entry(entry)
        attributes: dict[str, Attribute] = {"format": "tflite"}
        producer = self.model.Description()
        if producer:
            attributes["producer"] = _text(producer)
        signatures = tuple(_text(item.SignatureKey()) for item in self._signatures())
        if signature is not None:
            attributes.update(signature=_text(signature.SignatureKey()), signatures=signatures)
        attributes.update(self._metadata())
        attributes.update(path=str(path), file_bytes=len(self.buffers.content))
        graph = Graph(path.stem, attributes)
        _Builder(self, graph, index, (index,)).build(_arguments(signature))
        return graph

    def subgraph(self, index: int, where: str) -> SubGraph:
        if not 0 <= index < self.model.SubgraphsLength():
            raise FrontendError(f"{where} names subgraph {index}, of which there are {self.model.SubgraphsLength()}")
        return self.model.Subgraphs(index)

    def operator_name(self, operator: Operator, where: str) -> str:
        index: int = operator.OpcodeIndex()
        if index >= len(self.operators):
            raise FrontendError(f"{where} has operator code {index}, of which there are {len(self.operators)}")
        return self.operators[index]

    def _signatures(self) -> list[SignatureDef]:
        return [self.model.SignatureDefs(i) for i in range(self.model.SignatureDefsLength())]

    def _entry(self, wanted: str | None) -> tuple[int, SignatureDef | None]:
        """The subgraph to start from, and the signature that names it."""
        signatures = {_text(item.SignatureKey()): item for item in reversed(self._signatures())}
        if wanted is None:
            first = self.model.SignatureDefs(0) if signatures else None
            return (first.SubgraphIndex(), first) if first is not None else (0, None)
        if wanted in signatures:
            return signatures[wanted].SubgraphIndex(), signatures[wanted]
        names = [_text(self.model.Subgraphs(i).Name()) for i in range(self.model.SubgraphsLength())]
        if wanted in names:
            return names.index(wanted), None
        known = ", ".join(dict.fromkeys((*sorted(signatures), *filter(None, names)))) or "none with a name"
        raise FrontendError(f"{self.label}: no signature or subgraph {wanted!r}", help=f"its entry points: {known}")

    def _metadata(self) -> dict[str, Attribute]:
        """The names of what metadata there is, and the runtime version that the converter asks for."""
        entries = [self.model.Metadata(i) for i in range(self.model.MetadataLength())]
        found: dict[str, Attribute] = {}
        names = tuple(_text(entry.Name()) for entry in entries)
        if names:
            found["metadata"] = names
        for entry in entries:
            if entry.Name() == _VERSION_METADATA and entry.Buffer() < self.model.BuffersLength():
                data = self.model.Buffers(entry.Buffer()).DataAsNumpy()
                if not isinstance(data, int) and len(data) <= len(_VERSION_METADATA):
                    found["min_runtime_version"] = _text(bytes(data).rstrip(b"\0"))
        return found


def _operator_names(model: Model) -> tuple[str, ...]:
    known = enumeration("BuiltinOperator")
    names = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())  # the older field holds up to 127
        builtin = known.get(number, f"BUILTIN_{number}")
        names.append(f"tfl.custom.{_text(code.CustomCode())}" if number == CUSTOM else f"tfl.{builtin}")
    return tuple(names)


def _arguments(signature: SignatureDef | None) -> dict[int, str]:
    """What the signature calls its inputs, by tensor index."""
    if signature is None:
        return {}
    maps = (signature.Inputs(i) for i in range(signature.InputsLength()))
    return {item.TensorIndex(): _text(item.Name()) for item in maps}


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


# -- subgraphs --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Builder:
    """Makes one graph of one subgraph; ``nesting`` are the subgraphs that it is inside of, itself the last."""

    file: _File
    graph: Graph
    index: int
    nesting: tuple[int, ...]
    values: dict[int, Value] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    extents: dict[str, Attribute] = field(default_factory=dict)

    def build(self, arguments: dict[int, str] | None = None) -> None:
        subgraph = self.file.subgraph(self.index, self.file.label)
        for index in self._indices(subgraph.InputsAsNumpy(), subgraph, "an input"):
            self._input(subgraph, index, (arguments or {}).get(index, ""))
        for position in range(subgraph.OperatorsLength()):
            self._operator(subgraph, subgraph.Operators(position), position)
        for index in self._indices(subgraph.OutputsAsNumpy(), subgraph, "an output"):
            value = self._read(subgraph, index, "an output")
            self.graph.add(OUTPUT, [value], loc=Location.of(value.name))
        if self.extents:
            self.graph.attributes["extents"] = self.extents

    def _indices(self, vector: object, subgraph: SubGraph, what: str) -> list[int]:
        """Tensor indices, checked; -1 stands for an operand that is left out."""
        indices: list[int] = [] if isinstance(vector, int) else vector.tolist()  # type: ignore[attr-defined]  # numpy
        count = subgraph.TensorsLength()
        for index in indices:
            if not -1 <= index < count:
                raise FrontendError(f"{self._where(what)} is tensor {index}, of which there are {count}")
        return indices

    def _where(self, what: str) -> str:
        return f"{self.file.label}: {what} of subgraph {self.index}"

    def _input(self, subgraph: SubGraph, index: int, argument: str) -> None:
        if index < 0 or index in self.values:
            raise FrontendError(f"{self._where('an input')} is tensor {index}, which cannot be one, or not twice")
        tensor = subgraph.Tensors(index)
        name = name_of(tensor, index)
        type = type_of(tensor, f"{self._where('tensor')} {name!r}")
        shape = () if type.shape is None else type.shape  # before there was a flag for scalars
        typed = type
        if len(self.nesting) == 1:
            typed = TensorType(type.dtype, named(shape, argument or name))
            self.extents.update(stated(typed, tensor))
        self._add(INPUT, subgraph, index, typed, {}, argument or name)

    def _add(
        self, op: str, subgraph: SubGraph, index: int, type: TensorType, attributes: dict[str, Attribute], loc: str = ""
    ) -> Value:
        """Make a tensor that no operator makes."""
        tensor = subgraph.Tensors(index)
        quantization = quantization_of(tensor)
        if quantization:
            attributes["quantization"] = quantization
        name = self._fresh(name_of(tensor, index), index)
        value = self.graph.add(op, [], [(name, type)], attributes, loc=Location.of(loc or name)).result
        self.values[index] = value
        return value

    def _fresh(self, name: str, index: int) -> str:
        """The tensor's name, with its number where another one is called the same."""
        if name in self.taken:
            name = f"{name}.{index}"
        self.taken.add(name)
        return name

    # -- operands -----------------------------------------------------------------------------------------------------

    def _read(self, subgraph: SubGraph, index: int, reader: str) -> Value:
        value = self.values.get(index)
        return value if value is not None else self._source(subgraph, index, reader)

    def _source(self, subgraph: SubGraph, index: int, reader: str) -> Value:
        """A tensor that no operator has made so far: a constant, state, or memory that nothing has written."""
        if index < 0:
            raise FrontendError(f"{self._where(reader)} is left out, which it cannot be")
        tensor = subgraph.Tensors(index)
        where = f"{self._where('tensor')} {name_of(tensor, index)!r}"
        type = type_of(tensor, where)
        if tensor.IsVariable():
            return self._add(INPUT, subgraph, index, type, {"variable": True})
        data = self.file.buffers.find(tensor, where)
        if data is None and type.elements != 0:
            return self._add("tfl.UNINITIALIZED", subgraph, index, type, {})
        type = TensorType(type.dtype, tuple(tensor.ShapeAsNumpy().tolist())) if type.shape else type
        if data is not None:
            type = scalar_if_one(type, data)
        sparsity = sparsity_of(tensor)
        if sparsity:
            return self._add(CONSTANT, subgraph, index, type, {"sparsity": sparsity})
        dense = None if quantization_of(tensor) else self.file.buffers.dense(type, data, where)
        return self._add(CONSTANT, subgraph, index, type, {"value": dense} if dense else {})

    # -- operators ----------------------------------------------------------------------------------------------------

    def _operator(self, subgraph: SubGraph, operator: Operator, position: int) -> None:
        what = f"operator {position}"
        self.file.room -= 1
        if self.file.room < 0:
            raise FrontendError(
                f"{self.file.label}: over {MOST_OPERATIONS:,} operators, subgraphs counted as often as they run"
            )
        name = self.file.operator_name(operator, self._where(what))
        inputs = self._indices(operator.InputsAsNumpy(), subgraph, f"an operand of {what}")
        outputs = self._indices(operator.OutputsAsNumpy(), subgraph, f"a result of {what}")
        operands = [self._read(subgraph, index, f"an operand of {what}") if index >= 0 else None for index in inputs]
        attributes = attributes_of(operator)
        if name == f"tfl.custom.{DETECTION}" and operator.CustomOptionsLength():
            attributes.update(detection_attributes(bytes(operator.CustomOptionsAsNumpy())))
        regions = self._regions(name, attributes, len(operands), what)
        results = [self._result(subgraph, index, what) for index in outputs]
        scales = [quantization_of(subgraph.Tensors(index)) or {} for index in outputs]
        if any(scales):
            attributes["quantization"] = tuple(scales)
        loc = _location(results, operands, name, position)
        op = self.graph.add(name, operands, results, attributes, regions=regions, loc=loc)
        self.values.update(zip(outputs, op.results, strict=True))

    def _result(self, subgraph: SubGraph, index: int, what: str) -> tuple[str, TensorType]:
        if index < 0:
            raise FrontendError(f"{self._where('a result')} is left out by {what}, which it cannot be")
        tensor = subgraph.Tensors(index)
        name = name_of(tensor, index)
        if index in self.values:
            raise FrontendError(f"{self._where(what)} makes tensor {index} ({name!r}), which is there already")
        return self._fresh(name, index), type_of(tensor, f"{self._where('tensor')} {name!r}")

    def _regions(self, name: str, attributes: dict[str, Attribute], operands: int, what: str) -> Sequence[Graph]:
        """The subgraphs that an operator runs; operands that every one of them takes as they are, are captures."""
        indices = subgraph_indices(name, attributes)
        regions: list[Graph] = []
        for role, index in indices.items():
            if index < 0:
                continue
            if index in self.nesting or len(self.nesting) >= DEEPEST:
                raise FrontendError(f"{self._where(what)} runs subgraph {index} inside itself, or nested too deep")
            self.file.subgraph(index, self._where(what))
            region = Graph(role.replace("_subgraph_index", "").replace("_subgraph", ""))
            _Builder(self.file, region, index, (*self.nesting, index)).build()
            regions.append(region)
        if regions and name in ("tfl.IF", "tfl.CALL"):
            attributes["captures"] = operands - (name == "tfl.IF")
        return regions


def _location(
    results: Sequence[tuple[str, TensorType]], operands: Sequence[Value | None], name: str, position: int
) -> Location:
    """An operator has no name: that of its first result stands for it, of which a converter joins several by ``;``."""
    names = [piece for piece in (results[0][0] if results else "").split(";") if piece]
    return Location.of(names[0] if names else name, _module(names, operands), position)


def _module(names: Sequence[str], operands: Sequence[Value | None]) -> str:
    """The layer that an operator's weights are of, else its result: the path before the last slash.

    Of several names that a converter joined, that of the product tells the layer; a bias's variable does not.
    """
    weights = [
        piece for value in operands if value is not None and value.is_constant for piece in value.name.split(";")
    ]
    layers = [piece for piece in (*weights, *names) if "/" in piece and "ReadVariableOp" not in piece]
    chosen = next((piece for piece in layers if _PRODUCT.search(piece)), layers[0] if layers else "")
    return chosen.rpartition("/")[0].replace("/", ".")


def _recognises(head: bytes) -> bool:
    """The flatbuffer's identifier stands behind the offset of its root."""
    return head[4:8] == MAGIC


register(Frontend("tflite", _recognises, load_tflite, load_tflite))
