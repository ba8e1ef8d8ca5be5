"""The examples of docs/targets.md do what the page says."""

import re
from pathlib import Path

import pytest

from graphs.targets import TargetError, load_target

PAGE = (Path(__file__).parents[1] / "docs" / "targets.md").read_text(encoding="utf-8")


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """Every YAML example of the page, saved under its own name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    names = []
    for text in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL):
        names.append(re.search(r"^name: (\S+)", text, re.MULTILINE)[1])
        Path(f"{names[-1]}.yaml").write_text(text, encoding="utf-8")
    return names


def test_the_example_device_and_its_variants(examples):
    assert examples == ["my-npu", "my-compiler", "my-npu-lite", "my-desktop"]
    device = load_target("./my-npu.yaml").device
    assert device.units[0].peak("int8") == 2 * 8192e9
    assert device.memory("dram").bandwidth == pytest.approx(68.3e9, rel=0.001)
    assert load_target("./my-npu.yaml@eco").device.units[0].peak("int8") == pytest.approx(0.6 * 2 * 8192e9)
    lite = load_target("my-npu-lite.yaml")
    assert lite.device.units[0].peak("int8") == 8192e9
    assert lite.device.energy is None
    assert lite.runtime.efficiency("conv", lite.device).compute == 0.3
    assert load_target("my-desktop.yaml").device.memory("dram").bandwidth == 51.2e9


def test_the_errors_are_the_ones_shown(examples):
    shown = re.findall(r"^    (my-npu\.yaml:.+)$", PAGE, re.MULTILINE)
    mistakes = [("{value: 512 GB/s", '{value: "512"'), ("    count: 2", "    cuont: 2")]
    assert len(shown) == len(mistakes)
    original = Path("my-npu.yaml").read_text(encoding="utf-8")
    for (right, wrong), message in zip(mistakes, shown, strict=True):
        assert right in original
        Path("my-npu.yaml").write_text(original.replace(right, wrong), encoding="utf-8")
        with pytest.raises(TargetError) as caught:
            load_target("my-npu.yaml")
        assert str(caught.value) == message


def test_the_python_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/targets.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("tensor: 10 TFLOP/s (2048 FLOP/cycle × 8 × 612 MHz), devices/gpu/jetson-orin-agx.yaml:")
    assert second == "convolutions reach 40% of it, 12% to 70%"


def test_every_key_is_on_the_page():
    from graphs.targets.device_file import DEVICE_KEYS
    from graphs.targets.runtime_file import RUNTIME_KEYS

    for key in (*DEVICE_KEYS, *RUNTIME_KEYS):
        assert f"`{key}" in PAGE, key
