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
    return [steps[index] for index in sorted(rank, key=lambda index: (rank[index], index))]


def _storages(steps: Iterable[onnx.NodeProto], share: Share) -> dict[str, str]:
    """The value whose memory each value lies in: its own or, where views are shared, that of what it is a view of."""
    storage: dict[str, str] = {}
    for node in steps:
        for name in filter(None, node.output):
            source = node.input[0] if share == "views" and node.op_type in VIEWS else name
            storage[name] = storage.get(source, source)
    return storage


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


def peak_activation_memory(
    graph: onnx.GraphProto,
    types: Mapping[str, Executed],
    steps: Sequence[onnx.NodeProto] | None = None,
    *,
    count_inputs: bool = True,
    share: Share = "nothing",
) -> Peak:
    """The peak over `steps`, by default the ops in the order of the file; `types` gives every value's executed type.

    With `share="views"` a view's output costs nothing and keeps what it is a view of alive. Of equal peaks the first
    counts.
    """
    steps = order_of_steps(graph) if steps is None else steps
    storage = _storages(steps, share)
    lifetimes = _lifetimes(graph, steps)
    left_out = constant_values(graph)
    if not count_inputs:
        left_out |= {value.name for value in graph.input}
    peak = Peak(-1, -1, "", ())
    for step, node in enumerate(steps):
        live = {storage.get(name, name) for name, (first, last) in lifetimes.items() if first <= step <= last}
        live -= left_out
        nbytes = sum(types[name].nbytes for name in live)
        if nbytes > peak.nbytes:
            peak = Peak(nbytes, step, _node_name(node), tuple(sorted(live)))
    return peak


def _kernel_events(complete: Path, inputs: Mapping[str, Any], level: onnxruntime.GraphOptimizationLevel) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.enable_mem_pattern = False  # else one block for the whole run is asked for in advance
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        session = cpu_session(complete, level, options)
        session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [event for event in events if event["name"].endswith("_kernel_time")]
    return [event["args"] for event in sorted(kernels, key=lambda event: event["ts"])]


def arena_usage(path: Path, level: onnxruntime.GraphOptimizationLevel, seed: int = 0) -> ArenaUsage:
    """What the arena reports of one run of a model file at `level`; missing weights are made up.

    The figures come from the memory statistics that the profile carries from onnxruntime 1.31 on; KeyError before that.
    """
    inputs = random_inputs(onnx.load(path, load_external_data=False), seed)
    with materialised(path, seed) as complete:
        events = _kernel_events(complete, inputs, level)
    before = int(events[0]["mem_bytes_requested_in_use"]) - int(events[0]["mem_requested_in_use_delta"])
    return ArenaUsage(
        requested=max(int(event["mem_bytes_requested_in_use"]) for event in events) - before,
        in_use=int(events[-1]["mem_in_use_peak"]),
        held=max(int(event["mem_arena_held"]) for event in events),
    )
