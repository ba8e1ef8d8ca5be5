"""Files of samples: what is written is read, whatever happens in between."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from measuring import ENVIRONMENT, SETTING, sample

from graphs.calibration.errors import CalibrationError
from graphs.calibration.measure import samples_writer
from graphs.calibration.measure.reference import Reading
from graphs.calibration.measure.samples_file import parse_samples, read_samples
from graphs.calibration.measure.samples_writer import SamplesWriter
from graphs.tools.calibrating.evidence import environment_of, speed_of


def written(path: Path, names: Sequence[str] = ("one", "two")) -> None:
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.reference(Reading(1.0, 2e-4, 1e-3), baseline=True)
        for name in names:
            writer.add(name, [sample(), sample(2e-3, 128)])
        writer.refuse("three", "out of memory")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "s.jsonl")
    other = replace(SETTING, precision="fp16")
    with SamplesWriter(tmp_path / "s.jsonl", SETTING, ENVIRONMENT) as writer:
        assert writer.has("one", SETTING) and not writer.has("one", other) and not writer.has("three", SETTING)
        writer.add("one", [sample(3e-3)], other)
    found = read_samples(tmp_path / "s.jsonl")
    assert (found.setting, found.environment) == (SETTING, ENVIRONMENT)
    assert found.samples == (sample(), sample(2e-3, 128)) * 2 and found.of(other) == (sample(3e-3),)
    assert found.settings == (SETTING, other)
    assert [(row.benchmark, row.reason) for row in found.refused] == [("three", "out of memory")]
    assert found.baseline == Reading(1.0, 2e-4, 1e-3)


def test_resumes_behind_a_last_benchmark_torn_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, ("one",))
    whole = path.read_bytes()
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.add("two", [sample(), sample(2e-3)])
    full = path.read_bytes()
    for size in range(len(whole), len(full)):
        path.write_bytes(full[:size])
        with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
            assert writer.found is not None and not writer.has("two", SETTING) and writer.has("one", SETTING)
            assert path.read_bytes() == whole
        assert len(read_samples(path).samples) == 2
    path.write_bytes(full)
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        assert writer.has("two", SETTING)
    assert path.read_bytes() == full


def test_a_torn_header_is_begun_again_and_a_foreign_file_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path)
    header = path.read_bytes().split(b"\n")[0]
    for size in range(0, len(header), 7):
        path.write_bytes(header[:size])
        with SamplesWriter(path, SETTING, ENVIRONMENT):
            pass
        assert path.read_bytes().startswith(header + b"\n")
    for content in (b"precious", b"precious\nlines\n", b'{"format": "other"}\n', b"[1]\n", b"\x80\n"):
        path.write_bytes(content)
        with pytest.raises(CalibrationError):
            SamplesWriter(path, SETTING, ENVIRONMENT)
        assert path.read_bytes() == content


def test_files_of_another_machine_setting_or_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path)
    before = path.read_bytes()
    with pytest.raises(CalibrationError, match=r"another machine.*box-2c.*this one is other"):
        SamplesWriter(path, SETTING, replace(ENVIRONMENT, machine="other"))
    with pytest.raises(CalibrationError, match="runtime 'onnxruntime-cpu', not 'pytorch-eager'"):
        SamplesWriter(path, replace(SETTING, runtime="pytorch-eager"), ENVIRONMENT)
    with (
        SamplesWriter(path, SETTING, ENVIRONMENT),
        pytest.raises(CalibrationError, match="another measurement is writing"),
    ):
        SamplesWriter(path, SETTING, ENVIRONMENT)
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(CalibrationError, match="version 2; this program reads version 1"):
        read_samples(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"median":0.001', b'"median":-0.001', "above zero"),
        (b'"median":0.001', b'"median":0', "above zero"),
        (b'"median":0.001', b'"median":NaN', "NaN"),
        (b'"median":0.001', b'"median":1e999', "finite"),
        (b'"weight_bytes":16384', b'"weight_bytes":-1', "weight_bytes"),
        (b'"drift":1.01', b'"drift":0', "drift"),
        (b'"source":"microbenchmark"', b'"source":"rumour"', "rumour"),
        (b'"kernels":[', b'"kernels":3,"nodes":[', "kernels|twice"),
        (b'{"sample"', b'{"sampled"', "expected one of the keys"),
        (b'{"sample"', b'["sample"', "JSON"),
        (b'"gemm":0.0002', b'"gemm":-1', "gemm"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "s.jsonl"
    written(path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(CalibrationError, match=message) as caught:
        read_samples(path)
    assert f"{path}:" in str(caught.value)


def test_times_that_cannot_be_are_not_written(tmp_path: Path) -> None:
    with SamplesWriter(tmp_path / "s.jsonl", SETTING, ENVIRONMENT) as writer:
        for bad in (0.0, -1.0, math.nan):
            wrong = replace(sample(), seconds=replace(sample().seconds, median=bad))
            with pytest.raises(CalibrationError):
                writer.add("bad", [wrong])
    assert not read_samples(tmp_path / "s.jsonl").rows


def test_a_full_disk_says_what_is_saved() -> None:
    with pytest.raises(CalibrationError, match=r"No space left.*0 samples of this run are saved"):
        SamplesWriter(Path("/dev/full"), SETTING, ENVIRONMENT)


def test_a_disk_that_fills_up_keeps_what_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.jsonl"
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.add("one", [sample(), sample()])
        before, write = path.read_bytes(), os.pwrite

        def fill(descriptor: int, rows: bytes, offset: int) -> int:
            if offset > len(before):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, rows[:40], offset)

        monkeypatch.setattr(samples_writer.os, "pwrite", fill)
        with pytest.raises(CalibrationError, match="No space left on device; 2 samples of this run are saved"):
            writer.add("two", [sample()])
    assert path.read_bytes() == before


def test_done_needs_all_of_a_benchmark(tmp_path: Path) -> None:
    """Samples of a benchmark whose last line is missing can be read, but the benchmark is not complete."""
    path = tmp_path / "s.jsonl"
    written(path, ("one",))
    lines = path.read_bytes().splitlines(keepends=True)
    assert json.loads(lines[-2]) == {"done": "one"}
    torn = parse_samples(b"".join(lines[:-2]), "s")
    assert len(torn.content.samples) == 2 and not torn.content.done and torn.complete == len(lines[0]) + len(lines[1])


def test_samples_are_given_at_the_usual_speed(tmp_path: Path) -> None:
    """A campaign that began in a quick moment: its baseline is 5 % faster than the machine usually is."""
    path = tmp_path / "s.jsonl"
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.reference(Reading(1.0, 1.9e-4, 1e-3), baseline=True)
        for at in range(2, 9):
            writer.reference(Reading(float(at), 2e-4, 1e-3))
        writer.add("one", [sample(1e-3)], SETTING)
    found = read_samples(path)
    assert found.rows[0].sample.seconds.median == 1e-3
    (given,) = found.samples
    assert given.seconds.median == pytest.approx(1e-3 * 2 / 1.9)
    assert given.drift == pytest.approx(found.rows[0].sample.drift * 1.9 / 2)
    assert found.typical == Reading(8.0, 2e-4, 1e-3)


def test_a_faster_baseline_brings_earlier_samples_to_its_speed(tmp_path: Path) -> None:
    """A campaign that began in a slow spell finds the machine's speed later; twice as slow is no measurement at all."""
    for slow, left in ((1.1, 1), (2.0, 0)):
        path = tmp_path / f"{slow}.jsonl"
        with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
            writer.reference(Reading(1.0, 2e-4 * slow, 1e-3 * slow), baseline=True)
            writer.add("one", [sample(1e-3 * slow)])
            writer.reference(Reading(2.0, 2e-4, 1e-3), baseline=True)
            writer.add("two", [sample(2e-3)])
        found = read_samples(path)
        assert found.baseline == Reading(2.0, 2e-4, 1e-3)
        assert [row.sample.seconds.median for row in found.rows] == pytest.approx([1e-3, 2e-3][1 - left :])
        assert (("one", SETTING) in found.done) == bool(left) and ("two", SETTING) in found.done


def test_cores_that_came_nearer_make_what_was_measured_before_be_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.reference(Reading(1.0, 2e-4, 1e-3, 5.9), baseline=True)
        writer.add("one", [sample(1e-3)])
        writer.reference(Reading(2.0, 2e-4, 1e-3, 1.6), baseline=True)
        writer.add("two", [sample(1e-3)])
        writer.reference(Reading(3.0, 2e-4, 1e-3, 5.9))
        writer.reference(Reading(4.0, 2e-4, 1e-3, 5.9))
    found = read_samples(path)
    assert found.done == {("two", SETTING)} and [row.benchmark for row in found.refused] == ["one"]
    assert found.typical == Reading(4.0, 2e-4, 1e-3, 1.6), "as far apart as when what counts was measured"
    assert speed_of(environment_of(found)) == Reading(0.0, 2e-4, 1e-3, 1.6)
    without = {key: value for key, value in environment_of(found).items() if key != "reference_handover"}
    assert speed_of(without) == Reading(0.0, 2e-4, 1e-3) and speed_of({}) is None
