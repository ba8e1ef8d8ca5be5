"""Joins what a runtime executed to the kernels that we predict, so that the time of the one is evidence on the other.

Names decide first: a runtime's optimiser keeps the names of the values it computes, or derives its nodes' names from
them. What it inserted on its own goes by its place in the data flow. Time is neither lost nor counted twice: what the
samples take is what the executed nodes took.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import CalibrationError
from ..sample import Sample, Statistics
from .described import Described
from .executed import Executed, ExecutedNode
from .statistics import statistics, total

__all__ = ["Joined", "join"]

_UNIQUE = re.compile(r"_token_[0-9]+$")
"""What onnxruntime adds to the name of a node that it replaces, by one of another layout for instance."""

_BLOCKED = "_nchwc"
_RUN_AS_DEPTHWISE = ("_bn", "_mul", "_add")
"""What onnxruntime adds to a value's name for a node that it runs in the blocked layout, or as a convolution there."""

_SAME_WORK: Mapping[str, tuple[str, ...]] = {
    "FusedConv": ("Conv",),
    "FusedMatMul": ("MatMul",),
    "FusedGemm": ("Gemm", "MatMul"),
    "Gemm": ("MatMul",),
    "Conv": ("BatchNormalization", "Mul", "Add"),
}
"""Operators of ours that an executed one may stand for, besides itself."""

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
_OWN = _VIEWS | {"ReorderInput", "ReorderOutput"}
"""What a runtime executes between kernels without a name that a kernel of ours could have."""

_GOES_WITH_PRODUCER = frozenset({"ReorderOutput"})
"""Inserted nodes that undo what their producer did; all others prepare what their consumer reads."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Samples of one kernel each (of several where the runtime ran them as one), and how they were found.

    ``matched_share`` is the share of the executed time that names decided, the runtime's own reorders and views left
    out of account: those have no name that a kernel could have, and their place leaves no doubt. ``placed`` are all
    nodes that went by their place in the data flow, with the kernel that they went to; ``unexecuted`` are kernels of
    ours that have no part in any node. ``end_to_end`` has all kernels together and the time of a whole run,
    ``executed`` is the time of all nodes.
    """

    samples: tuple[Sample, ...]
    end_to_end: Sample
    matched_share: float
    placed: tuple[tuple[ExecutedNode, Described], ...]
    unexecuted: tuple[Described, ...]
    executed: Statistics


def join(
    executed: Executed, described: Sequence[Described], model: str, drift: float = 1.0, source: str = "profile"
) -> Joined:
    """Give every executed node's time to a kernel of ours.

    ``drift`` is what the times are divided by: the machine's slowness against its reference speed. ``source`` is what
    the samples are called; the whole is a ``network`` where they are of a profile.

    Raises:
        CalibrationError: no name of the one occurs in the other, so they are not of the same model.
    """
    matching = _Matching(executed.nodes, described)
    matching.by_name()
    if not matching.owner:
        raise CalibrationError(
            f"profile of {model}: none of its {len(executed.nodes)} nodes has a name that the model knows",
            help="join a profile with the model file it was made of",
        )
    named = set(matching.owner)
    matching.by_place()
    matching.rest()
    samples = tuple(_samples(matching, model, drift, source))
    medians = {i: node.statistics.median for i, node in enumerate(executed.nodes)}
    working = [i for i, node in enumerate(executed.nodes) if i in named or not _is_own(node)]
    return Joined(
        samples,
        Sample(
            tuple(one.kernel for one in described),
            _slowed(statistics(executed.end_to_end), drift),
            "network",
            model,
            tuple(dict.fromkeys(name for one in described for name in one.nodes)),
            drift,
        ),
        math.fsum(medians[i] for i in sorted(named)) / math.fsum(medians[i] for i in working),
        tuple((node, described[matching.owner[i]]) for i, node in enumerate(executed.nodes) if i not in named),
        tuple(described[index] for index in matching.idle()),
        _slowed(total([node.seconds for node in executed.nodes]), drift),
    )


