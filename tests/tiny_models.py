"""Tiny random models of every family, seeded: width 64, 2 layers, 32 px, 8 px patches."""

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
)

TOWER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "image_size": 32,
    "patch_size": 8,
}


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Replace every parameter by seeded noise, so that no norm is 1, no bias 0; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(noise + 1 if is_gain else noise)
    return module.eval()


def pixels(batch: int = 2, size: int = 32, seed: int = 0) -> Tensor:
    """(batch, 3, size, size) noise."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def clip_tower(seed: int = 0, **overrides) -> CLIPVisionModel:
    """CLIPVisionModel, with OpenAI's quick_gelu."""
    config = CLIPVisionConfig(**{**TOWER, "intermediate_size": 96, **overrides})
    return randomize(CLIPVisionModel(config), seed)
