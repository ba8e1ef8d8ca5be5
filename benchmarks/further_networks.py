"""Write networks that no rule was written from, as ONNX without weights: how well is predicted what nobody looked at?

    python benchmarks/further_networks.py FOLDER [--second] [NAME ...]
    python benchmarks/correctness.py kernels FOLDER
    graphs-calibrate validate --target=host --models=FOLDER --runs=20

What the first ones showed to lack has been added since; the second ones were drawn up after that. They are of timm (an
image at its usual size) and of transformers (128 tokens, a second of sound, an image), at batch 1, with random weights,
as torch exports them. What PyTorch cannot export is told and left out. It needs torch, timm, and transformers; what is
in the folder already stays.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from export import without_weights

IMAGES = (
    "convnextv2_atto", "crossvit_9_240", "cspdarknet53", "dla34", "eca_nfnet_l0", "edgenext_xx_small",
    "efficientformer_l1", "efficientnet_lite0", "ese_vovnet19b_dw", "fastvit_t8", "gmlp_s16_224", "hrnet_w30",
    "inception_v3", "levit_128s", "maxvit_pico_rw_256", "mobilenetv4_conv_small", "mobileone_s0", "pvt_v2_b0",
    "regnetx_004", "repghostnet_050", "res2net50_26w_4s", "resmlp_12_224", "resnest14d", "rexnet_100", "seresnet18",
    "skresnet18", "tinynet_a", "twins_pcpvt_small", "vgg11_bn", "wide_resnet50_2", "xception41",
    "xcit_nano_12_p8_224",
)  # fmt: skip
SECOND_IMAGES = (
    "cait_xxs24_224", "coat_lite_tiny", "convmixer_1024_20_ks9_p14", "davit_tiny", "deit3_small_patch16_224",
    "efficientvit_b0", "efficientvit_m1", "fbnetc_100", "focalnet_tiny_srf", "gcresnext26ts", "gernet_s",
    "ghostnetv2_100", "lambda_resnet26t", "lcnet_100", "mixnet_s", "mobilevitv2_075", "mvitv2_tiny", "pit_xs_224",
    "poolformerv2_s12", "rdnet_tiny", "resnetv2_50", "selecsls42b", "semnasnet_100", "tiny_vit_5m_224",
    "visformer_tiny", "volo_d1_224",
)  # fmt: skip
"""Names of timm."""

_TOKENS, _SAMPLES = 128, 16000
_SMALL = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 8000}
_QWEN = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "vocab_size": 8000}
_IMAGE = {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3, "image_size": [224, 224]}

OTHERS: Mapping[str, tuple[str, str, str, Mapping[str, Any]]] = {
    "electra_small": ("ElectraModel", "ElectraConfig", "masked", {}),
    "gptneox_small": ("GPTNeoXModel", "GPTNeoXConfig", "tokens", {"intermediate_size": 2048, **_SMALL}),
    "mobilebert": ("MobileBertModel", "MobileBertConfig", "masked", {}),
    "mpnet_4l": ("MPNetModel", "MPNetConfig", "masked", {"num_hidden_layers": 4}),
    "qwen2_small": ("Qwen2Model", "Qwen2Config", "tokens",
                    {"intermediate_size": 1408, "num_key_value_heads": 2, **_QWEN}),
    "roberta_6l": ("RobertaModel", "RobertaConfig", "masked", {"num_hidden_layers": 6}),
    "squeezebert": ("SqueezeBertModel", "SqueezeBertConfig", "masked", {"num_hidden_layers": 6}),
    "wav2vec2_4l": ("Wav2Vec2Model", "Wav2Vec2Config", "sound", {"num_hidden_layers": 4}),
    "yolos_lite": ("YolosModel", "YolosConfig", "image", {"intermediate_size": 768, **_IMAGE}),
}  # fmt: skip
_LAYERS, _SHORT = {"num_hidden_layers": 4}, {"d_model": 512, "vocab_size": 8000}
_FEED_FORWARD = {"encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "encoder_layers": 3, "decoder_layers": 3}
_OPT = {"hidden_size": 512, "word_embed_proj_dim": 512, "num_hidden_layers": 6, "num_attention_heads": 8}
SECOND_OTHERS: Mapping[str, tuple[str, str, str, Mapping[str, Any]]] = {
    "bart_3l": ("BartModel", "BartConfig", "tokens", {**_FEED_FORWARD, **_SHORT}),
    "bloom_small": ("BloomModel", "BloomConfig", "tokens",
                    {"hidden_size": 512, "n_layer": 6, "n_head": 8, "vocab_size": 8000}),
    "deberta_4l": ("DebertaV2Model", "DebertaV2Config", "masked",
                   {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "vocab_size": 8000,
                    "relative_attention": True, "position_buckets": 64, **_LAYERS}),
    "dinov2_small": ("Dinov2Model", "Dinov2Config", "image",
                     {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 6, "image_size": 224}),
    "hubert_4l": ("HubertModel", "HubertConfig", "sound", _LAYERS),
    "opt_small": ("OPTModel", "OPTConfig", "tokens", {"ffn_dim": 2048, "vocab_size": 8000, **_OPT}),
    "xlnet_4l": ("XLNetModel", "XLNetConfig", "tokens", {"d_inner": 2048, "n_layer": 4, "n_head": 8, **_SHORT}),
}  # fmt: skip
"""Of transformers: the model's class, its configuration's, what it takes, and the configuration."""

FIRST, SECOND = (*IMAGES, *OTHERS), (*SECOND_IMAGES, *SECOND_OTHERS)
NAMES = (*FIRST, *SECOND)


def built(name: str) -> tuple[Any, tuple[Any, ...]]:
    """Return a module, and what it is called with."""
    import torch

    torch.manual_seed(0)
    if name in (*IMAGES, *SECOND_IMAGES):
        import timm

        module = timm.create_model(name, pretrained=False)
        return module, (torch.randn(1, *module.default_cfg["input_size"]),)
    import transformers

    model, configuration, taking, options = {**OTHERS, **SECOND_OTHERS}[name]
    settings = getattr(transformers, configuration)(**options)
    settings.return_dict, settings.use_cache = name in SECOND_OTHERS, False  # some of these cannot do without
    tokens = torch.randint(0, 1000, (1, _TOKENS))
    taken: Mapping[str, Callable[[], tuple[Any, ...]]] = {
        "tokens": lambda: (tokens,),
        "masked": lambda: (tokens, torch.ones(1, _TOKENS, dtype=torch.long)),
        "sound": lambda: (torch.randn(1, _SAMPLES),),
        "image": lambda: (torch.randn(1, 3, 224, 224),),
    }
    return getattr(transformers, model)(settings), taken[taking]()


def write(name: str, path: Path) -> None:
    """Export a network, and strip it of its weights."""
    import torch

    module, arguments = built(name)
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="export-") as folder:
        whole = Path(folder) / "model.onnx"
        torch.onnx.export(module.eval(), arguments, str(whole), dynamo=True, verbose=False, external_data=False)
        model = without_weights(onnx.load(whole))
    onnx.save(model, path)


def main() -> None:
    """Write what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--second", action="store_true", help="the second ones instead of the first")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"no network {unknown[0]!r}: there are {', '.join(NAMES)}")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or (SECOND if options.second else FIRST):
        path = options.folder / f"{name}.onnx"
        if path.exists():
            continue
        try:
            write(name, path)
        except Exception as error:  # whatever an exporter raises
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            print(f"{name}: left out: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
