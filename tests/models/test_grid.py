"""A grid is said alike on the command line, in YAML and in Python; absurd ones are refused in numbers."""

import pytest
import torch
from plain_vit import TinyViT, images
from torch import nn

import xai
from xai import attr
from xai.attention import default_grid, grid_of
from xai.core import ConfigError, ModelError, PatchGrid, UsageError
from xai.core.explanation import parse_grid
from xai.models.detector import DetectorConfig, read_config

LABELS = ["real", "fake"]


@pytest.mark.parametrize(
    ("text", "grid"),
    [("14x14", (14, 14)), ("7x12+5", PatchGrid(7, 12, 5)), (" 3 × 4 + 0 ", PatchGrid(3, 4, 0))],
)
def test_a_grid_in_words(text, grid) -> None:
    assert parse_grid(text) == grid


@pytest.mark.parametrize(
    "text", ["14", "14x", "0x3", "x", "14x14+", "-1x3", "14x14+1+1", "1e3x2", "999999x1"]
)
def test_what_is_no_grid_is_told(text) -> None:
    with pytest.raises(UsageError, match="14x14"):
        parse_grid(text)


class Convolutions(nn.Module):
    """Says neither patch size nor input size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 2, 3))

    def forward(self, pixels):
        return self.body(pixels).mean((2, 3))


def test_a_given_grid_is_enough_where_no_attention_is_needed() -> None:
    classifier = xai.load(Convolutions().eval(), LABELS, grid="4x2")
    for name in ("integrated_gradients", "occlusion", "rise", "saliency"):
        assert attr.create(name, classifier).attribute_patches(images(), target=1).shape == (2, 4, 2)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((224, 224), (14, 14)), ((384, 384), (14, 14)), ((32, 32), (8, 8)), ((224, 448), (14, 28)),
        ((600, 400), (21, 14)), ((3, 5), (1, 1)),
    ],
)  # fmt: skip
def test_the_default_grid(size, grid) -> None:
    assert default_grid(*size) == PatchGrid(*grid)


def test_a_model_without_patches_has_the_default_grid() -> None:
    classifier = xai.load(Convolutions().eval(), LABELS)
    for name in ("integrated_gradients", "occlusion", "rise", "saliency"):
        assert attr.create(name, classifier).attribute_patches(images(), target=1).shape == (2, 8, 8)


def test_what_a_module_says_of_its_patches_is_tried() -> None:
    stem = TinyViT()
    stem.patch_size = 1
    assert grid_of(stem, images()) == PatchGrid(4, 4, 1)  # its attention is over 17 tokens
    convolutions = Convolutions()
    convolutions.patch_size = 2
    assert grid_of(convolutions, images()) == PatchGrid(8, 8)


def test_looking_for_the_grid_leaves_a_model_in_training_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten()).train()
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert grid_of(model, images()) == PatchGrid(8, 8)
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("grid", ["32x32", "17x16", "1x40"])
def test_absurd_grids_are_refused_with_numbers(grid) -> None:
    rows, cols = parse_grid(grid)
    for model in (TinyViT(), Convolutions().eval()):
        method = attr.create("occlusion", xai.load(model, LABELS, grid=grid))
        with pytest.raises(ModelError, match=f"{rows}×{cols} = {rows * cols} cells .* 32×32"):
            method.attribute_patches(images(), target=1)


def test_a_detector_file_says_its_grid(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("factory: plain_vit:TinyViT\ngrid: 4x4+1\n")
    assert read_config(path)[0] == DetectorConfig(factory="plain_vit:TinyViT", grid="4x4+1")
    path.write_text("factory: plain_vit:TinyViT\ngrid: 4by4\n")
    with pytest.raises(ConfigError, match="mine.yaml:2: grid"):
        read_config(path)
