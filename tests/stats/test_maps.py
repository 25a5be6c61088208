"""Agreement of maps, against SciPy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from xai.stats import disagreement, map_agreement


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_equals_scipy_with_and_without_ties(levels):
    maps = np.random.default_rng(levels).integers(0, levels, (5, 49)).astype(np.float32)
    assert map_agreement(maps) == pytest.approx(spearmanr(maps, axis=1).statistic, abs=1e-12)


def test_a_map_without_order_agrees_with_nothing():
    maps = np.random.default_rng(0).normal(size=(4, 16))
    maps[1], maps[3, 5] = 0.25, np.nan
    found = map_agreement(maps)
    assert np.isnan(found[[1, 3]]).all() and np.isnan(found[:, [1, 3]]).all()
    assert found[0, 0] == found[2, 2] == 1
    assert found[0, 2] == found[2, 0] == pytest.approx(spearmanr(maps[0], maps[2]).statistic, abs=1e-12)
    with np.errstate(all="raise"):
        assert disagreement(found, np.array([True, True, True, False])) == pytest.approx(1 - found[0, 2])


def test_equal_and_reversed_maps_and_minus_zero():
    ramp = np.arange(9.0)
    found = map_agreement(np.stack([ramp, ramp * 3 + 1, -ramp]))
    assert found == pytest.approx(np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]]), abs=1e-12)
    assert np.isnan(map_agreement(np.array([[0.0, -0.0, 0.0]]))).all()


def test_disagreement_counts_the_chosen_pairs_once():
    agreement = np.array([[1, 0.5, -1], [0.5, 1, 0.2], [-1, 0.2, 1]])
    assert disagreement(agreement, np.array([True, True, False])) == pytest.approx(0.5)
    assert disagreement(agreement, np.array([0, 1, 2])) == pytest.approx(1 - (0.5 - 1 + 0.2) / 3)
    assert np.isnan(disagreement(agreement, np.array([0])))
