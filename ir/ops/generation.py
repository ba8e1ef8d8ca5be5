"""Text generation as one operator (``com.microsoft``): search over a decoder that runs once for each new token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..graph import Op
from ..primitives import Primitive, Scan
from ..registry import Kind, Lowering, Runs, define
from ..types import Dim, DType, TensorType, Type
from .control import open_trips
from .reading import UNKNOWN_DIM, constant_dims, elements, integer, ranked, same_type, size, tensor, typed, view

__all__: list[str] = []


def _sequence_types(op: Op) -> tuple[Type, ...] | None:
    """Tokens of each sequence that is returned: (batch, sequences, length), or (batch, length) without beams."""
    ids = ranked(op, 0)
    if ids is None or not ids[1]:
        return None
    length = _extent(op, 1)
    returned = (_extent(op, 4),) if "Beam" in op.base_name else ()
    scores = TensorType(DType.F32, (ids[1][0], *returned))
    return (TensorType(ids[0], (ids[1][0], *returned, length)), scores)[: len(op.results)]


def _extent(op: Op, index: int) -> Dim:
    given = constant_dims(op.operand(index))
    return given[0] if given else UNKNOWN_DIM


def _runs(op: Op) -> Sequence[Runs]:
    """The encoder and the first step of the decoder once; the decoder until a sequence ends."""
    once = Runs(1, "before the first token")
    return tuple(open_trips(op) if region.name == "decoder" else once for region in op.regions)


def _enter(op: Op) -> Sequence[Sequence[Type | None]]:
    """Its bodies state the types of what they take."""
    return tuple((None,) * len(region.inputs) for region in op.regions)


@define(
    "com.microsoft.BeamSearch",
    "com.microsoft.GreedySearch",
    "com.microsoft.Sampling",
    "com.microsoft.WhisperBeamSearch",
    kind=Kind.CONTROL,
    infer=_sequence_types,
    enter=_enter,
    runs=_runs,
    any_type=True,
)
def search(op: Op) -> Lowering:
    """A decoder that runs for each new token; how many that are is known only when it runs."""
    return view(op)


def _scores_type(op: Op) -> tuple[Type, ...] | None:
    scores = op.operand(1)
    return None if scores is None else (scores.type,)


@define("com.microsoft.NGramRepeatBlock", kind=Kind.SCAN, infer=_scores_type)
def n_gram_repeat_block(op: Op) -> Iterable[Primitive]:
    """A pass over the tokens so far, and a copy of the scores."""
    return (Scan("ngrams", size(op, 0), tensor(op, 0).dtype), Scan("copy", elements(op), tensor(op, 1).dtype, 0))


@define("com.microsoft.BifurcationDetector", kind=Kind.SCAN, any_type=True)
def bifurcation_detector(op: Op) -> Iterable[Primitive]:
    """A pass over source tokens, comparing."""
    return (Scan("compare", size(op, 0), DType.I64),)


@define("com.microsoft.NGramHashMapping", "com.microsoft.VarlenNGramHashMapping", kind=Kind.ELEMENTWISE)
def n_gram_hash(op: Op) -> Iterable[Primitive]:
    """For each token and head a product, an exclusive or and a remainder for each token of the n-gram."""
    return (Scan("hash", elements(op), DType.I64, 3),)


def _hashed_types(op: Op) -> tuple[Type, ...] | None:
    x = typed(op, 0)
    return None if x is None else (TensorType(DType.UI32 if integer(op, "positive", 1) else DType.I32, x.shape),)


@define("com.microsoft.MurmurHash3", kind=Kind.ELEMENTWISE, infer=_hashed_types, any_type=True)
def murmur_hash(op: Op) -> Iterable[Primitive]:
    """About fifteen integer operations for each element."""
    return (Scan("hash", tensor(op, 0).elements or 0, DType.UI32, 15),)


def _commit_types(op: Op) -> tuple[Type, ...] | None:
    """A length for each request; the control state and the context as they came."""
    predicted, control, context = ranked(op, 0), typed(op, 3), typed(op, 4)
    if predicted is None or control is None or context is None:
        return None
    return (TensorType(DType.I32, predicted[1][:1] if len(predicted[1]) > 1 else (1,)), control, context)


@define("com.microsoft.SpeculativePrefixCommit", kind=Kind.SCAN, infer=_commit_types)
def speculative_prefix_commit(op: Op) -> Iterable[Primitive]:
    """Each request's draft compared with what was predicted, token by token; the states and a record written."""
    return (Scan("compare", size(op, 0), DType.I64), Scan("copy", elements(op, 1) + elements(op, 2), DType.I64, 0))


@define("com.microsoft.SampleOp", kind=Kind.VIEW, infer=same_type)
def sample_op(op: Op) -> Lowering:
    """Hands its operand on."""
    return view(op)
