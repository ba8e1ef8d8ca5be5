"""The torch functions that stand for ONNX operators which move data: layout, gathering, scattering, resizing."""

from __future__ import annotations

from typing import Any

from .torch_operators import Operands, Step, TorchNode, named, tensor_of, torch_type

__all__: list[str] = []


@named("Transpose")
def _transpose(node: TorchNode) -> Step:
    order = node.get("perm")
    return lambda operands: (operands[0].permute(order or tuple(range(operands[0].dim()))[::-1]),)


@named("Reshape")
def _reshape(node: TorchNode) -> Step:
    shape, zeros = node.ints(1, "shape"), bool(node.get("allowzero", 0))

    def run(operands: Operands) -> tuple[Any, ...]:
        x, wanted = operands[0], shape(operands) or []
        if not zeros and 0 in wanted:
            wanted = [extent or x.shape[axis] for axis, extent in enumerate(wanted)]
        return (x.reshape(wanted),)

    return run


@named("Flatten")
def _flatten(node: TorchNode) -> Step:
    axis = node.get("axis", 1)
    return lambda operands: (operands[0].reshape(operands[0].shape[:axis].numel(), -1),)


@named("Squeeze")
def _squeeze(node: TorchNode) -> Step:
    axes = node.ints(1, "axes")

    def run(operands: Operands) -> tuple[Any, ...]:
        chosen = axes(operands)
        return (operands[0].squeeze() if chosen is None else operands[0].squeeze(tuple(chosen)),)

    return run


@named("Unsqueeze")
def _unsqueeze(node: TorchNode) -> Step:
    axes = node.ints(1, "axes")

    def run(operands: Operands) -> tuple[Any, ...]:
        x, chosen = operands[0], axes(operands) or []
        rank = x.dim() + len(chosen)
        for axis in sorted(axis % rank for axis in chosen):
            x = x.unsqueeze(axis)
        return (x,)

    return run


@named("Concat")
def _concat(node: TorchNode) -> Step:
    import torch

    axis = int(node.get("axis"))
    return lambda operands: (torch.cat(list(operands), axis),)


@named("Slice")
def _slice(node: TorchNode) -> Step:
    old = "starts" in node.attributes
    starts, ends = node.ints(1, "starts"), node.ints(2, "ends")
    axes, steps = node.ints(3, "axes"), node.ints(9 if old else 4)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, begin, end = operands[0], starts(operands) or [], ends(operands) or []
        chosen = axes(operands) or list(range(len(begin)))
        stride = steps(operands) or [1] * len(begin)
        for axis, first, last, step in zip(chosen, begin, end, stride, strict=True):
            if step < 0:
                size = x.shape[axis]
                first, last, step = (size - 1 - min(_in(first, size), size - 1), size - 1 - _in(last, size, -1), -step)
                x = x.flip(axis)
            else:
                first, last = _in(first, x.shape[axis]), _in(last, x.shape[axis])
            index = [slice(None)] * x.dim()
            index[axis] = slice(first, last, step)
            x = x[tuple(index)]
        return (x,)

    return run


def _in(place: int, size: int, least: int = 0) -> int:
    return max(least, min(place + size if place < 0 else place, size))


@named("Split")
def _split(node: TorchNode) -> Step:
    sizes, axis = node.ints(1, "split"), node.get("axis", 0)

    def run(operands: Operands) -> tuple[Any, ...]:
        wanted = sizes(operands)
        if wanted is None:
            return tuple(operands[0].chunk(node.results, axis))
        return tuple(operands[0].split(wanted, axis))

    return run


@named("SplitToSequence")
def _split_to_sequence(node: TorchNode) -> Step:
    sizes, axis, keep = node.ints(1), node.get("axis", 0), bool(node.get("keepdims", 1))

    def run(operands: Operands) -> tuple[Any, ...]:
        wanted = sizes(operands)
        if wanted is None:
            parts = operands[0].split(1, axis)
            return (parts if keep else [part.squeeze(axis) for part in parts],)
        return (operands[0].split(wanted if len(wanted) > 1 else wanted[0], axis),)

    return run


@named("SequenceAt")
def _sequence_at(node: TorchNode) -> Step:
    return lambda operands: (operands[0][int(operands[1])],)


@named("Expand")
def _expand(node: TorchNode) -> Step:
    import numpy as np

    shape = node.ints(1)
    return lambda operands: (
        operands[0].expand(np.broadcast_shapes(tuple(operands[0].shape), tuple(shape(operands) or ()))),
    )


@named("Tile")
def _tile(node: TorchNode) -> Step:
    repeats = node.ints(1)
    return lambda operands: (operands[0].repeat(repeats(operands) or []),)


@named("Pad")
def _pad(node: TorchNode) -> Step:
    from torch.nn import functional

    pads, axes, mode = node.ints(1, "pads"), node.ints(3), node.get("mode", "constant")
    names = {"edge": "replicate", "wrap": "circular"}
    fixed = node.get("value", 0.0) if node.opset < 11 else (node.constant(2) or [0.0])[0]

    def run(operands: Operands) -> tuple[Any, ...]:
        x, widths = operands[0], pads(operands) or []
        chosen = [axis % x.dim() for axis in (axes(operands) if len(operands) > 3 else None) or range(x.dim())]
        around = {axis: (widths[i], widths[i + len(chosen)]) for i, axis in enumerate(chosen)}
        least = min((axis for axis, width in around.items() if any(width)), default=x.dim())
        flat = [width for axis in reversed(range(least, x.dim())) for width in around.get(axis, (0, 0))]
        if mode == "constant":
            return (functional.pad(x, flat, value=fixed),)
        return (functional.pad(x, flat, mode=names.get(mode, mode)),)

    return run


