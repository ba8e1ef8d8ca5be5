"""``graphs-calibrate plot``: curves over their points, and predicted against measured times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...calibration.curve import Curve
from ...calibration.errors import CalibrationError
from ...calibration.profile import Profile, parse_profile
from ...calibration.strict_json import Entry, parse_json, read_text
from ..emit.layout import styled
from ..units import duration, percent, si
from .chart import Axis, Mark, chart
from .console import Console, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["run"]

_PICTURES = (".png", ".svg", ".pdf")
_TEXT = ".txt"
_ROWS = 14
_WIDEST = 110


@dataclass(frozen=True, slots=True)
class _Panel:
    """One diagram: points with intervals and a curve or, for times, the line on which they would be right."""

    title: str
    marks: tuple[Mark, ...]
    line: Callable[[float], float] | None
    axes: tuple[Axis, Axis]
    labels: tuple[str, str]


def run(console: Console, *, file: str, only: tuple[str, ...], output: str | None) -> int:
    """Draw what ``file`` holds: evidence, or the JSON of a validation."""
    path = Path(output) if output else None
    if path is not None and path.suffix.lower() not in (*_PICTURES, _TEXT):
        raise CalibrationError(f"{path}: cannot tell the format", help=f"name it {', '.join((*_PICTURES, _TEXT))}")
    title, panels = _panels(Path(file), only)
    if path is None:
        console.show(_text(title, panels, min(console.width, _WIDEST), console.color))
    elif path.suffix.lower() == _TEXT:
        write_file(path, _text(title, panels, _WIDEST, color=False))
    else:
        _picture(title, panels, path)
    if path is not None:
        console.say(f"{len(panels)} diagrams are in {path}")
    return 0


def _panels(path: Path, only: Sequence[str]) -> tuple[str, list[_Panel]]:
    text = read_text(path)
    root = parse_json(text, str(path))
    if "format" in root and root["format"].value == "graphs-validation":
        return root["title"].text, [_times(root)]
    profile = parse_profile(text, str(path))
    curves = {**profile.curves, **{f"{name} (bandwidth)": curve for name, curve in profile.bandwidth_curves.items()}}
    missing = [name for name in only if name not in curves]
    if missing:
        raise CalibrationError(f"{path}: no curve of {missing[0]}", help=f"its curves: {', '.join(curves) or 'none'}")
    chosen: Mapping[str, Curve] = {name: curves[name] for name in only} if only else curves
    if not chosen:
        raise CalibrationError(f"{path}: no curves to draw")
    return _title(profile), [_curve(name, curve) for name, curve in chosen.items()]


def _title(profile: Profile) -> str:
    setting = profile.setting
    words = [profile.hardware_name, *([setting.runtime, setting.mode] if setting else []), profile.precision]
    return " · ".join(word for word in words if word)


def _curve(name: str, curve: Curve) -> _Panel:
    marks = tuple(Mark(point.flops, point.efficiency_mean, max(point.ci_lower, 0.0), point.ci_upper)
                  for point in curve.data_points)  # fmt: skip
    fitted = curve.fitted_curve
    sizes = [curve.min_flops, curve.max_flops, *(mark.x for mark in marks), *(size for size, _ in fitted.breakpoints)]
    tops = [*(mark.y for mark in marks), *(efficiency for _, efficiency in fitted.breakpoints)]
    highest = max([*tops, *(min(mark.high, 1.5 * max(tops)) for mark in marks)])
    bandwidth = name.endswith("(bandwidth)")
    seen = sum(point.num_observations for point in curve.data_points)
    return _Panel(
        f"{name} · {fitted.curve_type} · {seen} observations · R² {fitted.r_squared:.2f}",
        marks, curve.efficiency, (Axis.over([size for size in sizes if size > 0], True, si), Axis(0.0, highest, False,
                                                                                                   percent)),
        ("bytes" if bandwidth else "FLOPs", "share of bandwidth" if bandwidth else "efficiency"),
    )  # fmt: skip


def _times(root: Entry) -> _Panel:
    def mark(row: Entry) -> Mark:
        return Mark(row["measured"].positive, row["predicted"].positive, row["low"].positive, row["high"].positive)

    marks = root["networks"].each(mark)
    if not marks:
        raise CalibrationError(f"{root.file}: no networks in it")
    axis = Axis.over([time for mark in marks for time in (mark.x, mark.y)], True, duration)
    return _Panel("predicted over measured time", marks, lambda seconds: seconds, (axis, axis),
                  ("measured", "predicted"))  # fmt: skip


def _text(title: str, panels: Sequence[_Panel], width: int, color: bool) -> str:
    parts = [styled(title, "bold", color) + "\n"]
    for panel in panels:
        heading = f"  {panel.title}   ({panel.labels[1]} over {panel.labels[0]})\n"
        parts.append(heading + chart(panel.marks, panel.line, panel.axes, (width, _ROWS)))
    return "\n".join(parts)


# -- pictures ----------------------------------------------------------------------------------------------------------


def _picture(title: str, panels: Sequence[_Panel], path: Path) -> None:
    """Write the diagrams side by side, with matplotlib.

    Raises:
        CalibrationError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise CalibrationError(f"{path}: pictures need matplotlib, which is not installed",
                               help="pip install 'graphs-opt[plot]', or write a .txt") from None  # fmt: skip
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.5 * columns, 4.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    from io import BytesIO

    content = BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower())
    write_file(path, content.getvalue())


def _draw(axes: Axes, panel: _Panel) -> None:
    across, up = panel.axes
    axes.set_title(panel.title, fontsize="small")
    axes.set_xlabel(panel.labels[0])
    axes.set_ylabel(panel.labels[1])
    axes.set_xscale("log" if across.logarithmic else "linear")
    axes.set_yscale("log" if up.logarithmic else "linear")
    reach = [
        [max(mark.y - mark.low, 0.0) for mark in panel.marks],
        [max(mark.high - mark.y, 0.0) for mark in panel.marks],
    ]
    axes.errorbar([mark.x for mark in panel.marks], [mark.y for mark in panel.marks], yerr=reach, fmt="o", markersize=3,
                  linewidth=1)  # fmt: skip
    if panel.line is not None:
        sizes = [across.at(step / 200) for step in range(201)]
        axes.plot(sizes, [panel.line(size) for size in sizes], linewidth=1)
