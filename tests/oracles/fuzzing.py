"""Run the tool over damaged copies of small models, in a process that may die of it.

    python tests/oracles/fuzzing.py FIRST_SEED COUNT

Prints a line for every seed that raised anything but a `GraphsError` that blames the input, and exits with 1 if there
was one. A file that takes longer than `SECONDS` ends the process with a traceback of where it was, C++ included.
"""

from __future__ import annotations

import faulthandler
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import onnx
from mutations import damaged, mutated

import graphs
from graphs.ir.errors import GraphsError
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.reporting import build_report
from graphs.targets import Target
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

MODELS = Path(__file__).parents[2] / "examples" / "models"
NAMES = ("lstm_lm", "squeezenet1_1", "unet_small", "mobilenet_v2", "shufflenet_v2_x1_0", "gpt2", "swin_t")
SECONDS = 30
MOST_BYTES = 8 << 30


def broken_file(seed: int, folder: Path) -> Path:
    """Write the model that belongs to a seed: every other one damaged in its bytes, the others in their structure."""
    name = NAMES[seed // 2 % len(NAMES)]
    content = (MODELS / f"{name}.onnx").read_bytes()
    if seed % 2:
        content = damaged(content, seed)
    else:
        content = mutated(onnx.load_model_from_string(content), seed).SerializeToString()
    path = folder / f"{name}.onnx"
    path.write_bytes(content)
    return path


def outcome(path: Path, target: Target) -> str:
    """`fine`, `unknown` or `refused`; else what went wrong."""
    try:
        graph, context = graphs.load(path), Context(target)
        passes = parse_passes("fuse,lower,memory,cost,coverage")
        PassManager(passes, original=lambda: graphs.load(path), reproducers=path.parent).run(graph, context)
        report = build_report(graph, context)
        for form in ("table", "json", "text"):
            emit(form, [report], View())
    except GraphsError as error:
        return str(error) if "defect" in error.help else "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "unknown" if report.total.unknown else "fine"


def main(first: int, count: int) -> int:
    """Try `count` seeds from `first` on."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    target = graphs.load_target("intel-core-i7-12700k")
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as name:
        for seed in range(first, first + count):
            path = broken_file(seed, Path(name))
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            found = outcome(path, target)
            faulthandler.cancel_dump_traceback_later()
            if found not in ("fine", "unknown", "refused"):
                print(f"seed {seed} ({path.name}): {found}", flush=True)
            outcomes[found if found in ("fine", "unknown", "refused") else "failed"] += 1
    print(dict(outcomes))
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
