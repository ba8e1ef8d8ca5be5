"""Runs what the command line asked for: models in, reports out, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from ..frontends import load_entry_points as load_frontends
from ..ir import DType, Graph, VerificationError
from ..ir.errors import GraphsError
from ..ir.files import write_atomically
from ..passes.base import Context, Pass
from ..passes.calibrate import Calibrate
from ..passes.coverage_report import MeasuredErrors
from ..passes.evidence import Evidence
from ..passes.instrumentation import Instrumentation, Printing, Selection, Statistics, Timing, Verification
from ..passes.manager import PassManager, parse_passes, resolve
from ..passes.plugins import find_pass, load_entry_points, load_plugin
from ..passes.report import Report
from ..passes.reporting import build_report
from ..passes.reproducer import precision_named, read_reproducer
from ..targets import load_target
from .emit import companions, emit
from .emit.view import View
from .inputs import Input, inputs_of
from .options import Options
from .outputs import Output
from .terminal import PIPED_WIDTH, Messages, takes_color, width_of

__all__ = ["run"]

EVERY_PASS = "*"


@dataclass(slots=True)
class _Session:
    """One call of the tool: what was asked, what is loaded, how long each step took."""

    options: Options
    messages: Messages
    passes: list[Pass] = field(default_factory=list)
    states: tuple[str, ...] = ()
    steps: list[tuple[str, float]] = field(default_factory=list)
    shown: int = 0
    failed: int = 0

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self.steps.append((name, perf_counter() - started))


def run(options: Options) -> int:
    """Do what the options ask for and return the exit code."""
    messages = Messages(options.verbosity, takes_color(sys.stderr, options.color))
    try:
        session = _Session(options, messages)
        _load_plugins(session)
        if options.listing:
            from .listings import listing

            _to_stdout(listing(options.listing, _view(options, None), options.list_format))
            return 0
        if options.run_reproducer:
            return _run_reproducer(session, Path(options.run_reproducer))
        return _run_models(session)
    except GraphsError as error:
        messages.error(str(error), error.help)
    return 1


def _load_plugins(session: _Session) -> None:
    for problem in (*load_entry_points(), *load_frontends()):
        session.messages.warning(problem)
    for path in session.options.load_plugin:
        load_plugin(Path(path))


# -- models -----------------------------------------------------------------------------------------------------------


def _run_models(session: _Session) -> int:
    options = session.options
    session.passes = _with_evidence(parse_passes(options.passes), options.evidence)
    _check_names(options)
    if options.dump_pipeline:
        _dump_pipeline(session)
        if not options.models:
            return 0
    with session.timed("load the target"):
        target = load_target(options.target)
        precision = precision_named(options.precision) if options.precision else None
    for note in target.device.notes:
        session.messages.note(note)

    read: dict[tuple[DType | None, str], Evidence] = {}

    def context() -> Context:
        return Context(target, precision, dict(options.dims), options.strict, read_evidence=read)

    reports = [report for model in _inputs(session) for report in _run_one(session, model, context)]
    return _finish(session, reports)


def _inputs(session: _Session) -> Iterator[Input]:
    """The inputs in order; one that cannot be read is reported and does not stop the others."""
    for name in session.options.models:
        try:
            options = session.options
            inputs = inputs_of(name, options.split_input_file, options.inputs, options.entry)
        except GraphsError as error:
            _fail(session, error)
            continue
        yield from inputs


def _run_one(session: _Session, model: Input, context: Callable[[], Context]) -> Iterator[Report]:
    """Run the pipeline over one model and show it on standard output; yields nothing if that fails."""
    made = context()
    if model.warning:
        session.messages.warning(model.warning)
    try:
        with session.timed(f"load {Path(model.label).name}"):
            graph = model.read()
        report = _analysed(session, graph, made, model.read)
        with session.timed("show"):
            _show(session, report, made)
    except VerificationError as error:
        _fail(session, GraphsError(f"{model.label}: {error}"))
        return
    except GraphsError as error:
        _fail(session, error)
        return
    finally:
        _warn(session, made)
    yield report


def _fail(session: _Session, error: GraphsError) -> None:
    session.failed += 1
    session.messages.error(str(error), error.help)


def _analysed(session: _Session, graph: Graph, context: Context, original: Callable[[], Graph]) -> Report:
    options, timing, statistics = session.options, Timing(), Statistics()
    manager = PassManager(
        session.passes, _instrumentations(options, timing, statistics), states=session.states, original=original
    )
    session.messages.note(f"pipeline: {manager.pipeline}")
    source_ops = len(graph.body)
    try:
        manager.run(graph, context)
    finally:
        session.steps.extend(timing.seconds)
        if options.stats:
            from .listings import statistics_table

            session.messages.plain(statistics_table(graph.name, statistics.passes))
    with session.timed("report"):
        measured = _measured(graph, context, options.measured) if options.measured else None
        return build_report(graph, context, source_ops, str(manager.pipeline), measured)


def _measured(graph: Graph, context: Context, file: str) -> MeasuredErrors:
    from ..passes.measured_errors import measured_errors

    return measured_errors(graph, context, Path(file))


def _instrumentations(options: Options, timing: Timing, statistics: Statistics) -> list[Instrumentation]:
    """What was asked for, the innermost last: the timing measures the passes and nothing else."""
    before = _selection(options.print_ir_before)
    after = _selection((EVERY_PASS,) if options.print_ir_after_all else options.print_ir_after)
    hooks: list[Instrumentation] = [Printing(sys.stderr.write, before, after)]
    hooks += [Verification()] if options.verify_each else []
    hooks += [statistics] if options.stats else []
    return [*hooks, timing]


def _selection(names: tuple[str, ...]) -> Selection:
    return Selection(frozenset(names), EVERY_PASS in names)


def _with_evidence(passes: list[Pass], evidence: str | None) -> list[Pass]:
    """The passes, those that are inserted too, with the evidence that ``--evidence`` names."""
    if evidence is None:
        return passes
    resolved = [replace(step, evidence=evidence) if isinstance(step, Calibrate) else step for step in resolve(passes)]
    if not any(isinstance(step, Calibrate) for step in resolved):
        raise GraphsError("--evidence: no pass of the pipeline predicts anything", help="add cost: --passes=fuse,cost")
    return resolved


def _check_names(options: Options) -> None:
    """Refuse ``--print-ir-after=fues`` before anything runs."""
    for name in (*options.print_ir_before, *options.print_ir_after):
        if name != EVERY_PASS:
            find_pass(name)


def _dump_pipeline(session: _Session) -> None:
    text = f"{PassManager(session.passes, states=session.states).pipeline}\n"
    if session.options.models or session.options.run_reproducer:
        session.messages.plain(text)
    else:
        _to_stdout(text)


def _warn(session: _Session, context: Context) -> None:
    for diagnostic in dict.fromkeys(context.diagnostics):
        at = f' (node "{diagnostic.op}")' if diagnostic.op else ""
        session.messages.warning(f"{diagnostic.source}: {diagnostic.message}{at}")
    context.diagnostics.clear()


# -- reproducers ------------------------------------------------------------------------------------------------------


def _run_reproducer(session: _Session, path: Path) -> int:
    reproducer, graph = read_reproducer(path)
    session.passes = parse_passes(reproducer.pipeline)
    session.states = reproducer.states
    if session.options.dump_pipeline:
        _dump_pipeline(session)
    model = Input(str(path), graph.clone)
    return _finish(session, list(_run_one(session, model, reproducer.context)))


# -- output -----------------------------------------------------------------------------------------------------------


def _show(session: _Session, report: Report, context: Context) -> None:
    """Show one model as soon as it is done: a table or a text; what holds several models waits for the last."""
    options = session.options
    if options.explain:
        from .explanation import explanation

        text = explanation(report, options.explain, context.target, _view(options, None))
    elif any(output.path is None and output.format == "table" for output in options.outputs):
        text = str(emit("table", [report], _view(options, None)))
    else:
        return
    between = "" if options.quiet or not session.shown else "\n"
    session.shown += 1
    _to_stdout(between + text)


def _finish(session: _Session, reports: list[Report]) -> int:
    options = session.options
    if reports and not (session.failed and any(output.path for output in options.outputs)):
        with session.timed("write"):
            for output in options.outputs:
                _write(session, output, reports)
    elif session.failed and any(output.path for output in options.outputs):
        session.messages.note("nothing is written, since a model failed")
    if options.timing:
        from .listings import timing_table

        session.messages.plain(timing_table(session.steps))
    return 1 if session.failed else 0


def _write(session: _Session, output: Output, reports: list[Report]) -> None:
    options = session.options
    view = replace(_view(options, output.path), warn=session.messages.warning)
    if output.path is not None:
        try:
            for path, content in companions(output.format, reports, view).items():
                write_atomically(path, content)
            write_atomically(output.path, emit(output.format, reports, view))
        except OSError as error:
            raise GraphsError(f"{output.path}: cannot be written: {error.strerror or error}") from None
    elif output.format != "table":
        _to_stdout(str(emit(output.format, reports, view)))
    elif len(reports) > 1 and not options.quiet and not options.explain:
        from .emit.totals import comparison

        _to_stdout("\n" + comparison(reports, view))


def _view(options: Options, path: Path | None) -> View:
    """How to show things: to a file plainly, to a terminal in its width and colours."""
    return View(
        width=options.width or PIPED_WIDTH if path else width_of(sys.stdout, options.width),
        color=options.color == "always" if path else takes_color(sys.stdout, options.color),
        order=options.order, by=options.by, top=options.top, wide=options.wide,
        quiet=options.quiet, coverage=options.coverage, path=path,
    )  # fmt: skip


def _to_stdout(text: str) -> None:
    """Write an artefact; characters that the terminal's encoding lacks are replaced by the nearest ASCII."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        from .terminal import ascii_only

        text = ascii_only(text).encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)
    sys.stdout.flush()
