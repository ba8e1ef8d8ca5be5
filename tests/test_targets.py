"""Targets by name and by file: what loads, what each mistake is called, what inheritance and modes do."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.targets import TargetError, load_target, parse_target
from graphs.targets.catalog import list_runtimes, list_targets

NPU = """\
schema: 1
name: npu
class: npu
runtimes: [vendor.yaml]
sources:
  sheet: {title: Data sheet, url: "https://example.com/npu.pdf", date: 2025-03}
units:
  matrix: {clock: 1.0 GHz, count: 2, per_cycle: {int8: 4096 mac, fp16: 2048 mac}, runs: [contraction], source: sheet}
  vector:
    clock: 500 MHz
    per_cycle: {fp32: 128 op}
    peak: {fp16: 1 TFLOP/s}
    runs: all
memories:
  sram: {size: 8 MiB, bandwidth: 512 GB/s}
  dram:
    size: 8 GiB
    per_cycle: {value: 32 B, source: sheet, note: four channels}
    clock: 2 GHz
energy: {mac: {int8: 0.3 pJ}, dram: 20 pJ/B, idle: 1.8 W, source: sheet}
tdp: 12 W
modes:
  slow: {units.matrix.clock: 0.6 GHz, memories.dram.clock: 1 GHz, source: sheet, note: the mode's own remark}
  half: {units.matrix.count: 1}
dispatch: {vendor: 3 us}
efficiency:
  vendor:
    gemm: {compute: [0.5, 0.7, 0.9], memory: [0.6, 0.7, 0.8]}
"""
VENDOR = """\
schema: 1
name: vendor
device_classes: [npu, gpu]
dispatch: {npu: 9 us, gpu: 4 us}
concurrency: branches
precisions: [int8, fp16]
arithmetic: {npu: {conv: {fp32: fp16}, any: {bf16: fp16}}}
lacks: [onnx.Loop]
views: free
fuse:
  - {name: conv-relu, match: [onnx.Conv, onnx.Relu], limit: 3, on: true}
  - name: second
efficiency:
  npu:
    conv: {compute: {int8: [0.2, 0.4, 0.6], other: [0.3, 0.5, 0.7]}, memory: [0.4, 0.5, 0.6]}
    default: {compute: [0.1, 0.2, 0.8], memory: [0.25, 0.5, 0.75]}
  gpu:
    default: {compute: [0.1, 0.2, 0.8], memory: [0.25, 0.5, 0.75]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with `npu.yaml` and `vendor.yaml`; the user's own data folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("npu.yaml").write_text(NPU, encoding="utf-8")
    Path("vendor.yaml").write_text(VENDOR, encoding="utf-8")
    return tmp_path


def edited(old: str, new: str, name: str = "npu.yaml") -> None:
    """Put a mistake into a file; the text to replace must be there."""
    path = Path(name)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def failure(spec: str) -> TargetError:
    """The error of a target that must not load."""
    with pytest.raises(TargetError) as caught:
        load_target(spec)
    return caught.value


# ---- what a file says is what is loaded


def test_units(folder):
    device = load_target("npu.yaml").device
    matrix, vector = device.units
    assert matrix.peak("int8") == 2 * 2 * 4096 * 1e9
    assert matrix.peak("fp32") is None
    assert matrix.accepts("contraction")
    assert not matrix.accepts("window")
    assert vector.accepts("window")
    assert vector.peak("fp32") == 128 * 500e6
    assert vector.peak("fp16") == 1e12
    assert device.best_unit("contraction", "fp16") is matrix
    assert device.best_unit("window", "fp16") is vector
    assert device.best_unit("window", "int8") is None


def test_narrow_arithmetic_falls_back_on_wider(folder):
    device = load_target("npu.yaml").device
    assert device.arithmetic("elementwise", "bf16") == (device.units[1], "fp32")
    assert device.arithmetic("contraction", "int4") == (device.units[0], "int8")
    assert device.arithmetic("elementwise", "fp64") is None


def test_memories(folder):
    device = load_target("npu.yaml").device
    sram, dram = device.memories
    assert (sram.size, sram.bandwidth) == (8 * 2**20, 512e9)
    assert dram.bandwidth == 32 * 2e9
    assert dram.bandwidth_origin.source == "sheet"
    assert dram.bandwidth_origin.note == "32 B/cycle × 2 GHz; four channels"
    assert device.memory("dram") is dram
    assert sram.holds == {"weights", "activations"}
    with pytest.raises(KeyError):
        device.memory("l2")


def test_energy(folder):
    device = load_target("npu.yaml").device
    assert device.energy.per_flop("int8") == pytest.approx(0.15e-12)
    assert device.energy.per_flop("fp16") is None
    assert device.energy.per_byte("dram") == 20e-12
    assert device.energy.per_byte("sram") is None
    assert device.static_power == device.energy.idle_watts == 1.8
    assert device.energy.origin("int8").note == "half of a multiply-accumulate's"
    assert device.energy.origin("idle").source == "sheet"


def test_provenance(folder):
    origin = load_target("npu.yaml").device.units[0].origin("int8")
    assert (origin.value, origin.unit, origin.source, origin.where) == (16384e9, "FLOP/s", "sheet", "npu.yaml:8")
    assert origin.note == "8192 FLOP/cycle × 2 × 1 GHz"
    written = dict(load_target("npu.yaml").device.quantities())
    assert written["memories.dram.per_cycle"].where == "npu.yaml:18"
    assert written["tdp"].source is None
    assert {"units.matrix.count", "units.vector.peak.fp16", "energy.idle", "dispatch.vendor"} <= set(written)


def test_runtime(folder):
    target = load_target("npu.yaml")
    runtime = target.runtime
    assert (runtime.name, runtime.concurrency, runtime.views) == ("vendor", "branches", "free")
    assert runtime.lacks == {"onnx.Loop"}
    assert [rule.where for rule in runtime.rules] == ["vendor.yaml:11", "vendor.yaml:12"]
    assert runtime.rules[0].mapping == {
        "name": "conv-relu", "match": ["onnx.Conv", "onnx.Relu"], "limit": 3, "on": True,
    }  # fmt: skip
    assert runtime.arithmetic("conv", "fp32") == "fp16"
    assert runtime.arithmetic("gemm", "fp32") == "fp32"
    assert runtime.arithmetic("gemm", "bf16") == "fp16"


def test_the_devices_own_launch_cost_holds_over_the_runtimes(folder):
    assert load_target("npu.yaml").runtime.dispatch_seconds == pytest.approx(3e-6)
    edited("dispatch: {vendor: 3 us}\n", "")
    assert load_target("npu.yaml").runtime.dispatch_seconds == pytest.approx(9e-6)
    assert load_target("npu.yaml").runtime.dispatch.where == "vendor.yaml:4"


def test_launch_costs_may_have_a_range(folder):
    assert load_target("npu.yaml").runtime.dispatch.high == pytest.approx(3e-6), "none is none"
    edited("dispatch: {vendor: 3 us}", "dispatch: {vendor: {value: 3 us, range: [2 us, 9 us]}}")
    dispatch = load_target("npu.yaml").runtime.dispatch
    assert (dispatch.low, dispatch.value, dispatch.high) == pytest.approx((2e-6, 3e-6, 9e-6))


def test_efficiencies_come_from_the_device_then_the_runtime_then_its_default(folder):
    target = load_target("npu.yaml")
    find = target.runtime.efficiency
    assert find("gemm", target.device).compute == 0.7
    assert find("gemm", target.device).where == "npu.yaml:28"
    assert find("conv", target.device, "int8").compute == 0.4
    assert find("conv", target.device, "fp16").compute == find("conv", target.device).compute == 0.5
    assert find("softmax", target.device).kernel_class == "default"
    assert find("made-up", target.device).memory == 0.5


def test_one_pair_of_factors_covers_both_ranges(folder):
    target = load_target("npu.yaml")
    row = target.runtime.efficiency("softmax", target.device)
    assert row.low == pytest.approx(0.5)  # 0.1 / 0.2 is lower than 0.25 / 0.5 only on a tie
    assert row.high == pytest.approx(4.0)
    assert (row.memory_share.low, row.memory_share.high) == (0.25, 0.75)


# ---- names


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host", ("host", None, None)),
        ("host@1-thread", ("host", None, "1-thread")),
        ("jetson-orin-agx:tensorrt@30W", ("jetson-orin-agx", "tensorrt", "30W")),
        ("./mine.yaml", ("./mine.yaml", None, None)),
        ("./mine.yaml:onnxruntime-cpu@slow", ("./mine.yaml", "onnxruntime-cpu", "slow")),
        ("a/b@c/mine.yml@slow", ("a/b@c/mine.yml", None, "slow")),
        ("npu:./vendor.yaml@slow", ("npu", "./vendor.yaml", "slow")),
        (r"C:\targets\mine.yaml:tensorrt", (r"C:\targets\mine.yaml", "tensorrt", None)),
        ("my.yaml.d", ("my.yaml.d", None, None)),
    ],
)
def test_a_targets_text_in_parts(text, parts):
    name = parse_target(text)
    assert (name.device, name.runtime, name.mode) == parts


