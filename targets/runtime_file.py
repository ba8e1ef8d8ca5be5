"""A runtime's YAML tree, read into a `Runtime` for one device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .arena import read_arena
from .device import DEVICE_CLASSES, PRECISIONS, Device
from .device_file import read_sources
from .document import Node
from .efficiency import DEFAULT_CLASS, KERNEL_CLASSES
from .efficiency_file import read_efficiencies
from .errors import TargetError, suggestion
from .quantity import Quantity
from .reader import Section, fail
from .runtime import ANY_CLASS, CONCURRENCY, VIEWS, RuleSource, Runtime

__all__ = ["RUNTIME_KEYS", "RuntimeFile", "read_runtime"]

RUNTIME_KEYS = (
    "schema", "name", "title", "extends", "device_classes", "sources", "dispatch", "concurrency", "precisions",
    "arithmetic", "lacks", "views", "arena", "fuse", "efficiency",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """A runtime's tree after inheritance, and where it came from."""

    name: str
    root: Node
    path: Path | None
    strict: bool


def read_runtime(file: RuntimeFile, device: Device) -> Runtime:
    """The runtime that a tree describes, as it behaves on a device. Raises `TargetError`."""
    sources = read_sources(file.root, file.strict)
    top = Section.root(file.root, sources, file.strict)
    top.only(*RUNTIME_KEYS)
    classes = top.names("device_classes", DEVICE_CLASSES)
    if device.device_class not in classes:
        raise fail(f"runs on {', '.join(classes)}; {device.name} is a {device.device_class}",
                   top.need("device_classes"), "device_classes")  # fmt: skip
    efficiencies = read_efficiencies(top.section("efficiency"))
    if device.device_class not in efficiencies or not efficiencies[device.device_class].find(DEFAULT_CLASS):
        raise fail(f'needs a row "{DEFAULT_CLASS}" for "{device.device_class}"', top.need("efficiency"), "efficiency")
    return Runtime(
        name=file.name,
        title=top.text("title", file.name),
        device_classes=classes,
        dispatch=_dispatch(top, device, file.name),
        concurrency=top.choice("concurrency", CONCURRENCY, "serial"),
        precisions=top.names("precisions", PRECISIONS),
        substitutions=_substitutions(top, device.device_class),
        lacks=frozenset(top.names("lacks")) if "lacks" in top else frozenset(),
        views=top.choice("views", VIEWS),
        rules=_rules(top),
        efficiencies=efficiencies,
        sources=sources,
        path=file.path,
        arena=read_arena(top),
    )


def _dispatch(top: Section, device: Device, runtime: str) -> Quantity:
    """The launch cost: the device's own word on this runtime, else the runtime's by class of device."""
    below = top.section("dispatch")
    below.only(*DEVICE_CLASSES, "source", "note")
    by_class = {name: below.varying(name, "duration") for name in below.children if name in DEVICE_CLASSES}
    if runtime in device.dispatch:
        return device.dispatch[runtime]
    if device.device_class not in by_class:
        raise fail(f'no launch cost for "{device.device_class}"', below.node, below.path)
    return by_class[device.device_class]


def _substitutions(top: Section, device_class: str) -> Mapping[str, Mapping[str, str]]:
    """By kernel class, the precisions that this class of device is made to compute others in."""
    if "arithmetic" not in top:
        return {}
    classes = top.section("arithmetic")
    classes.only(*DEVICE_CLASSES)
    by_class = {name: _by_kernel_class(below) for name, below in classes.sections()}
    return by_class.get(device_class, {})


def _by_kernel_class(section: Section) -> dict[str, dict[str, str]]:
    section.only(*KERNEL_CLASSES, ANY_CLASS)
    return {name: _precision_map(below) for name, below in section.sections()}


def _precision_map(section: Section) -> dict[str, str]:
    section.only(*PRECISIONS)
    return {precision: section.choice(precision, PRECISIONS) for precision in section.children}


def _rules(top: Section) -> tuple[RuleSource, ...]:
    if "fuse" not in top:
        return ()
    node = top.need("fuse")
    if not isinstance(node.value, list):
        raise fail("expected a list of rules", node, "fuse")
    for item in node.value:
        if not isinstance(item.value, dict):
            raise fail("expected a rule, which is a mapping", item, "fuse")
    return tuple(RuleSource(item.to_python(), str(item.where)) for item in node.value)


def check_listed(runtime: str, device: Device) -> None:
    """Refuse a runtime that the device's file does not list."""
    if runtime not in device.runtimes:
        raise TargetError(
            f'{device.name} has no runtime "{runtime}"{suggestion(runtime, device.runtimes)}',
            help=f"it runs {', '.join(device.runtimes)}; list another under `runtimes` in a file that extends it",
        )
