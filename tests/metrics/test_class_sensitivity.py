"""Similarity of maps against scipy and torchmetrics; class sensitivity on top."""

import pytest
import scipy.stats
import torch
from torchmetrics.functional.image import structural_similarity_index_measure
from vit_zoo import build, pixels

from xai.attr import create
from xai.core import UsageError
from xai.metrics.similarity import class_sensitivity, spearman, ssim


def two(rows: int = 9, cols: int = 8, levels: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(levels)
    if levels:
        a, b = (torch.randint(levels, (6, rows, cols), generator=generator).double() for _ in range(2))
    else:
        a, b = (torch.randn(6, rows, cols, generator=generator, dtype=torch.float64) for _ in range(2))
    return a, 0.5 * a + b


@pytest.mark.parametrize("levels", [0, 2, 5])
def test_spearman_equals_scipy(levels: int) -> None:
    a, b = two(levels=levels)
    expected = [scipy.stats.spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(spearman(a, b), torch.tensor(expected, dtype=torch.float64))


def test_spearman_of_constant_maps() -> None:
    a, flat = torch.rand(1, 4, 4), torch.full((1, 4, 4), 0.1)
    assert spearman(flat, flat * 3).item() == 1
    assert spearman(a, flat).item() == spearman(flat, a).item() == 0


@pytest.mark.parametrize(("rows", "cols", "window"), [(14, 14, 7), (9, 8, 7), (4, 6, 3), (5, 5, 5)])
def test_ssim_equals_torchmetrics(rows: int, cols: int, window: int) -> None:
    a, b = two(rows, cols)
    a, b = ((x - x.amin((1, 2), True)) / (x.amax((1, 2), True) - x.amin((1, 2), True)) for x in (a, b))
    _, everywhere = structural_similarity_index_measure(
        a[:, None],
        b[:, None],
        gaussian_kernel=False,
        kernel_size=window,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    border = window // 2  # where windows reach beyond the map
    expected = everywhere[:, 0, border : rows - border, border : cols - border].mean((1, 2))
    torch.testing.assert_close(ssim(a * 5 - 3, b * 0.1), expected, rtol=0, atol=1e-6)


def test_ssim_of_equal_and_constant_maps() -> None:
    a, flat = torch.rand(2, 6, 6), torch.zeros(2, 6, 6)
    assert ssim(a, a * 2 + 1).tolist() == pytest.approx([1, 1])
    assert ssim(flat, flat + 4).tolist() == pytest.approx([1, 1])
    assert (ssim(a, flat) < 0.3).all()


def test_class_sensitivity_from_the_same_to_the_opposite() -> None:
    a = torch.randn(1, 30, 30, generator=torch.Generator().manual_seed(0))
    unrelated = torch.randn(1, 30, 30, generator=torch.Generator().manual_seed(1))
    assert class_sensitivity(a, a.exp()).item() == 0
    assert class_sensitivity(a, -a).item() == 1
    assert class_sensitivity(a, unrelated).item() == pytest.approx(0.5, abs=0.05)
    assert class_sensitivity(torch.zeros(1, 3, 3), torch.ones(1, 3, 3)).item() == 0


def test_methods_that_ignore_the_class_fail() -> None:
    model, x = build("clip"), pixels(3)
    for name, fails in [
        ("random", True),
        ("attention_rollout", True),
        ("gradient_weighted_attention", False),
    ]:
        method = create(name, model)
        value = class_sensitivity(method.attribute_patches(x, 0), method.attribute_patches(x, 1))
        assert (value == 0).all() == fails, name


@pytest.mark.parametrize("measure", [spearman, ssim, class_sensitivity])
def test_bad_inputs_are_told(measure) -> None:
    a = torch.rand(2, 4, 4)
    for first, second in [(a, a[:1]), (a[0], a[0]), (a, a * torch.nan)]:
        with pytest.raises(UsageError):
            measure(first, second)
