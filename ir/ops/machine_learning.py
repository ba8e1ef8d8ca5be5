"""Classical machine learning (``ai.onnx.ml``), text features, and the optimiser steps of the training previews."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..attributes import Dense
from ..graph import Op
from ..primitives import Copy, Elementwise, Gather, Gemm, Normalization, Primitive
from ..registry import Kind, Lowering, OpDef, add, define
from ..types import DType, TensorType
from .elementwise import elementwise_lowering
from .reading import dims, elements, integer, largest, size, tensor

__all__: list[str] = []

# Operations per element of the result.
for _name, _per_element in (
    ("Binarizer", 1),
    ("Imputer", 1),
    ("Scaler", 2),
    ("LabelEncoder", 1),
    ("CategoryMapper", 1),
):
    _doc = f"{_per_element} operation(s) per element."
    add(
        OpDef(
            f"ai.onnx.ml.{_name}", Kind.ELEMENTWISE, elementwise_lowering(_name.lower(), _per_element), None, None, _doc
        )
    )


@define("ai.onnx.ml.Normalizer", kind=Kind.NORMALIZATION)
def normalizer(op: Op) -> Iterable[Primitive]:
    """Size or square, sum, divide, of each row."""
    shape = dims(op, 0)
    columns = shape[-1]
    return (Normalization(prod(shape) // largest(1, columns), columns, tensor(op, 0).dtype, 3),)


@define("ai.onnx.ml.ArrayFeatureExtractor", kind=Kind.GATHER)
def array_feature_extractor(op: Op) -> Lowering:
    """One element for each row and index."""
    dtype, count = tensor(op, 0).dtype, elements(op)
    return Lowering((Gather(count, 1, dtype),), {0: (count * dtype.bits + 7) // 8})


@define("ai.onnx.ml.FeatureVectorizer", "ai.onnx.ml.OneHotEncoder", kind=Kind.LAYOUT)
def vectorizer(op: Op) -> Iterable[Primitive]:
    """A copy of every operand into one."""
    return (Copy(elements(op), DType.F32),)


def _length(op: Op, name: str) -> int:
    value = op.attributes.get(name, ())
    if isinstance(value, Dense):
        return len(value.values)
    if not isinstance(value, tuple):
        raise ValueError(f"attribute {name!r} of {op.name} is no list")
    return len(value)


def _rows_and_features(op: Op) -> tuple[int, int]:
    shape = dims(op, 0)
    return (shape[0] if len(shape) > 1 else 1), shape[-1]


@define("ai.onnx.ml.LinearClassifier", "ai.onnx.ml.LinearRegressor", kind=Kind.CONTRACTION)
def linear(op: Op) -> Iterable[Primitive]:
    """One matrix product with coefficients that are an attribute."""
    rows, features = _rows_and_features(op)
    return (Gemm(rows, max(1, _length(op, "coefficients") // largest(1, features)), features, DType.F32, weight=True),)


@define("ai.onnx.ml.SVMClassifier", "ai.onnx.ml.SVMRegressor", kind=Kind.CONTRACTION)
def support_vectors(op: Op) -> Iterable[Primitive]:
    """Every row against every support vector, the kernel function (two), and the weighted sum."""
    rows, features = _rows_and_features(op)
    vectors = _length(op, "support_vectors") // largest(1, features)
    machines = max(1, _length(op, "coefficients") // largest(1, vectors))
    if not vectors:
        return (Gemm(rows, machines, features, DType.F32, weight=True),)
    return (
        Gemm(rows, vectors, features, DType.F32, weight=True),
        Elementwise("svm_kernel", rows * vectors, DType.F32, 2),
        Gemm(rows, machines, vectors, DType.F32, weight=True),
    )


@define(
    "ai.onnx.ml.TreeEnsemble", "ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.TreeEnsembleRegressor", kind=Kind.GATHER
)
def tree_ensemble(op: Op) -> Iterable[Primitive]:
    """Each row walks each tree from root to leaf: a fetch and a comparison a level, a balanced tree's depth assumed."""
    rows, _ = _rows_and_features(op)
    if "tree_roots" in op.attributes:
        trees, nodes = _length(op, "tree_roots"), _length(op, "nodes_featureids")
    else:
        ids = op.attributes.get("nodes_treeids", ())
        trees, nodes = len(set(ids)) if isinstance(ids, tuple) else 1, _length(op, "nodes_nodeids")
    depth = max(1, (nodes // largest(1, trees)).bit_length())
    visits = rows * trees * depth
    return (Gather(visits, 1, DType.F32), Elementwise("compare", visits, DType.F32))


@define("onnx.TfIdfVectorizer", kind=Kind.GATHER)
def tf_idf(op: Op) -> Iterable[Primitive]:
    """Each element looked up in the pool for each length of n-gram and skip, counts weighted."""
    lookups = size(op, 0) * integer(op, "max_gram_length", 1) * (integer(op, "max_skip_count", 0) + 1)
    return (Gather(lookups, 1, tensor(op, 0).dtype), Elementwise("tfidf", elements(op), DType.F32))


for _name in ("CastMap", "DictVectorizer", "ZipMap"):
    add(OpDef(f"ai.onnx.ml.{_name}", Kind.OPAQUE, None, None, None, "Maps have no tensor semantics."))

# Operations per parameter of one optimiser step: ai.onnx.preview.training-1.
for _name, _per_element in (("Adagrad", 8), ("Adam", 14), ("Momentum", 5)):

    def _step(op: Op, per_element: int = _per_element) -> Iterable[Primitive]:
        total = sum(value.type.elements or 0 for value in op.results if isinstance(value.type, TensorType))
        states = {"Adagrad": 2, "Adam": 3, "Momentum": 2}[op.base_name]
        return (Elementwise(op.base_name.lower(), total // states, DType.F32, per_element),)

    _doc = f"{_per_element} operations for each parameter."
    add(OpDef(f"ai.onnx.preview.training.{_name}", Kind.ELEMENTWISE, _step, None, None, _doc))
