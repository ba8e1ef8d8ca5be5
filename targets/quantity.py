"""Numbers with units: parsed from text, held in SI, printed back, and each with the place it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

__all__ = ["DIMENSIONS", "Dimension", "Quantity", "QuantityError", "format_quantity", "parse_quantity"]

_NUMBER = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(?P<unit>[^\s0-9.+-][^\s]*)?")
_LONGEST_TEXT = 64
_SI = {"": 1.0, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_IEC = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_SMALL = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}


class QuantityError(ValueError):
    """Text that is no quantity of the dimension asked for."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """What a number measures: its SI unit, the units it may be written in, and an example for messages."""

    name: str
    si_unit: str
    units: Mapping[str, float]
    example: str
    printed: tuple[str, ...]
    zero_allowed: bool = False

    @property
    def expectation(self) -> str:
        """How an error message asks for such a value: `a rate such as "512 GB/s"`."""
        article = "an" if self.name[0] in "aeiou" else "a"
        return f'{article} {self.name} such as "{self.example}"'


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in SI units, and where it stands: file and line, the id of its source, what was said of it.

    A quantity that was computed from others (a peak from a clock and operations per cycle) says so in `note`. `low`
    and `high` are the `span` that it varies in from case to case, where one was stated; else the value itself.
    """

    value: float
    unit: str
    source: str | None
    where: str
    note: str = ""
    span: tuple[float, float] | None = None

    @property
    def low(self) -> float:
        """The lower end of what it varies in."""
        return self.span[0] if self.span else self.value

    @property
    def high(self) -> float:
        """The upper end of what it varies in."""
        return self.span[1] if self.span else self.value

    @property
    def assumed(self) -> bool:
        """Whether the number stands on an assumption instead of a statement about this device."""
        return self.note.startswith("assumed")

    def __str__(self) -> str:
        return f"{format_si(self.value, self.unit)}"


def _scaled(prefixes: Mapping[str, float], *units: str, factor: float = 1.0) -> dict[str, float]:
    return {prefix + unit: scale * factor for unit in units for prefix, scale in prefixes.items()}


def _dimensions() -> dict[str, Dimension]:
    big = {prefix: scale for prefix, scale in _SI.items() if prefix not in ("k", "P")}
    sizes = _scaled({**_SI, **_IEC}, "B")
    rates = {f"{unit}/s": scale for unit, scale in sizes.items()}
    throughput = _scaled(_SI, "FLOP/s", "OP/s") | _scaled(_SI, "MAC/s", factor=2.0)
    per_cycle = {"flop": 1.0, "flops": 1.0, "op": 1.0, "ops": 1.0, "mac": 2.0, "macs": 2.0}
    joules = _scaled(_SMALL, "J")
    watts = _scaled({"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "k": 1e3}, "W")
    seconds = _scaled({prefix: scale for prefix, scale in _SMALL.items() if prefix not in "fp" or not prefix}, "s")
    frequencies = _scaled(big | {"k": 1e3}, "Hz")
    known = (
        Dimension("size", "B", sizes, "8 MiB", ("GiB", "MiB", "KiB", "B")),
        Dimension("rate", "B/s", rates, "512 GB/s", ("TB/s", "GB/s", "MB/s", "KB/s", "B/s")),
        Dimension("frequency", "Hz", frequencies, "1.2 GHz", ("GHz", "MHz", "kHz", "Hz")),
        Dimension("duration", "s", seconds, "5 us", ("s", "ms", "us", "ns"), zero_allowed=True),
        Dimension("power", "W", watts, "15 W", ("W", "mW", "uW"), zero_allowed=True),
        Dimension("energy", "J", joules, "1.1 pJ", ("J", "mJ", "uJ", "nJ", "pJ", "fJ")),
        Dimension("energy per byte", "J/B", {f"{unit}/B": scale for unit, scale in joules.items()}, "20 pJ/B",
                  ("nJ/B", "pJ/B", "fJ/B")),
        Dimension("throughput", "FLOP/s", throughput, "989 TFLOP/s", ("TFLOP/s", "GFLOP/s", "MFLOP/s", "FLOP/s")),
        Dimension("work per cycle", "flop", per_cycle, "4096 mac", ("flop",)),
        Dimension("width", "B", {"B": 1.0}, "64 B", ("B",)),
    )  # fmt: skip
    return {dimension.name: dimension for dimension in known}


DIMENSIONS: Mapping[str, Dimension] = MappingProxyType(_dimensions())


def parse_quantity(text: str, dimension: str) -> float:
    """The SI value of text such as `68 GB/s`.

    Raises `QuantityError` for another unit, none, a negative or a non-finite number; zero passes only where the
    dimension allows it (durations and powers).
    """
    wanted = DIMENSIONS[dimension]
    stripped = text.strip()
    match = _NUMBER.fullmatch(stripped) if len(stripped) <= _LONGEST_TEXT else None
    if match is None or match["unit"] not in wanted.units:
        shown = stripped if len(stripped) <= _LONGEST_TEXT else stripped[:_LONGEST_TEXT] + "…"
        raise QuantityError(f'expected {wanted.expectation}, got "{shown}"')
    value = float(match["number"]) * wanted.units[match["unit"]]
    if not math.isfinite(value):
        raise QuantityError(f'expected a finite {wanted.name}, got "{stripped}"')
    if value == 0 and not wanted.zero_allowed:
        raise QuantityError(f'expected a {wanted.name} above zero, got "{stripped}"')
    return value


def format_quantity(value: float, dimension: str) -> str:
    """Text that `parse_quantity` reads back as the same number, in the largest unit that keeps it at least 1."""
    wanted = DIMENSIONS[dimension]
    for unit in wanted.printed:
        if value >= wanted.units[unit]:
            return f"{_exact(value, wanted.units[unit])} {unit}"
    smallest = wanted.printed[-1]
    return f"{_exact(value, wanted.units[smallest])} {smallest}"


def _exact(value: float, scale: float) -> str:
    """The shortest decimal that times `scale` gives `value` again."""
    for digits in range(1, 18):
        text = f"{value / scale:.{digits}g}"
        if float(text) * scale == value:
            return _without_exponent(text)
    return repr(value / scale)


def _without_exponent(text: str) -> str:
    """`4.8e+02` as `480`, unless that would be long."""
    return format(Decimal(text), "f") if 1e-6 < float(text) < 1e15 else text


def format_si(value: float, unit: str) -> str:
    """A number to three digits with an SI prefix, for people: `989 TFLOP/s`."""
    prefixes = [(scale, prefix) for prefix, scale in {**_SI, **_SMALL}.items() if prefix not in ("K", "u", "μ")]
    if value == 0 or unit in ("", "1"):
        return f"{value:.3g} {unit}".rstrip()
    fitting = [pair for pair in prefixes if value >= pair[0]]
    scale, prefix = max(fitting) if fitting else min(prefixes)
    return f"{value / scale:.3g} {prefix}{unit}"
