"""Published measurements of subgraphs: what eager PyTorch took for pieces of networks, joined to our kernels.

Each row of the table is a subgraph that was timed by itself: network, batch, device and power mode, precision, latency,
and the ``torch.fx`` names of its operations (``layer1_0_conv1`` is the module ``layer1.0.conv1``; ``add_3`` the fourth
call of a function). The kernels come from the network's own graph, which the caller describes; what is joined is a
module's path, the number of the call, and the order of functions.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..errors import CalibrationError
from ..kernel import Kernel
from ..sample import Sample, Setting, Statistics
from .fx_names import Placed, assign, is_function
from .scaled import with_batch

__all__ = ["CAMPAIGNS", "Campaign", "Joined", "JoinedRow", "Row", "call_of", "join", "read_rows"]

CAMPAIGNS: Mapping[str, tuple[str, str]] = {
    "i7_12700K": ("intel-core-i7-12700k", ""),
    "intel_core_i7_12700k": ("intel-core-i7-12700k", ""),
    "ryzen_9_8945hs": ("amd-ryzen-9-8945hs", ""),
    "jetson_orin_agx_15w": ("jetson-orin-agx", "15W"),
    "jetson_orin_agx_30w": ("jetson-orin-agx", "30W"),
    "jetson_orin_agx_50w": ("jetson-orin-agx", "50W"),
    "jetson_orin_agx_maxn": ("jetson-orin-agx", "MAXN"),
    "jetson_orin_15w": ("jetson-orin-agx", "15W"),
    "jetson_orin_30w": ("jetson-orin-agx", "30W"),
    "jetson_orin_50w": ("jetson-orin-agx", "50W"),
    "jetson_orin_maxn": ("jetson-orin-agx", "MAXN"),
}
"""Device and power mode of each name under which the table has a campaign. Two names of one device are two campaigns
with different software and clocks, which do not belong together."""

_RUNTIMES = ("pytorch-eager",)
_PRECISIONS = {"FP32": "fp32", "FP16": "fp16", "BF16": "bf16"}
_COLUMNS = (
    "hardware", "runtime", "precision", "model", "batch", "date", "subgraph_id", "fusion_pattern", "operation_type",
    "flops", "total_bytes", "latency_mean_ms", "latency_std_ms", "latency_min_ms", "latency_max_ms", "samples",
    "node_names",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Campaign:
    """What was measured together: the table's name of the hardware, and the precision."""

    hardware: str
    precision: str

    @property
    def setting(self) -> Setting:
        """Device, runtime, power mode and precision, as targets spell them."""
        device, mode = CAMPAIGNS[self.hardware]
        return Setting(device, "pytorch-eager", mode, self.precision)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, checked: ``names`` are its operations', ``bytes`` what the table says that they move."""

    line: int
    campaign: Campaign
    model: str
    batch: int
    date: str
    pattern: str
    names: tuple[str, ...]
    flops: int
    bytes: int
    seconds: Statistics


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A row and the kernels that it measured, as a sample; none where it launches nothing (``x.shape``)."""

    row: Row
    sample: Sample


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows joined to kernels; ``unmatched`` has those that were not, with the reason, and ``absent`` the networks of
    which there is no graph."""

    rows: tuple[JoinedRow, ...]
    unmatched: tuple[tuple[Row, str], ...]
    absent: tuple[str, ...]


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8")
    return path.open(newline="", encoding="utf-8")


