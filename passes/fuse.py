"""Groups operations into the kernels that the target's runtime launches.

What a runtime fuses is data: the ``fuse`` list in its YAML, carried out in the order it is written. A step is one of

- ``fold_constants: true`` — what reads only constants is computed when the model is loaded (``{keep: [Operator, …]}``:
  but for these);
- ``drop: [Identity, …]`` — no-ops that vanish;
- ``drop_dead: true`` — what nobody reads; ``merge_equal: true`` — common subexpressions;
- ``split_siblings: true``, ``push_transposes: true`` — siblings become one split; transposes move on and cancel;
- ``strided_views: {…}``, ``bias_kernels: {…}`` — what eager frameworks launch (:mod:`.eager`);
- ``blocked_layout: {block: 16, …}`` — find the values kept channel-blocked, for the predicate ``blocked``;
- ``own_dequantization: true``, ``run_on_integers: {…}`` and other rewrites of quantised graphs (:mod:`.rewrites`);
- ``match: PATTERN`` with ``becomes: OPERATOR`` and ``where`` — operations that another one replaces
  (:mod:`.replacement`);
- ``match: PATTERN`` with ``name``, ``where``, ``kind`` and ``quantized`` — operations that become one kernel
  (:mod:`.patterns`), one that computes on what its operands are dequantised from;
- ``chain: {producers: […], consumers: […]}`` — a kernel of a producer kind merges into the kernel that alone reads it;
  with ``shared: true`` others may read it as well.

A kernel is an operation ``graphs.kernel`` with its operations in a region. An operation that no rule takes is a
kernel of its own. Bodies of control operations are fused like the graph that they stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir import CONSTANT, INPUT, OUTPUT, Fact, Graph, Kind, Location, Op, Value, kind_of
from ..targets import RuleSource
from .base import Context, Pass, PassError
from .blocked_layout import blocked_values, read_block, reordered_bytes
from .bodies import bodies_of, constant_attributes, show_constants
from .eager import add_biases_apart, make_strided_views
from .lower import KERNEL, QUANTIZED
from .patterns import Match, Node, Pattern, PatternError, match_at, parse_pattern, root_names
from .predicates import Condition, Environment, parse_condition
from .replacement import Declined, decline, parse_replacement, replace_match
from .rewrites import REWRITES, Rewrite, operators, option, read_rewrite

__all__ = ["Fuse", "Layout", "kernel_ops", "main_op", "pattern_of"]

_LIGHT_TO_HEAVY = (
    Kind.VIEW,
    Kind.LAYOUT,
    Kind.ELEMENTWISE,
    Kind.QUANTIZATION,
    Kind.GATHER,
    Kind.SCAN,
    Kind.REDUCTION,
    Kind.WINDOW,
    Kind.NORMALIZATION,
    Kind.CONTROL,
    Kind.OPAQUE,
    Kind.RECURRENT,
    Kind.CONTRACTION,
)
_WEIGHT = {kind: rank for rank, kind in enumerate(_LIGHT_TO_HEAVY)}


FUSED_FOR = "fused_for"
"""The graph's attribute that names the runtime whose kernels its operations are."""


@dataclass(frozen=True, slots=True)
class Layout(Fact, key="layout"):
    """The layout that a kernel's main result is kept in, and what bringing activations into another one moves.

    ``name`` is ``blocked`` or empty; ``reordered_bytes`` are those of activations that the kernel brings from the plain
    layout to the blocked one, or back.
    """

    name: str
    reordered_bytes: int


@dataclass(frozen=True)
class Fuse(Pass):
    """Group operations into the kernels that the target's runtime launches.

    ``rules=target`` takes the rules of the target's runtime, ``rules=none`` leaves every operation a kernel of its own.
    """

    name = "fuse"
    requires = ("precision",)
    provides = ("kernels",)
    invalidates = ("work", "memory", "calibrated", "cost")
    needs_numbers = False
    rules: str = "target"

    def run(self, graph: Graph, context: Context) -> None:
        """Apply the runtime's rules in their order, then replace each group by one ``graphs.kernel``.

        Raises:
            PassError: ``rules`` is no choice, a rule cannot be read, or another runtime's rules ran before.
        """
        if self.rules not in ("target", "none"):
            raise PassError(f"fuse: rules must be 'target' or 'none', not {self.rules!r}")
        runtime = context.target.runtime.name
        if self.rules == "none" or graph.attributes.get(FUSED_FOR) == runtime:
            return
        if FUSED_FOR in graph.attributes:
            raise PassError(
                f"fuse: these are the kernels of {graph.attributes[FUSED_FOR]!r}, not operations",
                help=f"start from the model to see what {runtime} makes of it",
            )
        graph.attributes[FUSED_FOR] = runtime
        steps = [_step(source) for source in context.target.runtime.rules]
        graphs = [graph]
        while graphs:
            current = graphs.pop()
            state = _State(current, context)
            for step in steps:
                step(state)
            state.materialise()
            for op in reversed(current.body):
                show_constants(op)
                graphs.extend(body.region for body in reversed(bodies_of(op)))


