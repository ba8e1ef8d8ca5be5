"""Networks on images and video, from torchvision and timm; small ones where there is a choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .architecture import Architecture, Input

__all__ = ["VISION"]

SIZES = (
    {"batch": 2, "height": 64, "width": 96},
    {"batch": 1, "height": 96, "width": 64},
    {"batch": 3, "height": 128, "width": 160},
)
BATCHES = ({"batch": 2}, {"batch": 1}, {"batch": 5})


def _torchvision(family: str, name: str, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        from importlib import import_module

        return getattr(import_module(f"torchvision.models{family and '.'}{family}"), name)(**options)

    return build


def _classifier(name: str, **options: Any) -> Architecture:
    """A convolutional network of torchvision at any batch and image size."""
    return Architecture(name, _torchvision("", name, **options), _images("x"), SIZES, ("torchvision",))


def _segmentation(name: str, taking: str) -> Architecture:
    options = {"weights": None, "weights_backbone": None, "num_classes": 5}
    return Architecture(name, _torchvision("segmentation", name, **options), _images(taking), SIZES, ("torchvision",))


def _timm(name: str, size: int | None = None, **options: Any) -> Architecture:
    """A network of timm: at any batch, and at any image size unless it has one."""

    def build() -> Any:
        import timm

        return timm.create_model(name, num_classes=10, **options)

    inputs = _images("x") if size is None else (Input("x", ("batch", 3, size, size)),)
    return Architecture(name, build, inputs, SIZES if size is None else BATCHES, ("timm",))


def _images(name: str) -> tuple[Input]:
    return (Input(name, ("batch", 3, "height", "width")),)


def _vit() -> Any:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, num_layers=2, num_heads=3, hidden_dim=96, mlp_dim=192, num_classes=10)


def _swin() -> Any:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10)


def _convnext() -> Any:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(24, 48, 2), CNBlockConfig(48, None, 2)], num_classes=10)


def _mixer() -> Any:
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(num_classes=10, img_size=64, patch_size=16, num_blocks=2, embed_dim=64)


def _mask_head() -> Any:
    from torch import nn
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    return nn.Sequential(MaskRCNNHeads(16, (32, 32), 1), MaskRCNNPredictor(32, 16, 5))


def _own(name: str, build: Callable[[], Any], inputs: tuple[Input, ...], bindings: Any = SIZES) -> Architecture:
    return Architecture(name, build, inputs, bindings, ("torchvision",))


VISION = (
    _classifier("resnet18"),
    _classifier("squeezenet1_1"),
    _classifier("mobilenet_v2", width_mult=0.5),
    _classifier("mobilenet_v3_small"),
    _classifier("shufflenet_v2_x0_5"),
    _classifier("mnasnet0_5"),
    _classifier("regnet_y_400mf"),
    _classifier("densenet121"),
    _classifier("efficientnet_b0"),
    _classifier("googlenet", init_weights=False, aux_logits=False),
    _own("convnext", _convnext, _images("x")),
    _own("swin", _swin, _images("x")),
    _own("vit", _vit, (Input("x", ("batch", 3, 64, 64)),), BATCHES),
    _own(
        "mask_head",
        _mask_head,
        (Input("input", ("boxes", 16, 14, 14)),),
        ({"boxes": 4}, {"boxes": 1}, {"boxes": 9}),
    ),
    _segmentation("lraspp_mobilenet_v3_large", "input"),
    _segmentation("deeplabv3_mobilenet_v3_large", "x"),
    Architecture(
        "r3d_18",
        _torchvision("video", "r3d_18"),
        (Input("x", ("batch", 3, "frames", "height", "width")),),
        (
            {"batch": 2, "frames": 4, "height": 32, "width": 48},
            {"batch": 1, "frames": 8, "height": 32, "width": 32},
            {"batch": 1, "frames": 6, "height": 48, "width": 32},
        ),
        ("torchvision",),
    ),
    _timm("ghostnet_050"),
    _timm("mobilevit_xxs", 128),
    _timm("poolformer_s12"),
    Architecture("mixer", _mixer, (Input("x", ("batch", 3, 64, 64)),), BATCHES, ("timm",)),
    _timm("levit_128s", 224),
    _timm("efficientvit_b0"),
    _timm("hrnet_w18_small"),
    _timm("coatnet_pico_rw_224", 224),
)
"""Classifiers, segmentation, a detector's mask head, video."""
