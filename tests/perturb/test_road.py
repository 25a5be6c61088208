"""ROAD's imputation against the sparse system solved exactly."""

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn.functional import interpolate

from xai.core import UsageError
from xai.perturb.operator import on_pixels
from xai.perturb.road import impute
from xai.perturb.road_patches import grids_of


def exact(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Every removed pixel of (C, H, W) as the weighted mean of the neighbours it has, in float64."""
    height, width = removed.shape
    number = np.full(removed.shape, -1)
    number[removed] = np.arange(removed.sum())
    y, x = np.nonzero(removed)
    own, others, weights = [], [], []
    total, known = np.zeros(len(y)), np.zeros((len(y), len(image)))
    for dy, dx in [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]:
        weight = 1 / 12 if dy and dx else 1 / 6
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        row, ny, nx = np.nonzero(inside)[0], y[inside] + dy, x[inside] + dx
        total[row] += weight
        unknown = removed[ny, nx]
        own.append(row[unknown])
        others.append(number[ny, nx][unknown])
        weights.append(np.full(unknown.sum(), -weight))
        np.add.at(known, row[~unknown], weight * image[:, ny[~unknown], nx[~unknown]].T)
    diagonal = np.arange(len(y))
    system = scipy.sparse.csc_matrix(
        (
            np.concatenate([*weights, total]),
            (np.concatenate([*own, diagonal]), np.concatenate([*others, diagonal])),
        )
    )
    filled = image.copy()
    filled[:, removed] = spsolve(system, known).reshape(len(y), -1).T
    return filled


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, H, W) in [0, 1] with structure at every scale."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.rand(1, 3, n, n, generator=generator) for n in (3, 9, 40)]
    return sum(interpolate(x, (height, width), mode="bilinear") for x in layers) / 3


def scattered(height: int, width: int, share: float, seed: int = 1) -> Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) < share


def patches(height: int, width: int, size: int, share: float, seed: int = 1) -> Tensor:
    rows, cols = -(-height // size), -(-width // size)
    mask = scattered(rows, cols, share, seed)
    return mask.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, :height, :width]


def all_but(height: int, width: int, *kept: tuple[int, int]) -> Tensor:
    removed = torch.ones(1, height, width, dtype=torch.bool)
    for y, x in kept:
        removed[:, y, x] = False
    return removed


CASES = {
    "a few pixels": scattered(33, 47, 0.1),
    "half the pixels": scattered(64, 64, 0.5),
    "most pixels": scattered(64, 64, 0.9),
    "nearly all pixels": scattered(50, 61, 0.99),
    "half the patches": patches(64, 64, 8, 0.5),
    "most patches": patches(84, 84, 14, 0.9),
    "patches cut by the border": patches(45, 52, 7, 0.8),
    "all but one": all_but(63, 64, (13, 50)),
    "all but two": all_but(64, 40, (3, 2), (60, 31)),
    "all but a corner": all_but(48, 48, *[(y, x) for y in range(8) for x in range(8)]),
    "a checkerboard": (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).bool()[None],
    "a line": torch.zeros(1, 20, 21, dtype=torch.bool).index_fill_(1, torch.tensor([0, 7]), True),
    "one row": scattered(1, 40, 0.7),
    "two long rows": scattered(2, 500, 0.9),
    "full size, patches": patches(224, 224, 16, 0.7),
}


@pytest.mark.parametrize("removed", CASES.values(), ids=CASES)
def test_equals_the_exact_solution(removed: Tensor) -> None:
    image = picture(*removed.shape[1:])
    filled = impute(image, removed)
    np.testing.assert_allclose(
        filled[0].numpy(), exact(image[0].double().numpy(), removed[0].numpy()), atol=1e-4
    )
    kept = ~removed[:, None].expand_as(image)
    assert torch.equal(filled[kept], image[kept])


GRIDS = {  # height, width, and which patches are removed
    "14 × 14": (224, 224, scattered(14, 14, 0.7)),
    "16 × 16": (224, 224, scattered(16, 16, 0.4)),
    "most": (224, 224, scattered(14, 14, 0.95)),
    "few": (112, 112, scattered(7, 7, 0.1)),
    "all but one": (224, 224, all_but(14, 14, (3, 9))),
    "all but a corner": (160, 160, all_but(10, 10, (9, 9))),
    "one": (64, 64, ~all_but(8, 8, (4, 7))),
    "a checkerboard": (96, 96, (torch.arange(12)[:, None] + torch.arange(12)).remainder(2).bool()[None]),
    "rectangles": (60, 200, scattered(6, 10, 0.6)),
    "rectangles upright": (70, 50, scattered(5, 10, 0.8)),
    "one row": (16, 96, all_but(1, 6, (0, 2))),
    "one column": (96, 16, all_but(6, 1, (0, 0), (3, 0))),
    "small": (64, 64, scattered(16, 16, 0.6)),
    "large": (224, 224, scattered(7, 7, 0.7)),
    "many": (259, 259, scattered(37, 37, 0.6)),
    "smaller than patches may be": (63, 63, scattered(21, 21, 0.6)),
    "not of one size": (61, 50, scattered(7, 9, 0.6)),
}


@pytest.mark.parametrize(("height", "width", "removed"), GRIDS.values(), ids=GRIDS)
def test_patches_equal_the_exact_solution(height: int, width: int, removed: Tensor) -> None:
    image, pixels = picture(height, width), on_pixels(removed, (height, width))
    filled = impute(image, removed)
    expected = exact(image[0].double().numpy(), pixels[0].numpy())
    np.testing.assert_allclose(filled[0].numpy(), expected, atol=1e-4 * float(image.max() - image.min()))
    kept = ~pixels[:, None].expand_as(image)
    assert torch.equal(filled[kept], image[kept])


@pytest.mark.parametrize(("height", "width", "removed"), GRIDS.values(), ids=GRIDS)
def test_few_steps_suffice_for_patches(
    height: int, width: int, removed: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xai.perturb.road_systems._MOST_STEPS", 12)
    impute(picture(height, width), removed)


def in_part(rows: int, cols: int, side: int, share: float, seed: int = 1) -> Tensor:
    """The most relevant pixels by a map of patches laid over them, those of a patch in a random order."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(1, rows, cols, generator=generator).mul(1000).round()
    order = order.repeat_interleave(side, 1).repeat_interleave(side, 2)
    rank = (order + torch.rand(order.shape, generator=generator)).flatten().argsort().argsort()
    return rank.reshape(order.shape) < int(share * rank.numel())


PARTS = {  # masks, and how many pixels the patches have that are found in them
    "nearly a patch": (in_part(14, 14, 16, 0.1), 16),
    "half a patch": (in_part(14, 14, 16, 0.505), 16),
    "most": (in_part(14, 14, 16, 0.9), 16),
    "the first patch": (in_part(14, 14, 16, 0.002), 16),
    "all but a part": (in_part(6, 6, 16, 0.98), 16),
    "all but a pixel": (in_part(8, 8, 8, 1 - 1e-3), 16),
    "patches of 14": (in_part(16, 16, 14, 0.45), 14),
    "patches of 32": (in_part(7, 7, 32, 0.7), 16),
    "upside down": (~in_part(14, 14, 16, 0.3), 16),
    "two": (in_part(14, 14, 16, 0.6) & ~in_part(14, 14, 16, 0.23), 16),
    "rectangular picture": (in_part(5, 9, 12, 0.61), 12),
    "pixels anywhere": (in_part(96, 96, 1, 0.4), None),
}


@pytest.mark.parametrize(("removed", "side"), PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_in_part_equal_the_exact_solution(removed: Tensor, side: int | None, channels: int) -> None:
    size = (removed.shape[1], removed.shape[2])
    found = side and (size[0] // side, size[1] // side)
    assert [grid for grid, _ in grids_of(removed, size)] == [found]
    image = picture(*size)[:, :channels]
    expected = exact(image[0].double().numpy(), removed[0].numpy())
    filled = impute(image, removed)
    np.testing.assert_allclose(filled[0].numpy(), expected, atol=1e-4 * float(image.max() - image.min()))
    assert torch.equal(filled[~removed[:, None].expand_as(image)], image[~removed[:, None].expand_as(image)])
    other = torch.where(removed[:, None], torch.full_like(image, 0.9), image)
    assert torch.equal(impute(other, removed), filled)  # what was removed is not read


def test_masks_of_all_kinds_in_one_batch() -> None:
    masks = [in_part(14, 14, 16, 0.3), in_part(16, 16, 14, 0.4), scattered(224, 224, 0.5), all_but(224, 224)]
    masks += [in_part(14, 14, 16, 0.8), torch.zeros_like(masks[0])]
    images, noise = torch.cat([picture(224, 224, seed) for seed in range(6)]), torch.rand(6, 3, 224, 224)
    together = impute(images, torch.cat(masks), noise)
    for i, mask in enumerate(masks):
        alone = impute(images[i : i + 1], mask, noise[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels(channels: int) -> None:
    image = torch.cat([picture(64, 64), picture(64, 64, 1)], 1)[:, :channels]
    removed = scattered(8, 8, 0.7)
    pixels = on_pixels(removed, (64, 64))
    expected = exact(image[0].double().numpy(), pixels[0].numpy())
    for mask in (removed, pixels):
        np.testing.assert_allclose(impute(image, mask)[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("removed", CASES.values(), ids=CASES)
def test_few_steps_suffice(removed: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coarser levels speak for the pixels: without them large holes take a hundred steps."""
    by_pixels = grids_of(removed, (removed.shape[1], removed.shape[2]))[0][0] is None
    monkeypatch.setattr("xai.perturb.road_systems._MOST_STEPS", 9 if by_pixels else 17)
    impute(picture(*removed.shape[1:]), removed)


def test_nothing_removed_changes_nothing() -> None:
    image = picture(9, 12)
    assert torch.equal(impute(image, torch.zeros(1, 9, 12, dtype=torch.bool)), image)


def test_what_was_removed_is_not_read() -> None:
    """The removed values must not leak into what replaces them."""
    image, pixels = picture(40, 40), patches(40, 40, 8, 0.6)
    changed = torch.where(pixels[:, None], torch.full_like(image, 0.9), image)
    for removed in (pixels, pixels[:, ::8, ::8]):
        assert torch.equal(impute(changed, removed), impute(image, removed))


@pytest.mark.parametrize("cached", [1, 3 * 64 * 64 * 2, 2**30], ids=["one by one", "two and one", "at once"])
@pytest.mark.parametrize("unit", ["pixels", "patches"])
def test_an_image_gets_the_same_in_any_batch(unit: str, cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard and easy systems together: each stops where it would alone."""
    monkeypatch.setattr("xai.perturb.road._CACHED", cached)
    monkeypatch.setattr("xai.perturb.road._CACHED_PATCHES", cached)
    removed = torch.cat([CASES["half the pixels"], CASES["half the patches"], scattered(64, 64, 0.02)])
    if unit == "patches":
        removed = torch.cat([scattered(8, 8, 0.5), scattered(8, 8, 0.95), scattered(8, 8, 0.02)])
    images = torch.cat([picture(64, 64, seed) for seed in range(3)])
    together = impute(images, removed)
    for i in range(3):
        torch.testing.assert_close(
            together[i : i + 1], impute(images[i : i + 1], removed[i : i + 1]), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("units", [16, 4, 1], ids=["pixels", "patches", "one patch"])
def test_everything_removed_is_the_channel_mean(units: int) -> None:
    image, removed = picture(16, 16), all_but(units, units)
    expected = image.mean((2, 3), keepdim=True).expand_as(image)
    torch.testing.assert_close(impute(image, removed), expected)
    beside = impute(torch.cat([image, image]), torch.cat([removed, ~removed]))
    torch.testing.assert_close(beside[:1], expected)
    assert torch.equal(beside[1:], image)


def test_normalised_pixels_give_the_normalised_solution() -> None:
    image, removed = picture(48, 48), patches(48, 48, 8, 0.7)
    mean, std = (torch.tensor(v)[None, :, None, None] for v in ([0.5, 0.4, 0.4], [0.27, 0.26, 0.28]))
    filled = impute((image - mean) / std, removed) * std + mean
    torch.testing.assert_close(filled, impute(image, removed), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "removed", [patches(32, 32, 8, 0.5), scattered(4, 4, 0.5)], ids=["pixels", "patches"]
)
def test_noise_is_added_where_pixels_were_removed(removed: Tensor) -> None:
    image = picture(32, 32)
    noise = 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    difference = impute(image, removed, noise) - impute(image, removed)
    torch.testing.assert_close(difference, noise * on_pixels(removed, (32, 32))[:, None], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "removed", [patches(32, 32, 8, 0.5), scattered(4, 4, 0.5)], ids=["pixels", "patches"]
)
def test_dtypes(removed: Tensor) -> None:
    image = picture(32, 32)
    assert impute(image.double(), removed).dtype == torch.float64
    half = impute(image.bfloat16(), removed)
    assert half.dtype == torch.bfloat16
    assert impute(image[:0], removed[:0]).shape == (0, 3, 32, 32)
    torch.testing.assert_close(half.float(), impute(image, removed), atol=0.01, rtol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        inside = impute(image, removed)
    assert torch.equal(inside, impute(image, removed))
    assert torch.equal(impute(image.clone().requires_grad_(), removed), inside)


@pytest.mark.parametrize(
    ("pixels", "removed", "noise"),
    [
        (torch.rand(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool), None),
        (torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8), None),
        (torch.rand(2, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool), None),
        (torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 9, dtype=torch.bool), None),
        (torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool), torch.zeros(8, 8)),
    ],
    ids=["three dimensions", "float mask", "another batch", "finer than pixels", "small noise"],
)
def test_bad_inputs_are_told(pixels: Tensor, removed: Tensor, noise: Tensor | None) -> None:
    with pytest.raises(UsageError):
        impute(pixels, removed, noise)
