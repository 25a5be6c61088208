"""A transformer of an unusual make."""

import torch
from torch import Tensor, nn
from vit_zoo import CLASSES, HEADS, PATCH, WIDTH


class SequenceFirst(nn.Module):
    """Tokens before batch, blocks that return a tuple, a backbone under no_grad: all at once."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(WIDTH)
            self.attention = nn.MultiheadAttention(WIDTH, HEADS)

        def forward(self, tokens: Tensor) -> tuple[Tensor, None]:
            normed = self.norm(tokens)
            return tokens + self.attention(normed, normed, normed)[0], None

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = PATCH
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.blocks = nn.ModuleList([self.Block() for _ in range(3)])
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            tokens = self.embed(pixels).flatten(2).permute(2, 0, 1)
            tokens = torch.cat([self.class_token.expand(-1, len(pixels), -1), tokens])
            for block in self.blocks:
                tokens, _ = block(tokens)
            feature = nn.functional.normalize(tokens[0], dim=-1)
        return self.head(feature)
