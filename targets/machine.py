"""What the operating system says of the machine this runs on: read, never measured, and unknown where it is silent."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Cache", "Machine", "read_machine"]

_CPU_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")
_SIZE = re.compile(r"([0-9]+)([KMG]?)")


@dataclass(frozen=True, slots=True)
class Cache:
    """A data cache level: bytes of one instance, how many instances the usable cores reach."""

    level: int
    size: int
    instances: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts, each None or empty where the system does not tell; `clock_is` says what the frequency stands for."""

    system: str
    architecture: str
    model: str = ""
    vendor: str = ""
    family: int | None = None
    flags: frozenset[str] = frozenset()
    cores: int = 1
    quota: float | None = None
    hertz: float | None = None
    clock_is: str = ""
    caches: tuple[Cache, ...] = ()
    memory: int | None = None
    virtual: bool = False
    where: Mapping[str, str] = field(default_factory=dict)


def read_machine(root: Path = Path("/")) -> Machine:
    """The machine, from the files under `root` on Linux, from `sysctl` on macOS, from Python itself elsewhere."""
    system = platform.system()
    if (root / "proc" / "cpuinfo").exists():
        return _linux(root)
    if system == "Darwin":
        return _macos()
    cores = max(1, (os.cpu_count() or 2) // 2)
    return Machine(system, _architecture(platform.machine()), platform.processor(), cores=cores)


def _linux(root: Path) -> Machine:
    blocks = _cpuinfo(root)
    first = next(iter(blocks.values()), {})
    usable = _usable_cpus(root, frozenset(blocks))
    threads = {cpu: _threads_of_core(root, cpu, blocks) for cpu in usable}
    hertz, clock_is, clock_where = _clock(root, usable, first)
    flags = first.get("flags", first.get("Features", "")).split()
    return Machine(
        system="Linux",
        architecture=_architecture(_machine_name(first)),
        model=first.get("model name", first.get("Processor", "")),
        vendor=first.get("vendor_id", first.get("CPU implementer", "")),
        family=_integer(first.get("cpu family", "")),
        flags=frozenset(flags),
        cores=max(1, len(set(threads.values()))),
        quota=_quota(root),
        hertz=hertz,
        clock_is=clock_is,
        caches=_caches(root, usable),
        memory=_memory(root),
        virtual="hypervisor" in flags,
        where={"clock": clock_where, "cpu": "/proc/cpuinfo"},
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _cpuinfo(root: Path) -> dict[int, dict[str, str]]:
    """The blocks of /proc/cpuinfo by processor number; lines before the first block count for all."""
    blocks: dict[int, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in _read(root / "proc" / "cpuinfo").splitlines():
        key, colon, value = (part.strip() for part in line.partition(":"))
        number = _integer(value) if key == "processor" else None
        if number is not None:
            current = blocks.setdefault(number, {})
        elif colon and key:
            current.setdefault(key, value)
    return blocks


def _machine_name(first: Mapping[str, str]) -> str:
    """The architecture that the file shows, so that a copied /proc reads the same on any machine."""
    if "CPU implementer" in first:
        return "aarch64"
    return "x86_64" if "flags" in first else platform.machine()


def _architecture(machine: str) -> str:
    name = machine.lower()
    if name in ("x86_64", "amd64", "x64"):
        return "x86_64"
    return "aarch64" if name in ("aarch64", "arm64") else name


def _usable_cpus(root: Path, known: frozenset[int]) -> tuple[int, ...]:
    """Processors that this process may run on: its affinity where the files are this machine's own."""
    allowed: frozenset[int] | None = None
    status = re.search(r"^Cpus_allowed_list:\s*(\S+)", _read(root / "proc" / "self" / "status"), re.MULTILINE)
    if root == Path("/") and hasattr(os, "sched_getaffinity"):
        allowed = frozenset(os.sched_getaffinity(0))
    elif status is not None:
        allowed = _cpu_list(status[1])
    return tuple(sorted(known & allowed if allowed and known & allowed else known)) or (0,)


def _cpu_list(text: str) -> frozenset[int]:
    """`0-3,8` as numbers; empty for anything else."""
    if not _CPU_LIST.fullmatch(text):
        return frozenset()
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), min(int(last or first), int(first) + 4096) + 1))
    return frozenset(numbers)


def _threads_of_core(root: Path, cpu: int, blocks: Mapping[int, Mapping[str, str]]) -> str:
    """What tells the core of a hardware thread from other cores; two threads of one core share its arithmetic."""
    siblings = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    if siblings:
        return siblings
    block = blocks.get(cpu, {})
    return f"{block.get('physical id', '0')}/{block['core id']}" if "core id" in block else str(cpu)


