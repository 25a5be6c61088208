"""The order of units with numpy is that of the stream with torch."""

import numpy as np
import pytest
import torch

from xai.core.order import order_of_units, shuffled_units
from xai.perturb import rank_units


@pytest.mark.parametrize("units", [1, 2, 3, 49, 197, 1024, 50_176])
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32 + 7, 2**63 - 1])
def test_shuffles_are_those_of_torch(units: int, seed: int) -> None:
    drawn = torch.randperm(units, generator=torch.Generator().manual_seed(seed))
    assert shuffled_units(units, seed).tolist() == drawn.tolist()


@pytest.mark.parametrize("seed", [None, 3, 2**40 + 1])
@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_orders_are_those_of_the_stream(seed: int | None, levels: int) -> None:
    rng = np.random.default_rng(levels)
    maps = (rng.integers(-levels, levels, (6, 196)) / levels).astype(np.float32)
    maps[0] = 0
    maps[1, ::2] = -0.0  # ties with the zeros
    for relevance in maps:
        ranks = rank_units(torch.from_numpy(relevance)[None], None if seed is None else [seed])[0]
        assert order_of_units(relevance, seed).tolist() == ranks.argsort().tolist()
