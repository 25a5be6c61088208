"""RISE against its masks made with torch's own enlargement, one forward pass a mask, and limit identities."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attr import RISE
from xai.attr.rise import RandomMasks
from xai.core import Margin, PatchGrid, UsageError

CPU = torch.device("cpu")


def masks_by_interpolation(masks: RandomMasks, height: int, width: int) -> Tensor:
    """(N, H, W): enlarge the grids as the paper says and cut at the shifts."""
    s = masks.cells
    rows, cols = math.ceil(height / s), math.ceil(width / s)
    large = F.interpolate(masks.grids[:, None], ((s + 1) * rows, (s + 1) * cols), mode="bilinear")[:, 0]
    shifts = zip(masks.shifts[0].tolist(), masks.shifts[1].tolist(), strict=True)
    return torch.stack([m[y : y + height, x : x + width] for m, (y, x) in zip(large, shifts, strict=True)])


@pytest.mark.parametrize(("height", "width", "cells"), [(32, 32, 7), (40, 24, 8), (224, 224, 7), (24, 32, 2)])
def test_masks_are_enlarged_grids_cut_at_random_shifts(height: int, width: int, cells: int) -> None:
    masks = RandomMasks(20, cells, 0.5, height, width, seed=0, device=CPU)
    got = masks(torch.arange(20))
    assert got.shape == (20, height, width)
    torch.testing.assert_close(got, masks_by_interpolation(masks, height, width), rtol=0, atol=1e-5)
    assert torch.equal(masks(torch.tensor([3, 11])), got[[3, 11]])
    means = masks.patch_means(torch.arange(20), PatchGrid(height // 8, width // 8))
    torch.testing.assert_close(means, F.avg_pool2d(got, 8), rtol=1e-4, atol=1e-5)
    for shift, size in zip(masks.shifts, (height, width), strict=True):
        assert shift.min() >= 0
        assert shift.max() < math.ceil(size / cells)


def test_a_pixel_is_visible_with_probability_p() -> None:
    masks = RandomMasks(2000, 4, 0.3, 16, 16, seed=1, device=CPU)(torch.arange(2000))
    assert (masks.mean(0) - 0.3).abs().max() < 0.05  # 5 standard errors of a Bernoulli mean


@pytest.mark.parametrize("value", ["probability", "logit"])
def test_equals_one_pass_a_mask(value: str) -> None:
    model, x, count, p = build("clip"), pixels(2), 12, 0.4
    masks = masks_by_interpolation(RandomMasks(count, 5, p, 32, 32, seed=3, device=CPU), 32, 32)
    expected = torch.zeros(2, 32, 32)
    for b in range(2):
        for mask in masks:
            with torch.no_grad():
                logits = model((x[b] * mask)[None])[0]
            weight = logits.exp()[1] / logits.exp().sum() if value == "probability" else logits[1]
            expected[b] += weight * mask / (count * p)
    got = RISE(model, count, cells=5, p=p, value=value, seed=3).attribute_patches(x, 1)
    torch.testing.assert_close(got, F.avg_pool2d(expected, 8), rtol=1e-4, atol=1e-5)


def test_nothing_hidden_gives_the_score_everywhere() -> None:
    model, x = build("vit"), pixels()
    got = RISE(model, n_masks=3, p=1.0).attribute_patches(x, 2)
    probability = model(x).softmax(1)[:, 2].detach()
    torch.testing.assert_close(got, probability[:, None, None].expand(2, 4, 4), rtol=1e-4, atol=1e-5)


def test_a_margin_is_the_difference_of_two_maps() -> None:
    model, x = build("clip"), pixels()
    for value in ("logit", "probability"):
        one, zero, margin = RISE(model, 9, value=value).attribute_targets(x, [1, 0, Margin(1, 0)])
        torch.testing.assert_close(margin, one - zero, rtol=1e-4, atol=1e-5)


class OnePatch(nn.Module):
    """Looks at one patch only."""

    patch_size = 8

    def __init__(self, row: int, col: int, single: bool = False) -> None:
        super().__init__()
        self.row, self.col, self.single = 8 * row, 8 * col, single
        self.largest_batch = 0

    def forward(self, x: Tensor) -> Tensor:
        self.largest_batch = max(self.largest_batch, len(x))
        y = 4 * x[:, :, self.row : self.row + 8, self.col : self.col + 8].mean((1, 2, 3))[:, None]
        return y if self.single else torch.cat([-y, y], 1)


@pytest.mark.parametrize(("row", "col"), [(0, 0), (1, 2), (3, 1)])
@pytest.mark.parametrize("single", [False, True])
def test_the_only_patch_that_matters_is_found(row: int, col: int, single: bool) -> None:
    got = RISE(OnePatch(row, col, single), n_masks=2000).attribute_patches(
        torch.ones(1, 3, 32, 32), None if single else 1
    )
    assert divmod(int(got[0].argmax()), 4) == (row, col)


def test_the_batch_does_not_matter_and_bounds_memory() -> None:
    model, x = build("clip"), pixels(3)
    expected = RISE(model, 10).attribute_patches(x, [0, 1, 2])
    for size in (1, 7):
        got = RISE(model, 10, internal_batch_size=size).attribute_patches(x, [0, 1, 2])
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    counted = OnePatch(0, 0)
    RISE(counted, 10, internal_batch_size=7).attribute_targets(x, [0, 1])
    assert counted.largest_batch == 7


def test_masks_come_from_the_seed_and_from_nothing_else() -> None:
    model, x = build("clip"), pixels()
    state = torch.get_rng_state()
    first = RISE(model, 6).attribute_patches(x, 1)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, RISE(model, 6, seed=1).attribute_patches(x, 1))


@pytest.mark.parametrize(
    "options",
    [{"n_masks": 0}, {"cells": 1}, {"p": 0.0}, {"p": 1.5}, {"internal_batch_size": 0}, {"value": "prob"}],
)
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        RISE(build("clip"), **options)
