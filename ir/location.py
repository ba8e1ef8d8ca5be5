"""Where an operation came from: what reports, errors and exporters point at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["UNKNOWN_LOCATION", "Location", "Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """One operation of the source file.

    ``name`` is the source's name for it (an ONNX node name), ``module`` the framework's module path where the exporter
    left one (``layer1.0.conv2``), ``index`` its position in the source graph.
    """

    name: str
    module: str = ""
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """The origins an operation stands for: one as loaded, several after a rewrite."""

    origins: tuple[Origin, ...] = ()

    @staticmethod
    def of(name: str, module: str = "", index: int | None = None) -> Location:
        """Return the location of a single source operation."""
        return Location((Origin(name, module, index),))

    @staticmethod
    def union(locations: Iterable[Location]) -> Location:
        """Return the location that names every origin once, in order."""
        return Location(tuple(dict.fromkeys(origin for location in locations for origin in location.origins)))

    @property
    def name(self) -> str:
        """Name of the first origin, empty if there is none."""
        return self.origins[0].name if self.origins else ""

    @property
    def module(self) -> str:
        """The deepest module path that all origins share."""
        paths = [origin.module.split(".") for origin in self.origins if origin.module]
        if not paths:
            return ""
        shared = paths[0]
        for path in paths[1:]:
            length = next((i for i, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), None)
            shared = shared[: min(len(shared), len(path)) if length is None else length]
        return ".".join(shared)

    def __str__(self) -> str:
        return ", ".join(origin.name for origin in self.origins)


UNKNOWN_LOCATION = Location()
