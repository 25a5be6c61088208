"""UIA-ViT (Zhuang et al., ECCV 2022, arXiv 2210.12752): the class token, joined with weighted patches.

A patch's weight is the sigmoid of how much the class token's query and the patch's key agree, before the
softmax and on the mean over the heads of five layers, mixed with a constant and divided by the number of
patches. That is DeepfakeBench's `uia_vit` in evaluation: there the constant's share is σ(−12 · (1 − 0.7)).
"""

from math import exp

import torch
from torch import Tensor, nn

from xai.core import ModelError
from xai.models.timm_vit import TimmAttention, TimmBlock, TimmViT, TimmViTConfig, TimmViTOutput

_FIRST, _LAST = 7, 12  # layers whose scores weight the patches, counted from 0, the last one excluded
_CONSTANT = 1 / (1 + exp(12 * (1 - 0.7)))


class ScoringAttention(TimmAttention):
    """Attention, and the class token's scores of the patches."""

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:  # pyrefly: ignore[bad-override]
        """(B, N, width) → the same shape, and (B, patches): mean over heads of the scores."""
        query, key, value = self.split(tokens)
        scores = query[:, :, :1] @ key[:, :, 1:].transpose(-2, -1) * query.shape[-1] ** -0.5
        return self.joined(query, key, value), scores.mean(dim=1)[:, 0]


class ScoringBlock(TimmBlock):
    """A block, and the class token's scores of the patches in it."""

    def __init__(self, config: TimmViTConfig):
        super().__init__(config)
        self.attn = ScoringAttention(config)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:  # pyrefly: ignore[bad-override]
        """(B, N, width) → the same shape, and (B, patches)."""
        mixed, scores = self.attn(self.norm1(tokens))
        tokens = tokens + mixed
        return tokens + self.mlp(self.norm2(tokens)), scores


class UiaViT(TimmViT):
    """A tower whose pooled feature (B, 2 · width) is the class token and the weighted sum of the patches.

    Raises:
        ModelError: It has too few layers.
    """

    def __init__(self, config: TimmViTConfig):
        super().__init__(config)
        if config.num_hidden_layers <= _FIRST:
            raise ModelError(
                f"uia_vit weights patches by its layers from the {_FIRST + 1}th on; this tower has "
                f"{config.num_hidden_layers}.",
                "The checkpoint is incomplete, or no UIA-ViT.",
            )
        self.blocks = nn.ModuleList(ScoringBlock(config) for _ in range(config.num_hidden_layers))

    def forward(self, pixel_values: Tensor) -> TimmViTOutput:
        """Raises: ValueError: The image has another size than the tower was trained at."""
        tokens = self.embedded(pixel_values)
        scores = []
        for block in self.blocks:
            tokens, one = block(tokens)
            scores.append(one)
        tokens = self.norm(tokens)
        patches = tokens[:, 1:]
        where = torch.stack(scores[_FIRST:_LAST]).mean(dim=0).sigmoid()
        weights = (_CONSTANT + (1 - _CONSTANT) * where) / patches.shape[1]
        joined = (weights[:, None] @ patches)[:, 0]
        return TimmViTOutput(tokens, torch.cat([tokens[:, 0], joined], dim=-1))
