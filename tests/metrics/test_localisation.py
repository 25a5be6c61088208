"""Localisation against closed forms, plain loops over pixels, and torchmetrics."""

from itertools import permutations
from math import isnan

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision, binary_jaccard_index

from xai.core import UsageError
from xai.metrics import METRICS
from xai.metrics.localisation import (
    average_precision,
    iou,
    mass_accuracy,
    pointing_game,
    pointing_game_clicks,
    rank_accuracy,
)

ALL = [pointing_game, mass_accuracy, rank_accuracy, iou, average_precision]


def box(height: int, width: int, top: int, left: int, bottom: int, right: int) -> Tensor:
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    return mask


def peak(rows: int, cols: int, *where: tuple[int, int]) -> Tensor:
    relevance = torch.zeros(1, rows, cols)
    for row, col in where:
        relevance[:, row, col] = 1
    return relevance


def random_pair(seed: int, rows: int = 5, cols: int = 4, patch: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    relevance = torch.randn(3, rows, cols, generator=generator)
    mask = (
        torch.rand(3, rows * patch, cols * patch, generator=generator)
        < torch.tensor([0.1, 0.4, 0.9])[:, None, None]
    )
    return relevance, mask


def upsampled(relevance: Tensor, mask: Tensor) -> Tensor:
    (rows, cols), (height, width) = relevance.shape[1:], mask.shape[1:]
    return relevance[:, torch.arange(height) * rows // height][:, :, torch.arange(width) * cols // width]


def test_pointing_game_hits_misses_and_shares_ties() -> None:
    mask = box(32, 32, 8, 8, 16, 24)  # patches (1, 1) and (1, 2) of 8 pixels
    assert pointing_game(peak(4, 4, (1, 2)), mask).tolist() == [1.0]
    assert pointing_game(peak(4, 4, (2, 2)), mask).tolist() == [0.0]
    assert pointing_game(peak(4, 4, (1, 1), (0, 0), (3, 3), (2, 1)), mask).tolist() == [0.25]
    assert pointing_game(torch.zeros(1, 4, 4), mask).tolist() == [2 / 16]


def test_pointing_game_reads_the_centre_of_the_patch() -> None:
    """A mask that covers most of the patch, but not its centre pixel (12, 12), is missed."""
    mask = box(32, 32, 8, 8, 16, 16)
    mask[:, 12, 12] = False
    assert pointing_game(peak(4, 4, (1, 1)), mask).item() == 0.0
    assert pointing_game(peak(4, 4, (1, 1)), mask, tolerance=1).item() == 1.0


def test_pointing_game_tolerance_is_a_distance_in_pixels() -> None:
    mask = box(40, 40, 10, 10, 11, 11)  # one pixel; the centres of 8-pixel patches are at 4, 12, 20 …
    for row, col in [(1, 1), (0, 1), (2, 1), (2, 2)]:
        distance = ((8 * row + 4 - 10) ** 2 + (8 * col + 4 - 10) ** 2) ** 0.5
        for tolerance in range(1, 16):
            hit = pointing_game(peak(5, 5, (row, col)), mask, tolerance=tolerance).item()
            assert hit == float(distance <= tolerance), (row, col, tolerance)


@pytest.mark.parametrize("seed", range(5))
def test_mass_and_rank_accuracy_equal_those_of_the_upsampled_map(seed: int) -> None:
    """The published definitions, pixel by pixel; distinct values, so no patch but the last is cut."""
    relevance, mask = random_pair(seed)
    pixels = upsampled(relevance, mask).double()
    for i in range(3):
        positive = pixels[i].clamp_min(0)
        torch.testing.assert_close(
            mass_accuracy(relevance, mask)[i], positive[mask[i]].sum() / positive.sum()
        )
    aligned = upsampled(torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(seed)) < 0.4, mask)
    aligned[:, 0, 0] = aligned[:, :6, :6] = True  # whole patches
    for i in range(3):
        top = pixels[i].flatten().argsort(descending=True, stable=True)[: aligned[i].sum()]
        expected = aligned[i].flatten()[top].double().mean()
        torch.testing.assert_close(rank_accuracy(relevance, aligned)[i], expected)


def test_rank_accuracy_cuts_the_last_patch_in_proportion() -> None:
    """A mask of 1½ patches; the map's first patch is the covered one, its second the half covered one."""
    mask = box(8, 16, 0, 0, 8, 12)  # of 2 patches 8 × 8: the left and half of the right
    left_first = torch.tensor([[[2.0, 1.0]]])
    # the 96 best pixels: 64 on the left, all inside, 32 of the 64 on the right, of which half are inside
    assert rank_accuracy(left_first, mask).item() == pytest.approx((64 + 16) / 96)
    right_first = torch.tensor([[[1.0, 2.0]]])
    assert rank_accuracy(right_first, mask).item() == pytest.approx((32 + 32) / 96)
    tied = torch.tensor([[[1.0, 1.0]]])
    assert rank_accuracy(tied, mask).item() == pytest.approx(96 / 128)


def test_ties_are_the_average_over_all_orders() -> None:
    relevance = torch.tensor([[[3.0, 1.0, 1.0, 1.0, 0.0]]])
    mask = torch.tensor([[[True, False, True, False, True]]])
    orders = [relevance + torch.tensor([[[0, *order, 0]]]) * 0.1 for order in permutations(range(3))]
    expected = torch.stack([rank_accuracy(order, mask) for order in orders]).mean(0)
    torch.testing.assert_close(rank_accuracy(relevance, mask), expected)


@pytest.mark.parametrize("seed", range(5))
def test_iou_equals_torchmetrics_at_the_area_of_the_mask(seed: int) -> None:
    relevance, _ = random_pair(seed)
    patches = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(seed)) < 0.4
    patches[:, 0, 0] = True
    mask = upsampled(patches, torch.zeros(3, 30, 24))
    for i in range(3):
        threshold = relevance[i].flatten().sort(descending=True).values[patches[i].sum() - 1]
        expected = binary_jaccard_index((relevance[i] >= threshold).int(), patches[i].int())
        assert iou(relevance, mask)[i].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_average_precision_equals_torchmetrics(levels: int) -> None:
    """Also where values tie, which they do with few levels."""
    generator = torch.Generator().manual_seed(levels)
    relevance = torch.randint(levels, (20, 6, 6), generator=generator) / levels
    patches = torch.rand(20, 6, 6, generator=generator) < 0.3
    patches[:, 0, 0] = True
    mask = upsampled(patches, torch.zeros(20, 24, 24))
    got = average_precision(relevance, mask)
    for i in range(20):
        expected = binary_average_precision(relevance[i].flatten(), patches[i].flatten().int())
        assert got[i].item() == pytest.approx(expected.item(), abs=1e-6)


