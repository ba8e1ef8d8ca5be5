"""Measured networks as arrays: their distinct kernels, and which of these each sample consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from math import log2, prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ...ir.primitives import Conv, Gemm
from ..kernel import Kernel
from ..sample import Sample
from .parameters import CALLS, KINDS, kind_of_kernel

__all__ = ["Kernels", "Pieces", "Run", "Table", "pieces_of", "table_of"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FADING = 0.6
"""What a kernel leaves of the traffic before it, in the caches: a share of the older, all of the last."""

_LEAST_BYTES = 1e4
_BYTES_AN_ELEMENT = 4


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of one network, in the order in which they ran."""

    network: str
    samples: tuple[Sample, ...]
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Kernels:
    """Distinct kernels, a row each: sizes are those of the matrix product that the main primitive is.

    ``work`` counts FLOPs, or four-byte pieces of what does no arithmetic; ``before`` the bytes that earlier kernels
    moved, fading; ``swept`` the network's weights.
    """

    kind: Integers
    flops: Floats
    work: Floats
    results: Floats
    rows: Floats
    columns: Floats
    inner: Floats
    weight: Floats
    moved: Floats
    swept: Floats
    before: Floats

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Table:
    """``mixing`` (samples × kernels) has how often a sample has a kernel, ``runs`` (runs × samples) how often a run has
    a sample; ``seconds`` is what samples took, ``share`` their part of their network's time."""

    kernels: Kernels
    mixing: csr_matrix
    runs: csr_matrix
    run: Integers
    seconds: Floats
    share: Floats
    network: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.run)


def table_of(runs: Sequence[Run], ordered: bool) -> Table:
    """Return the table of some runs; samples of a run that are alike are one, with their mean time.

    ``ordered`` says that what ran before a kernel makes a difference to it.
    """
    known: dict[tuple[float, ...], int] = {}
    times: dict[tuple[int, tuple[int, ...]], list[float]] = {}
    for number, run in enumerate(runs):
        context = _Context(ordered)
        for sample in run.samples:
            members = sorted(known.setdefault(row, len(known)) for row in context.rows(sample.kernels))
            times.setdefault((number, tuple(members)), []).append(sample.seconds.mean)
    seconds = np.array([float(np.mean(each)) for each in times.values()])
    counts = np.array([float(len(each)) for each in times.values()])
    run_of = np.array([number for number, _ in times], dtype=np.int64)
    totals = np.bincount(run_of, seconds * counts, len(runs))
    entries = [(index, kernel) for index, (_, members) in enumerate(times) for kernel in members]
    return Table(
        _kernels(list(known)),
        _matrix(np.ones(len(entries)), entries, (len(times), len(known))),
        _matrix(counts, list(zip(run_of, range(len(times)), strict=True)), (len(runs), len(times))),
        run_of,
        seconds,
        seconds * counts / totals[run_of],
        tuple(runs[number].network for number in run_of),
    )


@dataclass(frozen=True, slots=True)
class Pieces:
    """A network to be predicted, cut into pieces that would be timed together: of each kernel in order, the ``row`` in
    the table that is like it and the ``piece`` that it is in."""

    table: Table
    row: Integers
    piece: Integers


def pieces_of(kernels: Sequence[Kernel], launches: float, ordered: bool) -> Pieces:
    """Return a network's kernels, in order, in pieces of ``launches`` on average; see :func:`table_of`.

    A call that launches nothing is a piece of its own.
    """
    known: dict[tuple[float, ...], int] = {}
    rows = [known.setdefault(row, len(known)) for row in _Context(ordered).rows(kernels)]
    calls = np.array([kind_of_kernel(kernel) in CALLS for kernel in kernels], dtype=bool)
    places = np.floor(np.cumsum(~calls) / max(launches, 1.0)).astype(np.int64)
    places[calls] = -1 - np.arange(int(calls.sum()))
    pieces = np.unique(places, return_inverse=True)[1]
    count = int(pieces.max()) + 1
    table = Table(
        _kernels(list(known)),
        _matrix(np.ones(len(rows)), list(zip(pieces, rows, strict=True)), (count, len(known))),
        _matrix(np.ones(count), [(0, piece) for piece in range(count)], (1, count)),
        np.zeros(count, dtype=np.int64),
        np.ones(count),
        np.full(count, 1 / count),
        ("",) * count,
    )
    return Pieces(table, np.array(rows), pieces)


class _Context:
    """What went before in a run."""

    def __init__(self, ordered: bool) -> None:
        self._ordered, self._before = ordered, 0.0

    def rows(self, kernels: Sequence[Kernel]) -> Iterator[tuple[float, ...]]:
        for kernel in kernels:
            yield (*_row(kernel), _rounded(self._before) if self._ordered else _LEAST_BYTES)
            self._before = _FADING * self._before + kernel.bytes


def _row(kernel: Kernel) -> tuple[float, ...]:
    kind = kind_of_kernel(kernel)
    flops = float(kernel.flops)
    rows, columns, inner = _product(kernel)
    work = 0.0 if kind in CALLS else flops or kernel.bytes / _BYTES_AN_ELEMENT
    results = max(kernel.write_bytes / _BYTES_AN_ELEMENT, 1.0)
    moved = float(kernel.read_bytes + kernel.write_bytes)
    return (
        float(KINDS.index(kind)), flops, work, results, rows, columns, inner, float(kernel.weight_bytes), moved,
        float(max(kernel.swept_bytes, kernel.weight_bytes)),
    )  # fmt: skip


def _product(kernel: Kernel) -> tuple[float, float, float]:
    main = kernel.main
    if isinstance(main, Gemm):
        return float(main.m), float(main.n), float(main.k)
    if isinstance(main, Conv):
        inner = main.in_channels // main.groups * prod(main.kernel)
        return float(main.batch * prod(main.out_size)), float(main.out_channels // main.groups), float(inner)
    return 1.0, 1.0, 1.0


def _rounded(size: float) -> float:
    """Half octaves: finer differences in what went before say nothing."""
    return float(2.0 ** (round(2 * log2(size + _LEAST_BYTES)) / 2))


def _kernels(rows: Sequence[tuple[float, ...]]) -> Kernels:
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), len(fields(Kernels))).T
    return Kernels(columns[0].astype(np.int64), *columns[1:])


def _matrix(values: Floats, entries: Sequence[tuple[int, int]], shape: tuple[int, int]) -> csr_matrix:
    places = np.array(entries, dtype=np.int64).reshape(len(entries), 2).T
    return csr_matrix((values, (places[0], places[1])), shape=shape)
