"""Shared by tests of windowed attention: random weights, and tokens brought to regions by sums."""

import torch
from torch import Tensor, nn

GRID, LABELS = (4, 4), ["real", "fake"]


class Logits(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).logits


def randomised(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and "logit_scale" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def to_regions(tokens: Tensor, height: int, width: int, cell: int, size: tuple[int, int]) -> Tensor:
    """(…, height·width) → (…, regions): each token spread over its pixels that are in the image."""
    pixels = tokens.reshape(-1, height, width).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    rows = torch.full((height,), cell)
    cols = torch.full((width,), cell)
    rows[-1] -= height * cell - size[0]
    cols[-1] -= width * cell - size[1]
    area = (rows[:, None] * cols).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    pixels = (pixels / area)[:, : size[0], : size[1]]
    row, col = (torch.arange(n) * g // n for n, g in zip(size, GRID, strict=True))
    out = torch.zeros(len(pixels), GRID[0] * GRID[1], dtype=tokens.dtype)
    out.index_add_(1, (row[:, None] * GRID[1] + col).flatten(), pixels.flatten(1))
    return out.view(*tokens.shape[:-1], -1)


def given(size: tuple[int, int]) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
