"""Tables of measured subgraphs, joined to the kernels of the networks' own graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ...calibration.analytic import Campaign as Runs
from ...calibration.analytic import Fitted, Run, fit_campaigns
from ...calibration.errors import CalibrationError
from ...calibration.importers.fx_names import Placed
from ...calibration.importers.subgraphs import Campaign, JoinedRow, Row, call_of, join, read_rows
from ...calibration.kernel import Kernel
from ...calibration.sample import Sample, Setting
from ...ir import CONSTANT, INPUT, Graph, Kind, Op, kind_of
from ...ir.ops.eager import BIAS
from ...passes.calibrate import kernel_of
from ...passes.fuse import kernel_ops, main_op
from ...passes.reproducer import precision_named
from ...targets import Target
from .console import Console
from .models import Describe
from .settings import setting_of, spec_of, target_of_setting

__all__ = ["Published", "placed_by", "subgraph_campaigns"]

_OPERATORS = {BIAS: "Add"}
"""Names under which operations stand in tables, where they are not the operator's own."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a campaign measured in one setting: ``runs`` of networks, and what was ``fitted`` to them."""

    runs: tuple[Run, ...]
    fitted: Fitted

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What was measured of kernels; calls that launch nothing are left out."""
        return tuple(sample for run in self.runs for sample in run.samples if any(k.launches for k in sample.kernels))


def subgraph_campaigns(
    path: Path,
    models: Sequence[Path],
    target: Target | None,
    precision: str | None,
    campaigns: Sequence[str],
    console: Console,
) -> dict[Setting, Published]:
    """Return a table's campaigns, by what they were measured on, fitted together.

    Other campaigns in the same settings help to tell what these have in common.

    Raises:
        CalibrationError: no row is wanted, two campaigns were made of one setting, or no network has a graph.
    """
    by_campaign: dict[Campaign, list[Row]] = {}
    for row in read_rows(path):
        by_campaign.setdefault(row.campaign, []).append(row)
    chosen = _chosen(path, list(by_campaign), target, precision, campaigns)
    others = [one for one in by_campaign if one.setting in chosen and one not in chosen.values()]
    files = {file.stem: file for file in models}
    runs = [_runs(path, one, by_campaign[one], files, console) for one in (*chosen.values(), *others)]
    fitted = fit_campaigns(runs, lambda doing: console.say(f"{path}: {doing}"))
    return {one.setting: Published(one.runs, fitted[one.key]) for one in runs[: len(chosen)]}


def _runs(path: Path, campaign: Campaign, rows: Sequence[Row], files: Mapping[str, Path], console: Console) -> Runs:
    """A campaign's rows as runs of networks, in their order; a row that launches nothing is the call that it is."""
    target = target_of_setting(campaign.setting)
    found: dict[tuple[str, int], list[Sample]] = {}
    for one in _joined(path, rows, target, files, console):
        kernels = one.sample.kernels or (call_of(one.row),)
        found.setdefault((one.row.model, one.row.batch), []).append(replace(one.sample, kernels=kernels))
    runs = tuple(Run(model, tuple(samples), batch) for (model, batch), samples in found.items())
    device_class = "gpu" if target.device.device_class == "gpu" else "cpu"
    networks = _networks(files, dict.fromkeys(run.network for run in runs), target, campaign.precision)
    return Runs(campaign.hardware, campaign.setting, device_class, runs, networks)


def _networks(
    files: Mapping[str, Path], names: Iterable[str], target: Target, precision: str
) -> dict[str, tuple[Kernel, ...]]:
    """The kernels that the target launches for networks, calls that launch nothing among them."""
    describe = Describe(target, precision_named(precision))
    return {name: tuple(one.kernel for one in describe(files[name])) for name in names if name in files}


def _joined(
    path: Path, rows: Sequence[Row], target: Target, files: Mapping[str, Path], console: Console
) -> tuple[JoinedRow, ...]:
    joined = join(rows, placed_by(files, target))
    if not joined.rows:
        raise CalibrationError(f"{path}: no graph of any of its networks", help="name their files with --models: "
                               + ", ".join(dict.fromkeys(row.model for row in rows)))  # fmt: skip
    if joined.absent:
        console.messages.warning(f"no file of {', '.join(joined.absent)}: their rows are left out")
    if joined.unmatched:
        row, why = joined.unmatched[0]
        console.messages.warning(f"{len(joined.unmatched)} of {len(rows)} rows match no kernel, such as line "
                                 f"{row.line}: {why}")  # fmt: skip
    return joined.rows


def _chosen(
    path: Path, there: Sequence[Campaign], target: Target | None, precision: str | None, campaigns: Sequence[str]
) -> dict[Setting, Campaign]:
    """The campaign of each setting that is wanted; names may hold wildcards, as file names do."""
    left = [one for one in there if (not campaigns or any(fnmatchcase(one.hardware, name) for name in campaigns))
            and precision in (None, one.setting.precision)
            and (target is None or setting_of(target, one.setting.precision) == one.setting)]  # fmt: skip
    if not left:
        names = dict.fromkeys(f"{one.hardware} ({spec_of(one.setting)})" for one in there)
        raise CalibrationError(f"{path}: no rows of what is wanted", help=f"it has {', '.join(names)}")
    chosen: dict[Setting, Campaign] = {}
    for one in left:
        other = chosen.setdefault(one.setting, one)
        if other != one:
            raise CalibrationError(f"{path}: {other.hardware} and {one.hardware} are two campaigns on one device, "
                                   "with different clocks and software",
                                   help=f"choose: --campaign={one.hardware}")  # fmt: skip
    return chosen


def placed_by(files: Mapping[str, Path], target: Target) -> Callable[[str, str], Sequence[Placed] | None]:
    """Return what tells a network's kernels by its name and precision; ``None`` for one that there is no file of."""
    known: dict[tuple[str, str], Sequence[Placed]] = {}

    def placed(model: str, precision: str) -> Sequence[Placed] | None:
        if model not in files:
            return None
        if (model, precision) not in known:
            graph = Describe(target, precision_named(precision)).graph(files[model])
            known[model, precision] = _placed(graph)
        return known[model, precision]

    return placed


def _placed(graph: Graph) -> Sequence[Placed]:
    """The kernels that eager PyTorch launches for a network: what is more than a view."""
    launched = [op for op in graph.body if not _is_view(op)]
    index = {op: number for number, op in enumerate(launched)}
    return [
        Placed(
            _OPERATORS.get(main_op(op).name, main_op(op).base_name),
            main_op(op).loc.module or op.loc.module,
            kernel_of(op, graph),
            tuple(index[made] for made in _makers(op) if made.base_name == "Transpose" and made in index),
        )
        for op in launched
    ]


def _is_view(op: Op) -> bool:
    return all(kind_of(inner) is Kind.VIEW for inner in kernel_ops(op))


def _makers(op: Op) -> Iterator[Op]:
    """The kernels whose results ``op`` reads, through views."""
    for value in op.inputs:
        if value.op.name not in (INPUT, CONSTANT) and _is_view(value.op):
            yield from _makers(value.op)
        else:
            yield value.op
