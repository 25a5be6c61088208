"""Sparsity against closed forms and scipy."""

import pytest
import scipy.stats
import torch
from torch import Tensor

from xai.core import UsageError
from xai.metrics.sparsity import entropy, gini


def test_gini_of_even_and_one_hot_maps() -> None:
    one_hot = torch.zeros(4, 5)
    one_hot[2, 3] = -7
    maps = torch.stack([torch.full((4, 5), 3.0), one_hot, torch.zeros(4, 5)])
    torch.testing.assert_close(gini(maps), torch.tensor([0, 1 - 1 / 20, 0], dtype=torch.float64))
    torch.testing.assert_close(entropy(maps), torch.tensor([1, 0, 1], dtype=torch.float64))


@pytest.mark.parametrize("held", [1, 3, 12])
def test_k_equal_patches(held: int) -> None:
    """k of n patches equal, the rest 0: Gini 1 − k/n, entropy log k / log n."""
    relevance = torch.zeros(1, 12)
    relevance[0, :held] = 0.3
    assert gini(relevance.reshape(1, 3, 4)).item() == pytest.approx(1 - held / 12)
    expected = torch.tensor(float(held)).log() / torch.tensor(12.0).log()
    assert entropy(relevance.reshape(1, 3, 4)).item() == pytest.approx(expected.item(), abs=1e-7)


def test_equals_the_mean_absolute_difference_and_scipy() -> None:
    relevance = torch.randn(6, 7, 5, generator=torch.Generator().manual_seed(0))
    size = relevance.abs().flatten(1).double()
    differences = (size[:, :, None] - size[:, None, :]).abs().mean((1, 2))
    torch.testing.assert_close(gini(relevance), differences / (2 * size.mean(1)))
    expected = scipy.stats.entropy(size.numpy(), axis=1, base=35)
    torch.testing.assert_close(entropy(relevance), torch.from_numpy(expected))


@pytest.mark.parametrize("metric", [gini, entropy])
def test_scale_sign_and_place_do_not_matter(metric) -> None:
    relevance = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    values = metric(relevance)
    torch.testing.assert_close(metric(relevance * -1e-20), values)
    torch.testing.assert_close(metric(relevance.flatten(1)[:, torch.randperm(36)].reshape(4, 6, 6)), values)
    torch.testing.assert_close(metric(relevance[1:2]), values[1:2])


@pytest.mark.parametrize("metric", [gini, entropy])
@pytest.mark.parametrize(
    "relevance", [torch.rand(4, 4), torch.full((1, 4, 4), torch.inf)], ids=["2-D", "inf"]
)
def test_bad_inputs_are_told(metric, relevance: Tensor) -> None:
    with pytest.raises(UsageError):
        metric(relevance)
