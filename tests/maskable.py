"""Models whose patches can be masked, and which patches are there."""

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn
from vit_zoo import CLASSES, COMMON, LABELS, WIDTH, ZOO, Logits, build

EXTRA: dict[str, Callable[[], nn.Module]] = {
    "beit_class_token": lambda: Logits(
        hf.BeitForImageClassification(
            hf.BeitConfig(use_relative_position_bias=True, use_mean_pooling=False, **COMMON, **LABELS)
        )
    ),
    "registers_class_token": lambda: Logits(
        hf.Dinov2WithRegistersModel(
            hf.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=4, **COMMON)
        ),
        nn.Linear(WIDTH, CLASSES),
    ),
}
MASKABLE = ["clip", "vit", "deit", "dinov3", "torch_encoder", *EXTRA]


def made(name: str) -> nn.Module:
    return build_extra(name) if name in EXTRA else build(name)


def build_extra(name: str) -> nn.Module:
    ZOO[name] = EXTRA[name]
    try:
        return build(name)
    finally:
        del ZOO[name]


def hidden(output: Any) -> Tensor:
    """The hidden states among what a module returns."""
    if isinstance(output, Tensor):
        return output
    return output[0]


def some(images: int = 3, patches: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(images, patches, generator=torch.Generator().manual_seed(seed)) < 0.5