@pytest.mark.parametrize("text", ["", ":tensorrt", "host@", "host:", "a:b:c", "host@a@b"])
def test_a_text_that_is_no_target(text):
    assert str(failure(text)) == f'cannot read the target "{text}"'


def test_the_spec_names_the_target_exactly(folder):
    assert load_target("npu.yaml").spec == "npu.yaml:vendor"
    assert load_target("npu.yaml@slow").spec == "npu.yaml:vendor@slow"
    assert load_target("jetson-orin-agx").spec == "jetson-orin-agx:tensorrt@MAXN"
    again = load_target(load_target("jetson-orin-agx@30W").spec)
    assert (again.mode, again.device.mode, again.runtime.name) == ("30W", "30W", "tensorrt")


def test_a_runtime_may_be_a_file(folder):
    assert load_target("jetson-orin-agx:./vendor.yaml@15W").runtime.name == "vendor"
    assert load_target("jetson-orin-agx:./vendor.yaml@15W").runtime.arithmetic("conv", "fp32") == "fp32"


def test_the_users_own_targets_are_found_by_name_and_hide_shipped_ones(folder):
    own = folder / "data" / "graphs"
    (own / "targets").mkdir(parents=True)
    (own / "runtimes").mkdir()
    shutil.move("npu.yaml", own / "targets" / "npu.yaml")
    shutil.move("vendor.yaml", own / "runtimes" / "vendor.yaml")
    edited("vendor.yaml", "vendor", str(own / "targets" / "npu.yaml"))
    shutil.copy(own / "targets" / "npu.yaml", own / "targets" / "host.yaml")
    (own / "targets" / "broken.yaml").write_text("schema: [", encoding="utf-8")
    assert load_target("npu:vendor").device.path == own / "targets" / "npu.yaml"
    assert load_target("host").device.device_class == "npu"
    listed = {summary.name: summary for summary in list_targets()}
    assert listed["npu"].modes == ("slow", "half")
    assert "not valid YAML" in listed["broken"].error
    assert listed["jetson-orin-agx"].error is None
    assert "vendor" in {summary.name for summary in list_runtimes()}


