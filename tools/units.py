"""Numbers as people read them: three significant digits, SI prefixes, right next to their unit."""

from __future__ import annotations

import re
from math import floor, isfinite, log10

from ..ir import Expression, Shape, expression_text

__all__ = ["NOTHING", "brief", "count", "duration", "intensity", "percent", "readable", "rounded", "shape", "si"]

NOTHING = "–"
"""What stands where there is no number; never an empty cell, which could be a fault of the table."""

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_DIGITS = 3


def si(value: float | None, unit: str = "") -> str:
    """``231000000`` as ``231 M``, ``4.8e6`` bytes as ``4.80 MB``; whole numbers below 1000 keep no decimals.

    What no prefix makes short is written with a power of ten: ``1.70e38 B``.
    """
    if isinstance(value, Expression):
        return f"{readable(value)} {unit}".rstrip()
    if value is None or not isfinite(value):
        return NOTHING
    if value == 0:
        return f"0 {unit}".rstrip()
    rounded = float(f"{value:.{_DIGITS - 1}e}")
    magnitude = floor(log10(abs(rounded)))
    if magnitude >= max(_PREFIXES) + 3:
        return f"{rounded:.{_DIGITS - 1}e} {unit}".replace("e+", "e").rstrip()
    exponent = min(max(3 * (magnitude // 3), min(_PREFIXES)), max(_PREFIXES))
    whole = exponent == 0 and float(value).is_integer()
    decimals = 0 if whole else max(0, _DIGITS - 1 - (magnitude - exponent))
    return f"{rounded / 10**exponent:.{decimals}f} {_PREFIXES[exponent]}{unit}".rstrip()


def count(value: int | None) -> str:
    """A number of operations; none at all is a dash."""
    return si(value) if value else NOTHING


def duration(seconds: float | None) -> str:
    """``0.00116`` as ``1.16 ms``."""
    return si(seconds, "s")


def percent(share: float | None) -> str:
    """``0.1823`` as ``18.2 %``."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def rounded(share: float) -> str:
    """``0.1823`` as ``18 %``; what is not quite nothing as ``<1 %``, and not quite all as ``>99 %``."""
    if 0 < share < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"


def intensity(value: float | None) -> str:
    """Arithmetic intensity, FLOP per byte: three digits, no prefix."""
    if value is None:
        return NOTHING
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def shape(extents: Shape | None) -> str:
    """``(1, 512, 7, 7)`` as ``1×512×7×7``; a scalar has no extents, and what is not known a question mark."""
    if extents is None:
        return "?"
    return "×".join(_extent(extent) for extent in extents) if extents else "scalar"


def _extent(extent: int | Expression) -> str:
    text = str(extent) if isinstance(extent, int) else readable(extent)
    return f"({text})" if " " in text and not text.endswith(")") else text


_WORD = re.compile(r"'(?:[^'\\]|\\.)*'|[A-Za-z_][A-Za-z0-9_.]*|\*\*[0-9]+|[0-9]+|\*|//")
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def readable(expression: Expression) -> str:
    """``2*batch*seq**2 + 1024*batch`` as ``2·batch·seq² + 1,024·batch``; ``⌊seq / 2⌋`` is left as ``seq//2``."""
    return _WORD.sub(_as_read, expression_text(expression))


def _as_read(match: re.Match[str]) -> str:
    word = match.group()
    if word.startswith("**"):
        return word[2:].translate(_RAISED)
    if word == "*":
        return "·"
    return f"{int(word):,}" if word.isdigit() else word


def brief(text: str, width: int) -> str:
    """A sum cut after the last term that fits ``width``: ``18,432·batch·seq² + …``."""
    if len(text) <= width:
        return text
    cut = text.rfind(" + ", 0, width - 3)
    return f"{text[:cut]} + …" if cut > 0 else f"{text[: width - 1]}…"
