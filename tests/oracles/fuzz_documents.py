"""Runs the readers of everything that is no model over broken documents: targets, evidence, samples, pipelines.

    python tests/oracles/fuzz_documents.py FIRST_SEED COUNT

Prints a line of JSON for each seed whose document raised anything but a `GraphsError`, or took longer than `SECONDS`.
"""

from __future__ import annotations

import faulthandler
import gzip
import json
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import ENVIRONMENT, SETTING, sample
from text_mutations import misspelt

import graphs
from graphs.calibration.measure.samples_file import read_samples
from graphs.calibration.measure.samples_writer import SamplesWriter
from graphs.calibration.profile import read_profile
from graphs.ir.errors import GraphsError
from graphs.passes.manager import PassManager
from graphs.passes.reproducer import Reproducer, read_reproducer, write_reproducer

__all__ = ["KINDS", "broken_document", "outcome"]

ROOT = Path(__file__).parents[2]
SECONDS = 10

_PIPELINE = "bind{default=2},shape{fold=true},fuse{rules=none},lower,memory{views=false,alignment=128},cost,coverage"
_BOMB = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: &d [*c, *c, *c]\ne: &e [*d, *d, *d]\n"
_PIECES = ("&a [*a]", "*a", "<<: *a", "!!python/object/apply:os.system [id]", "9" * 5000, "1e999", ".nan", "- " * 500,
           "[" * 2000, "{" * 2000, '{"a":' * 2000, _BOMB, "\x1b[2J", "\0", "null", "-1", "1e400 GB/s")  # fmt: skip


def _run_pipeline(path: Path) -> None:
    PassManager.parse(path.read_text(encoding="utf-8", errors="replace"))


def _run_reproducer(path: Path) -> None:
    reproducer, _ = read_reproducer(path)
    reproducer.context()
    PassManager.parse(reproducer.pipeline)


def _a_reproducer() -> str:
    with tempfile.TemporaryDirectory() as folder:
        made = Reproducer("lower,cost", "intel-core-i7-12700k", ("types",), "fp16", {"batch": 2}, strict=True)
        return write_reproducer(made, str(graphs.Graph()), "x", Path(folder)).read_text()


def _target_files() -> list[str]:
    files = [*ROOT.glob("targets/devices/*/*.yaml"), *ROOT.glob("targets/runtimes/*.yaml")]
    return [path.read_text(encoding="utf-8") for path in sorted(files)]


def _evidence_files() -> list[str]:
    files = sorted(ROOT.glob("calibration/evidence/**/*.json.gz"), key=lambda path: path.stat().st_size)
    texts = [gzip.decompress(path.read_bytes()).decode("utf-8") for path in files[:2]]
    return [_cut_down(text) for text in texts]


def _cut_down(text: str) -> str:
    """The document with three entries of each long list and mapping: its parts are alike."""

    def cut(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: cut(value) for key, value in list(node.items())[:12]}
        return [cut(item) for item in node[:3]] if isinstance(node, list) else node

    return json.dumps(cut(json.loads(text)))


def _sample_files() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.jsonl")
        with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
            writer.add("one", [sample(), sample(2e-3, 128)])
            writer.refuse("two", "out of memory")
        return [path.read_text(encoding="utf-8")]


KINDS: dict[str, tuple[str, Callable[[Path], object], Callable[[], list[str]]]] = {
    "target": (".yaml", graphs.load_target, _target_files),
    "evidence": (".json", read_profile, _evidence_files),
    "samples": (".jsonl", read_samples, _sample_files),
    "pipeline": (".txt", _run_pipeline, lambda: [_PIPELINE]),
    "reproducer": (".mlir", _run_reproducer, lambda: [_a_reproducer()]),
}


def broken_document(seed: int) -> tuple[str, str]:
    """The kind of document that belongs to a seed, and its text."""
    chance = random.Random(seed)
    kind = list(KINDS)[seed % len(KINDS)]
    text = misspelt(chance.choice(KINDS[kind][2]()), seed)
    if chance.random() < 0.5:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(_PIECES) + text[at:]
    return kind, text


def outcome(kind: str, text: str, folder: Path) -> str:
    """`fine` or `refused`; else what went wrong, and where."""
    suffix, read, _ = KINDS[kind]
    path = folder / f"broken{suffix}"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        read(path)
    except GraphsError:
        return "refused"
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}: {str(error)[:200]}"
    return "fine"


def main(first: int, count: int) -> int:
    """Try `count` seeds from `first` on."""
    failures = 0
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        for seed in range(first, first + count):
            kind, text = broken_document(seed)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            found = outcome(kind, text, Path(folder))
            faulthandler.cancel_dump_traceback_later()
            if found not in ("fine", "refused"):
                failures += 1
                print(json.dumps({"seed": seed, "kind": kind, "failure": found}), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
