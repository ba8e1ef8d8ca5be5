"""Transformers on text and sound, from the configurations of `transformers`: two layers, 64 wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .architecture import Architecture, Input

__all__ = ["LANGUAGE"]

TOKENS = (Input("input_ids", ("batch", "seq"), "int64"),)
MASKED = (*TOKENS, Input("attention_mask", ("batch", "seq"), "int64"))
PROMPTS = ({"batch": 2, "seq": 12}, {"batch": 1, "seq": 7}, {"batch": 3, "seq": 33})
NARROW = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


def _built(model: str, config: str, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        configuration = getattr(transformers, config)(**options)
        configuration.use_cache = False
        return getattr(transformers, model)(configuration)

    return build


def _model(
    name: str,
    model: str,
    config: str,
    inputs: tuple[Input, ...] = TOKENS,
    bindings: Any = PROMPTS,
    **options: Any,
) -> Architecture:
    return Architecture(name, _built(model, config, **options), inputs, bindings, ("transformers",))


def _whisper_encoder() -> Any:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sizes = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 128}
    return WhisperEncoder(WhisperConfig(max_source_positions=100, **sizes))


LANGUAGE = (
    _model("bert", "BertForSequenceClassification", "BertConfig", MASKED, vocab_size=100, **NARROW),
    _model("roberta", "RobertaModel", "RobertaConfig", MASKED, vocab_size=100, **NARROW),
    _model(
        "distilbert", "DistilBertForMaskedLM", "DistilBertConfig", MASKED, vocab_size=100, dim=64, n_layers=2, n_heads=4
    ),
    _model("albert", "AlbertModel", "AlbertConfig", MASKED, vocab_size=100, embedding_size=32, **NARROW),
    _model("electra", "ElectraModel", "ElectraConfig", MASKED, vocab_size=100, embedding_size=32, **NARROW),
    _model("gpt2", "GPT2LMHeadModel", "GPT2Config", vocab_size=100, n_embd=64, n_layer=2, n_head=4),
    _model("gpt_neox", "GPTNeoXForCausalLM", "GPTNeoXConfig", vocab_size=100, **NARROW),
    _model("opt", "OPTForCausalLM", "OPTConfig", MASKED, vocab_size=100, ffn_dim=128, word_embed_proj_dim=64, **NARROW),
    _model("llama", "LlamaForCausalLM", "LlamaConfig", vocab_size=100, num_key_value_heads=2, **NARROW),
    _model("qwen2", "Qwen2ForCausalLM", "Qwen2Config", vocab_size=100, num_key_value_heads=2, **NARROW),
    _model("phi", "PhiForCausalLM", "PhiConfig", vocab_size=100, **NARROW),
    _model(
        "t5",
        "T5ForConditionalGeneration",
        "T5Config",
        (*TOKENS, Input("decoder_input_ids", ("batch", "target"), "int64")),
        tuple({**sizes, "target": target} for sizes, target in zip(PROMPTS, (5, 1, 9), strict=True)),
        vocab_size=100,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
    ),
    _model("t5_encoder", "T5EncoderModel", "T5Config", vocab_size=100, d_model=64, d_kv=16, num_layers=2, num_heads=4),
    _model(
        "wav2vec2",
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        (Input("input_values", ("batch", "samples")),),
        ({"batch": 2, "samples": 4000}, {"batch": 1, "samples": 5000}, {"batch": 3, "samples": 3211}),
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **NARROW,
    ),
    Architecture(
        "whisper_encoder",
        _whisper_encoder,
        (Input("input_features", ("batch", 80, 200)),),
        ({"batch": 2}, {"batch": 1}, {"batch": 5}),
        ("transformers",),
    ),
    _model(
        "clip_vision",
        "CLIPVisionModel",
        "CLIPVisionConfig",
        (Input("pixel_values", ("batch", 3, 64, 64)),),
        ({"batch": 2}, {"batch": 1}, {"batch": 5}),
        image_size=64,
        patch_size=16,
        **NARROW,
    ),
    _model(
        "segformer",
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        (Input("pixel_values", ("batch", 3, "height", "width")),),
        (
            {"batch": 2, "height": 64, "width": 96},
            {"batch": 1, "height": 96, "width": 64},
            {"batch": 3, "height": 128, "width": 160},
        ),
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=32,
    ),
)
"""Encoders, decoders without a cache, encoder-decoders, speech, and vision built as a language model is."""
