"""The report: what a pipeline found, as plain frozen records that every emitter reads.

Built from a graph's facts by :func:`graphs.passes.reporting.build_report`. Units are SI: seconds, bytes,
joules; ``macs`` and ``flops`` count once per inference at the graph's own batch size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..calibration.prediction import Quality
from ..ir import Expression, Graph, Shape, typical
from .base import Context, Diagnostic
from .coverage_report import MeasuredErrors
from .footprint import Footprint

__all__ = [
    "BodyReport", "CoverageRow", "EvidenceSource", "KernelReport", "OpenDimension", "Report", "Total", "UnknownOp",
    "evidence_word", "intensity_of",
]  # fmt: skip


_EVIDENCE_WORDS = {
    Quality.EXACT: "measured",
    Quality.SIZE_INTERPOLATED: "interpolated",
    Quality.SIZE_EXTRAPOLATED: "extrapolated",
    Quality.OP_APPROXIMATED: "proxy",
    Quality.MISSING: "first principles",
}


def intensity_of(flops: int, moved_bytes: int) -> float | None:
    """Return FLOP per byte; ``None`` where nothing is moved, or it depends on open dimensions."""
    if isinstance(flops, Expression) or isinstance(moved_bytes, Expression):
        return None
    return flops / moved_bytes if moved_bytes else None


def evidence_word(quality: Quality | None, confidence: str) -> str:
    """Return the word for what a figure stands on; the confidence itself where the target has no evidence at all."""
    return confidence if quality is None else _EVIDENCE_WORDS[quality]


@dataclass(frozen=True, slots=True)
class OpenDimension:
    """A dimension without a number that figures of the report depend on.

    ``lower`` is its least extent, 0 where it ``depends_on_data``; ``upper`` the largest, a number or an expression,
    ``None`` where nobody knows one.
    """

    name: str
    lower: int
    upper: int | None

    @property
    def depends_on_data(self) -> bool:
        """Whether it is known only when the network has run, so that it cannot be bound."""
        return self.lower == 0


@dataclass(frozen=True, slots=True)
class UnknownOp:
    """An operation whose work could not be counted, and why."""

    name: str
    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One kernel launch.

    ``name`` is the source name of its main operation, ``pattern`` what was fused (``Conv_Relu``), ``kind`` the kind of
    its main operation, ``module`` the framework's module path, ``origins`` every source operation in it, ``output`` the
    shape and type of its first result, e.g. ``1×512×7×7`` with ``dtype`` ``f32``.

    Counts and bytes are expressions where they depend on ``Report.open_dimensions``.

    ``seconds`` is the prediction, ``seconds_std`` its standard deviation, ``seconds_low`` to ``seconds_high`` its 95 %
    interval; all time fields are ``None`` when no ``cost`` pass ran. ``efficiency`` is the share of its roofline that
    the kernel reaches, with the standard deviation ``efficiency_std``; ``quality`` says how closely measurements match
    it, ``None`` where there are none of the target; ``entry`` names the nearest of them, ``neighbours`` how many lie
    near. ``bound`` is ``compute``, a memory level's name, ``dispatch`` or ``unknown``. ``joules`` is ``None`` where the
    target has no energy coefficients. ``unknown`` lists what inside could not be counted. Of ``bytes``,
    ``weight_bytes`` are read of constants, ``kv_cache_bytes`` read of and written to a decoder's caches. ``launches``
    is how often it is launched in one inference; all figures are of all launches. A control operation's are those of
    its bodies' kernels and its own. ``arithmetic_precision`` is what the kernel computes in on the target, whatever the
    model's values are.
    """

    index: int
    name: str
    pattern: str
    kind: str
    module: str
    origins: tuple[str, ...]
    results: tuple[str, ...]
    output: Shape | None
    dtype: str
    macs: int
    flops: int
    bytes: int
    weight_bytes: int
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None
    compute_seconds: float | None
    memory_seconds: float | None
    dispatch_seconds: float | None
    share: float | None
    bound: str
    unit: str
    memory: str
    joules: float | None
    confidence: str
    unknown: tuple[UnknownOp, ...]
    seconds_std: float | None = None
    efficiency: float | None = None
    efficiency_std: float | None = None
    quality: Quality | None = None
    entry: str = ""
    neighbours: int = 0
    kv_cache_bytes: int = 0
    launches: int = 1
    arithmetic_precision: str = ""

    @property
    def evidence(self) -> str:
        """What the prediction stands on, in a word."""
        return evidence_word(self.quality, self.confidence)

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity in FLOP per byte."""
        return intensity_of(self.flops, self.bytes)


@dataclass(frozen=True, slots=True)
class BodyReport:
    """A body of a control operation: a branch, or what a loop repeats.

    ``of`` is the index of the control operation's kernel, which may itself be in a body; ``depth`` how deep it lies.
    ``times`` is how often it runs when the operation runs once: a number, or the symbol that stands for it; ``why`` how
    that is known, ``at_most`` that it may be fewer. ``counted`` is false for a body that is in no sum: the cheaper
    branch, one that never runs, or one whose trips are not known. ``macs``, ``bytes`` and ``seconds`` are of one run;
    ``kernels`` of all runs in an inference, of one run where it is not counted.
    """

    of: int
    depth: int
    operator: str
    label: str
    name: str
    times: int | str
    why: str
    at_most: bool
    one_of: bool
    counted: bool
    macs: int
    bytes: int
    seconds: float | None
    kernels: tuple[KernelReport, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the kernels, and what concerns the whole graph.

    ``seconds`` is the latency: the sum of the kernels, or the critical path where the runtime runs branches side by
    side (``serial_seconds`` and ``critical_path_seconds`` give both). ``exact`` is false if anything is unknown: then
    counts and times are lower bounds. ``energy`` splits ``joules`` by what uses it (compute, memory, static); where
    ``energy_missing`` names a precision or memory level without a coefficient, ``joules`` is a lower bound.
    ``kv_cache_bytes`` is the size of a decoder's caches after the step; activations are counted without them.
    ``weight_bytes_read`` and ``kv_cache_bytes_moved`` are the parts of ``bytes`` that are weights and caches: of a
    table the rows in use, of a mixture the experts in use. ``macs_by_precision`` splits ``macs`` by the precision that
    they run in on the target.
    """

    macs: int
    flops: int
    bytes: int
    weight_bytes: int
    peak_activation_bytes: int | None
    peak_at: str
    arena_bytes: int | None
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None
    serial_seconds: float | None
    critical_path_seconds: float | None
    joules: float | None
    energy: dict[str, float]
    confidence: str
    unknown: tuple[UnknownOp, ...]
    energy_missing: tuple[str, ...] = ()
    seconds_std: float | None = None
    kv_cache_bytes: int = 0
    weight_bytes_read: int = 0
    kv_cache_bytes_moved: int = 0
    footprint: Footprint | None = None
    macs_by_precision: dict[str, int] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether everything was counted."""
        return not self.unknown

    @property
    def throughput(self) -> float | None:
        """Inferences a second, one after another."""
        return 1 / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """How much of the network stands on one quality of evidence: operators, FLOPs and predicted seconds.

    ``evidence`` is the word of :func:`evidence_word`, or ``UNKNOWN`` for what could not be counted.
    """

    evidence: str
    ops: int
    flops: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EvidenceSource:
    """Where the measurements come from that predictions stand on.

    ``layer`` is ``your own``, ``shipped``, ``file`` or ``first principles``; ``fallbacks`` say what was looked for in
    vain before it was taken. ``setting`` is what it was measured in, as ``DEVICE:RUNTIME@MODE PRECISION``.
    """

    layer: str
    file: str = ""
    setting: str = ""
    date: str = ""
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run found. ``kernels`` is in graph order; ``summary`` is the sentence that says what dominates.

    ``bodies`` are those of control operations, outer before inner. ``evidence`` is ``None`` if no ``calibrate`` pass
    ran. ``measured`` compares with measurements of the same model,
    where some were given. ``graph`` and ``context`` are what the report was built from.
    """

    model: str
    target: str
    precision: str
    batch: int | None
    source_ops: int
    kernels: tuple[KernelReport, ...]
    total: Total
    coverage: tuple[CoverageRow, ...]
    summary: str
    diagnostics: tuple[Diagnostic, ...]
    graph: Graph = field(compare=False)
    pipeline: str = ""
    evidence: EvidenceSource | None = None
    measured: MeasuredErrors | None = None
    context: Context | None = field(default=None, compare=False, repr=False)
    bodies: tuple[BodyReport, ...] = ()
    open_dimensions: tuple[OpenDimension, ...] = ()

    def by_time(self) -> list[KernelReport]:
        """The kernels, most expensive first; by FLOPs where no time was predicted."""
        return sorted(self.kernels, key=lambda kernel: (-(kernel.seconds or 0.0), -typical(kernel.flops), kernel.index))
