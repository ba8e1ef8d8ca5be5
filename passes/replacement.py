"""Replaces what a rule's pattern matched by one operation (the rule's ``becomes``).

    match: QuantizeLinear(k=Conv(DequantizeLinear(x, xs, xz?), DequantizeLinear(w, ws, wz?)), ys, yz?)
    becomes: k=QLinearConv(x, xs, xz, w, ws, wz, ys, yz)

Operands are names that the pattern bound, absent where it left them out. ``k=`` says whose attributes the operation
takes over, and whose name it goes by. Its result is the pattern's root's.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import CONSTANT, INPUT, Fact, Graph, Location, Op, TensorType
from .patterns import Bind, Match, Node, PatternError, parse_pattern
from .predicates import Condition

__all__ = ["Declined", "Replacement", "decline", "parse_replacement", "replace_match"]


@dataclass(frozen=True, slots=True)
class Declined(Fact, key="declined"):
    """Which operator a rule would have put in this one's place but for a condition, and where the rule stands."""

    operator: str
    condition: str
    rule: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """An operator, the names of its operands, and the name of the value whose operation gives the attributes."""

    operator: str
    operands: tuple[str, ...]
    like: str


def parse_replacement(text: str) -> Replacement:
    """Read ``k=Operator(x, y, …)``.

    Raises:
        PatternError: the text is no operator of bound names.
    """
    node = parse_pattern(text)
    if not isinstance(node, Node) or len(node.names) != 1 or node.optional or not node.ordered:
        raise PatternError(f"expected one operator and its operands, got {text!r}")
    names = tuple(operand.name for operand in node.operands if isinstance(operand, Bind) and not operand.optional)
    if len(names) != len(node.operands) or node.names[0].startswith("@"):
        raise PatternError(f"operands must be names that the pattern binds, in {text!r}")
    return Replacement(node.names[0], names, node.bind)


def replace_match(graph: Graph, match: Match, replacement: Replacement) -> Op:
    """Put one operation in the place of all those matched; return it."""
    root = match.ops[0]
    like = match.values[replacement.like].op if replacement.like else root
    operands = [match.values.get(name) for name in replacement.operands]
    while operands and operands[-1] is None:
        operands.pop()
    loc = Location.union([like.loc, *(op.loc for op in match.ops)])
    name = root.result.name
    attributes = like.attributes if replacement.like else {}
    made = graph.add(replacement.operator, operands, [(name, root.result.type)], attributes, loc=loc, before=root)
    graph.replace(root, [made.result])
    graph.rename(made.result, name)
    for op in match.ops[1:]:
        _erase_unread(graph, op)
    return made


def decline(match: Match, replacement: Replacement, condition: Condition, rule: str) -> None:
    """Note on the operation that a replacement is like that ``condition`` kept it; the first such note stays."""
    like = match.values[replacement.like].op if replacement.like else match.ops[0]
    if Declined not in like.facts:
        types = [(name, match.values[name].type) for name in condition.names if name in match.values]
        shown = ", ".join(f"{name} is {type_.dtype.mlir}" for name, type_ in types if isinstance(type_, TensorType))
        operator = replacement.operator.rpartition(".")[2]
        like.facts.add(Declined(operator, f"{condition.text}; {shown}" if shown else condition.text, rule))


def _erase_unread(graph: Graph, op: Op) -> None:
    if op in graph and op.name not in (INPUT, CONSTANT) and not graph.users(op):
        graph.erase(op)
