"""What PyTorch's own counter, `torch.utils.flop_counter.FlopCounterMode`, counts when a module runs.

The counter has formulas for matrix products, convolutions and fused attention of GPUs, and none for the CPU's own fused
kernels. So attention runs by its plain formula here, encoder layers without their fast path, and recurrent layers as
the products of every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Counted", "counted"]

_CLASSES = {
    "mm": "matmul",
    "addmm": "matmul",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "convolution": "conv",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """One call of an operator: its name (``aten.mm``), its class and its multiply-accumulates, two FLOPs each."""

    operator: str
    work_class: str
    macs: int


def counted(module: Any, arguments: Mapping[str, Any]) -> list[Counted]:
    """Return every call that the counter has a formula for, in order.

    Raises:
        KeyError: the counter counts an operator of which no class is known here.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    calls: list[Counted] = []

    class Recording(FlopCounterMode):  # type: ignore[misc]  # torch is not checked
        def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
            before = self.get_total_flops()
            returned = super()._count_flops(func_packet, out, args, kwargs)
            flops = self.get_total_flops() - before
            if func_packet in self.flop_registry:
                name = str(func_packet).rpartition(".")[2]
                calls.append(Counted(f"aten.{name}", _CLASSES[name], flops // 2))
            return returned

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        plain = torch.backends.mkldnn.flags(enabled=False)
        with torch.no_grad(), plain, sdpa_kernel(SDPBackend.MATH), Recording(display=False):
            module(**arguments)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return calls
