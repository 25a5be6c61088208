"""A grid is said alike on the command line, in YAML and in Python; absurd ones are refused in numbers."""

import pytest
import torch
from plain_vit import TinyViT, images
from torch import nn

import xai
from xai import attr
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


@pytest.mark.parametrize("call", ["attribute", "attribute_patches"])
def test_the_grid_is_asked_for_before_the_long_part(call) -> None:
    passes = []

    class Counting(Convolutions):
        def forward(self, pixels):
            passes.append(len(pixels))
            return super().forward(pixels)

    method = attr.IntegratedGradients(xai.load(Counting().eval(), LABELS))
    with pytest.raises(ModelError, match=r"--grid 14x14\+1(.|\n)*YAML(.|\n)*xai\.load"):
        getattr(method, call)(images(), target=1)
    assert passes == []


@pytest.mark.parametrize("grid", ["32x32", "17x16", "1x40"])
def test_absurd_grids_are_refused_with_numbers(grid) -> None:
    rows, cols = parse_grid(grid)
    for model in (TinyViT(), Convolutions().eval()):
        method = attr.create("occlusion", xai.load(model, LABELS, grid=grid))
        with pytest.raises(ModelError, match=f"{rows}×{cols} = {rows * cols} cells .* 32×32"):
            method.attribute_patches(images(), target=1)
    stem = TinyViT()
    stem.patch_size = 1
    with pytest.raises(ModelError, match="32×32 = 1024 cells"):
        attr.create("occlusion", xai.load(stem, LABELS)).attribute_patches(images(), target=1)


def test_a_detector_file_says_its_grid(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("factory: plain_vit:TinyViT\ngrid: 4x4+1\n")
    assert read_config(path)[0] == DetectorConfig(factory="plain_vit:TinyViT", grid="4x4+1")
    path.write_text("factory: plain_vit:TinyViT\ngrid: 4by4\n")
    with pytest.raises(ConfigError, match="mine.yaml:2: grid"):
        read_config(path)