@dataclass(slots=True)
class _Group:
    """Operations that become one kernel, in the order they were matched (root first), and what its rule says of it."""

    ops: list[Op]
    name: str
    where: str
    kind: str = ""
    quantized: bool = False


@dataclass(slots=True)
class _State:
    """The graph while rules work on it, and the groups found so far."""

    graph: Graph
    context: Context
    blocked: frozenset[Value] = frozenset()
    block: int = 0
    group_of: dict[Op, _Group] = field(default_factory=dict)

    def free(self, op: Op) -> bool:
        return op not in self.group_of and op.name not in (INPUT, OUTPUT, CONSTANT)

    def add(self, match: Match, group: _Group) -> None:
        group.ops.extend(match.ops)
        self.group_of.update((op, group) for op in match.ops)
        self.context.count(f"fuse: {group.where}")

    def materialise(self) -> None:
        layouts = self._layouts()
        order = {op: position for position, op in enumerate(self.graph.ops)}
        groups = {id(group): group for op in order if (group := self.group_of.get(op))}
        for group in groups.values():
            if len(group.ops) > 1 or group.kind:
                kernel = _materialise(self.graph, group, sorted(group.ops, key=order.__getitem__))
                self.context.count("fuse: kernels formed")
                inside = [layouts.pop(op) for op in group.ops if op in layouts]
                if inside:
                    blocked = next((layout.name for layout in inside if layout.name), "")
                    layouts[kernel] = Layout(blocked, sum(layout.reordered_bytes for layout in inside))
        for op, layout in layouts.items():
            op.facts.add(layout)

    def _layouts(self) -> dict[Op, Layout]:
        """The layout of every operation that has to do with the blocked one."""
        reordered = reordered_bytes(self.graph, self.blocked, self.block, self.same_kernel)
        concerned = [*(value.op for value in self.blocked if value.op in self.graph.nx), *reordered]
        return {
            op: Layout("blocked" if op.results[0] in self.blocked else "", reordered.get(op, 0)) for op in concerned
        }

    def same_kernel(self, one: Op, other: Op) -> bool:
        """Whether two operations are in one group."""
        return one in self.group_of and self.group_of[one] is self.group_of.get(other)


Step = Callable[[_State], None]


def _step(source: RuleSource) -> Step:
    """Read one step of a runtime's ``fuse`` list."""
    try:
        return _read_step(source.mapping, source.where)
    except PatternError as error:
        raise PassError(f"{source.where}: fuse: {error}") from None


def _read_step(rule: Mapping[str, Any], where: str) -> Step:
    if "match" in rule:
        return _match_step(rule, where)
    if "chain" in rule:
        return _chain_step(rule["chain"], where)
    if "blocked_layout" in rule:
        return _layout_step(read_block(rule["blocked_layout"]))
    if "strided_views" in rule:
        return _strided_step(rule["strided_views"], where)
    if "bias_kernels" in rule:
        return _bias_step(rule["bias_kernels"], where)
    if (rewrite := read_rewrite(rule)) is not None:
        return _rewrite_step(rewrite, where)
    steps = ", ".join(("match", "chain", "blocked_layout", "strided_views", "bias_kernels", *REWRITES))
    raise PatternError(f"a rule has one step among {steps}; this one has {', '.join(rule)}")


def _kinds(names: Sequence[str]) -> frozenset[Kind]:
    known = {kind.value: kind for kind in Kind}
    for name in names:
        if name not in known:
            raise PatternError(f"no kind {name!r}; there are {', '.join(sorted(known))}")
    return frozenset(known[name] for name in names)


def _rewrite_step(rewrite: Rewrite, where: str) -> Step:
    return lambda state: state.context.count(f"fuse: {where}", rewrite(state.graph))


