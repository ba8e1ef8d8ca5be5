"""The kernels predicted under `torch-compile` beside those that Inductor generates for a CPU.

    python benchmarks/inductor_kernels.py [NAME …]

Architectures of `benchmarks/zoo` are compiled by `torch.compile` in its default mode up to generated code, which is
neither built nor run: calls of generated kernels (`cpp_fused_…`) and of libraries (`extern_kernels.…`, `torch.ops.…`)
are counted in it. Inductor has kernels that bring operands into another layout (channels last), which are not
predicted.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from zoo import ARCHITECTURES, Architecture

import graphs
from graphs.ir import Kind, kind_of
from graphs.passes.fuse import kernel_ops

TARGET = "intel-core-i7-12700k:torch-compile"
DEFAULT = ("mlp", "unet", "resnet18", "gpt2", "vit")
_GENERATED = re.compile(r"^ +cpp_fused_\w+\(", re.MULTILINE)
_LIBRARY = re.compile(r"(?:extern_kernels\.\w+|torch\.ops\.(?:aten|mkldnn|mkl)\.\w+[\w.]*)\(")
_LIBRARY_KINDS = {Kind.CONTRACTION, Kind.RECURRENT}


def predicted(architecture: Architecture) -> tuple[int, int]:
    """Generated and library kernels that we predict."""
    captured = graphs.from_torch(architecture.module(), (), architecture.arguments())
    fused = graphs.run("fuse", captured, target=TARGET).graph
    kernels = [{kind_of(member) for member in kernel_ops(op)} - {Kind.VIEW} for op in fused.body]
    library = sum(bool(kinds & _LIBRARY_KINDS) for kinds in kernels)
    return sum(bool(kinds) for kinds in kernels) - library, library


def generated(architecture: Architecture) -> tuple[int, int]:
    """Generated and library kernels that Inductor's code calls."""
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
    code = "\n".join(sources)
    return len(_GENERATED.findall(code)), len(_LIBRARY.findall(code))


def main() -> int:
    """Print both counts for each architecture."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(f"{'':24} {'generated':>20} {'of libraries':>20}")
    for name in sys.argv[1:] or DEFAULT:
        ours, theirs = predicted(ARCHITECTURES[name]), generated(ARCHITECTURES[name])
        cells = (f"{mine} for {real}" for mine, real in zip(ours, theirs, strict=True))
        print(f"{name:24} " + " ".join(f"{cell:>20}" for cell in cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
