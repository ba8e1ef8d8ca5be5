"""Broken TFLite files: refused or read, whatever their bytes say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tflite")

import flatbuffers
from fuzzing import Fuzzer
from tflite_fuzzing import broken_tflite
from tiny_tflite import Operator, Subgraph, Tensor, model

import graphs
from graphs.frontends import FrontendError
from graphs.frontends.tflite_options import option_tables
from graphs.frontends.tflite_verifier import TABLES, DamagedFlatbufferError, verify_flatbuffer

FUZZING = Path(__file__).parent / "oracles" / "tflite_fuzzing.py"


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_broken_files(count: int) -> None:
    """Each is a graph or one clear error; the process would die of a crash, of a gigabyte, or of ten seconds."""
    done = subprocess.run(
        [sys.executable, str(FUZZING), "0", str(count)], capture_output=True, text=True, timeout=300, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, [line for line in lines if "failure" in line] or done.stderr[-2000:]
    counts = lines[-1]
    assert sum(counts.get(outcome, 0) for outcome in ("fine", "unknown", "refused")) == count
    assert counts["refused"] > count / 2, "most damage is found"


def _whole() -> bytes:
    tensors = [Tensor("x", (2, 3)), Tensor("w", (4, 3), data=bytes(48)), Tensor("y", (2, 4))]
    return model(Subgraph(tensors, [Operator("FULLY_CONNECTED", [0, 1], [2], "FullyConnectedOptions")], [0], [2]))


def test_every_truncation_is_refused_or_read(tmp_path: Path) -> None:
    """Wherever a download stops."""
    whole, path = _whole(), tmp_path / "cut.tflite"
    for length in range(8, len(whole)):
        path.write_bytes(whole[:length])
        try:
            graphs.load(path)
        except FrontendError as error:
            assert str(path) in str(error)


def test_offsets_that_share_what_they_lead_to_blow_nothing_up(tmp_path: Path) -> None:
    """A thousand subgraphs that are one and the same thousand tensors: a million tables in forty kilobytes."""
    builder = flatbuffers.Builder(0)

    def vector(offset: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    def table(**slots: int) -> int:
        builder.StartObject(8)
        for slot, offset in slots.items():
            builder.PrependUOffsetTRelativeSlot(int(slot[1:]), offset, 0)
        return int(builder.EndObject())

    tensors = vector(table(), 5000)
    subgraphs = vector(table(_0=tensors), 5000)
    builder.Finish(table(_2=subgraphs), b"TFL3")
    content = bytes(builder.Output())
    with pytest.raises(DamagedFlatbufferError, match="shared so often"):
        verify_flatbuffer(memoryview(content), option_tables())


def test_the_verifier_knows_every_field_that_leads_elsewhere() -> None:
    """Against the schema package: a vector has a length, a text or a table is no number."""
    from importlib import import_module

    names = {name for union in option_tables().values() for name in union if name}
    for name in {*names, *(table for table in TABLES if table)}:
        methods = vars(getattr(import_module(f"tflite.{name}"), name))
        vectors = sum(method.endswith("IsNone") for method in methods)
        written = sum(kind.startswith("[") for kind in TABLES.get(name, ()))
        assert vectors == written, name


@pytest.mark.parametrize("seed", [3073, 3759, 9451])
def test_what_was_found_to_crash(seed: int, tmp_path: Path) -> None:
    """Regions that do not fit their operator: too many values, or of an operator that runs none."""
    assert Fuzzer(tmp_path).outcome(broken_tflite(seed), seed) in ("fine", "unknown", "refused")
