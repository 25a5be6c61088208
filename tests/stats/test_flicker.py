"""The agreement of neighbouring maps, against random orders of the same maps."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from xai.stats import map_flicker


def moving(frames: int = 16, side: int = 8, noise: float = 0.0) -> np.ndarray:
    """A bump that goes from left to right."""
    rows, cols = np.mgrid[:side, :side]
    places = np.linspace(0, side - 1, frames)[:, None, None]
    bumps = np.exp(-((cols - places) ** 2 + (rows - side / 2) ** 2) / 4)
    return bumps + noise * np.random.default_rng(0).normal(size=bumps.shape)


def test_pairs_are_rank_correlations_of_neighbours():
    maps = moving(6, noise=0.3)
    expected = [spearmanr(maps[i].ravel(), maps[i + 1].ravel()).statistic for i in range(5)]
    found = map_flicker(maps)
    assert found.pairs == pytest.approx(expected)
    assert found.mean == pytest.approx(np.mean(expected))


def test_maps_that_follow_something_are_steadier_than_chance():
    found = map_flicker(moving())
    assert found.steadier_than_chance
    assert found.low < found.control < found.high < found.mean
    assert found.p == pytest.approx(1 / (1 + found.shuffles))


def test_the_same_maps_in_another_order_are_not():
    maps = moving()
    mixed = maps[np.random.default_rng(3).permutation(len(maps))]
    assert map_flicker(mixed).steadier_than_chance is False
    # the control knows nothing of the order, up to what is drawn
    assert map_flicker(mixed).control == pytest.approx(map_flicker(maps).control, abs=0.02)


def test_noise_flickers():
    found = map_flicker(np.random.default_rng(0).normal(size=(30, 7, 7)))
    assert found.steadier_than_chance is False
    assert found.control == pytest.approx(0, abs=0.02)


def test_constant_maps_have_no_order_and_are_left_out():
    maps = moving(8)
    maps[3] = 0.5
    found = map_flicker(maps)
    assert [one is None for one in found.pairs] == [False, False, True, True, False, False, False]
    assert map_flicker(np.zeros((6, 4, 4))).mean != map_flicker(np.zeros((6, 4, 4))).mean  # NaN


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_of_few_frames_nothing_is_claimed(frames):
    found = map_flicker(moving(frames))
    assert len(found.pairs) == frames - 1
    assert found.steadier_than_chance is None


def test_the_seed_decides_the_orders():
    maps = moving(noise=0.5)
    assert map_flicker(maps, 1) == map_flicker(maps, 1)
    assert map_flicker(maps, 1).control != map_flicker(maps, 2).control
