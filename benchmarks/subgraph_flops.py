"""Published subgraphs of torchvision networks under eager PyTorch: do their operations, and their FLOPs, join ours?

    python benchmarks/subgraph_flops.py subgraphs.csv.gz [--model resnet18 …]

The networks are captured from torchvision by `graphs.from_torch`. Rows are joined by the names of their operations
(torch.fx: `layer1_0_conv1` is the module `layer1.0.conv1`). The record's convention of FLOPs: two for each
multiply-accumulate of a convolution, a linear layer or an attention module, and five for each element of its softmax;
one for each element of a sum or product that the network's own code writes; nothing for normalisation, activations and
pooling, nor for `einsum` and `softmax` called as functions.

The process exits with 1 if less than 95 % of the rows join, or FLOPs differ under that convention.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphs
from graphs.calibration.importers.fx_names import Placed
from graphs.calibration.importers.subgraphs import JoinedRow, Row, join, read_rows
from graphs.ir.primitives import Conv, Elementwise, Gemm, Primitive, Softmax
from graphs.passes.calibrate import kernel_of
from graphs.passes.fuse import main_op
from graphs.passes.lower import Work

TARGET = "intel-core-i7-12700k:pytorch-eager"
LEAST_JOINED = 0.95
WRITTEN_OUT = frozenset({"add", "mul"})
UNRECORDED = frozenset({"einsum", "softmax"})


def placed(model: str) -> Sequence[Placed] | None:
    """The kernels that eager PyTorch launches for a torchvision network, by their modules."""
    import torch
    import torchvision

    if model not in torchvision.models.list_models():
        return None
    with torch.device("meta"):
        module = torchvision.models.get_model(model).eval()
    graph = graphs.run(
        "fuse,lower,calibrate", graphs.from_torch(module, torch.zeros(1, 3, 224, 224)), target=TARGET
    ).graph
    launched = [op for op in graph.body if op.facts[Work].primitives]
    return [Placed(main_op(op).base_name, main_op(op).loc.module, kernel_of(op, graph)) for op in launched]


def recorded_flops(primitive: Primitive) -> int:
    """The record's count of a primitive of a row."""
    if isinstance(primitive, Conv | Gemm):
        return 2 * primitive.macs
    if isinstance(primitive, Softmax):
        return primitive.ops
    if isinstance(primitive, Elementwise) and primitive.function in WRITTEN_OUT:
        return primitive.elements
    return 0


def agrees(row: JoinedRow) -> bool:
    """Whether our FLOPs of a row's kernels are those that the record has, under its convention."""
    return _ours(row) == row.row.flops


def _ours(row: JoinedRow) -> int:
    if all(re.sub(r"_\d+$", "", name) in UNRECORDED for name in row.row.names):
        return 0
    return sum(recorded_flops(primitive) for kernel in row.sample.kernels for primitive in kernel.primitives)


def main() -> int:
    """Join the rows and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="subgraphs.csv.gz")
    parser.add_argument("--model", action="append", help="only these networks")
    options: Any = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = [row for row in read_rows(options.table) if not options.model or row.model in options.model]
    kernels: dict[str, Sequence[Placed] | None] = {}

    def describe(model: str, precision: str) -> Sequence[Placed] | None:
        if model not in kernels:
            kernels[model] = placed(model)
        return kernels[model]

    joined = join(rows, describe)
    found, lost = Counter(one.row.model for one in joined.rows), Counter(row.model for row, _ in joined.unmatched)
    good = Counter(one.row.model for one in joined.rows if agrees(one))
    for model in found | lost:
        whole = found[model] + lost[model]
        equal = good[model] / max(1, found[model])
        print(f"{model:22} {whole:6} rows, {found[model] / whole:.1%} joined, {equal:.2%} FLOPs equal")
    _examples(joined.rows, joined.unmatched)
    total = sum(found.values()) + sum(lost.values())
    share = sum(found.values()) / max(1, total)
    equal = sum(good.values()) / max(1, sum(found.values()))
    print(f"{total} rows of networks at hand: {share:.2%} joined; of these {equal:.2%} agree")
    print(f"networks not at hand: {', '.join(joined.absent) or 'none'}")
    return 0 if share >= LEAST_JOINED and good == found else 1


def _examples(rows: Sequence[JoinedRow], unmatched: Sequence[tuple[Row, str]]) -> None:
    """One row of each sort that disagrees, and the reasons why rows did not join."""
    kinds: dict[tuple[str, str], list[JoinedRow]] = defaultdict(list)
    for one in rows:
        if not agrees(one):
            kinds[one.row.model, re.sub(r"\d+", "#", " ".join(one.row.names))[:100]].append(one)
    for (model, names), alike in list(kinds.items())[:20]:
        first = alike[0]
        ours = _ours(first)
        flops = f"{ours:,} ours, {first.row.flops:,} recorded, batch {first.row.batch}"
        print(f"    {model}: {len(alike)} rows like {names}: {flops}")
    for reason, count in Counter(reason for _, reason in unmatched).most_common(10):
        print(f"    {count} rows not joined: {reason}")


if __name__ == "__main__":
    sys.exit(main())
