"""Attention of a model that turns the image inside is refused; of one that does not, it is explained."""

import pytest
import torch
from plain_vit import TinyViT
from torch import nn

import xai
from xai import attr
from xai.core import ModelError

LABELS = ["real", "fake"]
METHODS = ["gradient_weighted_attention", "attention_rollout", "integrated_mask_gradient"]


class Before(nn.Module):
    """A tower that sees the image after a step; with the step not taken beside it, if asked for."""

    def __init__(self, step, *, both: bool = False):
        super().__init__()
        self.tower, self.step, self.both = TinyViT(), step, both
        self.eval()

    def forward(self, pixels):
        turned = self.tower(self.step(pixels))
        return (turned + self.tower(pixels)) / 2 if self.both else turned


STEPS = {
    "mirrored": lambda x: x.flip(-1),
    "upside down": lambda x: x.flip(-2),
    "turned": lambda x: x.rot90(2, (-2, -1)),
    "transposed": lambda x: x.transpose(-2, -1),
    "rolled": lambda x: x.roll(16, -1),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_an_image_that_is_turned_inside_is_refused(step, both, method) -> None:
    classifier = xai.load(Before(step, both=both), LABELS, grid=(4, 4))
    with pytest.raises(ModelError, match="patch \\(0, 3\\).*made of pixels around"):
        attr.create(method, classifier).attribute_patches(torch.randn(2, 3, 32, 32), target=1)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_that_is_scaled_inside_is_explained(method) -> None:
    classifier = xai.load(Before(lambda x: x * 2 - 0.5, both=True), LABELS, grid=(4, 4))
    maps = attr.create(method, classifier).attribute_patches(torch.randn(2, 3, 32, 32), target=1)
    assert maps.shape == (2, 4, 4)


def test_copies_in_the_batch_are_not_answered_with_another_grid() -> None:
    copies = Before(lambda x: torch.cat([x, x.flip(-1)]))
    with pytest.raises(ModelError, match="attends over another batch") as caught:
        attr.create(METHODS[0], xai.load(copies, LABELS, grid=(4, 4))).attribute(
            torch.randn(2, 3, 32, 32), target=1
        )
    assert "--grid" not in str(caught.value)
