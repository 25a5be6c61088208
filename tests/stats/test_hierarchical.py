"""Bootstrap over models and their sources: closed form of its variance, and a loop that draws one by one."""

import numpy as np
import pytest

from xai.core import UsageError
from xai.stats import hierarchical_means

SOURCES = (4, 7, 5)


@pytest.fixture(scope="module")
def nested():
    """Values (images, 2) of three models with 4, 7 and 5 sources of one to three images each."""
    rng = np.random.default_rng(3)
    values, models, sources = [], [], []
    for model, count in enumerate(SOURCES):
        for source in range(count):
            for _ in range(1 + source % 3):
                values.append(rng.normal(model, 1 + source, 2))
                models.append(f"model {model}")
                sources.append(f"source {source}")
    return np.array(values), models, sources


def by_hand(nested):
    """Of each model (sources, 2) means over images."""
    values, models, sources = (np.array(part) for part in nested)
    return [
        np.array(
            [
                values[(models == f"model {model}") & (sources == f"source {source}")].mean(0)
                for source in range(count)
            ]
        )
        for model, count in enumerate(SOURCES)
    ]


def test_mean_and_variance_are_those_of_the_closed_form(nested):
    found = hierarchical_means(*nested, resamples=40_000)
    tables = by_hand(nested)
    means = np.array([table.mean(0) for table in tables])
    np.testing.assert_allclose(found.mean, means.mean(0), rtol=1e-12)
    within = np.mean([table.var(0) / len(table) for table in tables], 0)
    expected = (means.var(0) + within) / len(tables)
    np.testing.assert_allclose(found.resampled.var(0), expected, rtol=0.03)
    np.testing.assert_allclose(found.resampled.mean(0), found.mean, atol=4 * np.sqrt(expected.max() / 40_000))
    assert (found.models, found.sources, found.images) == (3, 16, len(nested[0]))


def test_interval_is_that_of_a_loop_over_draws(nested):
    found = hierarchical_means(*nested, resamples=8000)
    tables, rng, drawn = by_hand(nested), np.random.default_rng(11), []
    for _ in range(3000):
        picked = rng.integers(0, 3, 3)
        drawn.append(
            np.mean([tables[i][rng.integers(0, len(tables[i]), len(tables[i]))].mean(0) for i in picked], 0)
        )
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    width = high - low
    np.testing.assert_allclose((found.low - low) / width, 0, atol=0.07)
    np.testing.assert_allclose((found.high - high) / width, 0, atol=0.07)


def test_order_of_images_does_not_matter_and_a_seed_repeats(nested):
    values, models, sources = nested
    order = np.random.default_rng(0).permutation(len(values))
    first = hierarchical_means(values, models, sources, resamples=50)
    again = hierarchical_means(
        values[order], [models[i] for i in order], [sources[i] for i in order], resamples=50
    )
    np.testing.assert_allclose(first.resampled, again.resampled, rtol=1e-12)


def test_one_model_says_nothing_of_others(nested):
    values, _, sources = (part[:9] for part in nested)
    found = hierarchical_means(values, ["model 0"] * len(values), sources, resamples=50)
    assert np.isnan(found.low).all()
    assert np.isfinite(found.mean).all()


@pytest.mark.parametrize(
    ("values", "models", "said"),
    [
        (np.zeros((2, 1)), ["a"], "not \\(2, 1\\) with 1 models"),
        (np.full((1, 1), np.nan), ["a"], "not finite"),
        (np.zeros((0, 1)), [], "not \\(0, 1\\)"),
    ],
)
def test_what_cannot_be_averaged_is_refused(values, models, said):
    with pytest.raises(UsageError, match=said):
        hierarchical_means(values, models, ["s"] * len(values))
