"""Tables of measured subgraphs, joined to the kernels of the networks' own graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...calibration.errors import CalibrationError
from ...calibration.importers.fx_names import Placed
from ...calibration.importers.subgraphs import Campaign, Row, join, read_rows
from ...calibration.sample import Sample, Setting
from ...ir import Graph, Op
from ...passes.calibrate import is_free, kernel_of
from ...passes.fuse import main_op
from ...passes.reproducer import precision_named
from ...targets import Target
from .console import Console
from .models import Describe
from .settings import setting_of, spec_of, target_of_setting

__all__ = ["placed_by", "subgraph_samples"]


def subgraph_samples(
    path: Path,
    models: Sequence[Path],
    target: Target | None,
    precision: str | None,
    campaign: str | None,
    console: Console,
) -> dict[Setting, tuple[Sample, ...]]:
    """Return a table's rows as samples, by what they were measured on.

    Raises:
        CalibrationError: no row is wanted, two campaigns were made of one setting, or no network has a graph.
    """
    by_campaign: dict[Campaign, list[Row]] = {}
    for row in read_rows(path):
        by_campaign.setdefault(row.campaign, []).append(row)
    chosen = _chosen(path, list(by_campaign), target, precision, campaign)
    files = {file.stem: file for file in models}
    found: dict[Setting, tuple[Sample, ...]] = {}
    for setting, one in chosen.items():
        rows = by_campaign[one]
        joined = join(rows, placed_by(files, target_of_setting(setting)))
        if not joined.rows:
            raise CalibrationError(f"{path}: no graph of any of its networks", help="name their files with --models: "
                                   + ", ".join(dict.fromkeys(row.model for row in rows)))  # fmt: skip
        if joined.absent:
            console.messages.warning(f"no file of {', '.join(joined.absent)}: their rows are left out")
        if joined.unmatched:
            row, why = joined.unmatched[0]
            console.messages.warning(f"{len(joined.unmatched)} of {len(rows)} rows match no kernel, such as line "
                                     f"{row.line}: {why}")  # fmt: skip
        found[setting] = tuple(one.sample for one in joined.rows if one.sample.kernels)
    return found


def _chosen(
    path: Path, campaigns: Sequence[Campaign], target: Target | None, precision: str | None, campaign: str | None
) -> dict[Setting, Campaign]:
    """The campaign of each setting that is wanted."""
    left = [one for one in campaigns if campaign in (None, one.hardware)
            and precision in (None, one.setting.precision)
            and (target is None or setting_of(target, one.setting.precision) == one.setting)]  # fmt: skip
    if not left:
        there = dict.fromkeys(f"{one.hardware} ({spec_of(one.setting)})" for one in campaigns)
        raise CalibrationError(f"{path}: no rows of what is wanted", help=f"it has {', '.join(there)}")
    chosen: dict[Setting, Campaign] = {}
    for one in left:
        other = chosen.setdefault(one.setting, one)
        if other != one:
            raise CalibrationError(f"{path}: {other.hardware} and {one.hardware} are two campaigns on one device, "
                                   "with different clocks and software",
                                   help=f"choose: --campaign={one.hardware}")  # fmt: skip
    return chosen


def placed_by(files: dict[str, Path], target: Target) -> Callable[[str, str], Sequence[Placed] | None]:
    """Return what tells a network's kernels by its name and precision; ``None`` for one that there is no file of."""
    known: dict[tuple[str, str], Sequence[Placed]] = {}

    def placed(model: str, precision: str) -> Sequence[Placed] | None:
        if model not in files:
            return None
        if (model, precision) not in known:
            graph = Describe(target, precision_named(precision)).graph(files[model])
            known[model, precision] = [_placed(op, graph) for op in graph.body if not is_free(op, target)]
        return known[model, precision]

    return placed


def _placed(op: Op, graph: Graph) -> Placed:
    main = main_op(op)
    return Placed(main.base_name, main.loc.module or op.loc.module, kernel_of(op, graph))
