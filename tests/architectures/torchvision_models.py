"""torchvision's models, tiny, given as modules: torchvision saves no more than weights."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from architectures.architecture import LABELS, SIDE, Architecture

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
    return model, {"labels": LABELS}


def architectures() -> list[Architecture]:
    return [Architecture(f"torchvision/{name}", SIDE, partial(make, name), save) for name in TORCHVISION]
