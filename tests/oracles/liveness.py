"""How much memory a network's activations take at once, by two independent accounts.

`peak_activation_memory` is brute force over the unfused graph: at every step it goes through every value and adds up
the sizes of those that are live. An op's outputs are allocated before it runs; an input is freed after the last op that
reads it has run. Graph outputs live from the op that writes them to the end. Graph inputs live from the start to their
last use, or are left out (the caller owns them). Never counted are initialisers and what follows from them and from
shapes alone, since a runtime works these out before the first step; the ops that compute them are no steps.

`arena_usage` is what onnxruntime's own allocator reports of a run. With its optimisations off, and with buffers freed
rather than kept for later, it agrees to the byte with the brute force that lets activations write over their inputs,
on every network that has no constants to work out and no op that the runtime takes apart.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime
from execution import Executed, cpu_session
from materialise import materialised, random_inputs

__all__ = ["ArenaUsage", "Peak", "arena_usage", "constant_values", "order_of_steps", "peak_activation_memory"]

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
SHAPE_OF = frozenset({"Shape", "Size"})

IN_PLACE = frozenset({"Clip", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softmax", "Tanh"})
"""Ops that onnxruntime's CPU provider lets write over their input; observed, and Add, Mul and Gelu are not of them."""

Share = Literal["nothing", "views", "in_place"]


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory that is live at once; `step` counts the steps from 0 and `node` is the op that runs then."""

    nbytes: int
    step: int
    node: str
    live: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArenaUsage:
    """Bytes that the CPU arena had handed out at most, beyond what it had before the first kernel of the run.

    `requested` is what was asked for: the buffers of values as the runtime plans them. An output that takes over its
    input's buffer (a view's, an activation's) is not counted again. `in_use` has the rounding of each piece besides.
    Both are read right after each kernel, while its inputs still exist, and so do not see the scratch memory (im2col,
    packed operands) that a kernel takes and gives back. Graph inputs are the caller's and so outside the arena; graph
    outputs are inside. Weights, which it may hold as well, packed for the kernels, are there before.
    """

    requested: int
    in_use: int
    op_type: str
    """What runs when most is requested; `grew` says that it took memory, which a view and an op in place do not."""
    grew: bool


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


def order_of_steps(graph: onnx.GraphProto, executed: Sequence[str] | None = None) -> list[onnx.NodeProto]:
    """The ops that are steps: in the order of the file, or in that of a run as `execution.executed_order` reports it.

    An op that the runtime took apart, and so ran under other names, comes right before the first that reads it.
    """
    constant = constant_values(graph)
    steps = [node for node in graph.node if not constant.issuperset(filter(None, node.output))]
    if executed is None:
        return steps
    position = {name: float(place) for place, name in enumerate(executed)}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(steps):
        for name in _read_names(node):
            readers.setdefault(name, []).append(index)
    rank: dict[int, float] = {}
    for index in reversed(range(len(steps))):
        behind = [rank[reader] for name in steps[index].output for reader in readers.get(name, [])]
        rank[index] = position.get(_node_name(steps[index]), min(behind, default=float(len(executed))) - 0.5)
    return _topological(steps, rank)


def _topological(steps: Sequence[onnx.NodeProto], rank: Mapping[int, float]) -> list[onnx.NodeProto]:
    """The steps by rank, but never one before another that it reads from: what was taken apart may have run earlier."""
    missing = {name for node in steps for name in node.output if name}
    waiting = sorted(rank, key=lambda index: (rank[index], index))
    order: list[onnx.NodeProto] = []
    while waiting:
        index = next((index for index in waiting if missing.isdisjoint(_read_names(steps[index]))), None)
        if index is None:
            raise ValueError("the graph has a cycle")
        waiting.remove(index)
        missing.difference_update(steps[index].output)
        order.append(steps[index])
    return order


def _lifetimes(graph: onnx.GraphProto, steps: Sequence[onnx.NodeProto]) -> dict[str, tuple[int, int]]:
    """The first and the last step at which each value is live; a value that nobody reads lives for one step."""
    constant = constant_values(graph)
    lifetimes = {value.name: (0, 0) for value in graph.input if value.name not in constant}
    for step, node in enumerate(steps):
        lifetimes.update((name, (step, step)) for name in node.output if name)
        for name in _read_names(node):
            if name in lifetimes:
                lifetimes[name] = (lifetimes[name][0], step)
    for value in graph.output:
        if value.name in lifetimes:
            lifetimes[value.name] = (lifetimes[value.name][0], len(steps) - 1)
    return lifetimes


def _storages(
    graph: onnx.GraphProto,
    steps: Sequence[onnx.NodeProto],
    lifetimes: Mapping[str, tuple[int, int]],
    types: Mapping[str, Executed],
    share: Share,
) -> dict[str, str]:
    """The value whose memory each value lies in: its own, or an earlier one's that it is a view of or replaces.

    A value is replaced where nothing that lies in its memory is read later, and neither side is the caller's.
    """
    storage = {name: name for name in lifetimes}
    callers = {value.name for value in (*graph.input, *graph.output)}
    for step, node in enumerate(steps):
        if share == "nothing" or node.input[0] not in storage:
            continue
        source, target = storage[node.input[0]], node.output[0]
        if node.op_type in VIEWS:
            storage[target] = source
        elif share == "in_place" and node.op_type in IN_PLACE and types[source].nbytes == types[target].nbytes:
            tenants = {name for name, place in storage.items() if place == source}
            dying = all(lifetimes[name][1] <= step for name in tenants)
            if dying and callers.isdisjoint(tenants | {target}):
                storage[target] = source
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

    With `share="views"` a view's output costs nothing and keeps what it is a view of alive; with `"in_place"` an
    activation writes over an input that dies there besides. Of equal peaks the first counts.
    """
    steps = order_of_steps(graph) if steps is None else steps
    lifetimes = _lifetimes(graph, steps)
    storage = _storages(graph, steps, lifetimes, types, share)
    left_out = constant_values(graph)
    if not count_inputs:
        left_out |= {value.name for value in graph.input}
    peak = Peak(-1, -1, "", ())
    for step, node in enumerate(steps):
        live = {storage[name] for name, (first, last) in lifetimes.items() if first <= step <= last}
        live -= left_out
        nbytes = sum(types[name].nbytes for name in live)
        if nbytes > peak.nbytes:
            peak = Peak(nbytes, step, _node_name(node), tuple(sorted(live)))
    return peak


