"""Keys are found in the image whatever the notation, the stage or the tokens beside them."""

import pytest
import torch
import torch.nn.functional as F
from plain_vit import Pyramid, TinyViT, images
from torch import Tensor, nn
from windowed import GRID, LABELS, given, randomised, to_regions

import xai
from xai.attention import MappedProbe, UnseenAttentionError
from xai.attention.intercept import AttentionInterceptor
from xai.attr import GradientWeightedAttention


class Channels(nn.Module):
    """Attention over channels, as in XCiT and in every other block of DaViT."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 4)).permute(2, 0, 3, 4, 1)
        weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)).softmax(-1)
        return x + self.proj((weights @ v).permute(0, 3, 1, 2).flatten(2))


class Windows(nn.Module):
    """Attention over windows of four rows, by an einsum, or channels before tokens."""

    def __init__(self, notation: str):
        super().__init__()
        self.notation = notation
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(1, (4, -1)).unflatten(-1, (3, 2, 8)).permute(3, 0, 1, 4, 2, 5)
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        if self.notation == "einsum":
            out = torch.einsum("bwhij,bwhjd->bwihd", weights, v)
        elif self.notation == "transposed":
            out = (v.mT @ weights.mT).mT.transpose(2, 3)
        else:  # heads mixed after the softmax
            mixed = weights.permute(0, 1, 3, 4, 2) @ torch.tensor([[0.75, 0.25], [-0.5, 1.0]])
            out = (mixed.permute(0, 1, 4, 2, 3) @ v).transpose(2, 3)
        return x + self.proj(out.flatten(3).flatten(1, 2))


class Stack(nn.Module):
    def __init__(self, *blocks: nn.Module):
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 16, 4, 4), nn.Sequential(*blocks), nn.Linear(16, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(pixels).flatten(2).mT).square().mean(1))


def stacked(*blocks: nn.Module) -> nn.Module:
    return xai.load(randomised(Stack(*blocks)), LABELS, grid=GRID)


@pytest.mark.parametrize("notation", ["einsum", "transposed", "mixed heads"])
def test_products_with_values_in_every_notation(notation: str) -> None:
    """The sum over all rows of A ⊙ ∂y/∂A is v · ∂y/∂v, which needs no attention to be seen."""
    classifier = stacked(Windows(notation))
    x = given((64, 64))
    values: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        values.append(output[..., 32:].detach().requires_grad_())
        return torch.cat([output[..., :32].detach(), values[-1]], -1)

    block = classifier.module.blocks[0]
    hook = block.qkv.register_forward_hook(keep)
    (gradient,) = torch.autograd.grad(classifier(x)[:, 1].sum(), values)
    hook.remove()
    per_head = (values[0] * gradient).detach().double().unflatten(-1, (2, 8)).sum(-1)
    expected = to_regions(per_head.mean(-1) / 256, 16, 16, 4, (64, 64))
    got = GradientWeightedAttention(classifier).attribute_patches(x, 1).double().flatten(1)
    assert float((got - expected).abs().max()) <= 1e-5 * float(per_head.abs().max())


def test_attention_over_channels_takes_no_part_and_may_not_be_most_of_it() -> None:
    x = given((64, 64))
    method = GradientWeightedAttention(stacked(Windows("einsum"), Channels()))
    probed = method._probe(x, ())
    assert isinstance(probed, MappedProbe)
    assert (probed.layers, probed.others, probed.calls) == (1, 1, 2)
    assert float(method.attribute_patches(x, 1).abs().max()) > 0
    with pytest.raises(UnseenAttentionError, match="1 of the 3"):
        GradientWeightedAttention(stacked(Windows("einsum"), Channels(), Channels())).attribute_patches(x, 1)


def in_the_open(model: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """A and ∂y/∂A of every fused call, of whatever size."""

    class Open(AttentionInterceptor):
        def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
            weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
            maps.append(weights)
            return weights @ value

    maps: list[Tensor] = []
    with Open():
        y = model(x)[:, 1].sum()
    return list(zip(maps, torch.autograd.grad(y, maps), strict=True))


def test_a_pyramid_with_a_class_token_reads_its_row_in_every_stage() -> None:
    x = images()
    expected = []
    for a, g in in_the_open(Pyramid(), x):
        row = (a.detach() * g)[:, :, 0, 1:].double().mean(1)
        side = round(row.shape[-1] ** 0.5)
        expected.append(to_regions(row, side, side, 32 // side, (32, 32)))
    for layers, of_layer in (("all_layers", torch.stack(expected).mean(0)), ("last_layer", expected[-1])):
        method = GradientWeightedAttention(xai.load(Pyramid(), LABELS, grid=GRID), layers)
        got = method.attribute_patches(x, 1).double().flatten(1)
        assert float((got - of_layer).abs().max()) <= 1e-5 * float(of_layer.abs().max())


class ClassAttention(TinyViT):
    """Two layers of class attention and no other, as CaiT ends."""

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        token = x[:, None, :1]
        for _ in range(2):
            token = token + F.scaled_dot_product_attention(token, x[:, None], x[:, None])
        return self.head(token[:, 0, 0])


def test_class_attention_alone_is_read_by_its_own_query() -> None:
    x = images()
    model = ClassAttention()
    pairs = in_the_open(model, x)
    expected = torch.stack([(a.detach() * g)[:, 0, 0, 1:].double() for a, g in pairs]).mean(0)
    got = GradientWeightedAttention(xai.load(model, LABELS, grid=GRID)).attribute_patches(x, 1).double()
    assert float((got.flatten(1) - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