def _layout_step(block: Callable[[int | None], int]) -> Step:
    def apply(state: _State) -> None:
        state.block = block(state.context.target.device.vector_bytes)
        state.blocked = blocked_values(state.graph, state.block)

    return apply


def _strided_step(options: Any, where: str) -> Step:
    names = operators(option(options, "strided_views", "copied_by"))
    reading = frozenset(option(options, "strided_views", "read_by"))

    def apply(state: _State) -> None:
        def copies(op: Op) -> bool:
            return op.name in names and (op not in state.group_of or state.group_of[op].name not in reading)

        state.context.count(f"fuse: {where}", make_strided_views(state.graph, copies, state.free))

    return apply


def _bias_step(options: Any, where: str) -> Step:
    names = operators(option(options, "bias_kernels", "operators"))
    classes = option(options, "bias_kernels", "device_classes")

    def apply(state: _State) -> None:
        if state.context.target.device.device_class in classes:
            state.context.count(f"fuse: {where}", add_biases_apart(state.graph, names, state.free))

    return apply


# -- match ------------------------------------------------------------------------------------------------------------


def _match_step(rule: Mapping[str, Any], where: str) -> Step:
    pattern = parse_pattern(str(rule["match"]))
    conditions = [parse_condition(text) for text in str(rule["where"]).split(" and ")] if "where" in rule else []
    name, kind, quantized = str(rule.get("name", "")), str(rule.get("kind", "")), rule.get("quantized") is True
    _kinds([kind] if kind else [])
    roots = root_names(pattern)
    kinds = frozenset(Kind(root[1:]) for root in roots if root.startswith("@"))
    replacement = parse_replacement(str(rule["becomes"])) if "becomes" in rule else None
    least = 1 if isinstance(pattern, Node) and (kind or replacement) else 2

    def apply(state: _State) -> None:
        environment = Environment(state.graph, state.blocked)
        for op in reversed(state.graph.body):
            if op in state.graph and (op.name in roots or (kinds and kind_of(op) in kinds)) and state.free(op):
                match, failed = _first(state, pattern, op, conditions, environment)
                if match is None or len(match.ops) < least:
                    continue
                if failed is not None:
                    if replacement is not None:
                        decline(match, replacement, failed, where)
                    continue
                if replacement is None:
                    state.add(match, _Group([], name, where, kind, quantized))
                else:
                    replace_match(state.graph, match, replacement)
                    state.context.count(f"fuse: {where}")

    return apply


def _first(
    state: _State, pattern: Pattern, op: Op, conditions: list[Condition], env: Environment
) -> tuple[Match | None, Condition | None]:
    """The first match whose conditions all hold; else the first of all, and the condition that does not hold there."""
    first: tuple[Match | None, Condition | None] = (None, None)
    for match in match_at(state.graph, pattern, op, state.free):
        failed = next((condition for condition in conditions if not condition.holds(env, match.values)), None)
        if failed is None:
            return match, None
        if first[0] is None:
            first = match, failed
    return first


# -- chain ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chain:
    """A step that merges kernels of ``producers`` into those of ``consumers`` that read them, and nothing else does.

    ``shared`` producers may be read elsewhere too, by what the consumer does not wait for.
    """

    producers: frozenset[Kind]
    consumers: frozenset[Kind]
    shared: bool
    where: str


def _chain_step(options: Mapping[str, Any], where: str) -> Step:
    producers, consumers = (_kinds(option(options, "chain", key)) for key in ("producers", "consumers"))
    chain = _Chain(producers, consumers, options.get("shared") is True, where)

    def apply(state: _State) -> None:
        for op in state.graph.body:
            if kind_of(op) in consumers and op.name not in (INPUT, OUTPUT, CONSTANT):
                _absorb_producers(state, op, chain)

    return apply


def _absorb_producers(state: _State, op: Op, chain: _Chain) -> None:
    """Merge into ``op``'s group every producing group that nothing else reads, until there is none.

    A kernel has at most one member that is not of a consumer kind: two convolutions do not become one kernel.
    """
    group = state.group_of.get(op) or _Group([op], "", chain.where)
    while (other := _mergeable(state, group, chain)) is not None:
        group.ops.extend(other.ops)
        group.name, group.quantized = "", group.quantized or other.quantized
        state.group_of.update((member, group) for member in group.ops)


