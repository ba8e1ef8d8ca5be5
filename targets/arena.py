"""Where a runtime keeps activations: what shares memory, how it is aligned, and what else is kept in RAM and flash."""

from __future__ import annotations

from dataclasses import dataclass

from .quantity import Quantity
from .reader import Section, fail

__all__ = ["SCRATCH", "Arena", "Upkeep", "read_arena"]

SHARING = ("views", "in_place", "bodies")
SCRATCH = ("none", "tflm-reference", "cmsis-nn")
"""Kernels whose working memory is known by their sources; `passes.scratch` has the formulas."""

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What a runtime on a microcontroller keeps beside activations and weights: RAM by tensor, by operator, by operator
    that computes, and by channel of quantised convolutions; fixed RAM; and its own code."""

    per_tensor: Quantity
    per_operator: Quantity
    per_kernel: Quantity
    per_channel: Quantity
    fixed: Quantity
    code: Quantity


@dataclass(frozen=True, slots=True)
class Arena:
    """How activations are laid out. `views` says that a reshape shares its operand's buffer, `in_place` that an
    elementwise kernel may write over its operand, `bodies` that a control operation's body reads what it is given, and
    writes its results, where they are outside; `scratch` names the kernels whose working memory counts."""

    alignment: int = _ALIGNMENT
    views: bool = True
    in_place: bool = True
    scratch: str = "none"
    upkeep: Upkeep | None = None
    bodies: bool = True


def read_arena(top: Section) -> Arena:
    """The arena that a runtime's file describes; one in which all that can be shared is shared, if it says nothing."""
    if "arena" not in top:
        return Arena()
    section = top.section("arena")
    section.only("alignment", "shares", "scratch", "upkeep", "source", "note")
    alignment = int(section.quantity("alignment", "width").value) if "alignment" in section else _ALIGNMENT
    if alignment < 1:
        raise fail("expected at least a byte", section.need("alignment"), section.path_of("alignment"))
    shares = section.names("shares", SHARING) if "shares" in section else SHARING
    upkeep = _read_upkeep(section.section("upkeep")) if "upkeep" in section else None
    scratch = section.choice("scratch", SCRATCH, "none")
    return Arena(alignment, "views" in shares, "in_place" in shares, scratch, upkeep, "bodies" in shares)


def _read_upkeep(section: Section) -> Upkeep:
    names = ("per_tensor", "per_operator", "per_kernel", "per_channel", "fixed", "code")
    section.only(*names, "source", "note")
    return Upkeep(*(section.quantity(name, "size") for name in names))
