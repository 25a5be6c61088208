"""A vision transformer whose blocks are written out, with LibraGrad's rules put in by hand.

Its parameters are those of a tiny ViT of transformers; every constant of the rules is a `detach` here, and
nothing of what it is compared with is used.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vit_zoo import HEADS, PATCH


class Attention(nn.Module):
    def __init__(self, theirs: nn.Module, output: nn.Module):
        super().__init__()
        self.q, self.k, self.v, self.o = theirs.q_proj, theirs.k_proj, theirs.v_proj, output

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (f(tokens).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q.detach(), k.detach(), v)
        return self.o(out.transpose(1, 2).flatten(2))


class Norm(nn.Module):
    def __init__(self, theirs: nn.LayerNorm):
        super().__init__()
        self.weight, self.bias, self.eps = theirs.weight, theirs.bias, theirs.eps

    def forward(self, x: Tensor) -> Tensor:
        deviation = (x.var(-1, unbiased=False, keepdim=True) + self.eps).sqrt().detach()
        return (x - x.mean(-1, keepdim=True)) / deviation * self.weight + self.bias


class Block(nn.Module):
    def __init__(self, theirs: nn.Module):
        super().__init__()
        self.norm1, self.norm2 = Norm(theirs.layernorm_before), Norm(theirs.layernorm_after)
        self.attention = Attention(theirs.attention, theirs.attention.o_proj)
        self.up, self.down = theirs.mlp.fc1, theirs.mlp.fc2

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        hidden = self.up(self.norm2(tokens))
        gate = 0.5 * (1 + torch.erf(hidden / 2**0.5))
        return tokens + self.down(hidden * gate.detach())


class LibraViT(nn.Module):
    """Pixels in, logits out, as the model that it is made of."""

    def __init__(self, theirs: nn.Module):
        super().__init__()
        tower = theirs.model.vit
        self.patch_size = PATCH
        self.embeddings, self.last, self.head = (
            tower.embeddings,
            Norm(tower.layernorm),
            theirs.model.classifier,
        )
        self.blocks = nn.ModuleList(Block(layer) for layer in tower.layers)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.embeddings(pixels)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.last(tokens)[:, 0])
