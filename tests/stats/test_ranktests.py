"""Tests on ranks against SciPy, statsmodels, scikit-posthocs and enumeration."""

from itertools import product

import numpy as np
import pytest
import scikit_posthocs
from scipy import stats
from statsmodels.stats.multitest import multipletests

from xai.stats.ranktests import (
    MOST_EXACT,
    aligned_rank,
    critical_difference,
    friedman,
    holm,
    nemenyi,
    oriented_ranks,
    signed_rank,
    smallest_p,
    superiority,
)

RNG = np.random.default_rng(0)


def table(blocks, methods, tied=False, effect=0.4):
    values = RNG.normal(size=(blocks, methods)) + effect * np.arange(methods)
    return np.round(values) if tied else values


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("blocks", "methods"), [(5, 3), (40, 12), (300, 4)])
def test_friedman_equals_scipy(blocks, methods, tied):
    values = table(blocks, methods, tied)
    ours, theirs = friedman(oriented_ranks(values, True)), stats.friedmanchisquare(*values.T)
    assert (ours.statistic, ours.p) == pytest.approx(tuple(theirs), rel=1e-9)
    assert ours.kendall_w == pytest.approx(theirs.statistic / (blocks * (methods - 1)))


def test_kendalls_w_is_one_for_one_ranking_and_zero_for_balanced_ones():
    assert friedman(np.tile([1.0, 2, 3], (9, 1))).kendall_w == pytest.approx(1)
    balanced = np.array([[1.0, 2, 3], [2, 3, 1], [3, 1, 2]])
    assert friedman(balanced).kendall_w == 0 and friedman(balanced).p == 1


def test_friedman_of_ties_only_and_of_too_little():
    assert friedman(np.full((5, 3), 2.0)).p == 1
    assert friedman(np.array([[1.0, 2, 3]])) is None
    assert friedman(np.array([[1.0, 2], [1, 2]])) is None


@pytest.mark.parametrize("blocks", [6, 20, MOST_EXACT])
def test_wilcoxon_is_scipys_exact_test(blocks):
    for effect in (0, 0.5, -1):
        differences = RNG.normal(effect, 1, blocks)
        p, side, *_ = signed_rank(differences)
        theirs = stats.wilcoxon(differences, zero_method="pratt", method="exact")
        assert p == pytest.approx(theirs.pvalue, rel=1e-9)
        positive = stats.rankdata(np.abs(differences))[differences > 0].sum()
        assert side == np.sign(positive - blocks * (blocks + 1) / 4)


@pytest.mark.parametrize("tied", [False, True])
def test_wilcoxon_is_scipys_approximation_for_many(tied):
    differences = RNG.normal(0.1, 1, 400)
    differences = np.round(differences) if tied else differences
    theirs = stats.wilcoxon(differences, zero_method="pratt", method="asymptotic", correction=False)
    assert signed_rank(differences)[0] == pytest.approx(theirs.pvalue, rel=1e-9)


def test_wilcoxon_with_ties_and_zeros_is_exact():
    differences = np.array([1.0, 1, -1, 2, 0, 3, 3, 0, -2, 5])
    ranks = np.where(differences == 0, 0, stats.rankdata(np.abs(differences)))
    sums = np.array([np.dot(signs, ranks) for signs in product([0, 1], repeat=10)])
    observed = ranks[differences > 0].sum()
    expected = min(1, 2 * min((sums >= observed).mean(), (sums <= observed).mean()))
    assert signed_rank(differences)[0] == pytest.approx(expected, rel=1e-12)


def test_nothing_but_zeros_is_no_difference():
    assert signed_rank(np.zeros(10)) == (1.0, 0, 0.5, 0.0, 1.0)
    assert signed_rank(np.zeros(1000)) == (1.0, 0, 0.5, 0.0, 1.0)


