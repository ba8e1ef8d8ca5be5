"""Steps of a runtime's ``fuse`` list that change the graph before kernels are formed, by their names in rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir import Graph
from .channels_last import run_channels_last, settle_transposes
from .packed_weights import pack_weights
from .patterns import PatternError
from .quantized import (
    concatenate_integers,
    drop_requantization,
    make_unsigned,
    own_dequantization,
    propagate_quantization,
    quantize_weights,
    run_on_integers,
)
from .siblings import split_siblings
from .simplify import drop_dead, drop_no_ops, fold_constants, merge_equal
from .transposes import push_transposes

__all__ = ["REWRITES", "Rewrite", "operators", "option", "read_rewrite"]

Rewrite = Callable[[Graph], int]
"""What changes a graph, and returns how often it did."""


def read_rewrite(rule: Mapping[str, Any]) -> Rewrite | None:
    """Return what a rule changes; ``None`` for a rule that is of another sort.

    Raises:
        PatternError: its options are not those of the step.
    """
    for name, options in rule.items():
        if options is True and name in _PLAIN:
            return _PLAIN[name]
        if not isinstance(options, bool) and name in _WITH_OPTIONS:
            return _WITH_OPTIONS[name](options)
    return None


def option(options: Any, step: str, key: str) -> Any:
    """Return one option of a step.

    Raises:
        PatternError: it is not there.
    """
    if not isinstance(options, Mapping) or key not in options:
        raise PatternError(f"{step} needs {key}")
    return options[key]


def operators(names: Any) -> frozenset[str]:
    """Return the operators that a list names, with their dialect.

    Raises:
        PatternError: it is no list.
    """
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise PatternError(f"expected a list of operators, got {names!r}")
    return frozenset(_operator(name) for name in names)


def _operator(name: Any) -> str:
    return str(name) if "." in str(name) else f"onnx.{name}"


def _fold(graph: Graph) -> int:
    return fold_constants(graph) + drop_dead(graph)


def _keeping(options: Any) -> Rewrite:
    kept = operators(option(options, "fold_constants", "keep"))
    by_type = options.get("by_type") is True
    dialects = frozenset(name for name in kept if name.endswith(".*"))
    return lambda graph: fold_constants(graph, kept, by_type) + drop_dead(graph, dialects)


def _dropping(options: Any) -> Rewrite:
    names = operators(options)
    return lambda graph: drop_no_ops(graph, names)


def _propagating(options: Any) -> Rewrite:
    names = operators(options)
    return lambda graph: propagate_quantization(graph, names)


def _quantizing(options: Any) -> Rewrite:
    names = operators(options)
    return lambda graph: quantize_weights(graph, names)


def _on_integers(options: Any) -> Rewrite:
    names = operators(option(options, "run_on_integers", "operators"))
    bits, having = option(options, "run_on_integers", "bits"), options.get("having", {})
    if not isinstance(bits, list) or not isinstance(having, Mapping):
        raise PatternError(f"run_on_integers takes a list of bits and the attributes to have, got {options!r}")
    return lambda graph: run_on_integers(graph, names, frozenset(bits), having)


def _packing(options: Any) -> Rewrite:
    level = option(options, "pack_weights", "accuracy_level")
    if not isinstance(level, int):
        raise PatternError(f"pack_weights takes a number as accuracy_level, got {level!r}")
    return lambda graph: pack_weights(graph, level)


def _concatenating(options: Any) -> Rewrite:
    operator = _operator(options)
    return lambda graph: concatenate_integers(graph, operator)


_PLAIN: Mapping[str, Rewrite] = {
    "fold_constants": _fold,
    "drop_dead": drop_dead,
    "merge_equal": merge_equal,
    "push_transposes": push_transposes,
    "split_siblings": split_siblings,
    "own_dequantization": own_dequantization,
    "make_unsigned": make_unsigned,
    "drop_requantization": drop_requantization,
    "channels_last": run_channels_last,
    "settle_transposes": settle_transposes,
}

_WITH_OPTIONS: Mapping[str, Callable[[Any], Rewrite]] = {
    "fold_constants": _keeping,
    "drop": _dropping,
    "propagate_quantization": _propagating,
    "quantize_weights": _quantizing,
    "run_on_integers": _on_integers,
    "concatenate_integers": _concatenating,
    "pack_weights": _packing,
}

REWRITES = tuple(dict.fromkeys((*_PLAIN, *_WITH_OPTIONS)))
"""Names of all these steps."""
