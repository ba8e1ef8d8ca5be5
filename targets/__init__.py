"""What hardware and its software are: devices, runtimes, and the loader that reads them from YAML.

target = load_target("jetson-orin-agx:tensorrt@30W")
target.device.best_unit("contraction", "fp16").peak("fp16")      # FLOP/s
target.runtime.dispatch_seconds
"""

from .catalog import RuntimeSummary, TargetSummary, list_runtimes, list_targets
from .device import ComputeUnit, Device, Energy, Memory, Source
from .efficiency import KERNEL_CLASSES, SIGNED, Efficiency, Share
from .errors import TargetError
from .loader import Target, load_target, parse_target
from .quantity import Quantity, format_quantity, format_si, parse_quantity
from .runtime import RuleSource, Runtime

__all__ = [
    "KERNEL_CLASSES",
    "SIGNED",
    "ComputeUnit",
    "Device",
    "Efficiency",
    "Energy",
    "Memory",
    "Quantity",
    "RuleSource",
    "Runtime",
    "RuntimeSummary",
    "Share",
    "Source",
    "Target",
    "TargetError",
    "TargetSummary",
    "format_quantity",
    "format_si",
    "list_runtimes",
    "list_targets",
    "load_target",
    "parse_quantity",
    "parse_target",
]
