"""Intervals against SciPy's and against a dense derivation."""

import numpy as np
import pytest
from scipy import stats

from xai.stats import bootstrap, mean_curve, to_json
from xai.stats.blocks import Blocks
from xai.stats.bootstrap import bca, resampled_means
from xai.stats.paired import compare_paired

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": RNG.normal(size=80),
    "skewed": RNG.exponential(size=40) ** 2,
    "few": np.array([-1.5, 0.25, 0.5, 2.0, -3.25]),  # sums without rounding: a tie is a tie for both
    "far from zero": 1e6 + RNG.normal(size=60),
}


def interval(values, resamples=2000, alpha=0.05, seed=1, weights=None):
    values = values.reshape(len(values), -1)
    weights = np.ones(len(values)) if weights is None else weights
    means = resampled_means(values, weights, resamples, np.random.default_rng(seed))
    return bca(values, weights, means, alpha)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_equals_scipys_bca_on_the_same_resamples(name, alpha):
    sample = SAMPLES[name]
    theirs = stats.bootstrap(
        (sample,),
        np.mean,
        method="BCa",
        n_resamples=2000,
        confidence_level=1 - alpha,
        rng=np.random.default_rng(1),
    ).confidence_interval
    low, high = interval(sample, alpha=alpha)
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_columns_do_not_know_of_each_other():
    table = np.stack([SAMPLES["normal"], 100 * SAMPLES["normal"][::-1] - 3], 1)
    for column in (0, 1):
        alone, together = interval(table[:, column]), interval(table)
        assert np.allclose(np.ravel(alone), [ends[column] for ends in together], rtol=1e-9)


def test_chunks_change_nothing(monkeypatch):
    whole = interval(SAMPLES["skewed"])
    monkeypatch.setattr(bootstrap, "CELLS", 700)
    assert np.array_equal(np.ravel(whole), np.ravel(interval(SAMPLES["skewed"])))


@pytest.mark.parametrize("weights", ["groups", "images"])
def test_clusters_against_a_dense_derivation(weights):
    """Groups drawn one by one and their images written out; the jackknife leaves out whole groups."""
    sizes = RNG.integers(1, 9, 30)
    groups = np.repeat([f"video {i}" for i in range(30)], sizes)
    values = RNG.exponential(size=30).repeat(sizes) + RNG.normal(size=sizes.sum())
    parts = [values[groups == name] for name in np.unique(groups)]

    def mean(chosen):
        if weights == "images":
            return np.concatenate([parts[i] for i in chosen]).mean()
        return np.mean([parts[i].mean() for i in chosen])

    drawn = np.random.default_rng(1).integers(0, 30, (1500, 30))
    theta, resampled = mean(range(30)), np.array([mean(chosen) for chosen in drawn])
    jackknife = np.array([mean([i for i in range(30) if i != left]) for left in range(30)])
    influence = jackknife.mean() - jackknife
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    bias = stats.norm.ppf((resampled < theta).mean())
    levels = stats.norm.ppf([0.025, 0.975])
    shares = stats.norm.cdf(bias + (bias + levels) / (1 - acceleration * (bias + levels)))

    blocks = Blocks.of(values[:, None], list(groups), weights)
    low, high = interval(blocks.values, 1500, weights=blocks.weights)
    assert blocks.mean()[0] == pytest.approx(theta)
    assert np.allclose([low[0], high[0]], np.percentile(resampled, 100 * shares), rtol=1e-9)


def test_frames_of_one_video_do_not_make_an_interval_narrower():
    videos = RNG.normal(size=20)
    groups = [f"video {i}" for i in range(20) for _ in range(50)]
    frames = Blocks.of(videos.repeat(50)[:, None], groups)
    ends = np.ravel(interval(frames.values, weights=frames.weights))
    assert np.allclose(ends, np.ravel(interval(videos[[int(g.split()[1]) for g in sorted(set(groups))]])))
    width, naive = np.diff(ends)[0], np.diff(np.ravel(interval(videos.repeat(50))))[0]
    assert width > 5 * naive


@pytest.mark.parametrize("values", [[0.1] * 30, [0.0] * 5, [1e9 / 3] * 7])
def test_without_spread_the_interval_is_the_value(values, recwarn):
    low, high = interval(np.array(values))
    assert low[0] == high[0] == pytest.approx(values[0], rel=1e-12)
    assert not recwarn.list


def test_a_single_block_has_no_interval():
    assert np.isnan(interval(np.array([0.4]))).all()


@pytest.mark.parametrize("values", [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 0, 1, 1]])
def test_few_values_and_ties_give_an_ordered_interval_around_the_mean(values, recwarn):
    low, high = interval(np.array(values, float))
    assert 0 <= low[0] <= np.mean(values) <= high[0] <= 1 and low[0] < high[0]
    assert not recwarn.list


def test_covers_the_mean_of_a_skewed_population():
    inside = 0
    for seed in range(300):
        sample = np.random.default_rng(seed).exponential(size=50)
        low, high = interval(sample, 600, seed=seed)
        inside += low[0] <= 1 <= high[0]
    assert 0.89 <= inside / 300 <= 0.98


def test_mean_curve_is_the_interval_of_every_point():
    curves = RNG.normal(size=(40, 5)).cumsum(1)
    curves[3, 2] = np.nan
    band = mean_curve(curves, [0, 0.25, 0.5, 0.75, 1])
    kept = np.delete(curves, 3, 0)
    assert band.images == 39
    assert np.allclose(band.mean, kept.mean(0))
    assert (np.array(band.low) < band.mean).all() and (np.array(band.high) > band.mean).all()
    assert to_json(mean_curve(curves[3:4], [0, 0.25, 0.5, 0.75, 1]))["mean"] == [None] * 5


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_a_handful_of_blocks_gives_no_interval(blocks):
    """Between the extremes of n draws the median lies with a chance of 1 − 2^(1 − n): of four, 7 in 8."""
    values = RNG.normal(size=blocks)
    assert np.isnan(np.ravel(interval(values))).all()
    assert np.isfinite(np.ravel(interval(RNG.normal(size=5)))).all()
    assert np.isnan(mean_curve(values[:, None], [0.5]).low).all()
    compared = compare_paired(values, np.zeros(blocks))
    assert np.isnan([compared.low, compared.high]).all() and np.isfinite(compared.difference)