def _mergeable(state: _State, group: _Group, chain: _Chain) -> _Group | None:
    members = set(group.ops)
    heavy = _heaviest(group) not in chain.consumers
    for producer in (value.op for member in group.ops for value in member.inputs):
        if producer in members or producer.name in (INPUT, CONSTANT):
            continue
        other = state.group_of.get(producer) or _Group([producer], "", group.where)
        kind = _heaviest(other)
        if kind not in chain.producers or (heavy and kind not in chain.consumers):
            continue
        inside = members.union(other.ops)
        elsewhere = [user for member in other.ops for user in state.graph.each_user(member) if user not in inside]
        if not elsewhere or (chain.shared and not _waits_for(state, inside, elsewhere)):
            return other
    return None


def _waits_for(state: _State, inside: set[Op], starts: Sequence[Op]) -> bool:
    """Whether an operation of ``inside`` reads what follows from ``starts``: then they cannot be one kernel.

    Operations of one group run together, so that what follows from one follows from all.
    """
    place = state.graph.cached(_places)
    last = max(place[op] for op in inside)
    seen: set[Op] = set()
    pending = list(starts)
    while pending:
        op = pending.pop()
        if op in inside:
            return True
        if op in seen or (place[op] > last and op not in state.group_of):
            continue
        group = state.group_of.get(op)
        for member in group.ops if group else (op,):
            seen.add(member)
            pending.extend(state.graph.each_user(member))
    return False


def _places(graph: Graph) -> dict[Op, int]:
    return {op: place for place, op in enumerate(graph.ops)}


def _heaviest(group: _Group) -> Kind:
    return max((kind_of(op) for op in group.ops), key=lambda kind: _WEIGHT[kind])


# -- kernels ----------------------------------------------------------------------------------------------------------


def _materialise(graph: Graph, group: _Group, members: Sequence[Op]) -> Op:
    """Replace a group by one operation that has copies of its members, given in topological order, in a region."""
    inside = set(members)
    operands = list(dict.fromkeys(v for op in members for v in op.inputs if v.op not in inside))
    results = [v for op in members for v in op.results if any(user not in inside for user, _ in graph.uses(v))]
    region = Graph("kernel")
    image: dict[Value | None, Value | None] = {None: None}
    for value in operands:
        image[value] = region.add(INPUT, [], [(value.name, value.type)], constant_attributes(value)).result
    for op in members:
        twin = region.add(
            op.name,
            [image[value] for value in op.operands],
            [(value.name, value.type) for value in op.results],
            op.attributes,
            regions=op.regions,
            loc=op.loc,
        )
        if Declined in op.facts:
            twin.facts.add(op.facts[Declined])
        image.update(zip(op.results, twin.results, strict=True))
    for value in results:
        region.add(OUTPUT, [image[value]])
    attributes: dict[str, Any] = {"captures": len(operands), "rule": group.where}
    attributes.update({key: text for key, text in (("pattern", group.name), ("kind", group.kind)) if text})
    attributes.update({QUANTIZED: True} if group.quantized else {})
    names = [(value.name, value.type) for value in results]
    loc = Location.union(op.loc for op in members)
    kernel = graph.add(KERNEL, operands, names, attributes, regions=[region], loc=loc, before=members[-1])
    for old, new in zip(results, kernel.results, strict=True):
        for user, index in graph.uses(old):
            if user not in inside:
                graph.set_operand(user, index, new)
    for op in reversed(members):
        graph.erase(op)
    for new, (name, _) in zip(kernel.results, names, strict=True):
        graph.rename(new, name)
    return kernel


def kernel_ops(op: Op) -> tuple[Op, ...]:
    """The operations that run in a kernel: those in its region, or the operation itself."""
    return op.regions[0].body if op.name == KERNEL else (op,)


def main_op(op: Op) -> Op:
    """The operation that a kernel is named after: its heaviest by kind, the first of them."""
    return max(kernel_ops(op), key=lambda inner: _WEIGHT[kind_of(inner)])


def pattern_of(op: Op) -> str:
    """What was fused: the rule's name for it, else the operators in order, ``Conv_Relu``.

    A kernel on quantised values goes without the conversions, ``Quantized_Conv_Relu``.
    """
    name = op.attributes.get("pattern") if op.name == KERNEL else None
    if isinstance(name, str):
        return name
    if op.attributes.get(QUANTIZED) is True:
        between = [m.base_name for m in kernel_ops(op) if kind_of(m) not in (Kind.VIEW, Kind.QUANTIZATION)]
        return "_".join(("Quantized", *between))
    inner = [member.base_name for member in kernel_ops(op) if kind_of(member) is not Kind.VIEW]
    return "_".join(inner) or kernel_ops(op)[0].base_name
