"""Grids of models that do not say theirs."""

import pytest
import torch
from torch import Tensor, nn
from vit_zoo import PlainViT, build, pixels

import xai
from xai.attr import GradientWeightedAttention, RawAttention
from xai.core import ModelError, PatchGrid


class Nameless(PlainViT):
    """A transformer of one's own, without a configuration."""

    def __init__(self) -> None:
        super().__init__()
        del self.patch_size


class SaysOnlyItsPatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.patch_size = Nameless().eval(), 8

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_given_grid_is_used_with_the_tokens_before_it() -> None:
    torch.manual_seed(0)
    model = Nameless().eval()
    for grid in ((4, 4), PatchGrid(4, 4, 1)):
        classifier = xai.load(model, labels=["a", "b", "c"], grid=grid)
        assert classifier.grid == PatchGrid(4, 4, 1)
        assert GradientWeightedAttention(classifier).attribute_patches(pixels(), 1).shape == (2, 4, 4)


def test_a_wrong_grid_is_told_with_what_was_seen() -> None:
    classifier = xai.load(Nameless().eval(), labels=["a", "b", "c"], grid=(5, 5))
    with pytest.raises(ModelError, match=r"grid has 26 tokens.*17×17"):
        RawAttention(classifier).attribute_patches(pixels(), 1)


def test_attention_says_the_grid_where_the_module_does_not() -> None:
    torch.manual_seed(0)
    model = Nameless().eval()
    found, given = (
        GradientWeightedAttention(xai.load(model, ["a", "b", "c"], grid=grid)).attribute_patches(pixels(), 1)
        for grid in (None, (4, 4))
    )
    assert found.shape == (2, 4, 4) and torch.equal(found, given)


def test_the_input_size_does_where_no_standard_size_is_known() -> None:
    classifier = xai.load(SaysOnlyItsPatch().eval(), labels=["a", "b", "c"])
    assert GradientWeightedAttention(classifier).attribute_patches(pixels(), 1).shape == (2, 4, 4)


def test_another_size_than_the_standard_one() -> None:
    classifier = xai.load(build("dinov2"), labels=["a", "b", "c"])
    assert classifier.grid == PatchGrid(4, 4, 1)
    wide = pixels(height=16, width=48)
    assert GradientWeightedAttention(classifier).attribute_patches(wide, 1).shape == (2, 2, 6)