@named("DepthToSpace", "SpaceToDepth")
def _depth_space(node: TorchNode) -> Step:
    from torch.nn import functional

    block = int(node.get("blocksize"))
    if node.op_type == "DepthToSpace" and node.get("mode", "DCR") == "CRD":
        return lambda operands: (functional.pixel_shuffle(operands[0], block),)

    def run(operands: Operands) -> tuple[Any, ...]:
        x = operands[0]
        n, c, h, w = x.shape
        if node.op_type == "DepthToSpace":
            x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
            return (x.reshape(n, c // block**2, h * block, w * block),)
        x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
        return (x.reshape(n, c * block**2, h // block, w // block),)

    return run


# -- gathering and scattering -----------------------------------------------------------------------------------------


@named("Gather")
def _gather(node: TorchNode) -> Step:
    axis = node.get("axis", 0)

    def run(operands: Operands) -> tuple[Any, ...]:
        x, places = operands
        if places.dim() == 0:
            return (x.select(axis, int(places)),)
        rows = x.index_select(axis, _inside(places.reshape(-1), x.shape[axis]))
        return (rows if places.dim() == 1 else rows.unflatten(axis, places.shape),)

    return run


def _inside(places: Any, size: int) -> Any:
    """Indices as torch wants them: 64 bits, none counted from the end."""
    return places.long() if places.dtype.is_floating_point else places.long().remainder(size)


@named("GatherElements")
def _gather_elements(node: TorchNode) -> Step:
    axis = node.get("axis", 0)
    return lambda operands: (operands[0].gather(axis, _inside(operands[1], operands[0].shape[axis])),)


@named("GatherND")
def _gather_nd(node: TorchNode) -> Step:
    if node.get("batch_dims", 0):
        raise node.refuse("batch_dims")
    return lambda operands: (operands[0][tuple(operands[1].long().unbind(-1))],)


@named("ScatterND")
def _scatter_nd(node: TorchNode) -> Step:
    if node.get("reduction", "none") != "none":
        raise node.refuse("a reduction")
    return lambda operands: (operands[0].index_put(tuple(operands[1].long().unbind(-1)), operands[2]),)


@named("ScatterElements")
def _scatter_elements(node: TorchNode) -> Step:
    if node.get("reduction", "none") != "none":
        raise node.refuse("a reduction")
    axis = node.get("axis", 0)
    return lambda operands: (operands[0].scatter(axis, _inside(operands[1], operands[0].shape[axis]), operands[2]),)


@named("Trilu")
def _trilu(node: TorchNode) -> Step:
    import torch

    function = torch.triu if node.get("upper", 1) else torch.tril
    diagonal = node.ints(1)
    return lambda operands: (function(operands[0], (diagonal(operands) or [0])[0]),)


# -- what makes tensors from shapes -----------------------------------------------------------------------------------


@named("Shape", "Size")
def _shape(node: TorchNode) -> Step:
    import torch

    if node.op_type == "Size":
        return lambda operands: (torch.tensor(operands[0].numel()),)
    start, end = node.get("start", 0), node.get("end")
    return lambda operands: (torch.tensor(tuple(operands[0].shape)[start:end], dtype=torch.int64),)


@named("ConstantOfShape")
def _constant_of_shape(node: TorchNode) -> Step:
    import torch
    from onnx import numpy_helper

    value = node.get("value")
    filling = tensor_of(numpy_helper.to_array(value)) if value is not None else torch.zeros(1)
    shape = node.ints(0)
    return lambda operands: (torch.full(shape(operands) or (), filling.item(), dtype=filling.dtype),)


@named("Range")
def _range(node: TorchNode) -> Step:
    import torch

    return lambda operands: (torch.arange(*(operand.item() for operand in operands), dtype=operands[0].dtype),)


@named("EyeLike")
def _eye_like(node: TorchNode) -> Step:
    import torch

    if node.get("k", 0):
        raise node.refuse("k")
    dtype = torch_type(node.get("dtype"), node.name) if node.get("dtype") is not None else None
    return lambda operands: (torch.eye(*operands[0].shape, dtype=dtype or operands[0].dtype),)


# -- resizing ---------------------------------------------------------------------------------------------------------

_MODES = {
    ("nearest", 3): "nearest", ("nearest", 4): "nearest", ("nearest", 5): "nearest", ("linear", 3): "linear",
    ("linear", 4): "bilinear", ("linear", 5): "trilinear", ("cubic", 4): "bicubic",
}  # fmt: skip


@named("Resize", "Upsample")
def _resize(node: TorchNode) -> Step:
    from torch.nn import functional

    method, corners = node.get("mode", "nearest"), node.get("coordinate_transformation_mode", "half_pixel")
    aligned = corners == "align_corners"
    scales, sizes = node.ints(1 if node.op_type == "Upsample" else 2), node.ints(3)

    def run(operands: Operands) -> tuple[Any, ...]:
        x = operands[0]
        wanted = sizes(operands) if len(operands) > 3 else None
        if not wanted:
            wanted = [int(extent * scale) for extent, scale in zip(x.shape, scales(operands) or [], strict=True)]
        mode = _MODES.get((method, x.dim()))
        if mode is None or list(wanted[:2]) != list(x.shape[:2]):
            raise node.refuse(f"mode {method} in {x.dim()} dimensions to {wanted}")
        options = {} if mode == "nearest" else {"align_corners": aligned}
        return (functional.interpolate(x, wanted[2:], mode=mode, **options),)

    return run