def test_average_precision_asks_for_half_a_patch() -> None:
    relevance = torch.tensor([[[4.0, 3.0, 2.0, 1.0]]])
    mask = box(8, 32, 0, 8, 8, 12) | box(8, 32, 0, 16, 8, 19)  # half of patch 1, three eighths of patch 2
    assert average_precision(relevance, mask).item() == pytest.approx(1 / 2)
    smaller = box(8, 32, 0, 8, 8, 9) | box(8, 32, 0, 16, 8, 19)  # an eighth, three eighths: the most covered
    assert average_precision(relevance, smaller).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", ALL)
def test_the_mask_itself_is_the_best_map(metric) -> None:
    mask = box(32, 32, 8, 8, 24, 32)
    truth = torch.nn.functional.avg_pool2d(mask.float(), 8)
    assert metric(truth, mask).tolist() == [1.0]
    assert metric(-truth, mask).item() < 0.4
    assert metric(1 - truth, mask).item() < 0.4


@pytest.mark.parametrize("metric", ALL)
def test_a_constant_map_is_chance(metric) -> None:
    """Also a map that is nowhere positive: it points nowhere."""
    mask = box(32, 32, 0, 0, 16, 8)  # an eighth of the image
    chance = (1 / 8) / (2 - 1 / 8) if metric is iou else 1 / 8
    for value in (1.0, 0.0, -1.0):
        assert metric(torch.full((1, 4, 4), value), mask).item() == pytest.approx(chance)


