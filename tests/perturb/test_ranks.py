"""Orders: rank 0 first, ties by rule, an image's seed its own."""

import pytest
import torch
from torch import Tensor
from vit_zoo import pixels

from xai.core import UsageError
from xai.perturb import image_seeds, rank_units, tie_fraction


def test_ranks_are_the_places_in_descending_order() -> None:
    relevance = torch.tensor([[0.5, 3.0, -1.0, 2.0]])
    assert rank_units(relevance, None).tolist() == [[2, 0, 3, 1]]
    assert rank_units(relevance, [7]).tolist() == [[2, 0, 3, 1]]
    assert rank_units(-relevance, [7]).tolist() == [[1, 3, 0, 2]]  # LeRF is MoRF of the negated map
    assert rank_units(relevance, None).dtype == torch.int32


def test_without_seeds_ties_keep_their_positions() -> None:
    relevance = torch.tensor([[0.0, 1.0, 0.0, 1.0, -0.0]])
    assert rank_units(relevance, None).tolist() == [[2, 0, 3, 1, 4]]


def test_ties_are_broken_by_the_seed_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    relevance = torch.randint(0, 3, (6, 50), generator=generator).float()
    ranks = rank_units(relevance, [1, 2, 3, 1, 2, 3])
    assert torch.equal(ranks.sort(1).values, torch.arange(50, dtype=torch.int32).expand(6, 50))
    for row in range(6):  # a more relevant unit always stands before a less relevant one
        by_rank = torch.empty(50)
        by_rank[ranks[row].long()] = relevance[row]
        assert (by_rank.diff() <= 0).all()
        assert torch.equal(rank_units(relevance[row : row + 1], [[1, 2, 3][row % 3]])[0], ranks[row])
    constant = torch.zeros(4, 50)
    a, b, c, d = rank_units(constant, [5, 6, 5, 6])
    assert torch.equal(a, c)
    assert torch.equal(b, d)
    assert not torch.equal(a, b)
    # common random numbers: two maps of one image that tie in the same units order these alike
    one, other = relevance[0].clone(), relevance[0].clone()
    tied = relevance[0] == 1
    one[~tied], other[~tied] = 7.0, -7.0
    first, second = rank_units(torch.stack([one, other]), [9, 9])
    assert torch.equal(first[tied].argsort(), second[tied].argsort())


def test_random_ties_favour_no_position() -> None:
    ranks = rank_units(torch.zeros(2000, 5), list(range(2000))).float()
    assert (ranks.mean(0) - 2).abs().max() < 0.15  # 4.7 standard errors


def test_infinite_relevance_has_a_rank_and_nan_none() -> None:
    infinite = torch.tensor([[0.0, torch.inf, -torch.inf]])
    assert rank_units(infinite, [0]).tolist() == [[1, 0, 2]]
    for function in (lambda x: rank_units(x, None), tie_fraction):
        with pytest.raises(UsageError, match="NaN"):
            function(torch.tensor([[0.0, torch.nan]]))
        with pytest.raises(UsageError, match=r"\(maps, units\)"):
            function(torch.zeros(2, 3, 3))
    with pytest.raises(UsageError, match="2 maps need 2 seeds"):
        rank_units(torch.zeros(2, 3), [0])


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0.0),
        ([1.0, 1.0, 3.0, 4.0], 0.5),
        ([0.0, -0.0, 0.0, 4.0], 0.75),
        ([2.0, 2.0, 2.0, 2.0], 1.0),
        ([2.0], 0.0),
    ],
)
def test_tie_fraction(values: list[float], share: float) -> None:
    assert tie_fraction(torch.tensor([values, values])).tolist() == [share, share]


def test_an_image_alone_has_the_seed_it_has_in_a_batch() -> None:
    x: Tensor = pixels(4)
    seeds = image_seeds(x, 3)
    assert len(set(seeds)) == 4
    assert [image_seeds(x[i : i + 1], 3)[0] for i in range(4)] == seeds
    assert image_seeds(x.flip(0), 3) == seeds[::-1]
    assert image_seeds(x.double(), 3) == seeds
    assert image_seeds(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), 3) == seeds
    assert not set(image_seeds(x, 4)) & set(seeds)
