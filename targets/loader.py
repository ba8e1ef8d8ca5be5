"""`--target=DEVICE[:RUNTIME][@MODE]`: from that text, or a file's path, to the hardware and software it names."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from . import host
from .catalog import is_path, is_shipped, open_named, resolved
from .device import Device
from .device_file import DeviceFile, read_device
from .document import Document, Node
from .errors import TargetError, suggestion
from .inheritance import apply_mode, check_modes, mode_names
from .reader import fail
from .runtime import Runtime
from .runtime_file import RuntimeFile, check_listed, read_runtime

__all__ = ["Target", "TargetName", "load_target", "parse_target"]

_FILE = r"(?:[A-Za-z]:(?=[\\/]))?[^:]*?\.ya?ml(?=[:@]|$)"
_TARGET = re.compile(
    rf"(?P<device>{_FILE}|[^:@]+)(:(?P<runtime>{_FILE}|[^:@]+))?(@(?P<mode>[^:@]+))?", flags=re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class TargetName:
    """A target's text in its three parts."""

    device: str
    runtime: str | None
    mode: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """Hardware, software and power mode; `spec` is the text that names exactly this."""

    device: Device
    runtime: Runtime
    mode: str | None
    spec: str


def parse_target(text: str) -> TargetName:
    """The parts of `DEVICE[:RUNTIME][@MODE]`; a device or runtime may be a path to a YAML file."""
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        raise TargetError(f'cannot read the target "{text}"', help="write DEVICE[:RUNTIME][@MODE], or a .yaml file")
    return TargetName(match["device"], match["runtime"], match["mode"])


def load_target(spec: str | Path, *, system: Path = Path("/")) -> Target:
    """The target that a text names: `jetson-orin-agx:tensorrt@30W`, `host`, `./mine.yaml:onnxruntime-cpu`.

    `system` is the root under which `host` reads what the operating system says of the machine.
    Raises `TargetError`.
    """
    name = parse_target(str(spec))
    device = _device(name, system)
    runtime = _runtime(name.runtime, device)
    parts = [name.device, ":", name.runtime or runtime.name]
    parts += ["@", device.mode] if device.mode else []
    return Target(device, runtime, device.mode, "".join(parts))


def _device(name: TargetName, system: Path) -> Device:
    document, notes = open_named("devices", name.device), list[str]()

    def completed(opened: Document) -> Document:
        if not host.is_template(opened.root):
            return opened
        described, remarks = host.describe(opened.root, host.read_machine(system))
        notes.extend(remarks)
        return Document(described, opened.path)

    tree = resolved("devices", document, completed)
    file = DeviceFile(
        name=_own_name(document, name.device),
        root=tree,
        path=document.path,
        modes=mode_names(tree),
        mode=None,
        strict=is_shipped(document.path),
        notes=tuple(notes),
    )
    try:
        check_modes(tree)
    except TargetError:
        read_device(file)  # a mistake in what the modes override comes before one in the modes
        raise
    mode = _mode(name, tree)
    return read_device(file if mode is None else replace(file, root=apply_mode(tree, mode), mode=mode))


def _own_name(document: Document, asked: str) -> str:
    """The name that a file gives itself, else its file name; never one that it inherits."""
    assert isinstance(document.root.value, dict)
    node = document.root.value.get("name")
    if node is None:
        return document.path.stem if document.path is not None else asked
    if not isinstance(node.value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", node.value):
        raise fail("expected a name of letters, digits, dots and dashes", node, "name")
    return node.value


def _mode(name: TargetName, tree: Node) -> str | None:
    known = mode_names(tree)
    default = tree.value.get("default_mode") if isinstance(tree.value, dict) else None
    if default is not None and default.value not in known:
        raise fail(f'no mode "{default.value}" in `modes`{suggestion(str(default.value), known)}', default,
                   "default_mode")  # fmt: skip
    if name.mode is None:
        return str(default.value) if default is not None else None
    if name.mode not in known:
        listed = ", ".join(known) if known else "none"
        raise TargetError(f'{name.device} has no mode "{name.mode}"{suggestion(name.mode, known)}',
                          help=f"its modes: {listed}")  # fmt: skip
    return name.mode


def _beside(device: Device, runtime: str) -> str:
    """A runtime that a device's file names by a path means a file beside it."""
    return str(device.path.parent / runtime) if is_path(runtime) and device.path is not None else runtime


def _runtime(asked: str | None, device: Device) -> Runtime:
    if asked is None and not device.runtimes:
        raise TargetError(f"{device.name} lists no runtime", help="name one: DEVICE:RUNTIME, or fill `runtimes`")
    wanted = asked or _beside(device, device.runtimes[0])
    document = open_named("runtimes", wanted)
    if asked is not None and not is_path(wanted):
        check_listed(wanted, device)
    tree = resolved("runtimes", document)
    return read_runtime(
        RuntimeFile(_own_name(document, wanted), tree, document.path, is_shipped(document.path)), device
    )
