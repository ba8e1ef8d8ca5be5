"""Decoders against the closed form: work, cache and weights follow from a configuration alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import graphs
from graphs.ir.counts import substituted
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.report import Report
from graphs.passes.reporting import build_report

DECODERS = Path(__file__).parents[1] / "examples" / "decoders"
MODELS = sorted(DECODERS.glob("*.onnx"))
STEPS = [(1, 7, 0), (2, 1, 11)]
MORE_STEPS = [(3, 5, 4), (1, 1, 2047), (4, 64, 0)]
"""Batch, tokens and length of the cache before the step: prefills, and steps of decoding."""

FLOAT = 4
SCALARS = 1024
"""Bytes of what is no parameter: epsilons, the scale of scores, the frequencies of the rotary embedding."""


class Config:
    """What a configuration of transformers says of a decoder's dimensions."""

    def __init__(self, settings: dict[str, Any]) -> None:
        def of(*names: str, default: int = 0) -> int:
            return next((settings[name] for name in names if settings.get(name) is not None), default)

        self.kind = settings["model_type"]
        self.hidden = of("hidden_size", "n_embd")
        self.layers, self.vocab = of("num_hidden_layers", "n_layer"), settings["vocab_size"]
        self.heads = of("num_attention_heads", "n_head")
        self.kv_heads = of("num_key_value_heads", default=self.heads)
        self.head = of("head_dim", default=self.hidden // self.heads)
        self.ffn = of("intermediate_size", "n_inner")
        self.experts, self.chosen = of("num_local_experts"), of("num_experts_per_tok")
        self.positions = of("n_positions", default=1024) if self.kind == "gpt2" else 0
        self.tied = self.kind == "gpt2" or settings["tie_word_embeddings"]

    @property
    def attention(self) -> int:
        """Weights of the four projections of one layer."""
        return 2 * self.hidden * self.head * (self.heads + self.kv_heads)

    @property
    def expert(self) -> int:
        """Weights of one feed-forward network: GPT-2's has no gate."""
        return (2 if self.kind == "gpt2" else 3) * self.hidden * self.ffn

    def macs(self, batch: int, tokens: int, past: int) -> int:
        """Every token meets every projection, its experts and the output head; every query every key, twice."""
        expert = self.chosen * self.expert + self.hidden * self.experts if self.experts else self.expert
        weights = self.layers * (self.attention + expert) + self.hidden * self.vocab
        scores = self.layers * self.heads * self.head * tokens * (past + tokens)
        return batch * (tokens * weights + 2 * scores)

    def cache_bytes(self, batch: int, length: int) -> int:
        """Keys and values of the heads that are stored, not of those that they are repeated for."""
        return 2 * self.layers * batch * self.kv_heads * self.head * length * FLOAT

    @property
    def parameters(self) -> int:
        """All that is learned: tables, projections, norms and, in GPT-2, biases."""
        tables = self.hidden * (self.vocab * (1 if self.tied else 2) + self.positions)
        layer = self.attention + self.expert * (self.experts or 1) + self.hidden * self.experts
        if self.kind == "gpt2":
            biases = 3 * self.heads * self.head + self.ffn + 2 * self.hidden
            return tables + self.layers * (layer + biases + 4 * self.hidden) + 2 * self.hidden
        norms = 2 * self.hidden + (2 * self.head if self.kind == "qwen3" else 0)
        return tables + self.layers * (layer + norms) + self.hidden


def config_of(path: Path) -> Config:
    return Config(json.loads(path.with_suffix(".json").read_text()))


def analysed(path: Path, batch: int, tokens: int, past: int, pipeline: str = "fuse,lower,memory") -> Report:
    context = Context(graphs.load_target("intel-core-i7-12700k"), None, {"batch": batch, "seq": tokens, "past": past})
    graph = graphs.load(path)
    PassManager(parse_passes(pipeline)).run(graph, context)
    return build_report(graph, context)


every_model = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)


