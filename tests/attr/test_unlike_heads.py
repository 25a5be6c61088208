"""A pooling head with heads of its own number takes part in the map, which then has no array of layers."""

import pytest
import torch
from plain_vit import TinyViT, images
from torch import Tensor, nn

import xai
from xai.attr import create
from xai.core import UsageError


class Pooled(TinyViT):
    """A class token, and then attention of four heads, which the blocks have not, that pools all tokens."""

    def __init__(self) -> None:
        super().__init__()
        width = self.head.in_features
        self.probe, self.pool = (
            nn.Parameter(torch.ones(1, 1, width)),
            nn.MultiheadAttention(width, 8, batch_first=True),
        )
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(self.probe.expand(len(x), -1, -1), x, x, need_weights=False)[0][:, 0])


def test_the_default_explains_a_pooling_head_with_other_heads() -> None:
    torch.manual_seed(0)
    classifier, rule = xai.load(Pooled(), ["real", "fake"]), "gauss_legendre"
    method = create("integrated_mask_gradient", classifier, n_steps=24, rule=rule)
    maps, layers = method.attribute_with_layers(images(), [1])
    assert layers is None
    _, delta = method.attribute(images(), target=1, return_convergence_delta=True)
    assert float(delta.abs().max()) < 1e-3 * float(maps.abs().sum())
    with pytest.raises(UsageError, match="unlike numbers of heads"):
        method.attribute_layers(images(), 1)
