"""Activation memory: what is live when, what may share a buffer, and where each buffer lies in one arena.

Operations run in the graph's order. A value is allocated when the operation that makes it starts and freed after its
last reader; graph inputs live from the start to their last reader, graph outputs to the end. Constants are no
activations, nor are a decoder's caches (:mod:`.kv_cache`), which its user keeps between the steps. With ``views`` a
reshape shares its operand's buffer; with ``in_place`` an elementwise kernel writes over an operand that it is the last
to read. While a control operation runs, its body has activations of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from ..ir import CONSTANT, INPUT, OUTPUT, Expression, Fact, Graph, Kind, Op, Value, definition, kind_of, largest
from ..targets.arena import Arena
from .base import Context, Pass
from .bodies import Body, nested_bodies
from .fuse import kernel_ops
from .kv_cache import held_in_caches
from .lower import KERNEL
from .scratch import scratch_bytes

__all__ = ["Buffers", "Memory", "MemoryPlan", "Scratch", "Storage", "memory_plan", "peak_of"]

IN_PLACE = "inplace"
"""The attribute of an operation whose source says that it writes over operand 0."""

SHARING = Arena()
"""An arena in which all that can share memory does."""

_MOST_ALIVE = 128
"""Mean number of buffers alive up to which they are packed by size; networks stay far below."""


@dataclass(frozen=True, slots=True)
class Buffers(Fact, key="memory"):
    """``live_bytes`` of activations exist while the operation runs; ``offsets`` of its results in the arena.

    An offset of -1 means that the result has no bytes, or lies in a cache, or that sizes are open: buffers can be
    placed only once they are numbers.
    """

    live_bytes: int
    offsets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scratch(Fact, key="scratch"):
    """``bytes`` of working memory, at ``offset`` in the arena while the operation runs."""

    bytes: int
    offset: int


@dataclass(slots=True)
class Storage:
    """One buffer: the values that share it, its size and the steps (inclusive) in which it is in use."""

    values: list[Value]
    bytes: int
    first: int
    last: int
    offset: int = -1


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Peak bytes and where they occur, the arena's size, and every buffer.

    Where dimensions are open the peak may be a maximum, which occurs in no one place, and there is no arena.
    """

    peak_bytes: int
    peak_op: Op | None
    arena_bytes: int | None
    live_bytes: dict[Op, int] = field(repr=False)
    storages: tuple[Storage, ...] = field(repr=False)
    scratch: Mapping[Op, Storage] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Memory(Pass):
    """Plan activation memory: liveness, the peak, buffers shared in place or by views, and offsets in one arena.

    What is not given is as the target's runtime does it.
    """

    name = "memory"
    requires = ("precision",)
    provides = ("memory",)
    needs_numbers = False
    views: bool | None = None
    in_place: bool | None = None
    alignment: int | None = None

    def run(self, graph: Graph, context: Context) -> None:
        """Attach :class:`Buffers` to every operation that makes an activation."""
        arena = context.target.runtime.arena
        plan = plan_memory(
            graph,
            arena.views if self.views is None else self.views,
            arena.in_place if self.in_place is None else self.in_place,
            arena.alignment if self.alignment is None else self.alignment,
            arena.scratch,
            arena.bodies,
        )
        offsets = {value: storage.offset for storage in plan.storages for value in storage.values}
        for op, live in plan.live_bytes.items():
            op.facts.add(Buffers(live, tuple(offsets.get(value, -1) for value in op.results)))
            op.facts.discard(Scratch)
        for op, storage in plan.scratch.items():
            op.facts.add(Scratch(storage.bytes, storage.offset))
        context.count("memory: buffers", len(plan.storages))


def memory_plan(graph: Graph, arena: Arena = SHARING) -> MemoryPlan:
    """Return the plan as a runtime with this arena makes it, computed once for each revision of the graph."""
    return graph.cached(_planner(arena))


@cache
def _planner(arena: Arena) -> Callable[[Graph], MemoryPlan]:
    return lambda graph: plan_memory(graph, arena.views, arena.in_place, arena.alignment, arena.scratch, arena.bodies)


