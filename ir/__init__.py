"""What a model is: graphs of typed operations, their text form, the operator registry and the primitives.

Nothing here imports anything else of the project.
"""

from .attributes import FLOAT_FOLD_LIMIT, FOLD_LIMIT, Attribute, Dense
from .counts import symbols_of
from .expression import UNKNOWN_DIM, Count, Expression, OpenDimension, Symbol, Undecided
from .expression_text import ExpressionError, expression_text, parse_expression
from .facts import Fact, FactMap
from .graph import CONSTANT, INPUT, OUTPUT, Graph, Op, Value
from .inequalities import largest, smallest, typical
from .limits import MOST_ELEMENTS, possible
from .location import UNKNOWN_LOCATION, Location, Origin
from .order import CycleError
from .parser import ParseError, parse, parse_all
from .printer import print_attribute, print_graph
from .registry import (
    Kind,
    Lowering,
    OpDef,
    Runs,
    define,
    definition,
    definitions,
    infer_types,
    kind_of,
    lowering,
    misfit,
    region_input_types,
    runs_of,
)
from .substitution import open_symbols, substitute
from .types import Dim, DType, OptionalType, SequenceType, Shape, TensorType, Type, UnknownType
from .verify import VerificationError, verify

__all__ = [
    "CONSTANT",
    "FLOAT_FOLD_LIMIT",
    "FOLD_LIMIT",
    "INPUT",
    "MOST_ELEMENTS",
    "OUTPUT",
    "UNKNOWN_DIM",
    "UNKNOWN_LOCATION",
    "Attribute",
    "Count",
    "CycleError",
    "DType",
    "Dense",
    "Dim",
    "Expression",
    "ExpressionError",
    "Fact",
    "FactMap",
    "Graph",
    "Kind",
    "Location",
    "Lowering",
    "Op",
    "OpDef",
    "OpenDimension",
    "OptionalType",
    "Origin",
    "ParseError",
    "Runs",
    "SequenceType",
    "Shape",
    "Symbol",
    "TensorType",
    "Type",
    "Undecided",
    "UnknownType",
    "Value",
    "VerificationError",
    "define",
    "definition",
    "definitions",
    "expression_text",
    "infer_types",
    "kind_of",
    "largest",
    "lowering",
    "misfit",
    "open_symbols",
    "parse",
    "parse_all",
    "parse_expression",
    "possible",
    "print_attribute",
    "print_graph",
    "region_input_types",
    "runs_of",
    "smallest",
    "substitute",
    "symbols_of",
    "typical",
    "verify",
]
