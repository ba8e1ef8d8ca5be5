"""What stands in for an operation type that nothing was measured of: ``proxies.yaml``, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log

from ..targets.document import Node, parse_document
from .errors import CalibrationError

__all__ = ["Proxy", "proxies_of", "read_proxies"]


@dataclass(frozen=True, slots=True)
class Proxy:
    """Operation types that stand in for another, and how often each counts.

    In two cases of three a kernel's time is within a factor of 1 / ``confidence`` of what they say.
    """

    use: tuple[tuple[str, float], ...]
    confidence: float
    reason: str

    @property
    def name(self) -> str:
        """How reports call it: ``matmul × 4 + softmax``."""
        return " + ".join(name if times == 1 else f"{name} × {times:g}" for name, times in self.use)

    @property
    def std(self) -> float:
        """Standard deviation of the logarithm of time that standing in adds."""
        return -log(self.confidence)

    def efficiency(self, known: Mapping[str, float]) -> float | None:
        """The efficiency of doing all parts one after the other; ``None`` where one of them was not measured either.

        ``known`` are operation types' efficiencies. Σ times / Σ (times / efficiency).
        """
        if not all(name in known for name, _ in self.use):
            return None
        return sum(times for _, times in self.use) / sum(times / known[name] for name, times in self.use)


def proxies_of(operation_type: str) -> tuple[Proxy, ...]:
    """Return what stands in for an operation type, best first; nothing for one that the file does not name."""
    return _shipped().get(operation_type, ())


@cache
def _shipped() -> Mapping[str, tuple[Proxy, ...]]:
    return read_proxies(files(__package__).joinpath("proxies.yaml").read_text(encoding="utf-8"), "proxies.yaml")


def read_proxies(text: str, file: str) -> Mapping[str, tuple[Proxy, ...]]:
    """Return the stand-ins that a YAML text lists. Raises :class:`CalibrationError`."""
    root = parse_document(text, file)
    if not isinstance(root.value, dict):
        raise CalibrationError(f"{root.where}: expected operation types with their stand-ins")
    return {name: tuple(_proxy(row) for row in _rows(rows)) for name, rows in root.value.items()}


def _rows(node: Node) -> list[Node]:
    if not isinstance(node.value, list):
        raise CalibrationError(f"{node.where}: expected a list of stand-ins")
    return node.value


def _proxy(node: Node) -> Proxy:
    row = node.to_python()
    if not isinstance(row, dict) or row.keys() != {"use", "confidence", "reason"}:
        raise CalibrationError(f"{node.where}: expected the keys use, confidence and reason")
    use, confidence = row["use"], row["confidence"]
    parts = {use: 1} if isinstance(use, str) else use
    if not isinstance(parts, dict) or not all(isinstance(n, int) and n > 0 for n in parts.values()):
        raise CalibrationError(f"{node.where}: use: expected an operation type, or several with how often each counts")
    if not isinstance(confidence, float) or not 0.0 < confidence < 1.0:
        raise CalibrationError(f"{node.where}: confidence: expected a number between 0 and 1, got {confidence!r}")
    return Proxy(tuple((name, float(times)) for name, times in parts.items()), confidence, str(row["reason"]))