@pytest.mark.parametrize("metric", ALL)
def test_empty_masks_are_nan_and_leave_the_others_alone(metric) -> None:
    relevance, mask = random_pair(0)
    mask[1] = False
    values = metric(relevance, mask)
    assert [isnan(v) for v in values.tolist()] == [False, True, False]
    torch.testing.assert_close(values[::2], metric(relevance[::2], mask[::2]))


@pytest.mark.parametrize("metric", ALL)
def test_scale_does_not_matter_and_the_range_holds(metric) -> None:
    relevance, mask = random_pair(3)
    values = metric(relevance, mask)
    torch.testing.assert_close(metric(relevance * 1e6, mask), values)
    low, high = METRICS[metric.__name__].range
    assert ((values >= low) & (values <= high)).all()
    assert METRICS[metric.__name__].function is metric


@pytest.mark.parametrize("metric", ALL)
def test_sizes_that_patches_do_not_divide(metric) -> None:
    """37 × 30 pixels on 4 × 4 patches: the same pixels belong to a patch as when maps are laid over them."""
    mask = upsampled(peak(4, 4, (1, 1), (2, 3)).bool(), torch.zeros(1, 37, 30))
    assert metric(peak(4, 4, (1, 1), (2, 3)), mask).item() == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("relevance", "mask"),
    [
        (torch.rand(4, 4), box(8, 8, 0, 0, 4, 4)),
        (torch.rand(1, 4, 4), box(8, 8, 0, 0, 4, 4).float()),
        (torch.rand(2, 4, 4), box(8, 8, 0, 0, 4, 4)),
        (torch.rand(1, 9, 4), box(8, 8, 0, 0, 4, 4)),
        (torch.full((1, 4, 4), torch.nan), box(8, 8, 0, 0, 4, 4)),
    ],
    ids=["no batch", "float mask", "another batch", "mask too small", "nan"],
)
def test_bad_inputs_are_told(metric, relevance: Tensor, mask: Tensor) -> None:
    with pytest.raises(UsageError):
        metric(relevance, mask)


def test_negative_tolerance_is_told() -> None:
    with pytest.raises(UsageError, match="tolerance"):
        pointing_game(torch.rand(1, 2, 2), box(8, 8, 0, 0, 4, 4), tolerance=-1)


def clicked(side: int, *where: tuple[int, int]) -> Tensor:
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    for y, x in where:
        mask[:, y, x] = True
    return mask


def test_a_click_is_hit_within_fifteen_pixels_of_224() -> None:
    """Patches of 16: the centre of patch (3, 5) is pixel (56, 88)."""
    top = peak(14, 14, (3, 5))
    assert pointing_game_clicks(top, clicked(224, (56, 88 + 15))).item() == 1.0
    assert pointing_game_clicks(top, clicked(224, (56, 88 + 16))).item() == 0.0
    assert pointing_game_clicks(top, clicked(224, (56 - 9, 88 - 12))).item() == 1.0, "9, 12, 15"
    assert pointing_game_clicks(top, clicked(224, (56 - 11, 88 - 11))).item() == 0.0, "15.6 away"
    assert pointing_game_clicks(top, clicked(224, (200, 10), (60, 90))).item() == 1.0, "any click counts"
    assert pointing_game_clicks(peak(14, 14, (3, 5), (10, 1)), clicked(224, (56, 88))).item() == 0.5


def test_the_tolerance_grows_with_the_model_s_input() -> None:
    top = peak(14, 14, (3, 5))  # its centre is pixel (112, 176) of 448
    assert pointing_game_clicks(top, clicked(448, (112, 176 + 30))).item() == 1.0
    assert pointing_game_clicks(top, clicked(448, (112, 176 + 31))).item() == 0.0
    assert pointing_game_clicks(top, clicked(448, (112, 176 + 10)), tolerance=0.02).item() == 0.0
    with pytest.raises(UsageError, match="share"):
        pointing_game_clicks(top, clicked(448, (0, 0)), tolerance=15)


def test_without_a_click_there_is_nothing_to_find() -> None:
    assert isnan(pointing_game_clicks(peak(14, 14, (3, 5)), clicked(224)).item())
