"""The same network by two doors: captured from PyTorch, and as ONNX that PyTorch's exporter wrote.

    python benchmarks/doors.py [NAME …] [--tolerance 0.02]

For each architecture of `benchmarks/zoo`: multiply-accumulates of each class of kernels, bytes of the parameters and
buffers that something reads, and the peak of activation memory, all under the runtime `pytorch-eager`. Work and
parameters must be identical. A peak that differs by more than the tolerance is listed with what is alive at it on
either side; what the exporter made of an operator, and why that takes more or less memory, is told where it is known.

The process exits with 1 if work or parameters differ, or a peak does for a reason that is not known.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from zoo import ARCHITECTURES, Architecture

import graphs
from graphs.ir import CONSTANT
from graphs.passes.bodies import nested_bodies
from graphs.passes.lower import Work
from graphs.passes.memory import MemoryPlan, memory_plan

TARGET = "intel-core-i7-12700k:pytorch-eager"

REWRITTEN = {
    "aten.lstm": "written with weights rearranged and a direction's axis: transposes and squeezes around ONNX's LSTM",
    "aten.gru": "written with weights rearranged and a direction's axis: transposes and squeezes around ONNX's GRU",
    "aten.roll": "written as two slices, which are copies in ONNX, and a concatenation",
    "aten.chunk": "a view, written as a Split, which copies",
    "aten.split": "a view, written as a Split, which copies",
    "aten.split_with_sizes": "a view, written as a Split, which copies",
    "aten.slice": "a view, written as a Slice, which copies",
    "aten.select": "a view, written as a Gather, which copies",
    "aten.unbind": "a view, written as Split and Squeeze, which copy",
    "aten.expand": "a view, written as an Expand, which copies",
    "aten.permute": "a view, written as a Transpose, which copies",
    "aten.transpose": "a view, written as a Transpose, which copies",
    "aten.t": "a view, written as a Transpose, which copies",
    "aten.hardswish": "in place in PyTorch",
    "aten.group_norm": "written as an InstanceNormalization between reshapes, then gain and bias apart",
    "aten.rms_norm": "written out in elementwise operators",
    "aten.clone": "a copy for a layout that ONNX does not have: written as nothing",
    "aten._to_copy": "a conversion, of a constant or of what ONNX has in the right type already",
    "aten.arange": "computed when the graph is exported",
    "aten.index_put": "written as a ScatterND, whose operand is copied",
    "aten.copy": "written as a ScatterND, whose operand is copied",
    "aten.einsum": "one operation in ONNX too, whose operands' transposes are its own",
}
"""What torch's exporter writes for operators, where that changes what is in memory."""


@dataclass(frozen=True)
class Door:
    """What one door says of a network."""

    macs: Counter[str]
    parameter_bytes: int
    plan: MemoryPlan
    operators: frozenset[str]


def door(graph: graphs.Graph, parameters: frozenset[str]) -> Door:
    """Fuse, lower and plan a graph."""
    done = graphs.run("fuse,lower,memory", graph, target=TARGET).graph
    macs: Counter[str] = Counter()
    for op in done.body:
        for primitive in op.facts[Work].primitives:
            if primitive.macs:
                macs[primitive.work_class] += primitive.macs
    read = {
        value.name: value.bytes or 0
        for scope in (graph, *(body.region for body in nested_bodies(graph)))
        for op in scope.ops
        if op.name == CONSTANT and scope.users(op)
        for value in op.results
        if value.name in parameters
    }
    plan = memory_plan(done)
    return Door(macs, sum(read.values()), plan, frozenset(op.name for op in graph.body))


def doors(architecture: Architecture, folder: Path) -> tuple[Door, Door]:
    """The network captured directly, and by its ONNX export."""
    import torch

    module, arguments = architecture.module(), architecture.arguments()
    every = {"remove_duplicate": False}
    parameters = frozenset(name for name, _ in (*module.named_parameters(**every), *module.named_buffers(**every)))
    with torch.no_grad():
        direct = door(graphs.from_torch(module, (), arguments), parameters)
        program = torch.onnx.export(
            module, (), kwargs=arguments, dynamo=True, opset_version=23, optimize=False, verbose=False
        )
    path = folder / f"{architecture.name}.onnx"
    program.save(str(path), external_data=True)
    return direct, door(graphs.load(path), parameters)


def alive(plan: MemoryPlan) -> list[str]:
    """What is in memory at the peak, the largest first."""
    steps = list(plan.live_bytes)
    at = steps.index(plan.peak_op) if plan.peak_op is not None else 0
    held = [storage for storage in plan.storages if storage.first <= at <= storage.last and storage.bytes]
    held.sort(key=lambda storage: -storage.bytes)
    return [f"{storage.values[0].op.name} {storage.values[0].op.label} ({storage.bytes:,} B)" for storage in held]


def report(name: str, direct: Door, exported: Door, tolerance: float) -> bool:
    """Print one row, and what differs; return whether all is identical or explained."""
    peak, other = direct.plan.peak_bytes, exported.plan.peak_bytes
    off = peak / other - 1 if other else 0.0
    same_work, same_weights = direct.macs == exported.macs, direct.parameter_bytes == exported.parameter_bytes
    work = "identical" if same_work else f"{dict(direct.macs)} / {dict(exported.macs)}"
    weights = "identical" if same_weights else f"{direct.parameter_bytes:,} / {exported.parameter_bytes:,}"
    total = sum(direct.macs.values())
    print(f"{name:28} {total:>14,}  MACs {work}  parameters {weights}  peak {peak:,} / {other:,} B ({off:+.1%})")
    known = True
    if abs(off) > tolerance:
        involved = [operator for operator in REWRITTEN if operator in direct.operators]
        known = bool(involved)
        for side, at in (("PyTorch", direct.plan), ("ONNX", exported.plan)):
            print(f"    {side:8} {'; '.join(alive(at)[:6])}")
        for operator in involved:
            print(f"    {operator}: {REWRITTEN[operator]}")
    sys.stdout.flush()
    return same_work and same_weights and known


def main() -> int:
    """Compare the architectures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures; all by default")
    parser.add_argument("--tolerance", type=float, default=0.02, help="share of the peak that may differ unsaid")
    options: Any = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    good = compared = within = 0
    for name in options.names or ARCHITECTURES:
        architecture = ARCHITECTURES[name]
        if architecture.missing:
            print(f"{name:28} not built: {', '.join(architecture.missing)} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                direct, exported = doors(architecture, Path(folder))
            except Exception as error:  # torch's exporter raises many types; a network without an export is no pair
                print(f"{name:28} not compared: {type(error).__name__}: {str(error).splitlines()[0][:120]}")
                continue
        compared += 1
        close = abs(direct.plan.peak_bytes - exported.plan.peak_bytes) <= options.tolerance * exported.plan.peak_bytes
        within += close
        good += report(name, direct, exported, options.tolerance)
    print(
        f"{compared} architectures; {good} identical or explained, {within} with peaks within {options.tolerance:.0%}"
    )
    return 0 if good == compared else 1


if __name__ == "__main__":
    sys.exit(main())
