"""How fast the tool is, as ratios to something run beside it: onnx-tool, the imports it needs, and click.

    pip install onnx-tool==1.0.1
    python benchmarks/speed.py [--repeat 9] [--only networks|commands]

Networks: from a file with its weights (random ones, where a model's are not stored) to figures, in one process on one
core, alternating: `graphs` loads it and runs `shape,fuse,lower,cost`; onnx-tool loads it and runs `shape_infer` and
`profile`. The claim is about the whole way, file to figures, because the two divide the work differently: our loading
does the inference of types, and skips weights; onnx-tool's reads all weights and builds its nodes. The parts are
printed as well: passes alone cost several times `shape_infer` and `profile` alone, which sum formulas over nodes and
form no kernels, plan no memory, predict no time and verify nothing.

Commands: whole processes, alternating, bytecode cached beforehand for both sides as an installation has it. The model
is one whose weights are absent, so that the other side has nothing to read either.

The process exits with 1 if a claim does not hold; medians are compared.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "models"
NETWORKS = ("resnet50", "swin_t", "mobilenet_v2")
PIPELINE = "shape,fuse,lower,cost"
MOST_OF_ONNX_TOOL = 1.0
MOST_OF_IMPORTS = 2.5
MOST_OF_CLICK = 1.5

sys.path.insert(0, str(ROOT / "tests" / "oracles"))


@dataclass
class _Laps:
    """Seconds of each part, by name, over the repetitions."""

    parts: dict[str, list[float]] = field(default_factory=dict)

    def time(self, part: str, work: Callable[[], object]) -> object:
        started = perf_counter()
        made = work()
        self.parts.setdefault(part, []).append(perf_counter() - started)
        return made

    @property
    def whole(self) -> float:
        """Median over the repetitions of the sum of all parts."""
        return median(map(sum, zip(*self.parts.values(), strict=True)))

    def __str__(self) -> str:
        return " + ".join(f"{part} {median(seconds) * 1e3:.1f}" for part, seconds in self.parts.items())


# -- networks ---------------------------------------------------------------------------------------------------------


def compare_networks(repeat: int) -> bool:
    """Time both tools on every network; whether ours takes no longer on each."""
    import onnx
    from materialise import materialise

    held = True
    for name in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="speed-") as folder:
            path = Path(folder) / f"{name}.onnx"
            onnx.save(materialise(MODELS / f"{name}.onnx"), path)
            ours, theirs = _timed(path, repeat)
        ratio = ours.whole / theirs.whole
        held = held and ratio <= MOST_OF_ONNX_TOOL
        passes = median(ours.parts["passes"]) / (theirs.whole - median(theirs.parts["load"]))
        print(
            f"{name:13} graphs {ours.whole * 1e3:6.1f} ms ({ours})   onnx-tool {theirs.whole * 1e3:6.1f} ms ({theirs})"
            f"   ratio {ratio:.2f} (at most {MOST_OF_ONNX_TOOL}); without loading {passes:.1f}",
            flush=True,
        )
    return held


def _timed(path: Path, repeat: int) -> tuple[_Laps, _Laps]:
    import onnx_tool

    import graphs
    from graphs.passes.base import Context
    from graphs.passes.manager import PassManager, parse_passes

    target = graphs.load_target("host")
    ours, theirs = _Laps(), _Laps()
    for repetition in range(repeat + 1):
        laps = (_Laps(), _Laps()) if repetition == 0 else (ours, theirs)  # the first warms caches and is not counted
        graph = laps[0].time("load", lambda: graphs.load(path))
        manager = PassManager(parse_passes(PIPELINE), original=lambda: graphs.load(path))
        laps[0].time("passes", lambda graph=graph, manager=manager: manager.run(graph, Context(target)))
        model = laps[1].time("load", lambda: onnx_tool.Model(str(path), {"verbose": False}))
        laps[1].time("shape_infer", model.graph.shape_infer)
        laps[1].time("profile", model.graph.profile)
    return ours, theirs


# -- commands ---------------------------------------------------------------------------------------------------------


def compare_commands(repeat: int) -> bool:
    """Time whole processes against what they cannot do without; whether both claims hold."""
    path = MODELS / "resnet50.onnx"
    load = f"import onnx, networkx, numpy; onnx.load({str(path)!r}, load_external_data=False)"
    tool = [sys.executable, "-c", "from graphs.tools.opt import main; main()"]
    python = [sys.executable, "-c"]
    pairs = (
        ("graphs-opt resnet50", [*tool, "--passes=fuse,lower,cost", str(path)], [*python, load], MOST_OF_IMPORTS),
        ("graphs-opt --help", [*tool, "--help"], [*python, "import click"], MOST_OF_CLICK),
    )
    held = True
    with tempfile.TemporaryDirectory(prefix="speed-") as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name, command, beside, most in pairs:
            laps = _Laps(), _Laps()
            for repetition in range(repeat + 1):
                for lap, arguments in zip(laps, (command, beside), strict=True):
                    (lap if repetition else _Laps()).time("process", lambda a=arguments: _quietly(a, environment))
            ratio = laps[0].whole / laps[1].whole
            held = held and ratio <= most
            print(
                f"{name:20} {laps[0].whole * 1e3:5.0f} ms   {beside[-1].partition(';')[0]:30}"
                f" {laps[1].whole * 1e3:5.0f} ms   ratio {ratio:.2f} (at most {most})",
                flush=True,
            )
    return held


def _quietly(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run(arguments, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> int:
    """Read the arguments and run; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=9, help="timed repetitions of each side")
    parser.add_argument("--only", choices=("networks", "commands"), help="one of the two parts")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    held = [compare(arguments.repeat) for part, compare in _PARTS.items() if arguments.only in (None, part)]
    return 0 if all(held) else 1


_PARTS = {"networks": compare_networks, "commands": compare_commands}

if __name__ == "__main__":
    sys.exit(main())
