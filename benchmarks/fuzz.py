"""Whether broken files can do any harm: the tool over many of them, each in a process with little memory and time.

    python benchmarks/fuzz.py [--count 50000] [--first 0] [--corpus all] [--log fuzz.jsonl]
    python benchmarks/fuzz.py --minimise SEED [--corpus all] [-o smaller.onnx]

Each input follows from its number: a small model (pieces of the bundled networks, made-up ones, the cases of onnx's
backend suite) with damaged bytes, damaged protobuf fields, damaged structure, or its text form misspelt. Each is
loaded, run through every pass for one of several targets, reported on and written in every format. A failure is an
exception that does not blame the input, output that is no JSON, CSV or IR or that could drive a terminal, more than
10 s, or more than 1 GB. `tests/oracles/fuzzing.py` is the part that runs in a process of its own.

With `--log`, what was found is appended to a file, and a run that was stopped goes on where it was. Claim: there is no
failure; the process exits with 1 if there is one. `--minimise` cuts a failing input down to what still fails alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ORACLES = Path(__file__).parents[1] / "tests" / "oracles"
sys.path.insert(0, str(ORACLES))

BATCH = 2500
OUTCOMES = ("fine", "unknown", "refused")


def batch(first: int, count: int, corpus: str) -> list[dict]:
    """Run a batch; a process that dies says at which number, and another takes over behind it."""
    found: list[dict] = []
    while count > 0:
        command = [sys.executable, str(ORACLES / "fuzzing.py"), str(first), str(count), corpus]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found += [line for line in lines if "seed" in line or "peak_bytes" in line]
        if any("peak_bytes" in line for line in lines):
            break
        at = max((line["at"] for line in lines if "at" in line), default=first)
        words = done.stderr.strip().splitlines()
        how = "took too long" if any("Timeout" in word for word in words) else f"ended the process ({done.returncode})"
        found += [{"seed": at, "failure": how, "where": words[:20]}, {"tried": at - first + 1}]
        count, first = first + count - at - 1, at + 1
    return found


def run(first: int, count: int, corpus: str, log: Path | None) -> int:
    """Try ``count`` inputs from ``first`` on, those that ``log`` has left out; 1 if one failed."""
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    done = {entry["batch"] for entry in entries if "batch" in entry}
    started = time.perf_counter()
    for start in range(first, first + count, BATCH):
        if start in done:
            continue
        found = [*batch(start, min(BATCH, first + count - start), corpus), {"batch": start}]
        entries += found
        if log:
            with log.open("a") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in found)
        for entry in found:
            if "seed" in entry:
                print(json.dumps(entry)[:400], flush=True)
        tried = start + BATCH - first
        print(f"{tried:,} of {count:,}: {_summary(entries)}; {time.perf_counter() - started:.0f} s", flush=True)
    return 1 if any("failure" in entry for entry in entries) else 0


def _summary(entries: list[dict]) -> str:
    counts: Counter[str] = Counter()
    for entry in entries:
        counts.update({name: entry[name] for name in OUTCOMES if name in entry})
    failures = [entry for entry in entries if "failure" in entry]
    peak = max((entry.get("peak_bytes", 0) for entry in entries), default=0)
    words = ", ".join(f"{counts[name]:,} {name}" for name in OUTCOMES)
    return f"{words}, {len(failures)} failures, peak {peak / 2**20:.0f} MiB"


# -- making a failing input smaller ------------------------------------------------------------------------------------


def minimise(seed: int, corpus: str, output: Path | None) -> int:
    """Cut a failing input down, piece by piece, and show it; 1 if it does not fail."""
    from fuzzing import CORPORA, broken_input

    content = broken_input(seed, CORPORA[corpus]())
    wanted = _failure(content, seed)
    print(f"{len(content):,} bytes: {wanted}")
    if wanted in OUTCOMES:
        return 1
    smaller = _smaller(content, lambda candidate: _alike(_failure(candidate, seed), wanted))
    print(f"{len(smaller):,} bytes: {smaller[:2000]!r}")
    if output:
        output.write_bytes(smaller)
    return 0


def _failure(content: bytes, seed: int) -> str:
    """What becomes of an input, in a process of its own."""
    program = (
        "import sys, faulthandler; from pathlib import Path; from fuzzing import Fuzzer, SECONDS, limit_memory\n"
        "limit_memory(); faulthandler.dump_traceback_later(SECONDS, exit=True)\n"
        "print(Fuzzer(Path(sys.argv[1])).outcome(Path(sys.argv[1], 'input').read_bytes(), int(sys.argv[2])))"
    )
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        Path(folder, "input").write_bytes(content)
        environment = {**os.environ, "PYTHONPATH": f"{ORACLES}:{os.environ.get('PYTHONPATH', '')}"}
        command = [sys.executable, "-c", program, folder, str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.stdout.strip() or f"ended the process ({done.returncode})"


def _alike(one: str, other: str) -> bool:
    return one.partition(": ")[0] == other.partition(": ")[0]


def _smaller(content: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Leave out nodes and fields of a model, else lines and pieces of the bytes, as long as it still fails."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError:
        return _fewer_bytes(content, fails)
    for name in ("node", "initializer", "value_info", "input", "output"):
        _fewer(model, getattr(model.graph, name), fails)
    for node in model.graph.node:
        _fewer(model, node.attribute, fails)
    return model.SerializeToString()


def _fewer(model: object, items: object, fails: Callable[[bytes], bool]) -> None:
    """Drop items of a repeated field, halves first."""
    size = len(items)  # type: ignore[arg-type]  # a protobuf container
    while size:
        start = 0
        while start < len(items):  # type: ignore[arg-type]
            kept = list(items)  # type: ignore[call-overload]
            del items[start : start + size]  # type: ignore[attr-defined]
            if not fails(model.SerializeToString()):  # type: ignore[attr-defined]
                del items[:]  # type: ignore[attr-defined]
                items.extend(kept)  # type: ignore[attr-defined]
                start += size
        size //= 2


def _fewer_bytes(content: bytes, fails: Callable[[bytes], bool]) -> bytes:
    size = max(1, len(content) // 2)
    while size >= max(1, len(content) // 64):
        start = 0
        while start < len(content):
            candidate = content[:start] + content[start + size :]
            if candidate and fails(candidate):
                content = candidate
            else:
                start += size
        size //= 2
    return content


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--first", type=int, default=0, help="the first number")
    parser.add_argument("--corpus", choices=("light", "all"), default="all")
    parser.add_argument("--log", type=Path, help="file to append to and to go on from")
    parser.add_argument("--minimise", type=int, metavar="SEED")
    parser.add_argument("-o", "--output", type=Path, help="where to write the smaller input")
    arguments = parser.parse_args()
    if arguments.minimise is not None:
        return minimise(arguments.minimise, arguments.corpus, arguments.output)
    return run(arguments.first, arguments.count, arguments.corpus, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
