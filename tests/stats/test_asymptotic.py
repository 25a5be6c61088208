"""Very many blocks: the expansion gives what the bootstrap gives, and only where it does."""

import numpy as np
import pytest

from xai.stats import analyse, asymptotic, to_json
from xai.stats.asymptotic import LARGE, drawn_sums, expanded_ends, holds
from xai.stats.bootstrap import Columns, bca_ends, resampled_means, resampled_sums

RESAMPLES = 2000


def columns_of(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Normal, skewed, hits and misses with many equal values, and one without spread."""
    return np.stack(
        [
            rng.normal(3, 2, blocks),
            rng.gamma(9, 1, blocks),
            (rng.random(blocks) < 0.1).astype(float),
            np.full(blocks, 0.1),
        ],
        1,
    )


def test_ends_are_those_of_the_bootstrap_within_its_scatter():
    values = columns_of(np.random.default_rng(0), LARGE)
    ones = np.ones(LARGE)
    columns = Columns.of(values, ones)
    assert holds(columns, LARGE)
    means = resampled_means(values, ones, RESAMPLES, np.random.default_rng(1))
    for found, drawn in zip(expanded_ends(columns, 0.05), bca_ends(columns, means, 0.05), strict=True):
        # a percentile of 2000 normal numbers scatters by 0.06 standard errors, its bias correction by as much
        assert (np.abs(found - drawn)[:3] < 0.3 * columns.error[:3]).all()
        assert found[3] == drawn[3] == columns.mean[3]


def test_skewness_is_in_the_expansion():
    """Of few skewed blocks, where it shows, the expansion is much closer than the normal interval."""
    values = np.random.default_rng(0).gamma(0.5, 1, (400, 1))
    columns = Columns.of(values, np.ones(400))
    means = resampled_means(values, np.ones(400), 100_000, np.random.default_rng(1))
    low, high = bca_ends(columns, means, 0.05)
    found = np.array(expanded_ends(columns, 0.05))[:, 0]
    drawn, normal = np.array([low[0], high[0]]), columns.mean + columns.error * np.array([-1.96, 1.96])
    assert (np.abs(found - drawn) < 0.03 * columns.error).all()
    assert (np.abs(normal - drawn) > 0.1 * columns.error).all()


def test_one_block_that_counts_for_much_is_resampled():
    values = np.random.default_rng(0).normal(size=(LARGE, 1))
    assert holds(Columns.of(values, np.ones(LARGE)), LARGE)
    assert not holds(Columns.of(values[1:], np.ones(LARGE - 1)), LARGE - 1)
    values[7] = 10 * np.sqrt(LARGE / 400)
    assert not holds(Columns.of(values, np.ones(LARGE)), LARGE)


def test_whole_numbers_are_drawn_with_their_covariance_and_ties():
    rng = np.random.default_rng(0)
    values = rng.integers(-3, 4, (5000, 3))
    values[:, 1] = values[:, 0]
    drawn = drawn_sums(values, 4000, np.random.default_rng(1))
    assert (drawn[:, 0] == drawn[:, 1]).all()
    (resampled,) = resampled_sums([values.astype(np.float64)], 4000, np.random.default_rng(2))
    assert drawn.mean(0) == pytest.approx(values.sum(0), abs=4 * resampled.std() / np.sqrt(4000))
    assert np.cov(drawn.T) == pytest.approx(np.cov(resampled.T), rel=0.15, abs=0.1 * resampled.var(0).max())


def test_analysis_says_the_same_either_way_and_which(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.normal([0.01, 0.0, -0.5], 1, (LARGE, 3))
    found = analyse(values, ["a", "b", "random"], resamples=500)
    monkeypatch.setattr(asymptotic, "LARGE", LARGE + 1)
    drawn = analyse(values, ["a", "b", "random"], resamples=500)
    assert found.asymptotic and not drawn.asymptotic
    assert found.pairs == drawn.pairs and found.friedman == drawn.friedman
    for one, other in zip(found.methods, drawn.methods, strict=True):
        width = other.high - other.low
        assert one.mean == other.mean and one.verdict == other.verdict
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.1 * width)
        assert one.p_best == pytest.approx(other.p_best, abs=0.1)
    assert 0.05 < found.methods[0].p_best < 0.999
    assert any("Edgeworth" in note for note in to_json(found)["notes"])
    assert not any("Edgeworth" in note for note in to_json(drawn)["notes"])


def test_images_that_weigh_differently_are_resampled():
    groups = np.repeat(np.arange(LARGE), 1 + np.arange(LARGE) % 2)
    values = np.random.default_rng(0).normal(size=(len(groups), 2))
    assert analyse(values, ["a", "b"], groups=groups, reference=None, resamples=9).asymptotic
    weighted = analyse(values, ["a", "b"], groups=groups, reference=None, resamples=9, weights="images")
    assert not weighted.asymptotic
