"""A transformer whose answer is known: its class token counts the bright patches that it sees."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, PATCH, SIDE = 64, 8, 4


class _Block(nn.Module):
    """Every token gets the mean of all."""

    def forward(self, tokens: Tensor) -> Tensor:
        nothing = torch.zeros_like(tokens)[:, None]
        return tokens + F.scaled_dot_product_attention(nothing, nothing, tokens[:, None])[:, 0]


class Planted(nn.Module):
    """Logits (−s, s) of the mean brightness s of the visible patches; the other channels are random."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = PATCH
        self.conv_proj = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.blocks = nn.Sequential(_Block(), _Block())
        self.passes = 0
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.conv_proj.weight.copy_(torch.randn(WIDTH, 3, PATCH, PATCH, generator=generator) / 20)
            self.conv_proj.weight[0] = 1 / (3 * PATCH**2)

    def forward(self, pixels: Tensor) -> Tensor:
        self.passes += len(pixels)
        tokens = self.conv_proj(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(pixels), -1, -1), tokens], 1)
        brightness = 2 * self.blocks(tokens)[:, 0, 0]
        return torch.stack([-brightness, brightness], 1)


def planted_image(*bright: int, seed: int = 0) -> Tensor:
    """(1, 3, 32, 32): noise around −0.5, and around 2 in the bright patches."""
    level = torch.full((SIDE * SIDE,), -0.5)
    level[list(bright)] = 2.0
    noise = torch.randn(1, 3, SIDE * PATCH, SIDE * PATCH, generator=torch.Generator().manual_seed(seed))
    return noise / 4 + level.view(SIDE, SIDE).repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
