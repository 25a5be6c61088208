"""B-Free (Guillaro et al., CVPR 2025, arXiv 2412.17671): DINOv2 with registers on five crops of an image.

Published code embeds the patches of the whole image once and cuts five windows of tokens. Patches do not
overlap, so these are the tokens of five crops of the image, which is how it is computed here.
"""

from typing import Any

import torch
from torch import Tensor, nn

from xai.attention import Crops, five_crops
from xai.models.checkpoint import State
from xai.models.detector import Detector, DetectorConfig, build_head
from xai.models.timm_vit import TimmBlock, TimmPatchEmbed, TimmViTConfig, TimmViTOutput
from xai.models.tower import (
    TowerOptions,
    filled,
    heads_of,
    layers_of,
    patch_of,
    shape_of,
    side_of,
)


class LayerScale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        return tokens * self.gamma


class ScaledBlock(TimmBlock):
    """A block whose attention and MLP are scaled before they are added."""

    def __init__(self, config: TimmViTConfig):
        super().__init__(config)
        self.ls1, self.ls2 = LayerScale(config.hidden_size), LayerScale(config.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class RegisterViT(nn.Module):
    """timm's DINOv2 with registers: patches get positions, and stand behind the class token and registers."""

    def __init__(self, config: TimmViTConfig, registers: int):
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.patch_embed = TimmPatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.reg_token = nn.Parameter(torch.zeros(1, registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (config.image_size // config.patch_size) ** 2, width))
        self.blocks = nn.ModuleList(ScaledBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixel_values: Tensor) -> TimmViTOutput:
        """One crop: (B, 3, side, side)."""
        patches = self.patch_embed(pixel_values) + self.pos_embed
        before = (one.expand(len(patches), -1, -1) for one in (self.cls_token, self.reg_token))
        tokens = torch.cat([*before, patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return TimmViTOutput(tokens, tokens[:, 0])


class BFree(Detector):
    """The mean logit of five crops of an image of any size; an image of a crop's size is one crop."""

    def crops(self, height: int, width: int) -> Crops | None:
        """Where the crops lie in an input; None where it is one."""
        config: Any = self.tower.config
        return five_crops(height, width, config.patch_size, config.image_size // config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1)."""
        crops = self.crops(*pixels.shape[-2:])
        if crops is None:
            return super().forward(pixels)
        return crops.mean(super().forward(crops.cut(pixels)))


def b_free(parts: list[State], config: DetectorConfig) -> Detector:
    """B-Free: class token of DINOv2 with registers → one logit, the mean over five crops."""
    head, weights = parts
    options = TowerOptions(config.num_attention_heads, config.hidden_act)
    width, patch = patch_of(weights, "patch_embed.proj.weight")
    sizes = TimmViTConfig(
        hidden_size=width,
        intermediate_size=shape_of(weights, "blocks.0.mlp.fc1.weight")[0],
        num_hidden_layers=layers_of(weights),
        num_attention_heads=heads_of(width, options),
        image_size=side_of(shape_of(weights, "pos_embed", 3)[1]) * patch,
        patch_size=patch,
        hidden_act=options.hidden_act or "gelu",
    )
    with torch.device("meta"):
        tower = RegisterViT(sizes, shape_of(weights, "reg_token", 3)[1])
    tower = filled(tower, weights, "DINOv2 of timm with registers")
    return BFree(tower, build_head(head, width, config.head_activation), "pooled")