class _Matching:
    """Which kernel owns which executed node, as it is found out; ``partner`` joins kernels that ran as one."""

    def __init__(self, nodes: Sequence[ExecutedNode], described: Sequence[Described]) -> None:
        self.nodes, self.described = nodes, described
        self.owner: dict[int, int] = {}
        self.partner = list(range(len(described)))
        self.of_value = {name: k for k, one in enumerate(described) for name in one.results}
        self.of_node: dict[str, list[int]] = {}
        for k, one in enumerate(described):
            for name in one.nodes:
                self.of_node.setdefault(name, []).append(k)
        self.made_by = {name: i for i, node in enumerate(nodes) for name in node.outputs}
        self.read_by = _readers((i, node.inputs) for i, node in enumerate(nodes))
        self.kernel_reads = _readers((k, one.operands) for k, one in enumerate(described))

    # -- names --------------------------------------------------------------------------------------------------------

    def by_name(self) -> None:
        """Match what has a name of ours; a node that does what its kernel does not goes to a free neighbour that
        does.
        """
        for i, node in enumerate(self.nodes):
            owners = list(dict.fromkeys(self.of_value[name] for name in node.outputs if name in self.of_value))
            named = self._named(node)
            candidates = [*owners, *([] if named is None else [named])]
            if not candidates:
                continue
            fitting = (k for k in candidates if _does(self.described[k], node.op_type))
            self.owner[i] = next(fitting, candidates[0])
            for other in owners[1:]:
                self.unite(owners[0], other)
        self._refine()

    def _refine(self) -> None:
        taken = set(self.owner.values())
        for i, k in self.owner.items():
            op_type = self.nodes[i].op_type
            if _does(self.described[k], op_type):
                continue
            near = (*self.makers(k), *self.readers(k))
            free = next((j for j in near if j not in taken and _does(self.described[j], op_type)), None)
            if free is not None:
                self.owner[i] = free
                taken.add(free)

    def _named(self, node: ExecutedNode) -> int | None:
        for name in _spellings(node.name):
            if name in self.of_value and name != node.name:
                return self.of_value[name]
            owners = self.of_node.get(name, [])
            if owners:
                return next((k for k in owners if _does(self.described[k], node.op_type)), owners[0])
        return None

    # -- places -------------------------------------------------------------------------------------------------------

    def by_place(self) -> None:
        """A node without a name of ours is the kernel of its operator between the same neighbours, if one is free."""
        changed = True
        while changed:
            changed = False
            taken = set(self.owner.values())
            for i, node in enumerate(self.nodes):
                if i in self.owner:
                    continue
                found = next(
                    (k for k in self._between(i) if k not in taken and _does(self.described[k], node.op_type)), None
                )
                if found is not None:
                    self.owner[i] = found
                    taken.add(found)
                    changed = True

    def _between(self, i: int) -> Iterator[int]:
        """Kernels that read what a neighbour of the node's makes; those that both neighbours agree on first."""
        before = sorted(self._owners(i, self._producers))
        after = sorted(self._owners(i, self._consumers))
        behind = [k for one in before for k in self.readers(one)]
        ahead = [k for one in after for k in self.makers(one)]
        yield from (k for k in behind if k in ahead)
        yield from behind
        yield from ahead

    def _owners(self, i: int, step: Callable[[int], Iterable[int]]) -> set[int]:
        """Owners of the nodes that ``step`` leads to from node ``i``, on past views that nobody owns."""
        owners: set[int] = set()
        todo, seen = list(step(i)), {i}
        while todo:
            j = todo.pop()
            if j in self.owner:
                owners.add(self.owner[j])
            elif j not in seen and _looks(self.nodes[j]):
                todo.extend(step(j))
            seen.add(j)
        return owners

    def makers(self, k: int) -> list[int]:
        """Kernels of ours that make what kernel ``k`` reads."""
        return [self.of_value[name] for name in self.described[k].operands if name in self.of_value]

    def readers(self, k: int) -> list[int]:
        """Kernels of ours that read what kernel ``k`` makes."""
        return [j for name in self.described[k].results for j in self.kernel_reads.get(name, ()) if j != k]

    def rest(self) -> None:
        """What remains was inserted by the runtime: it goes with the kernel it serves, a reorder back to its maker."""
        waiting = [i for i in range(len(self.nodes)) if i not in self.owner]
        while waiting:
            placed = {i: k for i in waiting if (k := self._served(i)) is not None}
            if not placed:
                placed = {waiting[0]: self.owner[min(self.owner, key=lambda j: abs(j - waiting[0]))]}
            self.owner.update(placed)
            waiting = [i for i in waiting if i not in placed]

    def _served(self, i: int) -> int | None:
        sides = [self._consumers(i), self._producers(i)]
        if self.nodes[i].op_type in _GOES_WITH_PRODUCER:
            sides.reverse()
        return next((self.owner[j] for side in sides for j in side if j in self.owner), None)

    def _producers(self, i: int) -> list[int]:
        return [self.made_by[name] for name in self.nodes[i].inputs if name in self.made_by]

    def _consumers(self, i: int) -> list[int]:
        return [j for name in self.nodes[i].outputs for j in self.read_by.get(name, ())]

    # -- kernels that ran as one --------------------------------------------------------------------------------------

    def absorb(self) -> None:
        """A kernel that works but has no node of its own ran inside a neighbour: the one that its operands flow into.

        That is the kernel that reads it, views looked through, or one that makes an operand of it and reads the others.
        Kernels in a row that ran as one are found from either end; what remains unclear goes with its first neighbour.
        """
        waiting = [k for k in self.idle() if not _is_view(self.described[k])]
        for sure in (True, False):
            found = True
            while found:
                working = {self.root(k) for k in self.owner.values()}
                hosts = {k: host for k in waiting if (host := self._host(k, working, sure)) is not None}
                found = bool(hosts)
                for k, host in hosts.items():
                    self.unite(host, k)
                waiting = [k for k in waiting if k not in hosts]

    def _host(self, k: int, working: set[int], sure: bool) -> int | None:
        makers = self.makers(k)
        hosts = [j for j in (*self._readers_behind_views(k), *makers) if self.root(j) in working]
        fits = (j for j in hosts if not sure or self._runs_on(j, [m for m in makers if m != j]))
        return next(fits, None)

    def _readers_behind_views(self, k: int) -> Iterator[int]:
        for j in self.readers(k):
            if _is_view(self.described[j]):
                yield from self._readers_behind_views(j)
            else:
                yield j

    def _runs_on(self, host: int, makers: Iterable[int]) -> bool:
        """Whether the nodes of ``host`` read what each of ``makers`` makes, directly or through views."""
        todo = [i for i, k in self.owner.items() if self.root(k) == self.root(host)]
        before: set[int] = set()
        while todo:
            for j in self._producers(todo.pop()):
                before.add(self.root(self.owner[j]))
                if _is_view(self.described[self.owner[j]]):
                    todo.append(j)
        return all(self.root(m) in before for m in makers)

    def unite(self, one: int, other: int) -> None:
        self.partner[self.root(other)] = self.root(one)

    def root(self, k: int) -> int:
        while self.partner[k] != k:
            k = self.partner[k]
        return k

    def idle(self) -> list[int]:
        """Kernels of ours that no sample has."""
        working = {self.root(k) for k in self.owner.values()}
        return [k for k in range(len(self.described)) if self.root(k) not in working]


