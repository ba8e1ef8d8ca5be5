"""Saved PyTorch programs made without PyTorch: archives laid out as ``torch.export.save`` of torch 2.13 does."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["archive", "convolutional", "node", "program", "symbolic", "tensor"]

F32, I64, BOOL = 7, 5, 12
SYMBOL = {"as_expr": {"expr_str": "Symbol('s27', positive=True, integer=True)", "hint": {"as_int": 2}}}
TWICE = {"as_expr": {"expr_str": "Mul(Integer(2), Symbol('s27', positive=True, integer=True))", "hint": {"as_int": 4}}}


def tensor(*sizes: Any, dtype: int = F32, strides: Sequence[int] | None = None) -> dict[str, Any]:
    """The metadata of a tensor; contiguous unless told."""
    dense, step = [], 1
    for size in reversed(sizes):
        dense.append(step)
        step *= size if isinstance(size, int) else 2
    return {
        "dtype": dtype,
        "sizes": [{"as_int": size} if isinstance(size, int) else size for size in sizes],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": stride} for stride in (strides or reversed(dense))],
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }


def node(target: str, result: str, module: str = "", **arguments: Any) -> dict[str, Any]:
    """A call with one result; arguments are unions (``as_int``), tensors by name."""
    stack = "L__self__,,net.Net" + (f";L__self__{module},{module},torch.nn.Module{module.title()}" if module else "")
    named = {
        key: {"as_tensor": {"name": given}} if isinstance(given, str) else given for key, given in arguments.items()
    }
    return {
        "target": f"torch.ops.{target}",
        "inputs": [{"name": key, "arg": given, "kind": 1} for key, given in named.items()],
        "outputs": [{"as_tensor": {"name": result}}],
        "metadata": {"nn_module_stack": stack, "torch_fn": "x;y"},
        "is_hop_single_tensor_return": None,
        "name": result,
    }


def program(
    values: Mapping[str, Any],
    nodes: Sequence[Any],
    outputs: Sequence[str],
    weights: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A program whose inputs are the values that are neither weights nor made by a node."""
    made = {output["as_tensor"]["name"] for entry in nodes for output in entry["outputs"]}
    weights, constants = weights or {}, constants or {}
    inputs = [name for name in values if name not in made]
    specs: list[Any] = []
    for name in inputs:
        if name in weights:
            specs.append({"parameter": {"arg": {"name": name}, "parameter_name": weights[name]}})
        elif name in constants:
            specs.append({"tensor_constant": {"arg": {"name": name}, "tensor_constant_name": constants[name]}})
        else:
            specs.append({"user_input": {"arg": {"as_tensor": {"name": name}}}})
    return {
        "graph_module": {
            "graph": {
                "inputs": [{"as_tensor": {"name": name}} for name in inputs],
                "outputs": [{"as_tensor": {"name": name}} for name in outputs],
                "nodes": list(nodes),
                "tensor_values": dict(values),
                "sym_int_values": {"length": SYMBOL},
                "sym_bool_values": {},
                "is_single_tensor_return": False,
                "custom_obj_values": {},
                "sym_float_values": {},
            },
            "signature": {
                "input_specs": specs,
                "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": name}}}} for name in outputs],
            },
            "module_call_graph": [],
            "metadata": {},
        },
        "opset_version": {"aten": 10},
        "range_constraints": {"s27": {"min_val": 0, "max_val": None}},
        "schema_version": {"major": 8, "minor": 20},
        "torch_version": "2.13.0",
    }


def archive(document: Any, constants: Mapping[str, tuple[dict[str, Any], bytes]] | None = None) -> bytes:
    """The file: the program and, by name, constants with their metadata and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        config = {}
        for index, (name, (meta, content)) in enumerate((constants or {}).items()):
            file.writestr(f"net/data/constants/tensor_{index}", content)
            entry = {"path_name": f"tensor_{index}", "is_param": False, "use_pickle": False, "tensor_meta": meta}
            config[name] = entry
        file.writestr("net/data/constants/model_constants_config.json", json.dumps({"config": config}))
        file.writestr("net/models/model.json", document if isinstance(document, str) else json.dumps(document))
        file.writestr("net/archive_format", "pt2")
    return buffer.getvalue()


def convolutional() -> dict[str, Any]:
    """A convolution, an activation in place, a reshape that is a view, a linear layer."""
    values = {
        "p_conv_weight": tensor(8, 3, 3, 3),
        "p_fc_weight": tensor(5, 512),
        "x": tensor(1, 3, 10, 10),
        "conv2d": tensor(1, 8, 8, 8),
        "relu_": tensor(1, 8, 8, 8),
        "flatten": tensor(1, 512),
        "linear": tensor(1, 5),
    }
    nodes = [
        node("aten.conv2d.default", "conv2d", "conv", input="x", weight="p_conv_weight"),
        node("aten.relu_.default", "relu_", "act", self="conv2d"),
        node("aten.flatten.using_ints", "flatten", self="relu_", start_dim={"as_int": 1}),
        node("aten.linear.default", "linear", "fc", input="flatten", weight="p_fc_weight"),
    ]
    return program(values, nodes, ["linear"], {"p_conv_weight": "conv.weight", "p_fc_weight": "fc.weight"})


def symbolic() -> bytes:
    """An open dimension, a small integer constant, and a sum with it."""
    values = {
        "c_table": tensor(4, dtype=I64),
        "x": tensor(SYMBOL, 4),
        "cat": tensor(TWICE, 4),
        "add": tensor(TWICE, 4),
    }
    both = {"as_tensors": [{"name": "x"}, {"name": "x"}]}
    nodes = [
        node("aten.cat.default", "cat", tensors=both),
        node("aten.add.Tensor", "add", self="cat", other="c_table"),
    ]
    document = program(values, nodes, ["add"], constants={"c_table": "table"})
    return archive(document, {"table": (tensor(4, dtype=I64), struct.pack("<4q", 1, 2, 3, 4))})
