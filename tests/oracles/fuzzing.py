"""Runs the tool over broken copies of small models, in processes that may die of it.

    python tests/oracles/fuzzing.py FIRST_SEED COUNT [light|all]

Everything follows from the seed. A line of JSON is printed before each seed and for each that failed, and one with the
counts at the end; the process exits with 1 if there was a failure. A failure is any exception that is not a
`GraphsError` which blames the input, output that is no JSON, CSV or IR or that could drive a terminal, more than
`SECONDS`, or memory of more than `MOST_BYTES`. A file that takes longer than `SECONDS` ends the process with a
traceback, C++ included.
"""

from __future__ import annotations

import csv
import faulthandler
import io
import json
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from fuzz_seeds import backend_models, light_models
from mutations import damaged, mutated
from text_mutations import misspelt
from wire_mutations import rewired

import graphs
from graphs.ir.errors import GraphsError
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.report import Report
from graphs.passes.reporting import build_report
from graphs.targets import Target
from graphs.tools.emit import emit
from graphs.tools.emit.view import View
from graphs.tools.explanation import explanation
from graphs.tools.terminal import Messages

__all__ = ["CORPORA", "Fuzzer", "broken_input", "fuzz", "limit_memory"]

PIPELINE = "bind,shape,fuse,lower,memory,calibrate,cost,coverage"
TARGETS = (
    "intel-core-i7-12700k", "intel-core-i7-12700k:pytorch-eager", "nvidia-h100-sxm", "jetson-orin-agx", "nucleo-l4r5zi",
)  # fmt: skip
SECONDS = 10
MOST_BYTES = 1 << 30
_CONTROL = re.compile(r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What must not reach a terminal: control characters but for line ends, and what turns the direction of writing."""

CORPORA: dict[str, Callable[[], tuple[onnx.ModelProto, ...]]] = {
    "light": light_models,
    "all": lambda: (*light_models(), *backend_models()),
}


def broken_input(seed: int, models: Sequence[onnx.ModelProto]) -> bytes:
    """The file that belongs to a seed: damaged in its bytes, its wire format, its structure, or as text."""
    chance = random.Random(seed)
    model = chance.choice(models)
    match seed % 4:
        case 0:
            return damaged(model.SerializeToString(), seed)
        case 1:
            return rewired(model.SerializeToString(), seed)
        case 2:
            return misspelt(_text(model), seed).encode("utf-8", "surrogatepass")
        case _:
            return mutated(model, seed, models).SerializeToString()


def _text(model: onnx.ModelProto) -> str:
    """The model's text form; that of nothing where it cannot be read."""
    from graphs.frontends.onnx import load_onnx

    try:
        return str(load_onnx(model))
    except GraphsError:
        return str(graphs.Graph())


@cache
def _target(name: str) -> Target:
    return graphs.load_target(name)


@cache
def _evidence_read(name: str) -> dict[Any, Any]:
    """What was read of a target's evidence, which no input changes."""
    return {}


def limit_memory() -> None:
    """Let this process have no more than `MOST_BYTES` beyond the address space that its libraries take."""
    pages, resident = Path("/proc/self/statm").read_text().split()[:2]
    taken = (int(pages) - int(resident)) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


@dataclass(frozen=True, slots=True)
class Fuzzer:
    """Runs the tool over one file after another, each written to ``folder``."""

    folder: Path

    def outcome(self, content: bytes, seed: int) -> str:
        """`fine`, `unknown` or `refused`; else what went wrong, and where."""
        path = self.folder / "model.onnx"
        path.write_bytes(content)
        try:
            report, context = self._analysed(path, seed)
            for wrong in _shown(report, context.target):
                return wrong
        except GraphsError as error:
            if "defect" in error.help or "reproducer" in error.help:
                return _where(error.__cause__ or error)
            return _unfit("message", _message(error)) or "refused"
        except Exception as error:
            return _where(error)
        return "unknown" if report.total.unknown else "fine"

    def _analysed(self, path: Path, seed: int) -> tuple[Report, Context]:
        name = TARGETS[seed % len(TARGETS)]
        graph, context = graphs.load(path), Context(_target(name), read_evidence=_evidence_read(name))
        passes = parse_passes(PIPELINE)
        manager = PassManager(passes, original=lambda: graphs.load(path), reproducers=self.folder)
        manager.run(graph, context)
        return build_report(graph, context), context


def _message(error: GraphsError) -> str:
    """What the command line would print."""
    written, sys.stderr = sys.stderr, io.StringIO()
    try:
        Messages().error(str(error), error.help)
        return sys.stderr.getvalue()
    finally:
        sys.stderr = written


def _shown(report: Report, target: Target) -> Iterator[str]:
    """What is wrong with a report in any format."""
    texts = {
        form: str(emit(form, [report], View(coverage=True))) for form in ("table", "coverage", "dot", "csv", "json")
    }
    if report.kernels:
        texts["explanation"] = explanation(report, report.kernels[0].name, target, View())
    texts["modules"] = str(emit("table", [report], View(by="module", wide=True)))
    for form, text in texts.items():
        wrong = _unfit(form, text.replace("\r\n", "\n") if form == "csv" else text)
        if wrong:
            yield wrong
    json.loads(texts["json"], parse_constant=lambda constant: _refuse(f"{constant} in JSON"))
    if len({len(row) for row in csv.reader(io.StringIO(texts["csv"]))}) != 1:
        yield "csv: rows of different lengths"
    text = str(emit("text", [report], View()))
    if str(graphs.ir.parse(text)) != text:
        yield "text: does not parse back to the same"


def _refuse(what: str) -> None:
    raise ValueError(what)


def _unfit(form: str, text: str) -> str:
    found = _CONTROL.search(text)
    return f"{form}: {found.group()!r} reaches the terminal" if found else ""


def _where(error: BaseException) -> str:
    """The exception, and the line of the tool that it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzzing.py" not in frame.filename]
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    place = f"{'/'.join(Path(own[-1].filename).parts[-2:])}:{own[-1].lineno}" if own else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:200]}"


def main(first: int, count: int, corpus: str) -> int:
    """Try `count` seeds from `first` on."""
    models = CORPORA[corpus]()
    return fuzz(first, count, lambda seed: broken_input(seed, models))


def fuzz(first: int, count: int, make: Callable[[int], bytes]) -> int:
    """Try the files that `make` gives for `count` seeds from `first` on; return the exit status."""
    for name in TARGETS:
        _target(name)
    limit_memory()
    csv.field_size_limit(1 << 30)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as name:
        fuzzer = Fuzzer(Path(name))
        for seed in range(first, first + count):
            print(json.dumps({"at": seed}), flush=True)
            content = make(seed)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            started = time.perf_counter()
            found = fuzzer.outcome(content, seed)
            faulthandler.cancel_dump_traceback_later()
            outcomes[found if found in ("fine", "unknown", "refused") else "failed"] += 1
            if found not in ("fine", "unknown", "refused"):
                print(json.dumps({"seed": seed, "failure": found}), flush=True)
            elif time.perf_counter() - started > SECONDS / 4:
                print(json.dumps({"seed": seed, "slow": time.perf_counter() - started}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**outcomes, "peak_bytes": peak}))
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "light"))
