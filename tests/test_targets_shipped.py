"""What ships: every file loads in every mode, every number has a source, peaks are the vendors' figures."""

import re
from pathlib import Path

import pytest

from graphs.targets import KERNEL_CLASSES, Target, TargetError, list_runtimes, list_targets, load_target
from graphs.targets.device import KINDS

SHIPPED = [s for s in list_targets() if "targets/devices" in s.path.as_posix()]
SPECS = [
    f"{device.name}:{runtime}{mode}"
    for device in SHIPPED
    for runtime in device.runtimes
    for mode in ("", *(f"@{mode}" for mode in device.modes))
]
CITING = re.compile(r"(devices|runtimes)/.+\.yaml:[1-9][0-9]*|host|/(proc|sys)/.*|sysctl.*")


@pytest.fixture(scope="module", params=SPECS)
def target(request) -> Target:
    return load_target(request.param)


def test_the_asked_for_devices_and_runtimes_ship():
    assert {s.name for s in SHIPPED} >= {
        "amd-epyc-9654", "host", "intel-core-i7-12700k", "jetson-orin-agx", "nucleo-l4r5zi", "nvidia-h100-sxm",
        "nvidia-h200-sxm",
    }  # fmt: skip
    assert {s.name for s in list_runtimes()} >= {"onnxruntime-cpu", "pytorch-eager", "tensorrt", "tflite-micro"}


@pytest.mark.parametrize("summary", [*SHIPPED, *list_runtimes()], ids=lambda summary: summary.name)
def test_a_file_bears_its_name_and_is_listed_in_full(summary):
    assert summary.error is None
    assert summary.name == summary.path.stem
    assert summary.title
    assert f"\nname: {summary.name}\n" in summary.path.read_text(encoding="utf-8")


def test_every_number_has_a_source_that_can_be_looked_up(target):
    numbers = dict(target.device.quantities())
    assert len(numbers) > 5
    for path, number in numbers.items():
        source = target.device.sources[number.source]
        assert source.url and source.date and source.title, path
        assert CITING.fullmatch(number.where), path
        assert number.value >= 0, path
    dispatch = target.runtime.dispatch
    assert dispatch.source in target.runtime.sources or dispatch.source in target.device.sources
    assert 0 < dispatch.low < dispatch.value < dispatch.high, "what launches cost varies from kernel to kernel"


def test_every_efficiency_has_a_source_and_a_range(target):
    for kernel_class in KERNEL_CLASSES:
        for precision in (None, "fp32", "fp16", "int8"):
            row = target.runtime.efficiency(kernel_class, target.device, precision)
            assert row.source in (target.device if row.where.startswith("devices/") else target.runtime).sources
            assert row.kernel_class == kernel_class, "each class has a row of its own"
            assert 0 < row.low < 1 < row.high
            assert row.compute_share.low <= row.compute <= row.compute_share.high
            assert re.fullmatch(r"(runtimes|devices/[a-z]+)/[a-z0-9-]+\.yaml:[0-9]+", row.where)


