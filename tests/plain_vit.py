"""A ViT in the open, whose layers can be run in every way that hides attention: 3 layers, 4×4 patches + 1."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, DEPTH, TOKENS = 16, 2, 3, 17


class Block(nn.Module):
    """Pre-norm attention and MLP; `drop` is hidden dropout, `eager` attention by softmax and matmul."""

    def __init__(self, drop: float = 0.0, *, eager: bool = False):
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Dropout(drop), nn.Linear(24, WIDTH))
        self.eager = eager

    def forward(self, x: Tensor) -> Tensor:
        images, tokens = x.shape[0], x.shape[1]
        q, k, v = self.qkv(self.first(x)).reshape(images, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        if self.eager:
            y = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(images, tokens, WIDTH))
        return x + self.mlp(self.second(x))


class TinyViT(nn.Module):
    """Pixels (B, 3, 32, 32) to two logits; `run(block, x, index)` is how a block is called."""

    patch_size, num_prefix_tokens, img_size = 8, 1, 32

    def __init__(self, run: Callable[[nn.Module, Tensor, int], Tensor] | None = None, **options):
        super().__init__()
        torch.manual_seed(3)
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.blocks = nn.ModuleList(Block(**options) for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, 2)
        self.run = run or (lambda block, x, _: block(x))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        for index, block in enumerate(self.blocks):
            x = self.run(block, x, index)
        return self.head(x[:, 0])


class Pyramid(TinyViT):
    """Two stages: 17 tokens, then 5 after pooling; as many layers are of one size as of the other."""

    def __init__(self, **options):
        super().__init__(**options)
        self.later = nn.ModuleList(Block() for _ in range(2))
        self.eval()

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        maps = F.avg_pool2d(x[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), 2)
        x = torch.cat([x[:, :1], maps.flatten(2).transpose(1, 2)], 1)
        for block in self.later:
            x = block(x)
        return self.head(x[:, 0])


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))
