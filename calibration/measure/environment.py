"""What a campaign was measured in, stored with it, and the fingerprint by which evidence of other machines is told."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from ...targets.machine import Machine, read_machine

__all__ = ["Environment", "machine_id", "read_environment"]

_LIBRARIES = ("onnxruntime", "torch", "numpy", "onnx")
_SPEED_FLAGS = re.compile(r"(sse4_[12]|ssse3|fma|f16c|avx\w*|amx_?\w*|asimd\w*|sve\w*|sme\w*|bf16|i8mm|neon)")
_GOVERNOR = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
_SLUG_WORDS = 5


@dataclass(frozen=True, slots=True)
class Environment:
    """Where and how a campaign was measured; empty or ``None`` where the system does not tell.

    ``machine`` is its :func:`machine_id`. ``affinity`` are the processors that it ran on, ``load`` the load average
    when it began, ``libraries`` what is installed, each as ``name version``.
    """

    machine: str
    cpu: str
    cores: int
    affinity: tuple[int, ...]
    threads: int
    governor: str
    hertz: float | None
    virtual: bool
    memory_bytes: int | None
    system: str
    python: str
    libraries: tuple[str, ...]
    load: float | None
    date: str


def read_environment(runtime: str, threads: int, affinity: tuple[int, ...] = ()) -> Environment:
    """Return what this machine and this process are like now; ``runtime`` is a target's name for it."""
    machine = read_machine()
    return Environment(
        machine_id(runtime, machine=machine),
        machine.model or machine.architecture,
        os.cpu_count() or machine.cores,
        affinity,
        threads,
        _governor(affinity[0] if affinity else 0),
        machine.hertz,
        machine.virtual,
        machine.memory,
        f"{platform.system()} {platform.release()}",
        platform.python_version(),
        tuple(f"{name} {version}" for name in _LIBRARIES if (version := _version(name))),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def machine_id(runtime: str = "", version: str | None = None, machine: Machine | None = None) -> str:
    """Return a name that is the same for machines on which the same kernels take the same time.

    It stands for the processor's model, family and vector instructions, the cores, the caches, the order of magnitude
    of the memory and the major version of the runtime (``version``, else the one installed). What a process is allowed
    to use of the machine has no part in it: the same machine has the same name under ``taskset``.
    """
    machine = machine or read_machine()
    library = _library_of(runtime)
    version = version if version is not None else _version(library)
    cores = os.cpu_count() or machine.cores
    facts = (
        machine.architecture,
        machine.vendor,
        str(machine.family),
        machine.model,
        " ".join(sorted(flag for flag in machine.flags if _SPEED_FLAGS.fullmatch(flag))),
        str(cores),
        " ".join(f"{cache.level}:{cache.size}" for cache in machine.caches),
        str(machine.memory.bit_length() if machine.memory else None),
        f"{library} {version.partition('.')[0]}",
    )
    digest = sha256("\n".join(facts).encode()).hexdigest()[:10]
    return f"{_slug(machine.model or machine.architecture)}-{cores}c-{digest}"


def _library_of(runtime: str) -> str:
    return "torch" if runtime.startswith("pytorch") else runtime.partition("-")[0]


def _slug(model: str) -> str:
    plain = re.sub(r"\((r|tm|c)\)|@.*|\bcpu\b", " ", model.lower())
    return "-".join(re.findall(r"[a-z0-9]+", plain)[:_SLUG_WORDS]) or "unknown"


def _version(library: str) -> str:
    if not library:
        return ""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return metadata.version(f"{library}-gpu") if _installed(f"{library}-gpu") else ""


def _installed(library: str) -> bool:
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError:
        return False
    return True


def _governor(cpu: int) -> str:
    try:
        return Path(_GOVERNOR.format(cpu)).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
