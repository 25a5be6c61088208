"""A model whose logits are known weighted sums of patch brightness: perturbing it is arithmetic."""

import torch
from torch import Tensor, nn

PATCH = 4


class Linear(nn.Module):
    """Logit c = Σ_patches weights[c, patch] · mean brightness of the patch.

    Args:
        weights: (classes, rows, cols).
    """

    def __init__(self, weights: Tensor):
        super().__init__()
        self.patch_size = PATCH
        self.weights = nn.Parameter(weights)
        self.seen = 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen += len(pixels)
        brightness = nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), PATCH)
        return torch.einsum("bxrc,krc->bk", brightness, self.weights)


def two_classes(weights: Tensor) -> Linear:
    """Margin of class 1 over class 0 = Σ weights · brightness; (rows, cols) weights."""
    return Linear(torch.stack([torch.zeros_like(weights), weights]))


def white(rows: int = 4, cols: int = 4, images: int = 1) -> Tensor:
    """Images of brightness 1 everywhere: removing to 0 takes exactly the weight of each patch."""
    return torch.ones(images, 3, rows * PATCH, cols * PATCH)
