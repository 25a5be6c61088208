"""Sobol indices against closed forms."""

import pytest
import torch
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attr import SobolIndices
from xai.attr.sobol_indices import enlarge, jansen_designs, total_indices
from xai.core import UsageError

BLACK = {"name": "constant", "value": 0.0}


class Visible(nn.Module):
    """Two logits of a white image: Σ a_i m_i, and the product of the first two cells' visibilities."""

    patch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-2, 4, 16))

    def forward(self, x: Tensor) -> Tensor:
        m = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 8).flatten(1)
        return torch.stack([m @ self.weight, m[:, 0] * m[:, 1]], dim=1)


def test_indices_of_a_sum_are_shares_of_its_variance() -> None:
    model, white = Visible(), torch.ones(2, 3, 32, 32)
    got = SobolIndices(model, 512, cells=4, operator=BLACK).attribute_patches(white, 0)
    expected = model.weight.detach() ** 2 / (model.weight.detach() ** 2).sum()
    torch.testing.assert_close(got, expected.view(1, 4, 4).expand(2, 4, 4), rtol=0, atol=0.02)


def test_indices_of_a_product_count_the_interaction_twice() -> None:
    """Var(m1 m2) = 7/144 and E[Var(y | m2)] = E[m2²]/12 = 1/36: S_T = 4/7 for both, 0 elsewhere."""
    got = SobolIndices(Visible(), 512, cells=4, operator=BLACK).attribute_patches(torch.ones(1, 3, 32, 32), 1)
    flat = got.flatten()
    torch.testing.assert_close(flat[:2], torch.full((2,), 4 / 7), rtol=0, atol=0.05)
    assert flat[2:].abs().max() == 0


def test_designs_swap_one_column_each() -> None:
    designs = jansen_designs(8, 5, 3)
    assert designs.shape == (6, 8, 5)
    for i in range(5):
        changed = (designs[i + 1] != designs[0]).any(0)
        assert changed.tolist() == [j == i for j in range(5)]
    assert not torch.equal(designs, jansen_designs(8, 5, 4))


def test_a_score_that_never_moves_has_no_indices() -> None:
    assert total_indices(torch.ones(1, 1, 4, 6)).abs().max() == 0


def test_cells_are_cut_to_the_grid_and_cover_the_patches() -> None:
    got = SobolIndices(build("clip"), 4, cells=2).attribute_patches(pixels(), 1)
    assert torch.equal(got, enlarge(got[:, ::2, ::2], (4, 4)))
    large = SobolIndices(build("clip"), 4, cells=9).attribute_patches(pixels(), 1)
    assert torch.equal(large, SobolIndices(build("clip"), 4, cells=4).attribute_patches(pixels(), 1))


@pytest.mark.parametrize("options", [{"n_designs": 1}, {"cells": 0}, {"internal_batch_size": 0}])
def test_values_out_of_range_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        SobolIndices(build("clip"), **options)


def test_masked_tokens_are_told() -> None:
    with pytest.raises(UsageError, match="paints nothing"):
        SobolIndices(build("clip"), 2, operator="token").attribute_patches(pixels(), 1)
