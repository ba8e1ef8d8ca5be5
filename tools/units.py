"""Numbers as people read them: three significant digits, SI prefixes, right next to their unit."""

from __future__ import annotations

from math import floor, isfinite, log10

__all__ = ["NOTHING", "count", "duration", "intensity", "percent", "rounded", "shape", "si"]

NOTHING = "–"
"""What stands where there is no number; never an empty cell, which could be a fault of the table."""

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_DIGITS = 3


def si(value: float | None, unit: str = "") -> str:
    """``231000000`` as ``231 M``, ``4.8e6`` bytes as ``4.80 MB``; whole numbers below 1000 keep no decimals."""
    if value is None or not isfinite(value):
        return NOTHING
    if value == 0:
        return f"0 {unit}".rstrip()
    rounded = float(f"{value:.{_DIGITS - 1}e}")
    magnitude = floor(log10(abs(rounded)))
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


def shape(extents: tuple[int | str, ...]) -> str:
    """``(1, 512, 7, 7)`` as ``1×512×7×7``; a scalar has no extents."""
    return "×".join(str(extent) for extent in extents) if extents else "scalar"
