"""torchvision's models, tiny, given as modules with their preprocessing: torchvision saves weights alone."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from architectures.architecture import LABELS, SIDE, Architecture
from xai.models import Classifier
from xai.models.preprocessing import Preprocessing

TORCHVISION: dict[str, Callable[[Any], nn.Module]] = {
    "vit_b_32": lambda tv: tv.VisionTransformer(SIDE, 16, 3, 4, 48, 96, num_classes=3),
    "swin_t": lambda tv: tv.SwinTransformer([4, 4], 24, [1, 1, 2, 1], [1, 2, 4, 8], [4, 4], num_classes=3),
    "swin_v2_t": lambda tv: tv.SwinTransformer(
        [4, 4],
        24,
        [1, 1, 2, 1],
        [1, 2, 4, 8],
        [4, 4],
        num_classes=3,
        block=tv.swin_transformer.SwinTransformerBlockV2,
        downsample_layer=tv.swin_transformer.PatchMergingV2,
    ),
    "maxvit_t": lambda tv: tv.MaxVit((SIDE, SIDE), 16, 2, [16, 24], [1, 1], 8, 0.0, num_classes=3),
    "resnet18": lambda tv: tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3),
    "convnext_tiny": lambda tv: tv.ConvNeXt(
        [
            tv.convnext.CNBlockConfig(16, 24, 1),
            tv.convnext.CNBlockConfig(24, 32, 1),
            tv.convnext.CNBlockConfig(32, None, 2),
        ],
        num_classes=3,
    ),
}


def make(name: str) -> nn.Module:
    return TORCHVISION[name](import_module("torchvision.models"))


def save(model: nn.Module, folder: Path) -> tuple[Any, dict[str, Any]]:
    seen_as = Preprocessing(
        shortest_edge=SIDE,
        crop=(SIDE, SIDE),
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        torchvision_crop=True,
    )
    return Classifier(model, LABELS, name=type(model).__name__, preprocessing=seen_as), {}


def architectures() -> list[Architecture]:
    return [Architecture(f"torchvision/{name}", SIDE, partial(make, name), save) for name in TORCHVISION]
