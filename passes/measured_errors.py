"""Predictions beside measurements of the same model: which operators err, and which fusion patterns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..calibration.errors import CalibrationError
from ..calibration.sample import Sample
from ..ir import Graph, Op
from ..targets import Target
from .base import Context, PassError
from .calibrate import described, is_free, together
from .cost import Cost
from .coverage_report import KernelError, MeasuredErrors, PatternError
from .evidence import setting_of, setting_words
from .fuse import pattern_of
from .precision import precision_of

__all__ = ["compared", "measured_errors"]

_SAMPLES = '"graphs-samples"'
_WHOLE = "network"


def measured_errors(graph: Graph, context: Context, path: Path) -> MeasuredErrors:
    """Return how the costs of ``graph`` compare with what a file says: onnxruntime's profile, or a file of samples.

    Raises:
        CalibrationError: the file cannot be read, or is not of this model.
        PassError: the pipeline has predicted no costs.
    """
    if not any(Cost in op.facts for op in graph.body):
        raise PassError("nothing was predicted that measurements could be compared with",
                        help="the pipeline needs cost: --passes=fuse,lower,cost")  # fmt: skip
    return compared(graph, context, _samples(graph, context, path), path.name)


def _samples(graph: Graph, context: Context, path: Path) -> Sequence[Sample]:
    from ..calibration.importers.latencies import read_runtime_profile
    from ..calibration.measure.profile import join
    from ..calibration.strict_json import read_text

    if _SAMPLES not in read_text(path).partition("\n")[0]:
        return join(read_runtime_profile(path), described(graph, context.target), graph.name).samples
    from ..calibration.measure.samples_file import read_samples

    file, setting = read_samples(path), setting_of(context.target, context.precision or precision_of(graph))
    if setting not in file.settings:
        raise CalibrationError(
            f"{path}: holds no samples of {setting_words(setting)}",
            help=f"it has those of {', '.join(map(setting_words, file.settings)) or 'nothing'}",
        )
    samples = [sample for sample in file.of(setting) if sample.source != _WHOLE]
    own = [sample for sample in samples if sample.model == graph.name]
    return own or [sample for sample in samples if sample.model]


def compared(graph: Graph, context: Context, samples: Iterable[Sample], file: str) -> MeasuredErrors:
    """Return how the costs of ``graph`` compare with samples of it.

    Raises:
        CalibrationError: none of the samples is of any of its kernels.
    """
    ops = [op for op in graph.body if not is_free(op, context.target) and Cost in op.facts]
    rows = [(members, sample) for sample, members in _owners(ops, graph, context.target, samples)]
    if not rows:
        raise CalibrationError(
            f"{file}: holds no measurement of any kernel of {graph.name}",
            help="measure this model: its kernels are found by the names of its nodes",
        )
    errors = [abs(_predicted(members) - sample.seconds.median) for members, sample in rows]
    whole = sum(errors) or 1.0
    kernels = [_kernel(members, sample, error / whole) for (members, sample), error in zip(rows, errors, strict=True)]
    return MeasuredErrors(
        file,
        tuple(sorted(kernels, key=lambda row: -row.share)),
        tuple(sorted(_patterns(kernels), key=lambda row: -row.share)),
        sum(row.predicted for row in kernels),
        sum(row.measured for row in kernels),
        len(ops) - sum(len(members) for members, _ in rows),
    )


def _owners(
    ops: Sequence[Op], graph: Graph, target: Target, samples: Iterable[Sample]
) -> Iterator[tuple[Sample, list[Op]]]:
    """Each sample with the kernels that it is of: alike in work, and made of nodes that it names."""
    free = {op: ({origin.name for origin in op.loc.origins}, together(op, graph, target)) for op in ops}
    by_node: dict[str, list[Op]] = {}
    for op, (nodes, _) in free.items():
        for node in nodes:
            by_node.setdefault(node, []).append(op)
    for sample in samples:
        named, wanted = set(sample.nodes), Counter(sample.kernels)
        members = []
        for op in dict.fromkeys(op for node in sample.nodes for op in by_node.get(node, ())):
            if op in free and free[op][0] <= named and wanted[free[op][1]] > 0:
                wanted[free.pop(op)[1]] -= 1
                members.append(op)
        if members:
            yield sample, members


def _predicted(members: Iterable[Op]) -> float:
    return sum(op.facts[Cost].seconds for op in members)


def _kernel(members: Sequence[Op], sample: Sample, share: float) -> KernelError:
    pattern = " + ".join(dict.fromkeys(pattern_of(op) for op in members))
    return KernelError(
        members[0].label, pattern, len(members), _predicted(members), sample.seconds.median, share
    )  # fmt: skip


def _patterns(kernels: Iterable[KernelError]) -> Iterator[PatternError]:
    groups: dict[str, list[KernelError]] = {}
    for row in kernels:
        groups.setdefault(row.pattern, []).append(row)
    for pattern, rows in groups.items():
        yield PatternError(
            pattern,
            sum(row.kernels for row in rows),
            sum(row.predicted for row in rows),
            sum(row.measured for row in rows),
            sum(abs(row.error) for row in rows) / len(rows),
            sum(row.share for row in rows),
        )
