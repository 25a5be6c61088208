"""ROAD's imputation against the sparse system solved exactly."""

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn.functional import interpolate

from xai.core import UsageError
from xai.perturb.road import impute


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


@pytest.mark.parametrize("removed", CASES.values(), ids=CASES)
def test_few_steps_suffice(removed: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coarser levels speak for the pixels: without them large holes take a hundred steps."""
    monkeypatch.setattr("xai.perturb.road._MOST_STEPS", 9)
    impute(picture(*removed.shape[1:]), removed)


def test_nothing_removed_changes_nothing() -> None:
    image = picture(9, 12)
    assert torch.equal(impute(image, torch.zeros(1, 9, 12, dtype=torch.bool)), image)


def test_what_was_removed_is_not_read() -> None:
    """The removed values must not leak into what replaces them."""
    image, removed = picture(40, 40), patches(40, 40, 8, 0.6)
    changed = torch.where(removed[:, None], torch.full_like(image, 0.9), image)
    assert torch.equal(impute(changed, removed), impute(image, removed))


@pytest.mark.parametrize("cached", [1, 3 * 64 * 64 * 2, 2**30], ids=["one by one", "two and one", "at once"])
def test_an_image_gets_the_same_in_any_batch(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard and easy systems together: each stops where it would alone."""
    monkeypatch.setattr("xai.perturb.road._CACHED", cached)
    removed = torch.cat([CASES["half the pixels"], CASES["half the patches"], scattered(64, 64, 0.02)])
    images = torch.cat([picture(64, 64, seed) for seed in range(3)])
    together = impute(images, removed)
    for i in range(3):
        torch.testing.assert_close(
            together[i : i + 1], impute(images[i : i + 1], removed[i : i + 1]), atol=1e-6, rtol=0
        )


def test_everything_removed_is_the_channel_mean() -> None:
    image, removed = picture(16, 16), all_but(16, 16)
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


def test_noise_is_added_where_pixels_were_removed() -> None:
    image, removed = picture(32, 32), patches(32, 32, 8, 0.5)
    noise = 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    difference = impute(image, removed, noise) - impute(image, removed)
    torch.testing.assert_close(difference, noise * removed[:, None], atol=1e-6, rtol=0)


def test_dtypes() -> None:
    image, removed = picture(32, 32), patches(32, 32, 8, 0.5)
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
        (torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool), torch.zeros(8, 8)),
    ],
    ids=["three dimensions", "float mask", "another batch", "small noise"],
)
def test_bad_inputs_are_told(pixels: Tensor, removed: Tensor, noise: Tensor | None) -> None:
    with pytest.raises(UsageError):
        impute(pixels, removed, noise)
