"""What a model is: graphs of typed operations, their text form, the operator registry and the primitives.

Nothing here imports anything else of the project.
"""

from .attributes import FLOAT_FOLD_LIMIT, FOLD_LIMIT, Attribute, Dense
from .facts import Fact, FactMap
from .graph import CONSTANT, INPUT, OUTPUT, CycleError, Graph, Op, Value
from .location import UNKNOWN_LOCATION, Location, Origin
from .parser import ParseError, parse, parse_all
from .printer import print_attribute, print_graph
from .registry import (
    Kind,
    Lowering,
    OpDef,
    define,
    definition,
    definitions,
    infer_types,
    kind_of,
    lowering,
    region_input_types,
)
from .types import Dim, DType, OptionalType, SequenceType, Shape, Symbol, TensorType, Type, UnknownType
from .verify import VerificationError, verify

__all__ = [
    "CONSTANT",
    "FLOAT_FOLD_LIMIT",
    "FOLD_LIMIT",
    "INPUT",
    "OUTPUT",
    "UNKNOWN_LOCATION",
    "Attribute",
    "CycleError",
    "DType",
    "Dense",
    "Dim",
    "Fact",
    "FactMap",
    "Graph",
    "Kind",
    "Location",
    "Lowering",
    "Op",
    "OpDef",
    "OptionalType",
    "Origin",
    "ParseError",
    "SequenceType",
    "Shape",
    "Symbol",
    "TensorType",
    "Type",
    "UnknownType",
    "Value",
    "VerificationError",
    "define",
    "definition",
    "definitions",
    "infer_types",
    "kind_of",
    "lowering",
    "parse",
    "parse_all",
    "print_attribute",
    "print_graph",
    "region_input_types",
    "verify",
]
