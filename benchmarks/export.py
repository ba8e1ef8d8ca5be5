"""Write architectures of the zoo as ONNX with open dimensions and without weights: what is bundled in examples/models.

    python benchmarks/export.py FOLDER NAME ...

Every floating-point initialiser over 1 KiB becomes a reference to a `weights.bin` that does not exist; the exporter's
notes on where a node came from are left out.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

import onnx
from zoo import ARCHITECTURES

LARGEST_KEPT = 1024
FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the values of large initialisers by references, and drop what only tells of the exporter."""
    offset = 0
    for tensor in model.graph.initializer:
        length = len(tensor.raw_data)
        if tensor.data_type in FLOATS and length > LARGEST_KEPT:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", "weights.bin"), ("offset", str(offset)), ("length", str(length))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
            offset += length
    graph = model.graph
    for item in (model, graph, *graph.initializer, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    return model


def main() -> None:
    """Export, strip, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", metavar="NAME", choices=ARCHITECTURES)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name in options.names:
        with tempfile.TemporaryDirectory(prefix="export-") as temporary:
            ARCHITECTURES[name].export(Path(temporary) / "model.onnx")
            model = without_weights(onnx.load(Path(temporary) / "model.onnx"))
        onnx.save(model, options.folder / f"{name}.onnx")


if __name__ == "__main__":
    main()