@pytest.mark.parametrize(
    ("spec", "message", "help"),
    [
        (
            "jetson-orin-agz",
            'no target "jetson-orin-agz"; did you mean "jetson-orin-agx"?',
            "known: amd-epyc-9654, amd-ryzen-9-8945hs, host",
        ),
        (
            "jetson-orin-agx@30",
            'jetson-orin-agx has no mode "30"; did you mean "30W"?',
            "its modes: MAXN, 50W, 30W, 15W",
        ),
        ("nvidia-h100-sxm@x", 'nvidia-h100-sxm has no mode "x"', "its modes: none"),
        ("jetson-orin-agx:tensort", 'no runtime "tensort"; did you mean "tensorrt"?', "known: litert-xnnpack"),
        ("jetson-orin-agx:tflite-micro", 'jetson-orin-agx has no runtime "tflite-micro"', "it runs tensorrt, pytorch"),
        ("./absent.yaml", "./absent.yaml: cannot read the file: No such file or directory", None),
    ],
)
def test_what_is_not_there(folder, spec, message, help):
    error = failure(spec)
    assert str(error).removeprefix("absent.yaml").endswith(message.removeprefix("./absent.yaml"))
    assert not error.help if help is None else error.help.startswith(help)


# ---- mistakes in files, each with its place


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bandwidth: 512 GB/s", 'bandwidth: "512"',
         'npu.yaml:15:34: memories.sram.bandwidth: expected a rate such as "512 GB/s", got "512"'),
        ("tdp: 12 W", "tdp: -12 W", 'npu.yaml:21:6: tdp: expected a power such as "15 W", got "-12 W"'),
        ("tdp: 12 W", "tdp: .nan", 'npu.yaml:21:6: tdp: expected a power such as "15 W", got ".nan"'),
        ("tdp: 12 W", "tdp: [12 W]", "npu.yaml:21:6: tdp: expected one number with its unit"),
        ("tdp: 12 W", "tdp: 12 W\ntdp: 13 W", 'npu.yaml:22:1: "tdp" is given twice (first on line 21)'),
        ("tdp: 12 W", "tdb: 12 W", 'npu.yaml:21:1: unknown key "tdb"; did you mean "tdp"?'),
        ("count: 2", "cuont: 2", 'npu.yaml:8:28: units.matrix: unknown key "cuont"; did you mean "count"?'),
        ("count: 2", "count: 2.5",
         'npu.yaml:8:35: units.matrix.count: expected a whole number above zero, got "2.5"'),
        ("count: 2", "count: 0", 'npu.yaml:8:35: units.matrix.count: expected a whole number above zero, got "0"'),
        ("count: 2", "count: " + "9" * 5000, "npu.yaml:8:35: units.matrix.count: expected a whole number above zero"),
        ("fp16: 2048 mac", "fp17: 2048 mac",
         'npu.yaml:8:66: units.matrix.per_cycle: unknown key "fp17"; did you mean "fp16"?'),
        ("runs: [contraction]", "runs: [contractions]",
         'npu.yaml:8:90: units.matrix.runs: unknown "contractions"; did you mean "contraction"?'),
        ("runs: [contraction], source: sheet", "runs: [contraction], source: sheat",
         'npu.yaml:8:112: units.matrix.source: no source "sheat" in `sources`; did you mean "sheet"?'),
        ("{clock: 1.0 GHz, count", "{count", "npu.yaml:8:33: units.matrix: `per_cycle` needs a `clock`"),
        ("peak: {fp16: 1 TFLOP/s}", "peak: {fp32: 1 TFLOP/s}",
         "npu.yaml:11:23: units.vector.per_cycle.fp32: given as `peak` too"),
        ("    per_cycle: {fp32: 128 op}\n    peak: {fp16: 1 TFLOP/s}\n", "",
         "npu.yaml:10:5: units.vector: say how fast it is: `per_cycle` with `clock`, or `peak`"),
        ("    runs: all\n", "", 'npu.yaml:9:3: units.vector: "runs" is missing'),
        ("class: npu", "class: npz", 'npu.yaml:3:8: class: expected one of cpu, gpu, mcu, npu, got "npz"'),
        ("class: npu\n", "", 'npu.yaml:1:1: "class" is missing'),
        ("memories:\n", "memory:\n", 'npu.yaml:14:1: unknown key "memory"; did you mean "memories"?'),
        ("energy: {mac", "energy: {l9: 1 pJ/B, mac", 'npu.yaml:20:10: energy: unknown key "l9"'),
        ("units.matrix.clock: 0.6", "units.matrx.clock: 0.6",
         'npu.yaml:23:10: modes.slow.units.matrx.clock: nothing to override at "units.matrx"; did you mean "matrix"?'),
        ("units.matrix.clock: 0.6 GHz", "units.matrix.clock: 0.6 gigahertz",
         'npu.yaml:23:30: units.matrix.clock: expected a frequency such as "1.2 GHz", got "0.6 gigahertz"'),
        ("{units.matrix.count: 1}", "{name: x}", 'npu.yaml:24:10: modes.half.name: nothing to override at "name"'),
        ("schema: 1", "schema: 2", 'npu.yaml:1:9: schema: this version reads schema 1, not "2"'),
        ("schema: 1\n", "", 'npu.yaml:1:1: "schema" is missing: begin the file with `schema: 1`'),
        ("name: npu", "name: [npu]", "npu.yaml:2:7: name: expected a name of letters, digits, dots and dashes"),
        ("[0.5, 0.7, 0.9]", "[50, 70, 90]",
         "npu.yaml:28:22: efficiency.vendor.gemm.compute: expected [low, typical, high], each above 0 and at most 1.5, "
         'got "50"'),
        ("[0.5, 0.7, 0.9]", "[0.9, 0.7, 0.5]",
         "npu.yaml:28:21: efficiency.vendor.gemm.compute: expected [low, typical, high], each above 0 and at most 1.5, "
         "in rising order"),
        ("[0.5, 0.7, 0.9]", "0.7", "npu.yaml:28:21: efficiency.vendor.gemm.compute: expected [low, typical, high]"),
        ("runs: all", "runs: all\n    <<: *other", "npu.yaml:14:9: aliases are not allowed (*other)"),
        ("tdp: 12 W", "tdp: &power 12 W", "npu.yaml:21:6: anchors are not allowed (&power)"),
        ("tdp: 12 W", "tdp: !!python/object/apply:os.getcwd []", "npu.yaml:21:6: tags are not allowed"),
        ("tdp: 12 W", "? [a, b]\n: 12 W", "npu.yaml:21:3: a key must be a word"),
        ("tdp: 12 W", "tdp: 12 W\n---\nschema: 1", "npu.yaml:22:1: expected one YAML document, found a second"),
        ("tdp: 12 W", "tdp: {12 W", "npu.yaml:22:6: not valid YAML:"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(folder, old, new, message):
    edited(old, new)
    assert str(failure("npu.yaml@slow")).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("views: free", "views: fre", 'vendor.yaml:9:8: views: expected one of free, dispatch, got "fre"'),
        ("  - name: second", "  - second", "vendor.yaml:12:5: fuse: expected a rule, which is a mapping"),
        ("gpu: 4 us", "gpu: {value: 4 us, range: 5 us}",
         "vendor.yaml:4:49: dispatch.gpu.range: expected the two ends, such as [3 us, 12 us]"),
        ("gpu: 4 us", "gpu: {value: 4 us, range: [5 us, 6 us]}",
         "vendor.yaml:4:49: dispatch.gpu.range: expected a range that holds the value, 4 µs"),
        ("gpu: 4 us", "gpu: {value: 4 us, range: [1, 6 us]}",
         'vendor.yaml:4:50: dispatch.gpu.range: expected a duration such as "5 us", got "1"'),
        ("device_classes: [npu, gpu]", "device_classes: [gpu]",
         "vendor.yaml:3:17: device_classes: runs on gpu; npu is a npu"),
        ("    default:", "    dfault:",
         'vendor.yaml:16:5: efficiency.npu: unknown key "dfault"; did you mean "default"?'),
        ("conv: {fp32: fp16}", "conv: {fp32: fp61}",
         "vendor.yaml:7:33: arithmetic.npu.conv.fp32: expected one of fp64, fp32"),
        ("precisions: [int8, fp16]", "precisions: [int8, int8]",
         'vendor.yaml:6:20: precisions: "int8" is listed twice'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_runtime_is_named_with_its_place(folder, old, new, message):
    edited(old, new, "vendor.yaml")
    assert str(failure("npu.yaml")).startswith(message)


def test_hostile_files_are_refused_and_cost_little(folder):
    Path("deep.yaml").write_text("schema: " + "[" * 400_000, encoding="utf-8")
    assert "deep.yaml" in str(failure("./deep.yaml"))
    Path("nested.yaml").write_text("".join(f"{' ' * i}a:\n" for i in range(900)), encoding="utf-8")
    assert str(failure("./nested.yaml")) == "nested.yaml:24:24: nested deeper than 24 levels"
    Path("large.yaml").write_text("#" * 1_000_001, encoding="utf-8")
    assert str(failure("./large.yaml")) == "large.yaml: the file has more than 1,000,000 bytes, the most for a target"
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert str(failure("./bytes.yaml")) == "bytes.yaml: not a text file (byte 0 is no UTF-8)"
    Path("empty.yaml").write_bytes(b"")
    assert str(failure("./empty.yaml")) == "empty.yaml: the file is empty"
    Path("folder.yaml").mkdir()
    assert str(failure("./folder.yaml")) == "folder.yaml: not a file"
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe.yaml")
        assert str(failure("./pipe.yaml")) == "pipe.yaml: not a file"


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="a: -[]{}&*!|>#\n\t\"'%@,?0", max_size=80).map(str.encode)))
def test_any_bytes_load_or_are_refused_in_our_own_words(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "x.yaml"
    path.write_bytes(b"schema: 1\n" + content)
    with pytest.raises(TargetError):
        load_target(path)


# ---- inheritance


def derived(text: str, name: str = "derived.yaml") -> None:
    Path(name).write_text("schema: 1\n" + text, encoding="utf-8")


def test_a_file_overrides_what_it_extends(folder):
    derived("extends: ./npu.yaml\nmemories: {dram: {clock: 3 GHz}}\ntdp: null\nenergy: null\n")
    base, device = load_target("npu.yaml").device, load_target("derived.yaml").device
    assert device.name == device.title == "derived"
    assert device.memory("dram").bandwidth == 32 * 3e9
    assert device.memory("sram").bandwidth == base.memory("sram").bandwidth
    assert device.units[0].peaks == base.units[0].peaks
    assert device.modes == base.modes
    assert device.tdp is None
    assert device.energy is None


def test_a_number_never_cites_a_source_that_stands_in_another_file(folder):
    derived("extends: ./npu.yaml\nunits: {matrix: {clock: 3 GHz}}\n")
    device = load_target("derived.yaml").device
    assert device.units[0].clock.source is None
    assert device.units[0].written["count"].source == "sheet"


def test_an_overriding_value_leaves_the_old_remark_behind(folder):
    derived("extends: ./npu.yaml\nmemories: {dram: {per_cycle: {value: 16 B}}}\n")
    assert load_target("derived.yaml").device.memory("dram").bandwidth_origin.note == "16 B/cycle × 2 GHz"
    edited("runs: all\n", "runs: all\n    note: a remark on the base\n")
    derived("extends: ./npu.yaml\nunits: {vector: {clock: 1 GHz}}\n")
    written = load_target("derived.yaml").device.units[1].written
    assert (written["clock"].note, written["per_cycle.fp32"].note) == ("", "a remark on the base")


def test_a_source_keeps_its_meaning(folder):
    derived("extends: ./npu.yaml\nsources:\n  sheet: {title: Another}\n")
    assert str(failure("derived.yaml")) == (
        'derived.yaml:4:3: sources: "sheet" is a source of the file that this one extends: choose another name'
    )


def test_circles_and_absent_bases(folder):
    derived("extends: ./b.yaml\n", "a.yaml")
    derived("extends: ./a.yaml\n", "b.yaml")
    assert str(failure("./a.yaml")) == "b.yaml:2:10: extends: extends itself: a → b → a"
    derived("extends: jetson-orin-agz\n")
    assert str(failure("derived.yaml")) == (
        'derived.yaml:2:10: extends: no target "jetson-orin-agz"; did you mean "jetson-orin-agx"?'
    )
    for i in range(12):
        derived(f"extends: ./c{i + 1}.yaml\n", f"c{i}.yaml")
    assert "more than 8 files extend one another" in str(failure("./c0.yaml"))


def test_a_shipped_device_can_be_extended_by_name(folder):
    derived("extends: jetson-orin-agx\nmemories: {dram: {size: 32 GB}}\n")
    device = load_target("derived.yaml@30W").device
    assert device.memory("dram").size == 32e9
    assert device.units[0].count.value == 8


# ---- modes


def test_a_mode_overrides_and_brings_its_source(folder):
    target = load_target("npu.yaml@slow")
    matrix = target.device.units[0]
    assert target.mode == "slow"
    assert matrix.peak("int8") == pytest.approx(16384e9 * 0.6)
    assert (matrix.clock.source, matrix.clock.note) == ("sheet", "the mode's own remark")
    assert target.device.memory("dram").bandwidth == 32e9
    assert (
        target.device.memory("dram").bandwidth_origin.note == "32 B/cycle × 1 GHz; four channels; the mode's own remark"
    )
    assert load_target("npu.yaml@half").device.units[0].peak("int8") == 8192e9
    assert load_target("npu.yaml").mode is None


def test_a_default_mode_must_exist(folder):
    edited("tdp: 12 W", "tdp: 12 W\ndefault_mode: slaw")
    assert str(failure("npu.yaml")) == ('npu.yaml:22:15: default_mode: no mode "slaw" in `modes`; did you mean "slow"?')
    edited("default_mode: slaw", "default_mode: slow")
    assert load_target("npu.yaml").spec == "npu.yaml:vendor@slow"
