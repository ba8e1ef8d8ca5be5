"""How much memory a network's activations take at once, by two independent accounts.

`peak_activation_memory` is brute force over the unfused graph: at every step it looks at every value anew and adds up
the sizes of those that are live. An op's outputs are allocated before it runs; an input is freed after the last op that
reads it has run. Graph outputs live from the op that writes them to the end. Graph inputs live from the start to their last use, or are left out
(the caller owns them). Never counted are initialisers and what depends on nothing else (constants, the shape of a value,
and all that is computed from those), since a runtime works these out before the first step; the ops that compute them are
no steps.

`arena_usage` is what onnxruntime's own allocator reports of a run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime
from execution import Executed, cpu_session
from materialise import materialised, random_inputs

__all__ = ["ArenaUsage", "Peak", "arena_usage", "constant_values", "order_of_steps", "peak_activation_memory"]

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"})
SHAPE_OF = frozenset({"Shape", "Size"})

Share = Literal["nothing", "views"]


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory that is live at once; `step` counts the steps from 0 and `node` is the op that runs then."""

    nbytes: int
    step: int
    node: str
    live: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArenaUsage:
    """Bytes that the CPU arena had handed out at most, over one run on one thread.

    `requested` is what the kernels asked for, right after a kernel ran: the buffers of values as the runtime plans
    them, in-place outputs and reused buffers counted once, without scratch memory that the kernel has given back by
    then. `in_use` is the arena's own high-water mark since it was made: with scratch memory and the unused rest of each
    chunk. `held` is what the arena took from the system. Graph inputs are the caller's and weights are kept outside, so
    neither is in any of the three; graph outputs are. What was in use before the first kernel is left out of `requested`.
    """

    requested: int
    in_use: int
    held: int


def _read_names(node: onnx.NodeProto) -> Iterator[str]:
    """What an op reads, the captures of its subgraphs included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from _read_names(inner)
            yield from (value.name for value in graph.output)


def _node_name(node: onnx.NodeProto) -> str:
    return node.name or next(filter(None, node.output))


def constant_values(graph: onnx.GraphProto) -> set[str]:
    """Initialisers, and every value that follows from these and from shapes alone."""
    constant = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in RANDOM:
            continue
        if node.op_type in SHAPE_OF or all(name in constant for name in _read_names(node)):
            constant.update(filter(None, node.output))
    return constant


def order_of_steps(graph: onnx.GraphProto, executed: Sequence[str]) -> list[onnx.NodeProto]:
    """The ops that are steps, in the order in which a run had them, as `execution.executed_order` reports it.

    An op that the runtime took apart, and so ran under other names, comes right before the first that reads it.
    """
    constant = constant_values(graph)
    steps = [node for node in graph.node if not all(name in constant for name in filter(None, node.output))]
    position: dict[str, float] = {name: place for place, name in enumerate(executed)}
    last = float(len(executed))
    rank: dict[str, float] = {}
    for node in reversed(steps):
        readers = [rank[_node_name(other)] for other in steps if set(node.output) & set(_read_names(other)) and _node_name(other) in rank]
        rank[_node_name(node)] = position.get(_node_name(node), min(readers, default=last) - 0.5)
    return sorted(steps, key=lambda node: rank[_node_name(node)])


def _storages(steps: Iterable[onnx.NodeProto], share: Share) -> dict[str, str]:
    """The value whose memory each value lies in: its own, or, where views are shared, that of what it is a view of."""
    storage: dict[str, str] = {}
    for node in steps:
        for name in filter(None, node.output):
            source = node.input[0] if share == "views" and node.op_type in VIEWS else name
            storage[name] = storage.get(source, source)
    return storage


def peak_activation_memory(
    graph: onnx.GraphProto,
    types: Mapping[str, Executed],
    steps: Sequence[onnx.NodeProto] | None = None,
    *,
    count_inputs: bool = True,
    share: Share = "nothing",
) -> Peak:
    """The peak over `steps`, by default the ops in the order of the file; `types` gives every value's executed type.

    With `share="views"` a view's output costs nothing and keeps what it is a view of alive. Of equal peaks the first counts.
    """
    steps = list(steps) if steps is not None else order_of_steps(graph, [_node_name(node) for node in graph.node])
    constant = constant_values(graph)
    inputs = {value.name for value in graph.input} - constant
    outputs = {value.name for value in graph.output} - constant
    storage = _storages(steps, share)
    written = {name: step for step, node in enumerate(steps) for name in filter(None, node.output)}
    written.update(dict.fromkeys(inputs, -1))
    best = Peak(-1, -1, "", ())
    for step, node in enumerate(steps):
        live: set[str] = set()
        for name, birth in written.items():
            reads = (place for place, other in enumerate(steps) if name in _READS[id(other)])
            if birth <= step <= max(reads, default=birth) or (birth <= step and name in outputs):
                live.add(storage.get(name, name))
        counted = live - constant if count_inputs else live - constant - inputs
        nbytes = sum(types[name].nbytes for name in counted)
        if nbytes > best.nbytes:
            best = Peak(nbytes, step, _node_name(node), tuple(sorted(counted)))
    return best
