"""The kernels predicted under `torch-compile` beside those that Inductor generates for a CPU, in their order.

    python benchmarks/inductor_kernels.py [NAME …]

Architectures of `benchmarks/zoo` are compiled by `torch.compile` in its default mode up to generated code, which is
neither built nor run. Calls of generated kernels (`cpp_fused_…`) and of libraries (`extern_kernels.…`,
`torch.ops.…`: convolutions, products, attention, recurrent layers) are read from it in their order; kernels that only
bring operands of libraries into another layout (channels last), which are not predicted, are counted apart. Precision
and recall are those of the longest row of kernels that both have in the same order.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from zoo import ARCHITECTURES, Architecture

import graphs
from graphs.ir import Kind, Op, kind_of
from graphs.passes.fuse import kernel_ops

TARGET = "intel-core-i7-12700k:torch-compile"
DEFAULT = ("mlp", "autoencoder", "unet", "resnet18", "transformer_encoder", "bert", "gpt2", "vit")
GENERATED = "generated"
_CALL = re.compile(r"(?:^ +|= )(cpp_fused_\w+|extern_kernels\.\w+|torch\.ops\.\w+\.\w+)[\w.]*\(", re.MULTILINE)
_LIBRARIES = {
    "conv": "convolution",
    "attention": "attention",
    "lstm": "recurrent",
    "gru": "recurrent",
    "rnn": "recurrent",
    "mm": "product",
    "linear": "product",
    "dot": "product",
}
"""What is in the names of library calls, and what sort of call that makes them."""
_LAYOUT_ONLY = re.compile(r"cpp_fused(?:_(?:convolution|unsqueeze|transpose|permute|t|clone|view))*_\d+$")


def library(name: str) -> str:
    """The sort of library call that an operator of this name is; empty if it is none."""
    return next((sort for part, sort in _LIBRARIES.items() if part in name.lower()), "")


def predicted(architecture: Architecture) -> list[str]:
    """The kernels that we predict, in their order."""
    captured = graphs.from_torch(architecture.module(), (), architecture.arguments())
    fused = graphs.run("fuse", captured, target=TARGET).graph
    return [sort for op in fused.body if (sort := _sort(op))]


def _sort(kernel: Op) -> str:
    members = [member for member in kernel_ops(kernel) if kind_of(member) is not Kind.VIEW]
    called = next((m for m in members if kind_of(m) in (Kind.CONTRACTION, Kind.RECURRENT)), None)
    if called is not None:
        return library(called.base_name) or "product"
    return GENERATED if members else ""


def generated(architecture: Architecture) -> tuple[list[str], int]:
    """The kernels that Inductor's code calls, in their order, and how many more only change a layout."""
    import torch
    from torch._inductor import async_compile, config
    from torch._inductor.utils import run_and_get_code

    config.force_disable_caches = True
    nothing: Any = lambda *_: None  # noqa: E731  # stands for a built kernel
    async_compile.AsyncCompile.cpp_pybinding = lambda self, *_, **__: nothing
    torch.backends.mha.set_fastpath_enabled(False)
    torch._dynamo.reset()
    compiled = torch.compile(architecture.module())
    with torch.no_grad():
        _, sources = run_and_get_code(compiled, **architecture.arguments())
    calls = [call for source in sources for call in _CALL.findall(source[source.index("def call") :])]
    kept = [call for call in calls if not _LAYOUT_ONLY.match(call) and "reinterpret" not in call]
    sorts = [GENERATED if call.startswith("cpp_fused") else library(call) for call in kept]
    return [sort for sort in sorts if sort], len(calls) - len(kept)


def common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many kernels the longest row has that both have in the same order."""
    best = [0] * (len(theirs) + 1)
    for mine in ours:
        before = best[:]
        for place, real in enumerate(theirs):
            best[place + 1] = before[place] + 1 if mine == real else max(before[place + 1], best[place])
    return best[-1]


def main() -> int:
    """Print counts, precision and recall for each architecture."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    total = [0, 0, 0]
    for name in sys.argv[1:] or DEFAULT:
        if ARCHITECTURES[name].missing:
            print(f"{name:24} not built: {', '.join(ARCHITECTURES[name].missing)} is not installed")
            continue
        ours, (theirs, layouts) = predicted(ARCHITECTURES[name]), generated(ARCHITECTURES[name])
        both = common(ours, theirs)
        total = [a + b for a, b in zip(total, (both, len(ours), len(theirs)), strict=True)]
        sorts = dict.fromkeys((*ours, *theirs))
        parts = ", ".join(f"{sort} {ours.count(sort)} for {theirs.count(sort)}" for sort in sorts)
        figures = f"precision {both / len(ours):.2f}, recall {both / len(theirs):.2f}"
        print(f"{name:24} {figures}; {parts}; {layouts} more for layouts", flush=True)
    if total[1] and total[2]:
        print(f"all of them: precision {total[0] / total[1]:.3f}, recall {total[0] / total[2]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
