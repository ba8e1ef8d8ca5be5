"""What software does with the hardware: what a kernel is, what launching one costs, how near to peak it comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .arena import Arena
from .device import Device, Source
from .efficiency import DEFAULT_CLASS, Efficiency, EfficiencyTable
from .quantity import Quantity

__all__ = ["ANY_CLASS", "CONCURRENCY", "VIEWS", "RuleSource", "Runtime"]

CONCURRENCY = ("serial", "branches")
VIEWS = ("free", "dispatch")
ANY_CLASS = "any"


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A fusion rule as it stands in the runtime's file; `passes.fuse` defines what it means."""

    mapping: Mapping[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """An inference runtime, as it behaves on the device that it was loaded for.

    `dispatch` is the time that every kernel launch costs, with what it varies in from kernel to kernel. `views` says
    whether reshapes cost a launch, `concurrency` whether independent branches run side by side, `rules` what becomes
    one kernel. `lacks` are operators that it does not have, `arena` says how it lays out activations.
    """

    name: str
    title: str
    device_classes: tuple[str, ...]
    dispatch: Quantity
    concurrency: str
    precisions: tuple[str, ...]
    substitutions: Mapping[str, Mapping[str, str]]
    lacks: frozenset[str]
    views: str
    rules: tuple[RuleSource, ...]
    efficiencies: Mapping[str, EfficiencyTable]
    sources: Mapping[str, Source]
    path: Path | None
    arena: Arena = field(default_factory=Arena)

    @property
    def dispatch_seconds(self) -> float:
        """What launching one kernel costs, on the device that the runtime was loaded for."""
        return self.dispatch.value

    def arithmetic(self, kernel_class: str, precision: str) -> str:
        """The precision that this runtime computes in for tensors of a precision (TF32 for FP32 convolutions, say)."""
        for key in (kernel_class, ANY_CLASS):
            if precision in self.substitutions.get(key, {}):
                return self.substitutions[key][precision]
        return precision

    def efficiency(
        self, kernel_class: str, device: Device, precision: str | None = None, asked: str | None = None
    ) -> Efficiency:
        """The fraction of peak that a class of kernels reaches here: the device's word before the runtime's own.

        A class that neither knows gets the row `default`. `precision` is that of the arithmetic, `asked` the one that
        it is done in place of, on a device that has none in it: a row for that one says how well it is emulated.
        Raises `KeyError` where the runtime says nothing of this class of device.
        """
        own = self.efficiencies.get(device.device_class)
        tables = [device.efficiencies.get(self.name), device.efficiencies.get(ANY_CLASS), own]
        for table in tables if asked not in (None, precision) else ():
            emulated = table.named(kernel_class, asked) if table is not None and asked is not None else None
            if emulated is not None:
                return emulated
        for wanted in (kernel_class, DEFAULT_CLASS):
            for table in tables:
                found = table.find(wanted, precision) if table is not None else None
                if found is not None:
                    return found
        raise KeyError(device.device_class)