def test_every_source_is_cited_from_somewhere():
    for folder in ("devices", "runtimes"):
        for path in sorted((SHIPPED[0].path.parents[2] / folder).rglob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            block = re.search(r"^sources:\n((?:  .*\n|\n)+)", text, re.MULTILINE)
            for name in re.findall(r"^  ([a-z0-9-]+):", block[1], re.MULTILINE):
                assert re.search(rf"\b{re.escape(name)}\b", text.replace(block[0], "")), f"{path.name}: {name}"


def test_every_kind_of_operator_runs_somewhere_at_every_precision_of_the_runtime(target):
    for kind in KINDS:
        for precision in target.runtime.precisions:
            found = target.device.arithmetic(kind, target.runtime.arithmetic("conv", precision))
            assert found is not None or precision in ("tf32", "fp8", "fp16", "bf16", "fp64"), (kind, precision)
        assert target.device.arithmetic(kind, "int8") and target.device.arithmetic(kind, "fp32")


def test_memories_get_larger_outwards(target):
    if target.device.device_class == "mcu":
        assert [memory.holds for memory in target.device.memories] == [{"activations"}, {"weights"}]
        return
    sizes = [memory.size for memory in target.device.memories if memory.name != "l1"]
    bandwidths = [memory.bandwidth for memory in target.device.memories]
    assert sizes == sorted(sizes)
    assert bandwidths == sorted(bandwidths, reverse=True)


def test_loading_by_spec_gives_the_same_again(target):
    again = load_target(target.spec)
    assert again.spec == target.spec
    assert again.device == target.device
    assert again.runtime == target.runtime


# Figures as the vendors print them, in FLOP/s (or OP/s) and B/s; ours come from widths, counts and clocks.
@pytest.mark.parametrize(
    ("spec", "unit", "precision", "published"),
    [
        ("nvidia-h100-sxm", "tensor", "fp16", 989.4e12),
        ("nvidia-h100-sxm", "tensor", "bf16", 989.4e12),
        ("nvidia-h100-sxm", "tensor", "tf32", 494.7e12),
        ("nvidia-h100-sxm", "tensor", "fp8", 1978.9e12),
        ("nvidia-h100-sxm", "tensor", "int8", 1978.9e12),
        ("nvidia-h100-sxm", "tensor", "fp64", 66.9e12),
        ("nvidia-h100-sxm", "cuda", "fp32", 66.9e12),
        ("nvidia-h100-sxm", "cuda", "fp64", 33.5e12),
        ("nvidia-h100-sxm", "cuda", "fp16", 133.8e12),
        ("nvidia-h200-sxm", "tensor", "fp16", 989.4e12),
        ("jetson-orin-agx", "cuda", "fp32", 5.33e12),
        ("jetson-orin-agx", "tensor", "int8", 85e12),
        ("jetson-orin-agx", "tensor", "fp16", 42.5e12),
        ("jetson-orin-agx@50W", "tensor", "int8", 16 * 4096 * 816e6),
        ("jetson-orin-agx@30W", "cuda", "fp32", 8 * 256 * 612e6),
        ("jetson-orin-agx@15W", "tensor", "fp16", 6 * 2048 * 408e6),
        ("intel-core-i7-12700k", "p-cores", "fp32", 8 * 32 * 4.9e9),
        ("intel-core-i7-12700k", "p-cores", "int8", 8 * 128 * 4.9e9),
        ("intel-core-i7-12700k@1-thread", "p-cores", "fp64", 16 * 4.9e9),
        ("amd-epyc-9654", "cores", "fp64", 96 * 16 * 3.55e9),
        ("nucleo-l4r5zi", "core", "int8", 480e6),
    ],
)
def test_peaks_are_the_published_ones(spec, unit, precision, published):
    units = {found.name: found for found in load_target(spec).device.units}
    assert units[unit].peak(precision) == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(
    ("spec", "memory", "nbytes", "bandwidth"),
    [
        ("nvidia-h100-sxm", "hbm", 80e9, 3.35e12),
        ("nvidia-h100-sxm", "l2", 50e6, 8.99e12),
        ("nvidia-h200-sxm", "hbm", 141e9, 4.8e12),
        ("jetson-orin-agx", "dram", 64e9, 204.8e9),
        ("jetson-orin-agx@15W", "dram", 64e9, 136.5e9),
        ("jetson-orin-agx", "l2", 4 * 2**20, 666e9),
        ("intel-core-i7-12700k", "dram", 128e9, 76.8e9),
        ("intel-core-i7-12700k@ddr4", "dram", 128e9, 51.2e9),
        ("intel-core-i7-12700k", "l3", 25 * 2**20, 921.6e9),
        ("intel-core-i7-12700k", "l2", 10 * 2**20, 2.509e12),
        ("amd-epyc-9654", "dram", 6e12, 460.8e9),
        ("amd-epyc-9654", "l3", 384 * 2**20, 10.9e12),
        ("nucleo-l4r5zi", "sram", 640 * 2**10, 480e6),
        ("nucleo-l4r5zi", "flash", 2 * 2**20, 160e6),
    ],
)
def test_memories_are_the_published_ones(spec, memory, nbytes, bandwidth):
    found = load_target(spec).device.memory(memory)
    assert found.size == nbytes
    assert found.bandwidth == pytest.approx(bandwidth, rel=0.005)


def test_orin_gets_slower_with_its_power():
    devices = [load_target(f"jetson-orin-agx@{mode}").device for mode in ("15W", "30W", "50W", "MAXN")]
    budgets = [device.tdp.value for device in devices]
    assert budgets == [15, 30, 50, 60]
    for unit, _ in enumerate(devices[0].units):
        for precision in devices[0].units[unit].peaks:
            peaks = [device.units[unit].peak(precision) for device in devices]
            assert peaks == sorted(peaks)
            assert len(set(peaks)) == 4
    for level, _ in enumerate(devices[0].memories):
        bandwidths = [device.memories[level].bandwidth for device in devices]
        assert bandwidths == sorted(bandwidths)


def test_assumptions_are_seen():
    orin = load_target("jetson-orin-agx").device
    assert orin.memory("l2").bandwidth_origin.assumed
    assert not orin.memory("dram").bandwidth_origin.assumed
    assert not orin.units[0].origin("int8").assumed
    assert orin.units[1].origin("int8").assumed


def test_energy_only_where_there_is_a_derivation():
    h100 = load_target("nvidia-h100-sxm").device
    watts = h100.energy.per_flop("fp16") * h100.units[0].peak("fp16") + h100.energy.per_byte("hbm") * 3.35e12
    assert watts == pytest.approx(700, rel=0.01)
    assert load_target("nucleo-l4r5zi").device.static_power == pytest.approx(110e-6 * 120 * 3.3, rel=0.01)
    assert load_target("amd-epyc-9654").device.energy is None


def test_default_arithmetic_of_runtimes():
    assert load_target("nvidia-h100-sxm:tensorrt").runtime.arithmetic("gemm", "fp32") == "tf32"
    eager = load_target("nvidia-h100-sxm:pytorch-eager").runtime
    assert (eager.arithmetic("conv", "fp32"), eager.arithmetic("gemm", "fp32")) == ("tf32", "fp32")
    assert load_target("host:pytorch-eager").runtime.arithmetic("conv", "fp32") == "fp32"
    assert load_target("host:onnxruntime-cpu").runtime.arithmetic("gemm", "fp16") == "fp32"


def test_a_shipped_file_without_a_source_would_be_refused(monkeypatch, tmp_path):
    devices = tmp_path / "devices" / "gpu"
    devices.mkdir(parents=True)
    text = next(s.path for s in SHIPPED if s.name == "jetson-orin-agx").read_text(encoding="utf-8")
    assert text.count("    source: orin-datasheet\n") == 1
    stripped = text.replace("    source: orin-datasheet\n", "")
    Path(devices / "jetson-orin-agx.yaml").write_text(stripped, encoding="utf-8")
    monkeypatch.setattr("graphs.targets.catalog.SHIPPED", tmp_path)
    with pytest.raises(TargetError, match=r"memories\.dram\.size: needs a source: name one of `sources`"):
        load_target("jetson-orin-agx")
