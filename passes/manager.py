"""The pass manager: from pipeline text to passes in an order that works, and running them.

    manager = PassManager.parse("fuse,lower,cost")
    manager.run(graph, Context(load_target("host")))

The order written is the order run; a pass that provides a state which another one requires, and that is not there yet,
is inserted before it. Everything that is not the passes' own work is an instrumentation.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..ir import Graph, VerificationError, print_graph
from ..ir.errors import GraphsError
from .base import Context, Pass
from .index import NAMED_PIPELINES
from .instrumentation import Instrumentation, Verification
from .options import call_of, instantiate
from .pipeline import PassCall, Pipeline, PipelineError, parse_pipeline
from .plugins import find_pass, pass_that_provides
from .reproducer import Reproducer, write_reproducer

__all__ = ["PassManager", "parse_passes", "resolve"]


def parse_passes(text: str) -> list[Pass]:
    """Return the passes that pipeline text names, named pipelines expanded, prerequisites not yet inserted.

    Raises:
        PipelineError: the text is no pipeline, or names a pass or option that there is not.
    """
    return [instantiate(find_pass(call.name), call) for call in _expanded(parse_pipeline(text))]


def _expanded(pipeline: Pipeline) -> Iterable[PassCall]:
    for call in pipeline.calls:
        if call.name not in NAMED_PIPELINES:
            yield call
        elif call.options:
            raise PipelineError(
                f'"{call.name}" is a named pipeline and takes no options',
                help=f"write its passes with theirs: {NAMED_PIPELINES[call.name]}",
            )
        else:
            yield from _expanded(parse_pipeline(NAMED_PIPELINES[call.name]))


def resolve(passes: Iterable[Pass], states: Iterable[str] = ()) -> tuple[Pass, ...]:
    """Return the passes with every missing prerequisite inserted before the pass that needs it.

    ``states`` are those that the graph has already.

    Raises:
        PipelineError: no pass provides what one requires, or passes require each other.
    """
    order: list[Pass] = []
    present = set(states)
    for step in passes:
        _place(step, order, present, ())
    return tuple(order)


def _place(step: Pass, order: list[Pass], present: set[str], below: tuple[str, ...]) -> None:
    inserted: set[str] = set()
    while missing := next((state for state in step.requires if state not in present), None):
        provider = pass_that_provides(missing)
        if provider is None:
            raise PipelineError(f'pass "{step.name}" requires "{missing}", which no pass provides')
        chain = (*below, step.name)
        if provider.name in chain or provider.name in inserted:
            circle = " → ".join((*chain, provider.name))
            raise PipelineError(f'pass "{step.name}" requires "{missing}", but {circle} go in a circle')
        inserted.add(provider.name)
        _place(instantiate(provider, PassCall(provider.name)), order, present, chain)
    order.append(step)
    present.difference_update(step.invalidates)
    present.update(step.provides)


class PassManager:
    """Passes in the order they run, with the instrumentations around them.

    Args:
        passes: what was asked for; prerequisites are inserted.
        instrumentations: hooks around each pass, outermost first; by default the graph is verified after each.
        states: states that the graph to run on has already.
        original: makes the graph again as it was before the run, for the reproducer of a pass that fails; by default
            the graph is copied first.
        reproducers: folder for reproducers, by default the system's temporary one.
    """

    def __init__(
        self,
        passes: Iterable[Pass],
        instrumentations: Sequence[Instrumentation] | None = None,
        *,
        states: Iterable[str] = (),
        original: Callable[[], Graph] | None = None,
        reproducers: Path | None = None,
    ) -> None:
        self.states = tuple(states)
        self.passes = resolve(passes, self.states)
        self.instrumentations = (Verification(),) if instrumentations is None else tuple(instrumentations)
        self._original = original
        self._reproducers = reproducers

    @classmethod
    def parse(cls, text: str) -> PassManager:
        """Return a manager for pipeline text.

        Raises:
            PipelineError: the text is no pipeline, or names a pass or option that there is not.
        """
        return cls(parse_passes(text))

    @property
    def pipeline(self) -> Pipeline:
        """What really runs, as pipeline text prints it."""
        return Pipeline(tuple(call_of(step) for step in self.passes))

    def run(self, graph: Graph, context: Context) -> None:
        """Run every pass on ``graph``, in place.

        Raises:
            GraphsError: the input is wrong, or a pass failed; then there is a reproducer, which the error names.
        """
        original = self._original or _copy_of(graph)
        context.numbers = any(step.needs_numbers for step in self.passes)
        for position, step in enumerate(self.passes):
            for hook in self.instrumentations:
                hook.before_pass(step, graph, context)
            try:
                step.run(graph, context)
            except GraphsError as error:
                self._tell(step, graph, context, error)
                raise
            except Exception as error:
                self._tell(step, graph, context, error)
                raise self._failure(position, context, original, _cause(error)) from error
            try:
                for hook in reversed(self.instrumentations):
                    hook.after_pass(step, graph, context)
            except VerificationError as error:
                message = f"left an invalid graph: {error}"
                raise self._failure(position, context, original, message) from error

    def _tell(self, step: Pass, graph: Graph, context: Context, error: Exception) -> None:
        for hook in reversed(self.instrumentations):
            hook.pass_failed(step, graph, context, error)

    def _failure(self, position: int, context: Context, original: Callable[[], Graph], message: str) -> GraphsError:
        step = self.passes[position]
        graph, done = self._before(position, context, original)
        reproducer = Reproducer.of(self.passes[done:], self._states_after(done), context)
        try:
            path = write_reproducer(reproducer, print_graph(graph), f"{graph.name}-{step.name}", self._reproducers)
        except OSError as error:
            return GraphsError(f'pass "{step.name}": {message}', help=f"no reproducer could be written: {error}")
        return GraphsError(
            f'pass "{step.name}": {message}',
            help=f"this is a defect of the pass; graphs-opt --run-reproducer {path} shows it again",
        )

    def _before(self, position: int, context: Context, original: Callable[[], Graph]) -> tuple[Graph, int]:
        """The graph before pass ``position``, made by running what comes first once more; else as it came in."""
        graph = original()
        scratch = dataclasses.replace(context, diagnostics=[], statistics={})
        try:
            for step in self.passes[:position]:
                step.run(graph, scratch)
        except Exception:  # a pass that does not do the same thing twice: the reproducer then starts from the beginning
            return original(), 0
        return graph, position

    def _states_after(self, count: int) -> frozenset[str]:
        present = set(self.states)
        for step in self.passes[:count]:
            present.difference_update(step.invalidates)
            present.update(step.provides)
        return frozenset(present)


def _copy_of(graph: Graph) -> Callable[[], Graph]:
    copy = graph.clone()
    return copy.clone


def _cause(error: Exception) -> str:
    """What an unexpected exception says, and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