def test_aligned_ranks_against_enumeration():
    """All ways of choosing, in each block, which of the values is the method's."""
    values, draws = np.round(RNG.normal(1, 2, 6)), np.round(RNG.normal(0, 2, (6, 3)))
    together = np.concatenate([values[:, None], draws], 1)
    ranks = stats.rankdata(np.round(together - together.mean(1, keepdims=True), 9)).reshape(6, 4)
    sums = np.array([ranks[range(6), choice].sum() for choice in product(range(4), repeat=6)])
    observed = ranks[:, 0].sum()
    expected = min(1, 2 * min((sums >= observed - 1e-9).mean(), (sums <= observed + 1e-9).mean()))
    assert aligned_rank(values, draws)[0] == pytest.approx(expected, rel=1e-9)


def test_aligned_ranks_exact_and_approximate_agree():
    values, draws = RNG.normal(0.35, 1, 50), RNG.normal(0, 1, (50, 3))
    exact, side = aligned_rank(values, draws)
    doubled, _ = aligned_rank(np.append(values, 0.0), np.append(draws, np.zeros((1, 3)), 0))  # 51 blocks
    assert side == 1 and exact == pytest.approx(doubled, rel=0.25)  # far in the tail


@pytest.mark.parametrize("blocks", [1, 3, 6, 9])
def test_smallest_p_is_reached_by_the_clearest_outcome(blocks):
    clear = 1.0 + np.arange(blocks)
    assert signed_rank(clear)[0] == pytest.approx(smallest_p(blocks))
    draws = np.stack([clear - 20, clear - 21, clear - 22], 1)
    assert aligned_rank(clear, draws)[0] == pytest.approx(smallest_p(blocks, 4))


@pytest.mark.parametrize("count", [1, 2, 15, 66])
def test_holm_equals_statsmodels(count):
    p = np.minimum(1, RNG.exponential(0.05, count)).round(2)  # with ties
    assert np.allclose(holm(p), multipletests(p, method="holm")[1])


def test_holm_of_nothing():
    assert len(holm(np.array([]))) == 0


@pytest.mark.parametrize(("blocks", "methods"), [(30, 3), (100, 8)])
def test_nemenyi_equals_scikit_posthocs(blocks, methods):
    values = table(blocks, methods, effect=0.1)
    ranks = oriented_ranks(values, True).mean(0)
    gaps = np.abs(ranks[:, None] - ranks)
    theirs = scikit_posthocs.posthoc_nemenyi_friedman(values).to_numpy()
    above = np.triu_indices(methods, 1)
    assert np.allclose(nemenyi(gaps[above], blocks, methods), theirs[above], atol=1e-6)
    clear = gaps[above] > critical_difference(blocks, methods, 0.05)
    assert (clear == (theirs[above] < 0.05)).all()


@pytest.mark.parametrize(
    ("methods", "blocks", "expected"), [(12, 50, 2.36), (12, 1000, 0.527), (8, 250, 0.66), (8, 2000, 0.23)]
)
def test_critical_difference_against_known_values(methods, blocks, expected):
    assert critical_difference(blocks, methods, 0.05) == pytest.approx(expected, abs=0.006)


def test_ranks_follow_the_direction_and_share_ties():
    values = np.array([[0.1, 0.9, 0.9]])
    assert oriented_ranks(values, True).tolist() == [[3, 1.5, 1.5]]
    assert oriented_ranks(values, False).tolist() == [[1, 2.5, 2.5]]


def test_superiority_counts_ties_half():
    assert superiority(np.array([1.0, -1, 0, 0])) == 0.5
    assert superiority(np.array([1.0, 2, 0, -4])) == 0.625


@pytest.mark.parametrize("methods", [2, 3, 11, 60, 300])
@pytest.mark.parametrize("blocks", [2, 30, 5000])
def test_nemenyi_equals_the_studentized_range_of_scipy(blocks, methods):
    scale = np.sqrt(methods * (methods + 1) / (6 * blocks) / 2)
    ranges = np.array([0, 1e-6, 0.3, 1, 2.5, 4, 6, 9, 15, 60])
    theirs = stats.studentized_range.sf(ranges, methods, np.inf)
    assert np.allclose(nemenyi(ranges * scale, blocks, methods), theirs, rtol=0, atol=1e-11)
    for alpha in (0.2, 0.05, 0.001):
        quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf)
        assert critical_difference(blocks, methods, alpha) == pytest.approx(quantile * scale, rel=1e-9)