def _kernel_events(
    complete: Path, inputs: Mapping[str, Any], level: onnxruntime.GraphOptimizationLevel, reuse: bool
) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.enable_mem_reuse = reuse
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        session = cpu_session(complete, level, options)
        session.run(None, dict(inputs))  # the first run only: later ones ask for one block for everything
        events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [event for event in events if event["name"].endswith("_kernel_time")]
    return [event["args"] for event in sorted(kernels, key=lambda event: event["ts"])]


def arena_usage(
    path: Path, level: onnxruntime.GraphOptimizationLevel, *, reuse: bool = False, seed: int = 0
) -> ArenaUsage:
    """What the arena reports of one run of a model file at `level`; missing weights are made up.

    With `reuse`, the runtime's default, a dead buffer waits for a later value of the same size instead of being freed:
    fewer allocations, and often more memory than is live. The figures come from the memory statistics that the profile
    carries from onnxruntime 1.31 on; KeyError before that.
    """
    inputs = random_inputs(onnx.load(path, load_external_data=False), seed)
    with materialised(path, seed) as complete:
        events = _kernel_events(complete, inputs, level, reuse)

    peak = max(events, key=lambda event: int(event["mem_bytes_requested_in_use"]))

    def most(total: str, delta: str) -> int:
        before = int(events[0][total]) - int(events[0][delta])
        return max(int(event[total]) for event in events) - before

    return ArenaUsage(
        requested=most("mem_bytes_requested_in_use", "mem_requested_in_use_delta"),
        in_use=most("mem_bytes_in_use", "mem_in_use_delta"),
        op_type=peak["op_name"],
        grew=int(peak["mem_requested_in_use_delta"]) > 0,
    )
