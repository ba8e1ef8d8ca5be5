"""An operator's options as attributes: the fields of its table in the schema, enumerations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..ir import Attribute
from .tflite_verifier import OPTIONS, OPTIONS_2

if TYPE_CHECKING:
    from tflite.Operator import Operator

__all__ = ["attributes_of", "detection_attributes", "enumeration", "option_tables", "subgraph_indices"]

# Fields that hold a number of an enumeration, and which one.
_ENUMERATIONS = {
    "Algorithm": "RngAlgorithm",
    "Combiner": "CombinerType",
    "CompareType": "StablehloComparisonType",
    "ComparisonDirection": "StablehloComparisonDirection",
    "FusedActivationFunction": "ActivationFunctionType",
    "IdxOutType": "TensorType",
    "InDataType": "TensorType",
    "KernelType": "LSTMKernelType",
    "KeyDtype": "TensorType",
    "Mode": "MirrorPadMode",
    "OutDataType": "TensorType",
    "OutType": "TensorType",
    "OutputType": "TensorType",
    "QuantizedBiasType": "TensorType",
    "ReduceFunction": "ReduceWindowFunction",
    "ValueDtype": "TensorType",
    "WeightsFormat": "FullyConnectedOptionsWeightsFormat",
}
_PADDING = ("Conv2DOptions", "Conv3DOptions", "DepthwiseConv2DOptions", "Pool2DOptions", "TransposeConvOptions")
"""Tables whose ``Padding`` is an enumeration; that of a StableHLO convolution is a vector."""

_SUBGRAPHS = {
    "tfl.CALL": ("subgraph",),
    "tfl.CALL_ONCE": ("init_subgraph_index",),
    "tfl.IF": ("then_subgraph_index", "else_subgraph_index"),
    "tfl.STABLEHLO_COMPOSITE": ("decomposition_subgraph_index",),
    "tfl.STABLEHLO_CUSTOM_CALL": ("called_computations",),
    "tfl.STABLEHLO_REDUCE": ("body_subgraph_index",),
    "tfl.STABLEHLO_REDUCE_WINDOW": ("body_subgraph_index",),
    "tfl.STABLEHLO_SCATTER": ("update_computation_subgraph_index",),
    "tfl.STABLEHLO_SORT": ("comparator_subgraph_index",),
    "tfl.STABLEHLO_WHILE": ("cond_subgraph_index", "body_subgraph_index"),
    "tfl.WHILE": ("cond_subgraph_index", "body_subgraph_index"),
}
"""Which options of which operators number subgraphs."""

_SMALL_OPTIONS = 1 << 16


@cache
def option_tables() -> dict[str, tuple[str, ...]]:
    """The tables that the two unions of options may hold, by number, as far as the schema package knows them."""
    return {OPTIONS: _members("BuiltinOptions"), OPTIONS_2: _members("BuiltinOptions2")}


@cache
def _members(enumeration_name: str) -> tuple[str, ...]:
    numbers = {number: name for name, number in _numbers(enumeration_name).items()}
    return tuple("" if number == 0 else numbers.get(number, "") for number in range(max(numbers) + 1))


def _numbers(enumeration_name: str) -> Mapping[str, int]:
    members = vars(getattr(import_module(f"tflite.{enumeration_name}"), enumeration_name))
    return {name: number for name, number in members.items() if isinstance(number, int)}


@cache
def enumeration(name: str) -> Mapping[int, str]:
    """Names of an enumeration of the schema by their numbers; of two names for one number the first."""
    names: dict[int, str] = {}
    for member, number in _numbers(name).items():
        names.setdefault(number, member)
    return names


def attributes_of(operator: Operator) -> dict[str, Attribute]:
    """Return the fields of an operator's options under their names in the schema; none where it has no options.

    The table must have been verified. Options of a type that the schema package does not know are left out.
    """
    attributes: dict[str, Attribute] = {}
    for union, kind, table in (
        (OPTIONS, operator.BuiltinOptionsType(), operator.BuiltinOptions()),
        (OPTIONS_2, operator.BuiltinOptions2Type(), operator.BuiltinOptions2()),
    ):
        names = option_tables()[union]
        name = names[kind] if kind < len(names) else ""
        if table is None or not name:
            continue
        options = _option_class(name)()
        options.Init(table.Bytes, table.Pos)
        attributes.update({field: read(options) for field, read in _fields(name)})
    return attributes


@cache
def _option_class(name: str) -> Any:
    return getattr(import_module(f"tflite.{name}"), name)


@cache
def _fields(name: str) -> tuple[tuple[str, Callable[[Any], Attribute]], ...]:
    """Each field of an options table: its name in the schema and how it is read."""
    made = vars(_option_class(name))
    methods = [method for method in made if method[0].isupper() and not method.startswith("GetRootAs")]
    vectors = {method.removesuffix("IsNone") for method in methods if method.endswith("IsNone")}
    derived = {f"{vector}{suffix}" for vector in vectors for suffix in ("AsNumpy", "Length", "IsNone")}
    fields = [method for method in methods if method not in derived and method != "Init" and "Buffer" not in method]
    return tuple((_snake_case(field), _reader(name, field, field in vectors)) for field in fields)


def _reader(table: str, field: str, vector: bool) -> Callable[[Any], Attribute]:
    if vector:
        return lambda options: _tuple(getattr(options, f"{field}AsNumpy")())
    names: Mapping[int, str] = {}
    if field in _ENUMERATIONS or (field == "Padding" and table in _PADDING):
        names = enumeration(_ENUMERATIONS.get(field, "Padding"))
    return lambda options: _scalar(getattr(options, field)(), names)


def _tuple(vector: Any) -> Attribute:
    return () if isinstance(vector, int) else tuple(vector.tolist())


def _scalar(value: Any, names: Mapping[int, str]) -> Attribute:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None:
        return ""
    plain: Attribute = names.get(value, value)
    return plain


def _snake_case(name: str) -> str:
    """``StrideW`` is ``stride_w``, ``NewShape`` ``new_shape``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def subgraph_indices(name: str, attributes: Mapping[str, Attribute]) -> dict[str, int]:
    """Return the options that number the subgraphs of an operator; a list of them numbers its members."""
    indices: dict[str, int] = {}
    for option in _SUBGRAPHS.get(name, ()):
        value = attributes.get(option)
        if isinstance(value, int):
            indices[option] = value
        elif isinstance(value, tuple):
            indices.update({f"{option}.{i}": item for i, item in enumerate(value) if isinstance(item, int)})
    return indices


# -- custom operators -------------------------------------------------------------------------------------------------


def detection_attributes(content: bytes) -> dict[str, Attribute]:
    """Return the sizes of a detection post-processing operator from its options, a flexbuffer map; none if damaged.

    Only these keys are looked up: what else the map holds is not walked.
    """
    from flatbuffers import flexbuffers

    attributes: dict[str, Attribute] = {}
    if not content or len(content) > _SMALL_OPTIONS:
        return attributes
    try:
        options = flexbuffers.GetRoot(bytearray(content)).AsMap
        for name in ("max_detections", "max_classes_per_detection", "detections_per_class", "num_classes"):
            attributes[name] = int(options[name].AsInt)
        attributes["use_regular_nms"] = bool(options["use_regular_nms"].AsBool)
    except Exception:  # flexbuffers raises several unrelated types on what is no flexbuffer
        return attributes
    return attributes
