"""Attention of a model that turns the image inside is refused; of one that does not, it is explained."""

import pytest
import torch
import transformers as hf
from plain_vit import TinyViT
from torch import nn

import xai
from xai import attr
from xai.core import ModelError, PatchGrid

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


PARTS = {
    "cropped": (lambda x: x[:, :, 4:-4, 4:-4], 40),
    "cropped a little": (lambda x: x[:, :, 2:-2, 2:-2], 36),
    "padded": (lambda x: nn.functional.pad(x, (4, 4, 4, 4)), 24),
    "cropped along": (lambda x: nn.functional.interpolate(x[..., 4:-4], (32, 32)), 32),
}


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize(("step", "size"), PARTS.values(), ids=PARTS)
def test_an_image_that_is_cropped_or_padded_inside_is_refused(step, size, method) -> None:
    """The grid would lie over all of it, and show patches up to half a patch away and more."""
    torch.manual_seed(0)
    classifier = xai.load(Before(step), LABELS, grid=(4, 4))
    with pytest.raises(ModelError, match=r"4×4 patches of Classifier do not cover the whole[\s\S]*--method"):
        attr.create(method, classifier).attribute_patches(torch.randn(2, 3, size, size), target=1)


def test_where_layers_are_mapped_a_crop_inside_is_found() -> None:
    torch.manual_seed(0)
    module, x = Before(lambda x: x[:, :, 4:-4, 4:-4]), torch.randn(2, 3, 40, 40)
    of_crop, of_whole = (
        attr.create(METHODS[0], xai.load(model, LABELS, grid=(4, 4))) for model in (module.tower, module)
    )
    pixels = torch.zeros(2, 40, 40)
    inner = of_crop.attribute_patches(x[:, :, 4:-4, 4:-4], target=1)
    pixels[:, 4:-4, 4:-4] = inner.repeat_interleave(8, 1).repeat_interleave(8, 2) / 64
    expected = pixels.unflatten(2, (4, 10)).unflatten(1, (4, 10)).sum((2, 4))
    torch.testing.assert_close(of_whole.attribute_patches(x, target=1), expected, rtol=1e-4, atol=1e-6)


class Hybrid(nn.Module):
    """A ResNet of random weights, one token for each place of its last features."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {
            "embedding_size": 16,
            "hidden_sizes": [16, 32, 64],
            "depths": [3, 4, 9],
            "layer_type": "bottleneck",
        }
        self.stem = hf.ResNetModel(hf.ResNetConfig(**sizes))
        self.project = nn.Conv2d(64, 32, 1)
        self.position = nn.Parameter(torch.randn(1, 16, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)
        self(torch.randn(8, 3, 64, 64))  # statistics of batch normalisation
        self.eval()

    def forward(self, pixels):
        tokens = self.project(self.stem(pixels).last_hidden_state).flatten(2).mT + self.position
        return self.head(self.encoder(tokens).mean(1))


@pytest.mark.parametrize("seed", [0, 4, 13])
def test_a_deep_stem_is_not_taken_for_another_grid(seed) -> None:
    """A pixel feeds many tokens there, some with the other sign, so that numbers read off it are noisy."""
    torch.manual_seed(seed)
    classifier = xai.load(Hybrid(), LABELS, grid=PatchGrid(4, 4))
    maps = attr.create(METHODS[1], classifier).attribute_patches(torch.randn(1, 3, 64, 64), target=1)
    assert maps.shape == (1, 4, 4)


@pytest.mark.parametrize("seed", range(6))
def test_convolutions_that_overlap_are_no_crop(seed) -> None:
    """Pixels of a random stem feed several tokens, some against each other."""
    torch.manual_seed(seed)
    classifier = xai.load(Overlapping(), LABELS, grid=(4, 4))
    maps = attr.create(METHODS[1], classifier).attribute_patches(torch.randn(1, 3, 32, 32), target=1)
    assert maps.shape == (1, 4, 4)


@pytest.mark.parametrize("method", METHODS)
def test_a_small_rest_that_no_patch_sees_is_no_crop(method) -> None:
    """As 14 × 14 pixels make 27 patches of 384: one pixel of 33 here."""
    classifier = xai.load(Before(lambda x: x[:, :, :32, :32]), LABELS, grid=(4, 4))
    maps = attr.create(method, classifier).attribute_patches(torch.randn(2, 3, 33, 33), target=1)
    assert maps.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("method", "both"), [(METHODS[0], True), (METHODS[1], False), (METHODS[2], True), (METHODS[2], False)]
)
def test_an_image_that_is_scaled_inside_is_explained(method, both) -> None:
    classifier = xai.load(Before(lambda x: x * 2 - 0.5, both=both), LABELS, grid=(4, 4))
    maps = attr.create(method, classifier).attribute_patches(torch.randn(2, 3, 32, 32), target=1)
    assert maps.shape == (2, 4, 4)


class TwoTowers(nn.Module):
    """Two towers that see the same image, their logits added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = TinyViT(), TinyViT()
        self.eval()

    def forward(self, pixels):
        return self.first(pixels) + self.second(pixels)


