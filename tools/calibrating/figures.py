"""What a validation found, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from ...calibration.sample import Setting
from ...calibration.trials import LEAST_SECONDS, Trial
from ...calibration.validation import Accuracy, Compared, Group, accuracy, by_group, recommendations
from ..emit.layout import styled
from ..units import NOTHING, duration, percent
from .console import Console, cell_column, table

__all__ = ["Verdict", "as_json", "signed", "text_of", "verdict_of"]

_WORST = 8
_PATTERNS = 10
_LABEL = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """All figures of a validation. ``kernels`` is ``None`` where no kernel was measured alone."""

    title: str
    method: str
    setting: Setting
    rows: tuple[Compared, ...]
    models: Accuracy
    kernels: Accuracy | None
    types: tuple[Group, ...]
    patterns: tuple[Group, ...]
    worst: tuple[Compared, ...]
    missing: tuple[str, ...]
    recommendations: tuple[str, ...]


def verdict_of(trial: Trial, setting: Setting, title: str, method: str, target: str) -> Verdict:
    """Return the figures of a trial.

    Raises:
        CalibrationError: nothing could be predicted.
    """
    models = accuracy(trial.models)
    types = by_group(trial.kernels, lambda kernel: kernel.operation_type)
    says = list(recommendations(models, types, target))
    if trial.missing:
        says.append(f"No evidence for a kernel of {', '.join(trial.missing)}: graphs-opt --passes=fuse,lower,cost,"
                    "coverage MODEL says which")  # fmt: skip
    worst = sorted(trial.kernels, key=lambda kernel: -abs(kernel.predicted - kernel.measured))
    return Verdict(
        title, method, setting, trial.models, models, accuracy(trial.kernels) if trial.kernels else None, types,
        by_group(trial.kernels, lambda kernel: kernel.pattern), tuple(_distinct(worst)[:_WORST]), trial.missing,
        tuple(says),
    )  # fmt: skip


def _distinct(kernels: Sequence[Compared]) -> list[Compared]:
    """Each kernel once, the first of its name; it may have been held out in several splits."""
    return list({(kernel.model, kernel.name): kernel for kernel in reversed(kernels)}.values())[::-1]


def signed(share: float) -> str:
    """``0.041`` as ``+4.1 %``."""
    if not isfinite(share):
        return NOTHING
    return f"{round(100 * share, 1) + 0.0:+.1f} %".replace("-", "−")


# -- text --------------------------------------------------------------------------------------------------------------


def text_of(verdict: Verdict, console: Console) -> str:
    """Return the figures as a page of text."""
    parts = [styled(verdict.title, "bold", console.color) + "\n", _networks(verdict, console), _summary(verdict)]
    if verdict.types:
        parts.append(_groups("operation type", verdict.types, console))
        parts.append(_groups("pattern", verdict.patterns[:_PATTERNS], console))
        parts.append(_worst(verdict.worst, console))
    if verdict.recommendations:
        parts.append(
            "".join(f"  {'next' if not i else '':<6}{says}\n" for i, says in enumerate(verdict.recommendations))
        )
    return "\n".join(parts)


def _networks(verdict: Verdict, console: Console) -> str:
    by_name: dict[str, list[Compared]] = {}
    for row in verdict.rows:
        by_name.setdefault(row.name, []).append(row)
    rows = [
        min(same, key=lambda row: abs(row.error)) if len(same) == 1 else _typical(same) for same in by_name.values()
    ]
    rows.sort(key=lambda row: -abs(row.error))
    marks = tuple("" if row.inside else "outside its interval" for row in rows)
    return table(
        [
            cell_column("network", [row.name for row in rows], right=False, least=16),
            cell_column("predicted", [duration(row.predicted) for row in rows]),
            cell_column("95 % interval", [f"{duration(row.low)} – {duration(row.high)}" for row in rows], 2),
            cell_column("measured", [duration(row.measured) for row in rows]),
            cell_column("error", [signed(row.error) for row in rows]),
            cell_column("", list(marks), 3, right=False),
        ],
        console,
    )


def _typical(same: Sequence[Compared]) -> Compared:
    """Of the splits that held a network out, the one in the middle."""
    return sorted(same, key=lambda row: row.error)[len(same) // 2]


def _summary(verdict: Verdict) -> str:
    models, kernels = verdict.models, verdict.kernels
    worst = max(verdict.rows, key=lambda row: abs(row.error))
    inside = models.inside
    lines = [
        ("mean absolute error", f"{percent(models.mape)}   median {percent(models.median)}, "
                                f"worst {signed(worst.error)} ({worst.name}), {models.n} networks"),
        ("within ±10 %", percent(models.within)),
        ("95 % interval holds", f"{percent(inside.share)}   95 %: {percent(inside.low)} to {percent(inside.high)}"),
        ("bias", _bias(models)),
        ("variance", _spread(models)),
    ]  # fmt: skip
    if kernels is not None:
        lines.append((f"kernels above {duration(LEAST_SECONDS)}", f"{percent(kernels.mape)}   median "
                      f"{percent(kernels.median)}, {percent(kernels.inside.share)} inside their interval, {kernels.n} "
                      "kernels"))  # fmt: skip
    if verdict.missing:
        lines.append(("not predicted", f"{', '.join(verdict.missing)}: no evidence for a kernel"))
    width = max(_LABEL, *(len(label) for label, _ in lines))
    return "".join(f"  {label:<{width}}  {says}\n" for label, says in lines)


def _bias(models: Accuracy) -> str:
    bias = models.bias
    if bias is None:
        return f"{NOTHING}   one network tells nothing of it"
    says = "significant" if bias.significant else "not significant"
    return (f"{signed(bias.mean)}   95 %: {signed(bias.low)} to {signed(bias.high)}; t = {bias.t:.2f}, "
            f"p = {bias.p:.2g}: {says}")  # fmt: skip


def _spread(models: Accuracy) -> str:
    spread = models.spread
    if spread is None:
        return f"{NOTHING}   one network tells nothing of it"
    says = "as predicted" if not spread.significant else "larger" if spread.ratio > 1 else "smaller"
    return (f"{spread.ratio:.2f} of the predicted   χ² = {spread.chi_squared:.1f} with {spread.degrees} degrees of "
            f"freedom, p = {spread.p:.2g}: {says}")  # fmt: skip


def _groups(title: str, groups: Sequence[Group], console: Console) -> str:
    return table(
        [
            cell_column(title, [group.name for group in groups], right=False, least=16),
            cell_column("kernels", [str(group.n) for group in groups], 2),
            cell_column("time", [duration(group.seconds) for group in groups], 3),
            cell_column("error", [percent(group.mape) for group in groups]),
            cell_column("bias", [signed(group.bias) for group in groups], 1),
            cell_column("of all error", [percent(group.share) for group in groups]),
        ],
        console,
    )


def _worst(kernels: Sequence[Compared], console: Console) -> str:
    return table(
        [
            cell_column("worst kernels", [kernel.name for kernel in kernels], right=False, least=16),
            cell_column("network", [kernel.model for kernel in kernels], 1, right=False, least=12),
            cell_column("operation type", [kernel.operation_type for kernel in kernels], 2, right=False),
            cell_column("predicted", [duration(kernel.predicted) for kernel in kernels]),
            cell_column("measured", [duration(kernel.measured) for kernel in kernels]),
            cell_column("error", [signed(kernel.error) for kernel in kernels]),
        ],
        console,
    )


# -- JSON --------------------------------------------------------------------------------------------------------------


def as_json(verdict: Verdict, date: str) -> dict[str, Any]:
    """Return all figures; seconds are seconds and errors shares. What is infinite is ``null``."""
    row: Callable[[Compared], dict[str, Any]] = lambda one: {**asdict(one), "error": one.error, "inside": one.inside}  # noqa: E731  # one line, used thrice
    return _finite({  # type: ignore[no-any-return]  # a dictionary stays one
        "format": "graphs-validation", "version": 1, "date": date, "title": verdict.title, "method": verdict.method,
        "setting": asdict(verdict.setting), "models": asdict(verdict.models),
        "kernels": asdict(verdict.kernels) if verdict.kernels else None,
        "networks": [row(one) for one in verdict.rows],
        "operation_types": [asdict(group) for group in verdict.types],
        "patterns": [asdict(group) for group in verdict.patterns],
        "worst_kernels": [row(one) for one in verdict.worst],
        "not_predicted": list(verdict.missing), "recommendations": list(verdict.recommendations),
    })  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value
