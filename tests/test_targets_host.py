"""The `host` target, under copies of /proc and /sys that say what various machines say."""

from pathlib import Path

import pytest

from graphs.calibration.processor import Processor
from graphs.targets import load_target
from graphs.targets.machine import Cache, read_machine

SERVER = "fpu sse2 avx avx2 fma avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16"
GIB = 2**30


class FakeSystem:
    """A folder that looks like the root of a Linux machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")

    def cpus(self, count: int, flags: str, threads_per_core: int = 1, model: str = "Xeon", **keys: str) -> None:
        described = {"vendor_id": "GenuineIntel", "cpu family": "6", "cpu MHz": "2700.000", **keys}
        blocks = []
        for cpu in range(count):
            lines = [f"processor\t: {cpu}", *(f"{key}\t: {value}" for key, value in described.items() if value)]
            blocks.append("\n".join([*lines, f"model name\t: {model}", f"flags\t\t: {flags}"]))
            first = cpu - cpu % threads_per_core
            siblings = f"{first}-{first + threads_per_core - 1}" if threads_per_core > 1 else str(cpu)
            self.write(f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
        self.write("proc/cpuinfo", "\n\n".join(blocks))
        self.write("proc/meminfo", f"MemTotal:       {32 * GIB // 1024} kB")

    def cache(self, cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> None:
        folder = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
        for name, text in (("level", str(level)), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
            self.write(f"{folder}/{name}", text)

    def load(self, spec: str = "host"):
        return load_target(spec, system=self.root).device


@pytest.fixture
def system(tmp_path, monkeypatch) -> FakeSystem:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return FakeSystem(tmp_path / "root")


def peak(device, precision: str, unit: str = "simd") -> float | None:
    return {found.name: found for found in device.units}[unit].peak(precision)


@pytest.mark.parametrize(
    ("flags", "vendor", "family", "per_cycle"),
    [
        ("sse2", "GenuineIntel", "6", {"fp32": 8, "fp64": 4}),
        ("sse2 avx", "GenuineIntel", "6", {"fp32": 16}),
        ("sse2 avx avx2 fma", "GenuineIntel", "6", {"fp32": 32, "fp64": 16, "int8": 42, "fp16": None}),
        ("sse2 avx avx2 fma avx_vnni", "GenuineIntel", "6", {"fp32": 32, "int8": 128}),
        ("sse2 avx avx2 fma avx512f", "GenuineIntel", "6", {"fp32": 64, "fp64": 32, "int8": 42}),
        (SERVER, "GenuineIntel", "6", {"fp32": 64, "int8": 256, "bf16": 64, "fp16": 128}),
        ("sse2 avx avx2 fma avx512f avx512_vnni", "AuthenticAMD", "25", {"fp32": 32, "int8": 128}),
        ("sse2 avx avx2 fma avx512f avx512_vnni", "AuthenticAMD", "26", {"fp32": 64, "int8": 256}),
        ("sse2 avx avx2 fma avx512f", "HygonGenuine", "24", {"fp32": 32}),
    ],
)
def test_flags_give_operations_per_cycle(system, flags, vendor, family, per_cycle):
    system.cpus(1, flags, **{"vendor_id": vendor, "cpu family": family, "cpu MHz": "1000.000"})
    device = system.load()
    for precision, operations in per_cycle.items():
        expected = None if operations is None else operations * 1e9
        assert peak(device, precision) == expected


def test_an_arm_machine(system):
    block = "processor\t: {}\nFeatures\t: fp asimd asimdhp asimddp i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd40"
    system.write("proc/cpuinfo", "\n\n".join(block.format(cpu) for cpu in range(4)))
    system.write("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2600000")
    device = system.load()
    assert peak(device, "fp32") == 4 * 16 * 2.6e9
    assert peak(device, "fp16") == 4 * 32 * 2.6e9
    assert peak(device, "int8") == 4 * 128 * 2.6e9
    assert len(device.units) == 1


def test_matrix_units_run_contractions_only(system):
    system.cpus(2, SERVER)
    device = system.load()
    assert peak(device, "int8", "matrix") == 2 * 2048 * 2.7e9
    assert peak(device, "bf16", "matrix") == 2 * 1024 * 2.7e9
    assert device.best_unit("contraction", "bf16").name == "matrix"
    assert device.best_unit("elementwise", "bf16").name == "simd"
    assert device.best_unit("contraction", "fp32").name == "simd"


def test_threads_of_one_core_share_its_arithmetic(system):
    system.cpus(8, "sse2", threads_per_core=2)
    assert system.load().units[0].count.value == 4


def test_threads_are_told_apart_by_core_id_without_topology(system):
    blocks = [f"processor\t: {cpu}\nphysical id\t: 0\ncore id\t: {cpu // 2}\nflags\t: sse2" for cpu in range(4)]
    system.write("proc/cpuinfo", "\n\n".join(blocks))
    assert system.load().units[0].count.value == 2


def test_affinity_and_control_groups_limit_the_cores(system):
    system.cpus(8, "sse2")
    system.write("proc/self/status", "Name:\tpython\nCpus_allowed_list:\t0-3,6")
    assert system.load().units[0].count.value == 5
    system.write("proc/self/cgroup", "0::/jobs/mine")
    system.write("sys/fs/cgroup/jobs/mine/cpu.max", "max 100000")
    assert system.load().units[0].count.value == 5
    system.write("sys/fs/cgroup/jobs/cpu.max", "250000 100000")
    count = system.load().units[0].count
    assert count.value == 2
    assert count.note == "5 cores, of which the control group grants 2.5"
    system.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000")
    system.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert system.load().units[0].count.value == 1


def test_the_clock_and_where_it_was_found(system):
    system.cpus(2, "sse2")
    clock = system.load().units[0].clock
    assert (clock.value, clock.where, clock.source) == (2.7e9, "/proc/cpuinfo", "os")
    assert "turbo is not told" in clock.note
    system.write("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "4900000")
    clock = system.load().units[0].clock
    assert (clock.value, clock.where) == (4.9e9, "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")


def test_an_unknown_clock_is_assumed_and_says_so(system):
    system.cpus(2, "sse2", **{"cpu MHz": ""})
    device = system.load()
    assert device.units[0].clock.assumed
    assert device.units[0].origin("fp32").assumed
    assert "the clock is assumed: the system tells none" in device.notes


def test_caches(system):
    system.cpus(2, "sse2")
    for cpu in range(2):
        system.cache(cpu, 0, 1, "Data", "48K", str(cpu))
        system.cache(cpu, 1, 1, "Instruction", "32K", str(cpu))
        system.cache(cpu, 2, 2, "Unified", "2048K", str(cpu))
        system.cache(cpu, 3, 3, "Unified", "32M", "0-1")
    assert read_machine(system.root).caches == (
        Cache(1, 48 * 1024, 2), Cache(2, 2 * 2**20, 2), Cache(3, 32 * 2**20, 1),
    )  # fmt: skip
    device = system.load()
    assert [memory.name for memory in device.memories] == ["l1", "l2", "l3", "dram"]
    assert [memory.size for memory in device.memories] == [96 * 1024, 4 * 2**20, 32 * 2**20, 32 * GIB]
    assert device.memory("l2").size_origin.source == "os"
    assert device.memory("l2").bandwidth == 2 * 32 * 2.7e9
    assert device.memory("l2").bandwidth_origin.assumed
    assert device.memory("dram").bandwidth_origin.assumed
    assert not device.memory("dram").size_origin.assumed


def test_a_guest_does_not_have_the_hosts_whole_cache(system):
    system.cpus(2, "sse2 hypervisor")
    system.cache(0, 0, 1, "Data", "32K", "0")
    system.cache(0, 1, 3, "Unified", "491520K", "0-1")
    size = system.load().memory("l3").size_origin
    assert size.value == 8 * 2**20
    assert size.assumed
    assert "480 MiB are reported for 2" in size.note


def test_one_thread(system):
    system.cpus(4, SERVER)
    for cpu in range(4):
        system.cache(cpu, 0, 1, "Data", "32K", str(cpu))
        system.cache(cpu, 1, 3, "Unified", "32M", "0-3")
    whole, single = system.load(), system.load("host@1-thread")
    assert single.mode == "1-thread"
    assert [unit.count.value for unit in single.units] == [1, 1]
    assert peak(single, "fp32") * 4 == peak(whole, "fp32")
    assert single.memory("l1").size * 4 == whole.memory("l1").size
    assert single.memory("l3").size == whole.memory("l3").size
    for level in ("l1", "l3", "dram"):
        assert single.memory(level).bandwidth < whole.memory(level).bandwidth
    assert single.memory("l1").bandwidth * 4 == whole.memory("l1").bandwidth


def test_a_large_machine_has_a_servers_memory(system):
    system.cpus(64, "sse2")
    assert system.load().memory("dram").bandwidth == 204.8e9
    assert system.load("host@1-thread").memory("dram").bandwidth == 25.6e9


@pytest.mark.parametrize(
    "cpuinfo",
    ["", "garbage", "processor\t: x\nflags", "processor : 0\ncpu MHz : -3\nflags :", "processor : 0\n" * 3, "\x00\x01"],
)
def test_a_system_that_says_little_or_nonsense_still_is_a_target(system, cpuinfo):
    system.write("proc/cpuinfo", cpuinfo)
    system.write("proc/meminfo", "MemTotal: much")
    system.write("sys/devices/system/cpu/cpu0/cache/index0/size", "much")
    system.write("sys/fs/cgroup/cpu.max", "0 0")
    device = system.load()
    assert device.units[0].count.value == 1
    assert device.memory("dram").size_origin.assumed
    assert device.units[0].origin("fp32").assumed


def test_an_architecture_that_nobody_described_is_a_scalar_machine(system, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    system.write("proc/cpuinfo", "processor\t: 0\nisa\t: rv64imafdc")
    device = system.load()
    assert peak(device, "fp32") == 2 * 2.5e9
    assert device.units[0].origin("fp32").assumed
    assert "instruction sets are assumed: the system shows none" in device.notes


def test_a_system_without_proc_is_described_by_what_python_knows(system, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    monkeypatch.setattr("platform.processor", lambda: "Intel64 Family 6")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    device = system.load()
    assert device.title == "Intel64 Family 6"
    assert peak(device, "fp32") == 4 * 32 * 2.5e9
    assert [memory.name for memory in device.memories] == ["l1", "l2", "dram"]
    assert device.memory("l2").size == 4 * 2**20


def test_macos_is_asked_by_sysctl(system, monkeypatch):
    answers = {
        "machdep.cpu.brand_string": "Apple M2", "hw.perflevel0.physicalcpu": "4", "hw.physicalcpu": "8",
        "hw.memsize": str(16 * GIB), "hw.perflevel0.l1dcachesize": "131072", "hw.perflevel0.l2cachesize": "16777216",
    }  # fmt: skip
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("graphs.targets.machine._sysctl", lambda name: answers.get(name, ""))
    device = system.load()
    assert device.title == "Apple M2"
    assert device.units[0].count.value == 4
    assert device.units[0].clock.assumed
    assert device.memory("l2").size == 16 * 2**20
    assert device.memory("dram").size == 16 * GIB
    assert peak(device, "int8") == 4 * 64 * 2.5e9


def test_this_machine_is_a_target():
    target = load_target("host")
    assert target.device.units[0].peak("fp32") > 1e9
    assert target.runtime.name == "onnxruntime-cpu"
    assert target.spec == "host:onnxruntime-cpu"
    assert any("nothing was measured" in note for note in target.device.notes)
    assert load_target("host@1-thread").device.units[0].peak("fp32") <= target.device.units[0].peak("fp32")


def test_what_is_assumed_of_the_host_can_be_overridden(system, tmp_path):
    system.cpus(2, "sse2")
    mine = tmp_path / "mine.yaml"
    mine.write_text("schema: 1\nextends: host\nmemories: {dram: {bandwidth: 90 GB/s}}\n", encoding="utf-8")
    device = system.load(str(mine))
    assert device.memory("dram").bandwidth == 90e9
    assert not device.memory("dram").bandwidth_origin.assumed
    assert peak(device, "fp32") == 2 * 8 * 2.7e9
    assert any("nothing was measured" in note for note in device.notes)


@pytest.mark.parametrize(
    ("flags", "vector", "lanes"), [("sse2", 16, 16), ("sse2 avx avx2 fma", 32, 8), (SERVER, 64, 16)]
)
def test_vectors_are_those_of_the_widest_instruction_set_and_decide_the_lanes(system, flags, vector, lanes):
    system.cpus(2, flags)
    assert system.load().vector_bytes == vector
    assert Processor.of(load_target("host:onnxruntime-cpu", system=system.root)).lanes == lanes


def test_memory_is_no_faster_than_the_last_cache_of_a_slow_processor(system):
    system.cpus(2, SERVER, **{"cpu MHz": "1000.000"})
    for cpu in range(2):
        system.cache(cpu, 0, 1, "Data", "32K", str(cpu))
        system.cache(cpu, 1, 2, "Unified", "512K", str(cpu))
        system.cache(cpu, 2, 3, "Unified", "32768K", "0-1")
    for spec in ("host", "host@1-thread"):
        bandwidths = [memory.bandwidth for memory in system.load(spec).memories]
        assert bandwidths == sorted(bandwidths, reverse=True) and bandwidths[-1] == bandwidths[-2]