def test_all_kinds_are_there() -> None:
    assert {config_of(path).kind for path in MODELS} == {"llama", "qwen3", "gpt2", "mixtral"}


@every_model
@pytest.mark.parametrize(
    "step", [*STEPS, *(pytest.param(step, marks=pytest.mark.slow) for step in MORE_STEPS)], ids=str
)
def test_work_and_cache_are_the_closed_form(path: Path, step: tuple[int, int, int]) -> None:
    config, (batch, tokens, past) = config_of(path), step
    total = analysed(path, *step).total
    assert not total.unknown
    assert total.macs == config.macs(*step)
    assert total.kv_cache_bytes == config.cache_bytes(batch, past + tokens)


@every_model
def test_open_dimensions_leave_the_closed_form_open(path: Path) -> None:
    config, graph = config_of(path), graphs.load(path)
    context = Context(graphs.load_target("intel-core-i7-12700k"))
    PassManager(parse_passes("fuse,lower,memory")).run(graph, context)
    total = build_report(graph, context).total
    assert not total.unknown
    for step in STEPS:
        extents = dict(zip(("batch", "seq", "past"), step, strict=True))
        bound = analysed(path, *step).total
        assert substituted(total.macs, extents) == config.macs(*step)
        assert substituted(total.kv_cache_bytes, extents) == config.cache_bytes(step[0], step[1] + step[2])
        same = ["flops", "weight_bytes_read", "kv_cache_bytes_moved", "peak_activation_bytes"]
        for name in [*same, "bytes"] if step[1] > 1 else same:  # a transpose of one token moves nothing
            assert substituted(getattr(total, name), extents) == getattr(bound, name), name


@every_model
def test_fusion_changes_neither(path: Path) -> None:
    config, total = config_of(path), analysed(path, 2, 3, 5, "lower,memory").total
    assert (total.macs, total.kv_cache_bytes) == (config.macs(2, 3, 5), config.cache_bytes(2, 8))


@every_model
def test_weights_are_the_parameters_each_once(path: Path) -> None:
    config = config_of(path)
    found = {analysed(path, *step).total.weight_bytes for step in STEPS}
    assert len(found) == 1
    assert 0 <= found.pop() - config.parameters * FLOAT < SCALARS


@every_model
def test_a_step_reads_the_cache_and_activations_leave_it_out(path: Path) -> None:
    config = config_of(path)
    short, long = (analysed(path, 1, 1, past).total for past in (100, 1100))
    assert long.kv_cache_bytes - short.kv_cache_bytes == config.cache_bytes(1, 1000)
    # past read and present written by the concatenation, then the present read
    assert long.kv_cache_bytes_moved - short.kv_cache_bytes_moved == 3 * config.cache_bytes(1, 1000)
    assert long.peak_activation_bytes is not None
    assert long.peak_activation_bytes < long.kv_cache_bytes + config.heads * config.head * 1101 * 4 * FLOAT


def test_experts_that_no_row_goes_to_read_no_weights() -> None:
    path = DECODERS / "mixtral_grouped.onnx"
    config = config_of(path)
    one, many = (
        sum(kernel.weight_bytes for kernel in analysed(path, 1, tokens, 8).kernels if kernel.kind == "contraction")
        for tokens in (1, 64)
    )
    idle = config.layers * (config.experts - config.chosen)
    assert many - one == idle * config.expert * FLOAT


@pytest.mark.parametrize("tokens", [1, 5])
def test_gathered_experts_are_read_for_each_token(tokens: int) -> None:
    path = DECODERS / "mixtral.onnx"
    config = config_of(path)
    gathered = [kernel.weight_bytes for kernel in analysed(path, 1, tokens, 8).kernels if "GatherND" in kernel.pattern]
    assert sum(gathered) == config.layers * tokens * config.chosen * config.expert * FLOAT
