"""What shapes a network's values really have, and in what order its ops really run: run it and look.

The graph is run by onnxruntime on one thread with every optimisation off, so that all of its values exist, and each
value is made a graph output. A large network's values are fetched some at a time, a run for each portion, so that the
memory needed stays that of one portion.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from materialise import materialised, random_inputs

__all__ = [
    "Executed",
    "cpu_session",
    "dump_shapes",
    "executed_order",
    "executed_shapes",
    "load_shapes",
    "shapes_of_run",
]

_VALUES_PER_RUN = 400


@dataclass(frozen=True, slots=True)
class Executed:
    """The type of a value that a run produced: `elements` are given for a sequence instead of a shape."""

    dtype: str
    shape: tuple[int, ...] = ()
    elements: tuple[Executed, ...] | None = None

    @property
    def nbytes(self) -> int:
        """The size of the elements themselves, in bytes."""
        if self.elements is not None:
            return sum(element.nbytes for element in self.elements)
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def cpu_session(
    path: Path, level: onnxruntime.GraphOptimizationLevel, options: onnxruntime.SessionOptions | None = None
) -> onnxruntime.InferenceSession:
    """A session on one thread of the CPU with the optimisations of `level`."""
    options = options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _executed(value: Any) -> Executed:
    if value is None:
        return Executed("none")
    if isinstance(value, list):
        return Executed("sequence", (len(value),), tuple(map(_executed, value)))
    return Executed(str(value.dtype), tuple(value.shape))


def _op_outputs(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from filter(None, node.output)


def _drop_inputs(graph: onnx.GraphProto, fed: set[str]) -> None:
    """Take out the inputs that stood for initialisers (IR version 3) which an optimiser has folded away since."""
    provided = {tensor.name for tensor in graph.initializer} | fed
    kept = [value for value in graph.input if value.name in provided]
    del graph.input[:]
    graph.input.extend(kept)


def shapes_of_run(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, Executed]:
    """The executed type of every graph input and of every op's output in the main graph of a complete model file."""
    model = onnx.load(path, load_external_data=False)
    _drop_inputs(model.graph, set(inputs))
    outputs = list(dict.fromkeys(_op_outputs(model.graph)))
    present = {value.name for value in model.graph.output}
    # The types are left for the runtime to infer.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in present)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        session = cpu_session(Path(file.name), onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    types = {name: _executed(value) for name, value in inputs.items()}
    for start in range(0, len(outputs), _VALUES_PER_RUN):
        names = outputs[start : start + _VALUES_PER_RUN]
        values = session.run(names, dict(inputs))
        types.update((name, _executed(value)) for name, value in zip(names, values, strict=True))
    return types


@contextmanager
def _writable(path: Path, seed: int) -> Iterator[Path]:
    """The model file with its weights, made-up ones where they are missing, in a folder that may be written to."""
    with materialised(path, seed) as complete, tempfile.TemporaryDirectory(prefix="run-") as folder:
        if complete != path:
            yield complete
            return
        for entry in path.parent.resolve().iterdir():
            if entry.name.startswith(path.name) or not entry.name.endswith(".onnx"):
                _link(entry, Path(folder) / entry.name)
        yield Path(folder) / path.name


def _link(file: Path, link: Path) -> None:
    """Make a file known under another name as well; the runtime does not follow symbolic links out of a folder."""
    try:
        link.hardlink_to(file)
    except OSError:  # another file system
        shutil.copy(file, link)


def executed_shapes(path: Path, seed: int = 0, dims: Mapping[str, int] | None = None) -> dict[str, Executed]:
    """The same of a model file whose weights may be elsewhere; random ones and random inputs are used.

    `dims` binds the open dimensions of the inputs.
    """
    inputs = random_inputs(onnx.load(path, load_external_data=False), seed, dims=dims)
    with _writable(path, seed) as complete:
        return shapes_of_run(complete, inputs)


def executed_order(path: Path, seed: int = 0) -> list[str]:
    """The names of the nodes in the order in which the unoptimised graph runs, as the runtime's own profile has it.

    A node without a name goes by its first output's. Constants do not run and so do not appear; what the runtime takes
    apart appears as its parts.
    """
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        node.name = node.name or next(filter(None, node.output))
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    with _writable(path, seed) as complete:
        named = complete.with_name("named.onnx")
        named.write_bytes(model.SerializeToString())
        options.profile_file_prefix = str(complete.with_name("profile"))
        session = cpu_session(named, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, options)
        session.run(None, random_inputs(model, seed))
        events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [event for event in events if event["name"].endswith("_kernel_time")]
    return [event["name"].removesuffix("_kernel_time") for event in sorted(kernels, key=lambda event: event["ts"])]


def _to_json(value: Executed) -> list[Any]:
    if value.elements is not None:
        return [value.dtype, list(value.shape), [_to_json(element) for element in value.elements]]
    return [value.dtype, list(value.shape)]


def _from_json(entry: list[Any]) -> Executed:
    elements = tuple(map(_from_json, entry[2])) if len(entry) > 2 else None
    return Executed(entry[0], tuple(entry[1]), elements)


def dump_shapes(shapes: Mapping[str, Executed], path: Path) -> None:
    """Write {value name: [dtype, shape]}; a sequence has its elements as a third item."""
    path.write_text(json.dumps({name: _to_json(value) for name, value in shapes.items()}, indent=0))


def load_shapes(path: Path) -> dict[str, Executed]:
    """Read what `dump_shapes` wrote."""
    return {name: _from_json(entry) for name, entry in json.loads(path.read_text()).items()}