def _clock(root: Path, usable: tuple[int, ...], first: Mapping[str, str]) -> tuple[float | None, str, str]:
    for name, meaning in (("cpuinfo_max_freq", "the highest one core may reach"), ("base_frequency", "the base clock")):
        path = f"sys/devices/system/cpu/cpu{usable[0]}/cpufreq/{name}"
        found = [_integer(_read(root / path.replace(f"cpu{usable[0]}", f"cpu{cpu}", 1))) for cpu in usable]
        kilohertz = max((value for value in found if value), default=None)
        if kilohertz:
            return kilohertz * 1e3, meaning, f"/{path}"
    megahertz = first.get("cpu MHz", "")
    if re.fullmatch(r"[0-9]{2,5}(\.[0-9]+)?", megahertz):
        return float(megahertz) * 1e6, "the present or nominal one; turbo is not told", "/proc/cpuinfo"
    return None, "", ""


def _caches(root: Path, usable: tuple[int, ...]) -> tuple[Cache, ...]:
    """Data and unified caches of the usable cores, nearest first."""
    sizes: dict[int, int] = {}
    instances: dict[int, set[str]] = {}
    for cpu in usable:
        for folder in sorted((root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index*")):
            level, size = _integer(_read(folder / "level")), _bytes(_read(folder / "size"))
            if level is None or not size or _read(folder / "type") == "Instruction":
                continue
            sizes[level] = max(size, sizes.get(level, 0))
            instances.setdefault(level, set()).add(_read(folder / "shared_cpu_list") or str(cpu))
    return tuple(Cache(level, sizes[level], len(instances[level])) for level in sorted(sizes))


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    return int(match[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2]] if match else None


def _memory(root: Path) -> int | None:
    match = re.search(r"^MemTotal:\s*([0-9]+) kB", _read(root / "proc" / "meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _quota(root: Path) -> float | None:
    """Processors' worth of time that the control group grants (version 2, then 1); None where it grants all."""
    own = re.search(r"^0::(/\S*)", _read(root / "proc" / "self" / "cgroup"), re.MULTILINE)
    base = root / "sys" / "fs" / "cgroup"
    folder = base / (own[1].lstrip("/") if own and ".." not in own[1] else "")
    shares = [
        _share(_read(path / "cpu.max")) for path in (folder, *folder.parents) if path == base or base in path.parents
    ]
    period = _integer(_read(base / "cpu" / "cpu.cfs_period_us"))
    granted = _integer(_read(base / "cpu" / "cpu.cfs_quota_us"))
    if granted and period:
        shares.append(granted / period)
    return min((share for share in shares if share), default=None)


def _share(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]+) ([1-9][0-9]*)", text)
    return int(match[1]) / int(match[2]) if match else None


def _macos() -> Machine:
    names = (
        "machdep.cpu.brand_string", "hw.perflevel0.physicalcpu", "hw.physicalcpu", "hw.cpufrequency_max", "hw.memsize",
        "hw.perflevel0.l1dcachesize", "hw.l1dcachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize",
        "hw.l3cachesize", "machdep.cpu.features", "machdep.cpu.leaf7_features",
    )  # fmt: skip
    told = {name: _sysctl(name) for name in names}
    architecture = _architecture(platform.machine())
    features = f"{told['machdep.cpu.features']} {told['machdep.cpu.leaf7_features']}".lower().split()
    apple = frozenset(("asimd", "asimddp", "asimdhp")) if architecture == "aarch64" else frozenset(features)
    cores = _integer(told["hw.perflevel0.physicalcpu"]) or _integer(told["hw.physicalcpu"]) or 1
    hertz = _integer(told["hw.cpufrequency_max"])
    sizes = [
        _integer(told["hw.perflevel0.l1dcachesize"]) or _integer(told["hw.l1dcachesize"]),
        _integer(told["hw.perflevel0.l2cachesize"]) or _integer(told["hw.l2cachesize"]),
        _integer(told["hw.l3cachesize"]),
    ]
    caches = tuple(Cache(i + 1, size, cores if i == 0 else 1) for i, size in enumerate(sizes) if size)
    return Machine("Darwin", architecture, told["machdep.cpu.brand_string"],
                   "Apple" if architecture == "aarch64" else "GenuineIntel", flags=apple, cores=cores,
                   hertz=float(hertz) if hertz else None, clock_is="the highest" if hertz else "",
                   caches=caches, memory=_integer(told["hw.memsize"]),
                   where={"clock": "sysctl hw.cpufrequency_max", "cpu": "sysctl"})  # fmt: skip


def _sysctl(name: str) -> str:
    import subprocess

    try:
        answer = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
