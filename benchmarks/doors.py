"""The same network by two doors: captured from PyTorch, and as ONNX that PyTorch's exporter wrote.

    python benchmarks/doors.py [NAME …] [--tolerance 0.02]

For each architecture of `benchmarks/zoo`: multiply-accumulates of each class of kernels, bytes of the parameters and
buffers that something reads, and the peak of activation memory, all under the runtime `pytorch-eager`. Work and
parameters must be identical. Of a peak that differs by more than the tolerance, every buffer is listed that is alive at
it by one door and not at that of the other, with the operator that makes it, and why.

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

import networkx
from zoo import ARCHITECTURES, Architecture

import graphs
from graphs.ir import CONSTANT, INPUT, Expression
from graphs.ir.counts import substituted, symbols_of
from graphs.passes.bodies import nested_bodies
from graphs.passes.lower import Work
from graphs.passes.memory import MemoryPlan, Storage, memory_plan

TARGET = "intel-core-i7-12700k:pytorch-eager"

REASONS = {
    "aten.lstm": "one operation for all layers, which keeps what is between them to itself; in ONNX an operator each",
    "aten.gru": "one operation for all layers, which keeps what is between them to itself; in ONNX an operator each",
    "onnx.LSTM": "an operator a layer; one operation for all in PyTorch",
    "onnx.GRU": "an operator a layer; one operation for all in PyTorch",
    "onnx.Transpose": "taken to be copied for what reads it: the file does not say how PyTorch lays it out",
    "onnx.Expand": "taken to be copied for what reads it: the file does not say how PyTorch lays it out",
    "onnx.GatherND": "PyTorch's index reads through a view of the indices",
    "onnx.Concat": "put together for an operator that takes one tensor, such as GatherND its indices",
    "onnx.ScatterElements": "index_add in PyTorch, which takes a row of indices and not one for each element",
    "onnx.ScatterND": "written into its operand in PyTorch, and into a copy by ONNX",
    "aten.index_add": "written as a ScatterElements, with an index for each element",
    "aten.roll": "written as two slices, which are views, and a concatenation",
    "aten.clone": "a copy that brings a view into order; its ONNX operators say nothing of order",
    "aten._to_copy": "a conversion of what ONNX has in the right type already",
    "aten.group_norm": "written as an InstanceNormalization between reshapes, then gain and bias apart",
    "aten.rms_norm": "written out in elementwise operators",
    "aten.hardswish": "in place in PyTorch",
}
"""What torch's exporter makes of operators, where that changes what is in memory."""

TRIED = (1, 7, 100)
"""What sizes that follow from data are taken to be where peaks depend on them."""

FROM_CONSTANTS = "follows from constants alone: made at each run by PyTorch, when it was exported in ONNX"
VIEWED = "in memory as long as a view of it is read: PyTorch's views share it"
ELSEWHERE = "made by both, and alive at this one's peak alone: the peaks are at different operations"


@dataclass(frozen=True)
class Door:
    """What one door says of a network."""

    macs: Counter[str]
    parameter_bytes: int
    graph: graphs.Graph
    plan: MemoryPlan

    def alive(self) -> list[Storage]:
        """What is in memory at the peak, the largest first."""
        steps = list(self.plan.live_bytes)
        at = steps.index(self.plan.peak_op) if self.plan.peak_op is not None else 0
        held = [storage for storage in self.plan.storages if storage.first <= at <= storage.last and storage.bytes]
        return sorted(held, key=lambda storage: -storage.bytes if isinstance(storage.bytes, int) else 0)

    def reason(self, storage: Storage, other: Door) -> str:
        """Why a buffer is alive at this door's peak, and not at the other's; empty if that is not known."""
        op = storage.values[0].op
        above = networkx.ancestors(self.graph.nx, op)
        if op.name != INPUT and not any(one.name == INPUT for one in above):
            return FROM_CONSTANTS
        if op.name in REASONS:
            return REASONS[op.name]
        if len(storage.values) > 1:
            return VIEWED
        made = {name for one in other.plan.storages for name in names_of(one)}
        return ELSEWHERE if names_of(storage) & made else ""


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
    return Door(macs, sum(read.values()), done, memory_plan(done))


def names_of(storage: Storage) -> set[str]:
    """What a buffer's values are called, by both doors: ONNX nodes are named after the values of PyTorch's graph."""
    labels = {value.name for value in storage.values} | {value.op.label for value in storage.values}
    return {label.removeprefix("node_") for label in labels}


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


def shown(peak: object) -> str:
    """A number of bytes, or the expression of what it follows from."""
    return f"{peak:,}" if isinstance(peak, int) else str(peak)


def tried(count: object) -> tuple[object, ...]:
    """A count, for each of a few values of the sizes that follow from data: those have other names by either door."""
    symbols = {symbol.name for symbol in symbols_of(count)} if isinstance(count, Expression) else set()
    return tuple(substituted(count, dict.fromkeys(symbols, extent)) for extent in TRIED)


def apart(direct: Door, exported: Door) -> float:
    """How far the peak of one is from that of the other; where sizes follow from data, for a few values of them."""
    pairs = zip(tried(direct.plan.peak_bytes), tried(exported.plan.peak_bytes), strict=True)
    known = [one / other - 1 for one, other in pairs if isinstance(one, int) and isinstance(other, int) and other]
    return max(known, key=abs, default=0.0)


def report(name: str, direct: Door, exported: Door, tolerance: float) -> bool:
    """Print one row, and what differs; return whether all is identical or explained."""
    peak, other, off = direct.plan.peak_bytes, exported.plan.peak_bytes, apart(direct, exported)
    each = [{sort: tried(macs) for sort, macs in one.macs.items()} for one in (direct, exported)]
    same_work, same_weights = each[0] == each[1], direct.parameter_bytes == exported.parameter_bytes
    work = "identical" if same_work else f"{dict(direct.macs)} / {dict(exported.macs)}"
    weights = "identical" if same_weights else f"{direct.parameter_bytes:,} / {exported.parameter_bytes:,}"
    total = sum(direct.macs.values())
    same = f"MACs {work}  parameters {weights}"
    print(f"{name:28} {shown(total):>14}  {same}  peak {shown(peak)} / {shown(other)} B ({off:+.1%})")
    known = True
    if abs(off) > tolerance:
        for side, one, two in (("PyTorch", direct, exported), ("ONNX", exported, direct)):
            label = one.plan.peak_op.label if one.plan.peak_op is not None else "the start"
            print(f"    {side}'s peak is at {label}; alive there, and not at the other's:")
            there = {name for storage in two.alive() for name in names_of(storage)}
            for storage in one.alive():
                if names_of(storage) & there:
                    continue
                why = one.reason(storage, two)
                known &= bool(why)
                op = storage.values[0].op
                print(f"      {shown(storage.bytes):>9} B  {op.name} {op.label}: {why or 'NOT EXPLAINED'}")
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
        within += abs(apart(direct, exported)) <= options.tolerance
        good += report(name, direct, exported, options.tolerance)
    print(
        f"{compared} architectures; {good} identical or explained, {within} with peaks within {options.tolerance:.0%}"
    )
    return 0 if good == compared else 1


if __name__ == "__main__":
    sys.exit(main())