CHAINS = [
    "attention_rollout",
    "bt_head",
    "bt_token",
    "chefer",
    "transition_attention_maps",
    "translrp",
]


@pytest.mark.parametrize("method", CHAINS)
@pytest.mark.parametrize("model", [TwoTowers, lambda: Before(lambda x: x * 2 - 0.5, both=True)])
def test_layers_of_towers_side_by_side_are_not_multiplied(model, method) -> None:
    classifier = xai.load(model(), LABELS, grid=PatchGrid(4, 4, 1))
    with pytest.raises(ModelError, match=r"layers are of 2 towers.*side by side[\s\S]*mask_gradient"):
        attr.create(method, classifier).attribute_patches(torch.randn(2, 3, 32, 32), target=1)


def test_maps_of_towers_side_by_side_are_added() -> None:
    torch.manual_seed(0)
    model, x = TwoTowers(), torch.randn(2, 3, 32, 32)
    both, first, second = (
        attr.create(METHODS[0], xai.load(one, LABELS, grid=PatchGrid(4, 4, 1)), layer_fusion="sum")
        for one in (model, model.first, model.second)
    )
    expected = first.attribute_patches(x, 1) + second.attribute_patches(x, 1)
    torch.testing.assert_close(both.attribute_patches(x, 1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("times", [1, 30, 300])
def test_pixels_that_feed_all_tokens_do_not_say_how_rows_run(times) -> None:
    """The mean of the image on every pixel: the right grid is not taken for a wrong one."""
    torch.manual_seed(0)
    module = Before(lambda x: x + times * x.mean((-2, -1), keepdim=True))
    classifier = xai.load(module, LABELS, grid=(4, 4))
    maps = attr.create("attention_rollout", classifier).attribute_patches(torch.randn(1, 3, 32, 32), target=1)
    assert maps.shape == (1, 4, 4)


class Copies(Before):
    """Answers with the mean over an image and its mirror image, which go through the tower side by side."""

    def forward(self, pixels):
        return super().forward(pixels).unflatten(0, (2, -1)).mean(0)


def test_copies_in_the_batch_are_not_answered_with_another_grid() -> None:
    copies = Copies(lambda x: torch.cat([x, x.flip(-1)]))
    with pytest.raises(ModelError, match="attends over another batch") as caught:
        attr.create(METHODS[0], xai.load(copies, LABELS, grid=(4, 4))).attribute(
            torch.randn(2, 3, 32, 32), target=1
        )
    assert "--grid" not in str(caught.value)


class Overlapping(nn.Module):
    """A tower whose patches come from convolutions that see their neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = TinyViT()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, padding=3), nn.GELU(), nn.Conv2d(8, 3, 7, padding=3))
        self.eval()

    def forward(self, pixels):
        return self.tower(self.stem(pixels))


@pytest.mark.parametrize("model", [TinyViT, Overlapping])
@pytest.mark.parametrize("grid", [(2, 8), (8, 2), (1, 16), (16, 1)])
def test_a_grid_of_as_many_patches_in_rows_of_another_length(model, grid) -> None:
    """No method takes a token for a patch where it is none; where layers are mapped, the map is right."""
    torch.manual_seed(0)
    module, x = model().eval(), torch.randn(1, 3, 32, 32)
    right, wrong = (xai.load(module, LABELS, grid=one) for one in ((4, 4), grid))
    with pytest.raises(ModelError, match=f"lie on a grid of 4×4, not of {grid[0]}×{grid[1]}"):
        attr.create("attention_rollout", wrong).attribute_patches(x, target=1)
    assert attr.create("attention_rollout", right).attribute_patches(x, target=1).shape == (1, 4, 4)
    if model is TinyViT:
        of_right, of_wrong = (
            attr.create("gradient_weighted_attention", one).attribute_patches(x, target=1)[0]
            for one in (right, wrong)
        )
        spread = of_right.repeat_interleave(4, 0).repeat_interleave(4, 1) / 16
        expected = spread.view(grid[0], 16 // grid[0], grid[1], 16 // grid[1]).sum((1, 3))
        torch.testing.assert_close(of_wrong, expected, rtol=1e-4, atol=1e-7)