def read_rows(path: str | Path) -> list[Row]:
    """Read the table, a CSV file that may be gzipped.

    Raises:
        CalibrationError: it cannot be read, lacks a column, or a row holds what cannot be: an unknown device, a time
            that is not positive, a number that is none.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise CalibrationError(
                    f"{path}: no column {missing[0]!r}",
                    help=f"a table of subgraphs has the columns {', '.join(_COLUMNS)}",
                )
            return [_row(cells, path, reader.line_num) for cells in reader]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: cannot be read as a table of subgraphs: {error}") from error


def join(rows: Iterable[Row], describe: Callable[[str, str], Sequence[Placed] | None]) -> Joined:
    """Join rows to the kernels that ``describe(model, precision)`` gives for a network at batch 1, ``None`` if it has
    no graph of it. Kernels are scaled to the row's batch."""
    joined: list[JoinedRow] = []
    unmatched: list[tuple[Row, str]] = []
    absent: dict[str, None] = {}
    for (model, batch, campaign), members in _by_network(rows).items():
        placed = describe(model, campaign.precision)
        if placed is None:
            absent[model] = None
            continue
        names = [name for row in members for name in row.names]
        idle = {name for row in members for name in row.names if not row.bytes and not row.flops}
        found, reasons = assign(names, placed, idle)
        scaled: dict[int, Kernel] = {}
        for row in members:
            lost = next((reasons[name] for name in row.names if name in reasons), None)
            if lost is not None:
                unmatched.append((row, lost))
                continue
            for index in (index for name in row.names for index in found[name]):
                if index not in scaled:
                    scaled[index] = with_batch(placed[index].kernel, batch)
            kernels = tuple(scaled[index] for name in row.names for index in found[name])
            if row.flops and not kernels:
                unmatched.append((row, f"{row.flops:,} FLOPs in the table, no kernel in the graph"))
                continue
            joined.append(JoinedRow(row, Sample(kernels, row.seconds, "subgraph", model, row.names)))
    return Joined(tuple(joined), tuple(unmatched), tuple(absent))


def call_of(row: Row) -> Kernel:
    """Return what a row is that launches nothing: the call of a shape, of a view, or of a module that does nothing."""
    shape = not row.bytes or row.names[0].startswith("getattr")
    view = all(is_function(name) for name in row.names)
    return Kernel("shape_call" if shape else "view_call" if view else "module_call", (), 0, 0, 0, launches=0)


def _by_network(rows: Iterable[Row]) -> dict[tuple[str, int, Campaign], list[Row]]:
    networks: dict[tuple[str, int, Campaign], list[Row]] = {}
    for row in rows:
        networks.setdefault((row.model, row.batch, row.campaign), []).append(row)
    return networks


def _row(cells: Mapping[str, str | None], path: Path, line: int) -> Row:
    def text(column: str) -> str:
        cell = cells.get(column)
        if cell is None:
            raise CalibrationError(f"{path}:{line}: the row ends before its column {column!r}")
        return cell

    def number(column: str, least: float, above: bool = False) -> float:
        try:
            value = float(text(column))
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least or (above and value == least):
            bound = f"above {least:g}" if above else f"{least:g} or more"
            raise CalibrationError(
                f"{path}:{line}: {column} is {text(column)!r}",
                help=f"it must be a number, {bound}; correct or drop the row",
            )
        return value

    def one_of(column: str, known: Iterable[str]) -> str:
        if text(column) not in known:
            raise CalibrationError(
                f"{path}:{line}: {column} {text(column)!r} is not known", help=f"known are {', '.join(known)}"
            )
        return text(column)

    one_of("runtime", _RUNTIMES)
    mean, std, n = (
        number("latency_mean_ms", 0, True) / 1e3,
        number("latency_std_ms", 0) / 1e3,
        int(number("samples", 1)),
    )
    half = 1.96 * std / math.sqrt(n)
    return Row(
        line,
        Campaign(one_of("hardware", CAMPAIGNS), _PRECISIONS[one_of("precision", _PRECISIONS)]),
        text("model"),
        int(number("batch", 1)),
        text("date"),
        text("fusion_pattern"),
        tuple(text("node_names").split()),
        int(number("flops", 0)),
        int(number("total_bytes", 0)),
        Statistics(
            n, mean, mean, std, number("latency_min_ms", 0, True) / 1e3, number("latency_max_ms", 0, True) / 1e3,
            max(mean - half, 0.0), mean + half,
        ),
    )  # fmt: skip