def plan_memory(
    graph: Graph, views: bool, in_place: bool, alignment: int, kernels: str = "none", bodies: bool = True
) -> MemoryPlan:
    """Plan the activations of a graph; values of unknown size take no bytes (the report lists them as unknown).

    ``bodies`` is whether bodies of control operations read what they are given, and write their results, outside.
    """
    inside: dict[Op, int] = {}
    for body in reversed(nested_bodies(graph)):
        peak_bytes = _body_bytes(body, inside, views, in_place, bodies)
        inside[body.op] = largest(inside.get(body.op, 0), peak_bytes)
    steps = [op for op in graph.ops if op.name not in (CONSTANT, OUTPUT)]
    storages = _storages(graph, steps, views, in_place, inside, graph.cached(held_in_caches))
    scratch = _scratch(steps, kernels)
    storages.extend(scratch.values())
    live = _live_bytes(storages, len(steps))
    opened = any(isinstance(storage.bytes, Expression) for storage in storages)
    return MemoryPlan(
        *peak_of(list(zip(steps, live, strict=True))),
        None if opened else _place(storages, len(steps), alignment),
        dict(zip(steps, live, strict=True)),
        tuple(storages),
        scratch,
    )


def _scratch(steps: Sequence[Op], kernels: str) -> dict[Op, Storage]:
    """Working memory of the operations that need some."""
    sizes = [(step, op, scratch_bytes(op, kernels)) for step, op in enumerate(steps)]
    return {op: Storage([], size, step, step) for step, op, size in sizes if size}


def peak_of(live: Sequence[tuple[Op, int]]) -> tuple[int, Op | None]:
    """Return the largest of what is live at each operation, and the first operation where that is."""
    peak = largest(0, *dict.fromkeys(count for _, count in live))
    return peak, next((op for op, count in live if count == peak), None)


def _body_bytes(body: Body, inside: Mapping[Op, int], views: bool, in_place: bool, shares: bool) -> int:
    """Bytes that a body needs of its own: if it ``shares``, beside what it captures, is given and gives.

    From the second trip on, what a loop carries is a buffer of the body's own: the last trip's results.
    """
    region = body.region
    steps = [op for op in region.ops if op.name not in (CONSTANT, OUTPUT)]
    storages = _storages(region, steps, views, in_place, inside)
    results = {output.operands[0] for output in region.outputs}
    captures = body.op.attributes.get("captures")
    own = len(region.inputs) - (captures if isinstance(captures, int) else 0)
    again = not isinstance(body.times, int) or body.times > 1
    outside = {entry.result for entry in (region.inputs[own:] if again else region.inputs)}
    kept = [each for each in storages if not (shares and (results | outside) & set(each.values))]
    peak: int = largest(0, *dict.fromkeys(_live_bytes(kept, len(steps))))
    return peak


def _storages(
    graph: Graph,
    steps: Sequence[Op],
    views: bool,
    in_place: bool,
    inside: Mapping[Op, int],
    caches: frozenset[Value] = frozenset(),
) -> list[Storage]:
    position = {op: step for step, op in enumerate(steps)}
    inputs = sum(op.name == INPUT for op in steps)
    of: dict[Value, Storage] = {}
    storages: list[Storage] = []
    for step, op in enumerate(steps):
        if inside.get(op):
            storages.append(Storage([], inside[op], step, step))
        for value in op.results:
            first = 0 if op.name == INPUT else step
            last = max((_read_at(user, position, len(steps)) for user, _ in graph.uses(value)), default=step)
            last = len(steps) if op.attributes.get("variable") is True else last  # state outlives the inference
            shared = _shared_storage(op, value, of, step, views, in_place) if step >= inputs else None
            if shared is None:
                elsewhere = value in caches or (views and _views_weight(op, of))
                shared = Storage([], 0 if elsewhere else value.bytes or 0, first, last)
                storages.append(shared)
            shared.values.append(value)
            shared.last = max(shared.last, last)
            of[value] = shared
    return storages


def _read_at(user: Op, position: dict[Op, int], end: int) -> int:
    """The step at which ``user`` reads; outputs are read after the last one, so that nothing is written over them."""
    return end if user.name == OUTPUT else position[user]


