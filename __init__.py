"""What a neural network costs on a piece of hardware, kernel by kernel, and how far that figure can be trusted.

    import graphs

    graph = graphs.load("model.onnx")
    report = graphs.run("fuse,lower,cost", graph, target="jetson-orin-agx@30W")
    report.total.seconds, report.kernels[0].bound

Everything named here is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import from_torch, load, run
    from .ir import DType, Graph, Kind, Op, ParseError, TensorType, Value, VerificationError, define, parse, verify
    from .ir import print_graph as print
    from .ir.errors import GraphsError
    from .passes.base import Context, Diagnostic, Pass, PassError
    from .passes.manager import PassManager
    from .passes.report import KernelReport, Report, Total
    from .targets import Target, TargetError, load_target

__version__ = "0.1.0"

_HOMES = {
    ".api": ("from_torch", "load", "run"),
    ".ir": ("DType", "Graph", "Kind", "Op", "ParseError", "TensorType", "Value", "VerificationError", "define", "parse",
            "verify"),
    ".ir.errors": ("GraphsError",),
    ".passes.base": ("Context", "Diagnostic", "Pass", "PassError"),
    ".passes.manager": ("PassManager",),
    ".passes.report": ("KernelReport", "Report", "Total"),
    ".targets": ("Target", "TargetError", "load_target"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Context",
    "DType",
    "Diagnostic",
    "Graph",
    "GraphsError",
    "KernelReport",
    "Kind",
    "Op",
    "ParseError",
    "Pass",
    "PassError",
    "PassManager",
    "Report",
    "Target",
    "TargetError",
    "TensorType",
    "Total",
    "Value",
    "VerificationError",
    "__version__",
    "define",
    "from_torch",
    "load",
    "load_target",
    "parse",
    "print",
    "run",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import what is asked for from the module that it lives in (PEP 562)."""
    from importlib import import_module

    if name == "print":
        found: object = import_module(".ir", __name__).print_graph
    elif name in _HOME_OF:
        found = getattr(import_module(_HOME_OF[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
