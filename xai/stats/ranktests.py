"""Tests on ranks: Friedman, Wilcoxon, aligned ranks, Nemenyi, Holm.

Up to 50 blocks the p-values of paired tests are exact given the sizes of the differences, with ties and
zeros too; beyond, the normal approximation with the same mean and variance is used.
"""

import numpy as np

from xai.stats.bootstrap import scipy_stats
from xai.stats.results import Friedman

MOST_EXACT = 50  # blocks


def oriented_ranks(values: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """(blocks, methods) ranks within each block, 1 = best; ties share their mean rank."""
    return scipy_stats().rankdata(-values if higher_is_better else values, axis=1)


def friedman(ranks: np.ndarray) -> Friedman | None:
    """Friedman's test with its correction for ties, and Kendall's W; None where it says nothing.

    Args:
        ranks: (blocks, methods) within each block.
    """
    blocks, methods = ranks.shape
    if blocks < 2 or methods < 3:
        return None
    centred = ranks - (methods + 1) / 2
    spread = (centred**2).sum() / (methods - 1)  # of ranks within blocks: ties lower it
    if spread == 0:
        return Friedman(0.0, 1.0, 0.0)
    statistic = float((centred.sum(0) ** 2).sum() / spread)
    p = float(scipy_stats().chi2.sf(statistic, methods - 1))
    return Friedman(statistic, p, statistic / (blocks * (methods - 1)))


def signed_rank(differences: np.ndarray) -> tuple[float, int]:
    """Wilcoxon's signed-rank test, zeros by Pratt's rule.

    Args:
        differences: (blocks,) of one method over another.

    Returns:
        Two-sided p, and 1, 0 or −1 for the side to which the ranks lean.
    """
    ranks = scipy_stats().rankdata(np.abs(differences))
    ranks = np.where(differences == 0, 0, ranks)
    return _randomised(np.stack([ranks, -ranks], 1), np.sign(differences) * ranks)


def aligned_rank(values: np.ndarray, draws: np.ndarray) -> tuple[float, int]:
    """Whether a method could be one more draw of a random reference (Hodges and Lehmann 1962).

    Compared with the mean of the draws by Wilcoxon's test, a method that is itself random would look
    worse or better than random wherever scores are skewed, for a mean is less skewed than its parts.
    This test asks only that, if the method is random, it may change places with any draw of its block.

    Args:
        values: (blocks,) of the method.
        draws: (blocks, draws) of the reference.

    Returns:
        Two-sided p, and 1, 0 or −1 for the side to which the ranks lean.
    """
    all_values = np.concatenate([values[:, None], draws], 1)
    aligned = all_values - all_values.mean(1, keepdims=True)
    slack = 1e-12 * np.abs(all_values).max()
    aligned = np.round(aligned / slack) * slack if slack else aligned  # equal up to rounding is equal
    ranks = scipy_stats().rankdata(aligned).reshape(aligned.shape)
    return _randomised(ranks, ranks[:, 0])


def _randomised(possible: np.ndarray, observed: np.ndarray) -> tuple[float, int]:
    """Two-sided p of a sum to which every block gives one of its possible scores with equal chances.

    Args:
        possible: (blocks, choices) multiples of one half.
        observed: (blocks,) the score that each block gave.
    """
    excess = float(observed.sum() - possible.mean(1).sum())
    variance = float(possible.var(1).sum())
    if variance == 0:
        return 1.0, 0
    side = int(np.sign(round(excess, 6)))
    if len(possible) > MOST_EXACT:
        return float(2 * scipy_stats().norm.sf(abs(excess) / np.sqrt(variance))), side
    lowest = possible.min(1)
    steps = np.rint(2 * (possible - lowest[:, None])).astype(int)
    chances = np.ones(1)  # of each sum above the lowest, in halves
    for choices in steps:
        grown = np.zeros(len(chances) + choices.max())
        for step in choices:
            grown[step : step + len(chances)] += chances / len(choices)
        chances = grown
    reached = round(2 * float((observed - lowest).sum()))
    tail = min(chances[: reached + 1].sum(), chances[reached:].sum())
    return min(1.0, float(2 * tail)), side


def smallest_p(blocks: int, choices: int = 2) -> float:
    """The smallest two-sided p that a paired test can give with so few blocks."""
    return min(1.0, 2.0 * float(choices) ** -blocks)


def holm(p: np.ndarray) -> np.ndarray:
    """(tests,) p-values by Holm's step-down rule: the chance of any false finding stays under alpha."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def critical_difference(blocks: int, methods: int, alpha: float) -> float | None:
    """Nemenyi's: mean ranks that differ by more are distinguishable (Demšar 2006)."""
    if blocks < 2 or methods < 2:
        return None
    quantile = float(scipy_stats().studentized_range.ppf(1 - alpha, methods, np.inf))
    return float(quantile / np.sqrt(2) * _standard_error(blocks, methods))


def nemenyi(gaps: np.ndarray, blocks: int, methods: int) -> np.ndarray:
    """p-values of absolute differences of mean ranks, corrected for all pairs."""
    statistic = gaps / _standard_error(blocks, methods) * np.sqrt(2)
    return np.clip(scipy_stats().studentized_range.sf(statistic, methods, np.inf), 0, 1)


def _standard_error(blocks: int, methods: int) -> float:
    return float(np.sqrt(methods * (methods + 1) / (6 * blocks)))


def superiority(differences: np.ndarray) -> float:
    """Share of positive differences; zeros count half."""
    return float((differences > 0).mean() + (differences == 0).mean() / 2)
