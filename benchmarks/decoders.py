"""Exports the decoders of examples/decoders anew: small language models built from transformers' configurations.

    python benchmarks/decoders.py FOLDER [--only llama]

Needs torch, transformers and onnxscript. Weights are random and are not written: every floating-point initialiser over
1 KiB refers to a `weights.bin` that does not exist. Beside each model stands its configuration, from which tests derive
its multiply-accumulates and the bytes of its cache in closed form.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_KEPT = 1024
"""Bytes of a floating-point initialiser up to which its values stay in the file."""

BATCH, TOKENS, PAST = 2, 3, 5
"""Extents that the example inputs are traced with; all three are dynamic in the file."""

GROUPED = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 24, "num_hidden_layers": 2}
WIDTHS = {"vocab_size": 320, "hidden_size": 96, "max_position_embeddings": 4096}
DECODERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "llama": ("llama", {**GROUPED, **WIDTHS, "intermediate_size": 176, "tie_word_embeddings": False}, 20),
    "llama_attention": ("llama", {**GROUPED, **WIDTHS, "intermediate_size": 176, "tie_word_embeddings": False}, 23),
    "qwen3": ("qwen3", {**GROUPED, **WIDTHS, "intermediate_size": 208, "tie_word_embeddings": True}, 20),
    "gpt2": ("gpt2", {"n_layer": 2, "n_embd": 96, "n_head": 6, "n_inner": 256, "vocab_size": 320}, 20),
    "mixtral": (
        "mixtral",
        {**GROUPED, **WIDTHS, "intermediate_size": 112, "num_local_experts": 4, "num_experts_per_tok": 2},
        20,
    ),
}
"""Name: transformers' model type, its configuration where it differs from the default, opset."""


def main() -> int:
    """Export what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--only", action="append", choices=[*DECODERS, "mixtral_grouped"], help="repeatable; all by default"
    )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    exporters: dict[str, Callable[[], tuple[Any, Any]]] = {
        **{name: lambda chosen=chosen: exported(*chosen) for name, chosen in DECODERS.items()},
        "mixtral_grouped": exported_grouped,
    }
    for name in arguments.only or exporters:
        model, config = exporters[name]()
        stripped(model, name)
        path = arguments.folder / f"{name}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        path.with_suffix(".json").write_text(json.dumps(config.to_diff_dict(), indent=1, sort_keys=True) + "\n")
        print(f"{path}: {len(model.graph.node)} nodes, {path.stat().st_size:,} bytes")
    return 0


def built(kind: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """A configuration and a model of it, no two of whose weights are equal: the exporter would merge them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    for parameter in model.parameters():
        parameter.data.normal_()
    return config, model


def exported(kind: str, settings: dict[str, Any], opset: int) -> tuple[Any, Any]:
    """Export with torch.onnx.export; experts by the weights of each token's experts, gathered."""
    import torch
    from transformers import DynamicCache

    config, model = built(kind, settings)
    if "num_local_experts" in settings:
        model.set_experts_implementation("batched_mm")

    class Step(torch.nn.Module):
        """One step: tokens and the cache before it, to logits and the cache after it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, past: Any) -> Any:
            cache = DynamicCache(config=config)
            for layer, (key, value) in enumerate(past):
                cache.update(key, value, layer)
            made = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
            return made.logits, [(layer.keys, layer.values) for layer in cache.layers]

    batch, tokens, past = (torch.export.Dim(name) for name in ("batch", "seq", "past"))
    inputs = example_inputs(config)
    shapes = {
        "input_ids": {0: batch, 1: tokens},
        "attention_mask": {0: batch, 1: torch.export.Dim.DYNAMIC},
        "past": [({0: batch, 2: past},) * 2] * len(inputs["past"]),
    }
    program = torch.onnx.export(
        Step(), (), kwargs=inputs, dynamo=True, dynamic_shapes=shapes, opset_version=opset, verbose=False
    )
    return program.model_proto, config


def example_inputs(config: Any) -> dict[str, Any]:
    """Tokens, mask and an empty-handed cache of every layer."""
    import torch

    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    past = [tuple(torch.zeros(BATCH, heads, PAST, size) for _ in range(2)) for _ in range(config.num_hidden_layers)]
    return {
        "input_ids": torch.ones(BATCH, TOKENS, dtype=torch.long),
        "attention_mask": torch.ones(BATCH, TOKENS + PAST, dtype=torch.long),
        "past": past,
    }


def exported_grouped() -> tuple[Any, Any]:
    """Export with transformers' own exporter; experts one by one, each with the tokens that chose it."""
    import onnx
    import onnx_ir
    from transformers import DynamicCache
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    kind, settings, _ = DECODERS["mixtral"]
    config, model = built(kind, settings)
    model.set_experts_implementation("grouped_mm")
    inputs, cache = example_inputs(config), DynamicCache(config=config)
    for layer, (key, value) in enumerate(inputs.pop("past")):
        cache.update(key, value, layer)
    made = OnnxExporter().export(model, {**inputs, "past_key_values": cache}, config=OnnxConfig(dynamic=True))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        onnx_ir.save(made.program, path)
        return onnx.load(path), config


def stripped(model: Any, name: str) -> None:
    """Leave out weights, documentation, metadata and inferred types; give dimensions their names."""
    from onnx import TensorProto

    offset = 0
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
        size = len(tensor.raw_data)
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16) or size <= MOST_KEPT:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", offset), ("length", size)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        offset += size
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for info in (*model.graph.input, *model.graph.output):
        info.doc_string = ""
        del info.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.graph.name, model.graph.doc_string, model.doc_string = name, "", ""
    _name_dimensions(model)


def _name_dimensions(model: Any) -> None:
    """Call the dimensions batch, seq and past, whatever the exporter numbered them, and the mask's by what they are."""
    tokens, mask, cache = (model.graph.input[index].type.tensor_type.shape.dim for index in range(3))
    names = {tokens[0].dim_param: "batch", tokens[1].dim_param: "seq", cache[2].dim_param: "past"}
    mask[0].dim_param, mask[1].dim_param = (
        tokens[0].dim_param,
        model.graph.output[-1].type.tensor_type.shape.dim[2].dim_param,
    )
    for info in (*model.graph.input, *model.graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = " ".join(names.get(word, word) for word in dim.dim_param.split())


if __name__ == "__main__":
    sys.exit(main())