def _readers(rows: Iterable[tuple[int, Sequence[str]]]) -> dict[str, list[int]]:
    readers: dict[str, list[int]] = {}
    for index, names in rows:
        for name in dict.fromkeys(names):
            readers.setdefault(name, []).append(index)
    return readers


def _spellings(name: str) -> Iterator[str]:
    """The name, then what it may have been derived from, longest first."""
    yield name
    if _UNIQUE.search(name):
        name = _UNIQUE.sub("", name)
        yield name
    if name.endswith(_BLOCKED):
        plain = name.removesuffix(_BLOCKED)
        yield plain
        yield from (plain.removesuffix(suffix) for suffix in _RUN_AS_DEPTHWISE if plain.endswith(suffix))
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _looks(node: ExecutedNode) -> bool:
    return node.view or node.op_type in _VIEWS


def _is_own(node: ExecutedNode) -> bool:
    return node.view or node.op_type in _OWN


def _is_view(one: Described) -> bool:
    return not (one.kernel.bytes or one.kernel.flops)


def _does(one: Described, op_type: str) -> bool:
    names = (one.kernel.pattern, *one.kernel.pattern.split("_"))
    return op_type in names or any(other in names for other in _SAME_WORK.get(op_type, ()))


def _samples(matching: _Matching, model: str, drift: float, source: str) -> Iterator[Sample]:
    matching.absorb()
    parts: dict[int, list[int]] = {}
    for i, k in sorted(matching.owner.items()):
        parts.setdefault(matching.root(k), []).append(i)
    members: dict[int, list[Described]] = {}
    for k, one in enumerate(matching.described):
        members.setdefault(matching.root(k), []).append(one)
    for root, indices in sorted(parts.items()):
        ours = members[root]
        yield Sample(
            tuple(one.kernel for one in ours),
            _slowed(total([matching.nodes[i].seconds for i in indices]), drift),
            source,
            model,
            tuple(dict.fromkeys(name for one in ours for name in one.nodes)),
            drift,
        )


def _slowed(measured: Statistics, drift: float) -> Statistics:
    if drift == 1.0:
        return measured
    return Statistics(
        measured.n,
        measured.median / drift,
        measured.mean / drift,
        measured.std / drift,
        measured.minimum / drift,
        measured.maximum / drift,
        measured.ci_low / drift,
        measured.ci_high / drift,
    )
