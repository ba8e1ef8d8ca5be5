"""The text form loses nothing: what is printed parses back to an equal graph, before and after every pass."""

from __future__ import annotations

from pathlib import Path

import graphs
from graphs.passes.instrumentation import Instrumentation
from graphs.passes.manager import parse_passes

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM", "RoundTrip", "difference"]

PIPELINE = "default"


def difference(graph: graphs.Graph) -> str:
    """How a graph and the one parsed from its text differ; empty where they are equal."""
    text = str(graph)
    try:
        parsed = graphs.parse(text)
    except graphs.ParseError as error:
        return f"does not parse: {error}"
    if parsed != graph:
        pairs = zip(str(parsed).splitlines(), text.splitlines(), strict=False)
        line = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), "the same text")
        return f"parses to another graph: {line}"
    return "" if str(parsed) == text else "prints differently the second time"


class RoundTrip(Instrumentation):
    """Takes the graph through text before and after each pass; ``faults`` says where that changed it."""

    def __init__(self) -> None:
        self.trips = 0
        self.characters = 0
        self.faults: list[str] = []

    def before_pass(self, step: graphs.Pass, graph: graphs.Graph, context: graphs.Context) -> None:
        self._trip(f"before {step.name}", graph)

    def after_pass(self, step: graphs.Pass, graph: graphs.Graph, context: graphs.Context) -> None:
        self._trip(f"after {step.name}", graph)

    def _trip(self, when: str, graph: graphs.Graph) -> None:
        self.trips += 1
        self.characters = max(self.characters, len(str(graph)))
        if found := difference(graph):
            self.faults.append(f"{when}: {found}")


def _check(path: Path) -> Row:
    graph, trip = graphs.load(path), RoundTrip()
    context = graphs.Context(graphs.load_target("host:onnxruntime-cpu"))
    graphs.PassManager(parse_passes(PIPELINE), (trip,), original=graph.clone).run(graph, context)
    return Row(label(path), (trip.trips, trip.characters), tuple(trip.faults))


CLAIM = Claim(
    "roundtrip",
    "parse(print(graph)) == graph before and after every pass",
    ("round trips", "characters at most"),
    _check,
)