def _shared_storage(
    op: Op, value: Value, of: dict[Value, Storage], step: int, views: bool, in_place: bool
) -> Storage | None:
    """The buffer of an operand that ``value`` may take over, if there is one."""
    inner, source = kernel_ops(op), op.operand(0)
    if op.attributes.get(IN_PLACE) is True and source is not None and source in of:
        return of[source]
    if views and all(kind_of(member) is Kind.VIEW for member in inner):
        if source is None or (source.bytes != value.bytes and not _aliases(op)):
            return None
        return of.get(source)
    if not in_place or kind_of(inner[-1]) is not Kind.ELEMENTWISE:
        return None
    for source in op.inputs:
        storage = of.get(source)
        if storage is None or storage.last != step or storage.bytes != (value.bytes or 0):
            continue
        sharing = {other for other in op.inputs if of.get(other) is storage}  # a view may be read beside its source
        if storage.first > 0 and len(sharing) == 1 and _overwritable(op, source):
            return storage
    return None


def _aliases(op: Op) -> bool:
    """Whether results lie in operand 0's memory whatever their extents: a slice, a broadcast."""
    entries = [definition(member.name) for member in kernel_ops(op)]
    return all(entry is not None and entry.aliases for entry in entries)


def _views_weight(op: Op, of: dict[Value, Storage]) -> bool:
    """Whether an operation's results are views of a weight, which takes no activation memory."""
    source = op.operand(0)
    return _aliases(op) and source is not None and source.is_constant and source not in of


def _overwritable(op: Op, source: Value) -> bool:
    """Whether a kernel reads ``source`` once, and element by element as it writes its result: a convolution's sum."""
    if op.name != KERNEL:
        return not op.regions
    (region,) = op.regions
    readers = region.users(region.inputs[op.operands.index(source)])
    if len(readers) != 1 or readers[0].name == OUTPUT:
        return False
    after = region.body[region.body.index(readers[0]) :]
    return all(kind_of(member) is Kind.ELEMENTWISE for member in after)


def _live_bytes(storages: Sequence[Storage], steps: int) -> list[int]:
    change = [0] * (steps + 2)
    for storage in storages:
        change[storage.first] += storage.bytes
        change[storage.last + 1] -= storage.bytes
    live, total = [], 0
    for step in range(steps):
        total += change[step]
        live.append(total)
    return live


def _place(storages: Sequence[Storage], steps: int, alignment: int) -> int:
    """Give every buffer an offset and return the arena's size."""
    sized = [storage for storage in storages if storage.bytes > 0]
    lifetimes = sum(storage.last - storage.first + 1 for storage in sized)
    place = _place_by_size if lifetimes <= _MOST_ALIVE * steps else _place_by_step
    return place(sized, alignment)


def _place_by_size(storages: Sequence[Storage], alignment: int) -> int:
    """Largest first, each at the lowest place that is free throughout its life.

    This is the greedy-by-size planner of TensorFlow Lite Micro (Pisarchyk and Lee, arXiv:2001.03288, section 5), which
    takes the later of two buffers of one size first (greedy_memory_planner.cc fills its list from the end).
    """
    alive: defaultdict[int, list[Storage]] = defaultdict(list)
    starting: defaultdict[int, list[Storage]] = defaultdict(list)
    top = 0
    for _, storage in sorted(enumerate(storages), key=lambda pair: (-pair[1].bytes, -pair[0])):
        later = range(storage.first + 1, storage.last + 1)
        neighbours = [*alive[storage.first], *(other for step in later for other in starting.get(step, ()))]
        offset = 0
        for other in sorted(neighbours, key=lambda item: item.offset):
            if offset + storage.bytes <= other.offset:
                break
            offset = max(offset, _aligned(other.offset + other.bytes, alignment))
        storage.offset = offset
        top = max(top, offset + storage.bytes)
        starting[storage.first].append(storage)
        for step in range(storage.first, storage.last + 1):
            alive[step].append(storage)
    return top


def _place_by_step(storages: Sequence[Storage], alignment: int) -> int:
    """In the order of execution, reusing only buffers of the same size: time is linear however many are alive."""
    free: defaultdict[int, list[int]] = defaultdict(list)
    ending: defaultdict[int, list[Storage]] = defaultdict(list)
    top = now = 0
    for storage in sorted(storages, key=lambda item: item.first):
        for step in range(now, storage.first):
            for done in ending.pop(step, ()):
                free[_aligned(done.bytes, alignment)].append(done.offset)
        now = storage.first
        size = _aligned(storage.bytes, alignment)
        if free[size]:
            storage.offset = free[size].pop()
        else:
            storage.offset, top = top, top + size
        ending[storage.last].append(storage)
    return top


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
