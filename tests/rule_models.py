"""Builds small ONNX models, each for one of a runtime's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Model"]


class Model:
    """A model of few operators under construction; every value has a name of its own."""

    def __init__(self, opset: int = 21) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.opset = opset

    def input(self, *shape: int, element: int = TensorProto.FLOAT) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def constant(self, array: Any, element: int | None = None) -> str:
        name = f"c{len(self.weights)}"
        array = np.asarray(array)
        if element is not None:
            array = array.astype(helper.tensor_dtype_to_np_dtype(element))
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op_type: str, *inputs: str, results: int = 1, **attributes: Any) -> str:
        first = f"v{len(self.nodes)}"
        names = [first, *(f"{first}_{index}" for index in range(1, results))]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"n{len(self.nodes)}", **attributes))
        return first

    def saved(self, folder: Path, *outputs: str) -> Path:
        infos = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "case", self.inputs, infos, self.weights)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        path = folder / "case.onnx"
        onnx.save(
            onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=10)), path
        )
        return path
