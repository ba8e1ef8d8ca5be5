"""Samples in an evidence file: each kernel once, and rows that name kernels by their place in that list.

Networks repeat their kernels and campaigns repeat networks, so most of a file would be the same kernels over and over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.codec import decode, encode
from .errors import CalibrationError
from .kernel import Kernel
from .sample import Sample, Statistics
from .strict_json import Entry

__all__ = ["SAMPLE_SOURCES", "STATISTICS", "check_sample", "decode_kernel", "encode_samples", "read_samples"]

SAMPLE_SOURCES = ("microbenchmark", "profile", "subgraph", "network")
STATISTICS = ("n", "median", "mean", "std", "minimum", "maximum", "ci_low", "ci_high")
"""The order of a row's ``seconds``."""

_TYPES = [int, *[float] * (len(STATISTICS) - 1)]
_ROUNDING = 1e-9
_LARGEST = 1 << 62
"""No size of a kernel is larger: whoever says so made a mistake, and products of such sizes are no numbers any more."""

_SIZES = ("weight_bytes", "read_bytes", "write_bytes", "swept_bytes", "reordered_bytes")


def encode_samples(samples: tuple[Sample, ...]) -> dict[str, list[dict[str, object]]]:
    """Return samples as the two lists of a file: ``kernels`` and ``rows``."""
    places: dict[Kernel, int] = {}
    rows: list[dict[str, object]] = []
    for sample in samples:
        row: dict[str, object] = {
            "kernels": [places.setdefault(kernel, len(places)) for kernel in sample.kernels],
            "seconds": [getattr(sample.seconds, name) for name in STATISTICS],
            "source": sample.source,
        }
        if sample.model:
            row["model"] = sample.model
        if sample.nodes:
            row["nodes"] = list(sample.nodes)
        if sample.drift != 1.0:
            row["drift"] = sample.drift
        rows.append(row)
    return {"kernels": [dict(encode(kernel)) for kernel in places], "rows": rows}


def read_samples(entry: Entry) -> tuple[Sample, ...]:
    """Return the samples of a file. Raises :class:`CalibrationError`."""
    entry.only(("kernels", "rows"))
    kernels = entry["kernels"].each(decode_kernel)
    return entry["rows"].each(lambda row: _read_row(row, kernels))


def decode_kernel(entry: Entry) -> Kernel:
    """Return the kernel that a mapping describes. Raises :class:`CalibrationError`."""
    try:
        kernel = decode(Kernel, entry.mapping)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise entry.fail(f"no kernel: {error}") from None
    for name in _SIZES:
        if name in entry.mapping and entry[name].count > _LARGEST:
            raise entry[name].expected(f"at most {_LARGEST} bytes")
    if isinstance(kernel.launches, bool) or not 1 <= kernel.launches <= _LARGEST:
        raise entry["launches"].expected("a whole number of at least one")
    for i, primitive in enumerate(entry["primitives"].elements()):
        _check_sizes(primitive.mapping, entry, i)
    return kernel


def _check_sizes(primitive: Mapping[str, Any], entry: Entry, place: int) -> None:
    for key, value in primitive.items():
        sizes = value if isinstance(value, list) else [value]
        if any(isinstance(size, float) or (isinstance(size, int) and not 0 <= size <= _LARGEST) for size in sizes):
            raise Entry(value, entry.file, f"{entry.path}.primitives[{place}].{key}").expected(
                f"whole numbers of at least zero and at most {_LARGEST}"
            )
    if primitive.get("groups") == 0:
        raise entry.fail(f"primitives[{place}].groups: expected at least one group")


def _read_row(row: Entry, kernels: tuple[Kernel, ...]) -> Sample:
    row.only(("kernels", "seconds", "source"), ("model", "nodes", "drift"))
    places = row["kernels"].each(lambda place: place.count)
    if not places:
        raise row["kernels"].expected("at least one kernel")
    if max(places) >= len(kernels):
        raise row["kernels"].expected(f"places in the list of {len(kernels)} kernels")
    return Sample(
        tuple(kernels[place] for place in places),
        _read_statistics(row["seconds"]),
        row["source"].choice(SAMPLE_SOURCES),
        row["model"].text if "model" in row else "",
        row["nodes"].each(lambda node: node.text) if "nodes" in row else (),
        row["drift"].positive if "drift" in row else 1.0,
    )


def _read_statistics(entry: Entry) -> Statistics:
    if isinstance(entry.value, list) and list(map(type, entry.value)) == _TYPES:
        made = Statistics(*entry.value)  # the form that is written: finite numbers of the right kinds, so far
        if not check_statistics(made):
            return made
    values = tuple(entry.elements())
    if len(values) != len(STATISTICS):
        raise entry.expected(f"the {len(STATISTICS)} numbers {', '.join(STATISTICS)}")
    statistics = Statistics(values[0].count, *(value.number for value in values[1:]))
    wrong = check_statistics(statistics)
    if wrong:
        raise entry.expected(wrong)
    return statistics


def check_statistics(statistics: Statistics) -> str:
    """Return what measured times ought to be and these are not; an empty text where nothing is wrong."""
    times = (statistics.median, statistics.mean, statistics.minimum, statistics.maximum)
    if statistics.n < 1:
        return "at least one timing"
    if not all(0.0 < time < float("inf") for time in times):
        return "times above zero"
    if not (0.0 <= statistics.std < float("inf") and 0.0 <= statistics.ci_low <= statistics.ci_high < float("inf")):
        return "a spread and an interval of at least zero"
    room = _ROUNDING * statistics.maximum
    if not statistics.minimum - room <= min(statistics.median, statistics.mean):
        return "a minimum that is no more than median and mean"
    if not max(statistics.median, statistics.mean) <= statistics.maximum + room:
        return "a maximum that is no less than median and mean"
    return ""


def check_sample(sample: Sample, where: str) -> None:
    """Refuse a sample that no measurement can have given.

    Raises:
        CalibrationError: no kernels, an unknown source, or times that are not above zero.
    """
    wrong = check_statistics(sample.seconds)
    if not sample.kernels:
        wrong = "at least one kernel"
    elif sample.source not in SAMPLE_SOURCES:
        wrong = f"a source of {', '.join(SAMPLE_SOURCES)}"
    elif not 0.0 < sample.drift < float("inf"):
        wrong = "a drift above zero"
    if wrong:
        raise CalibrationError(
            f"{where}: sample of {sample.model or 'no model'}: expected {wrong}, got {sample.seconds}"
        )
