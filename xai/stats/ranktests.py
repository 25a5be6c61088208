"""Tests on ranks: Friedman, Wilcoxon, aligned ranks, Nemenyi, Holm.

Up to 50 blocks the p-values of paired tests are exact given the sizes of the differences, with ties and
zeros too; beyond, the normal approximation with the same mean and variance is used.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from xai.stats.bootstrap import scipy_special
from xai.stats.results import Friedman

MOST_EXACT = 50  # blocks


class PairedTest(NamedTuple):
    """Wilcoxon's signed-rank test of one method over another, zeros by Pratt's rule.

    Args:
        p: Two-sided.
        side: 1, 0 or −1: to whom the ranks lean.
        superiority: Share of positive differences; zeros count half.
        median: Of the differences.
        allowed: p when what lower precision may have done is allowed for; the same where nothing is.
    """

    p: float
    side: int
    superiority: float
    median: float
    allowed: float


def oriented_ranks(values: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """(blocks, methods) ranks within each block, 1 = best; ties share their mean rank."""
    return (values.shape[1] + 1 + rank_balance(values, higher_is_better)) / 2


def rank_balance(values: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """(blocks, methods) whole numbers: how many more methods beat one than it beats, within each block.

    That is twice its rank but for what all ranks have in common, and sums of it are exact.
    """
    columns = np.ascontiguousarray(values.T if higher_is_better else -values.T)
    balance = np.zeros(columns.shape, np.int8 if len(columns) <= 128 else np.int32)  # bytes add quickest
    for i, j in combinations(range(len(columns)), 2):
        lost = (columns[i] < columns[j]).view(np.int8) - (columns[i] > columns[j]).view(np.int8)
        balance[i] += lost
        balance[j] -= lost
    return balance.T.astype(np.int32)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of (n,) values from 1; ties share their mean rank."""
    order = np.argsort(values)
    ordered = values[order]
    ranks, change = np.empty(len(values)), ordered[1:] != ordered[:-1]
    if change.all():
        ranks[order] = np.arange(1, len(values) + 1)
        return ranks
    starts = np.append(0, np.flatnonzero(change) + 1)
    counts = np.diff(np.append(starts, len(values)))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return ranks


def friedman(ranks: np.ndarray) -> Friedman | None:
    """Friedman's test with its correction for ties, and Kendall's W; None where it says nothing.

    Args:
        ranks: (blocks, methods) within each block.
    """
    blocks, methods = ranks.shape
    if blocks < 2 or methods < 3:
        return None
    centred = ranks - (methods + 1) / 2
    spread = float(np.vdot(centred, centred)) / (methods - 1)  # of ranks within blocks: ties lower it
    if spread == 0:
        return Friedman(0.0, 1.0, 0.0)
    statistic = float((centred.sum(0) ** 2).sum() / spread)
    p = float(scipy_special().chdtrc(methods - 1, statistic))
    return Friedman(statistic, p, statistic / (blocks * (methods - 1)))


def signed_rank(differences: np.ndarray) -> PairedTest:
    """Test the (blocks,) differences of one method over another."""
    blocks, sizes, ahead = len(differences), *_by_size(differences)
    zeros = int(np.searchsorted(sizes, 0.0, "right"))
    won = int(np.count_nonzero(ahead))
    superiority = won / blocks + zeros / blocks / 2
    if blocks <= MOST_EXACT:
        ranks = average_ranks(sizes)
        ranks[:zeros] = 0
        p, side = _randomised(np.stack([ranks, -ranks]), np.where(ahead, ranks, -ranks))
    else:
        p, side = _normal(*_sums(sizes, ahead, zeros))
    return PairedTest(p, side, superiority, _median(sizes, ahead, zeros), p)


def _by_size(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes in ascending order, and whether each is of a positive difference.

    Numbers without sign are ordered as their bits are, read as whole numbers: there is room for one bit more.
    """
    keys = np.abs(differences).view(np.uint64) << np.uint64(1)
    keys |= differences > 0
    keys.sort()
    ahead = (keys & np.uint64(1)).astype(bool)
    keys >>= np.uint64(1)
    return keys.view(np.float64), ahead


def _sums(sizes: np.ndarray, ahead: np.ndarray, zeros: int) -> tuple[float, float]:
    """Rank sum of the positive differences minus that of the negative ones, and its variance."""
    blocks = len(sizes)
    change = sizes[1:] != sizes[:-1]
    excess = 2 * (int(np.flatnonzero(ahead).sum()) + int(np.count_nonzero(ahead)))
    excess -= _sum_to(blocks) - _sum_to(zeros)
    variance = _squares_to(blocks) - _squares_to(zeros)
    if not change[max(0, zeros - 1) :].all():
        starts = np.append(0, np.flatnonzero(change) + 1)
        ties = np.diff(np.append(starts, blocks))
        mean = starts + (ties + 1) / 2
        first = int(zeros > 0)  # ties of zeros have no rank
        balance = np.add.reduceat(np.where(ahead, 1, -1), starts)
        excess = float((mean * balance)[first:].sum())
        variance -= float((ties[first:].astype(float) ** 3 - ties[first:]).sum() / 12)
    return float(excess), float(variance)


def _median(sizes: np.ndarray, ahead: np.ndarray, zeros: int) -> float:
    """Of the differences themselves."""
    blocks, lost = len(sizes), len(sizes) - zeros - int(np.count_nonzero(ahead))
    middle = []
    for place in ((blocks - 1) // 2, blocks // 2):
        if place < lost:
            middle.append(-sizes[zeros + np.flatnonzero(~ahead[zeros:])[lost - 1 - place]])
        elif place < lost + zeros:
            middle.append(0.0)
        else:
            middle.append(sizes[np.flatnonzero(ahead)[place - lost - zeros]])
    return float(middle[0] + middle[1]) / 2


def _sum_to(n: int) -> int:
    """1 + 2 + … + n."""
    return n * (n + 1) // 2


def _squares_to(n: int) -> int:
    """1² + 2² + … + n²."""
    return n * (n + 1) * (2 * n + 1) // 6


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
    all_values = np.concatenate([values[None], draws.T])
    aligned = all_values - all_values.mean(0)
    slack = 1e-12 * np.abs(all_values).max()
    aligned = np.round(aligned / slack) * slack if slack else aligned  # equal up to rounding is equal
    ranks = average_ranks(aligned.ravel()).reshape(aligned.shape)
    return _randomised(ranks, ranks[0])


def _randomised(possible: np.ndarray, observed: np.ndarray) -> tuple[float, int]:
    """Two-sided p of a sum to which every block gives one of its possible scores with equal chances.

    Args:
        possible: (choices, blocks) multiples of one half.
        observed: (blocks,) the score that each block gave.
    """
    excess = float(observed.sum() - possible.mean(0).sum())
    variance = float(possible.var(0).sum())
    if len(observed) > MOST_EXACT or variance == 0:
        return _normal(excess, variance)
    lowest = possible.min(0)
    steps = np.rint(2 * (possible - lowest)).astype(int).T
    chances = np.ones(1)  # of each sum above the lowest, in halves
    for choices in steps:
        grown = np.zeros(len(chances) + choices.max())
        for step in choices:
            grown[step : step + len(chances)] += chances / len(choices)
        chances = grown
    reached = round(2 * float((observed - lowest).sum()))
    tail = min(chances[: reached + 1].sum(), chances[reached:].sum())
    return min(1.0, float(2 * tail)), _side(excess)


def _normal(excess: float, variance: float) -> tuple[float, int]:
    """Two-sided p and side by the normal approximation."""
    if variance == 0:
        return 1.0, 0
    return float(2 * scipy_special().ndtr(-abs(excess) / np.sqrt(variance))), _side(excess)


def _side(excess: float) -> int:
    return int(np.sign(round(excess, 6)))


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
    low, high = 0.0, 1.0
    while _range_cdf(np.array(high), methods) < 1 - alpha:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _range_cdf(np.array(middle), methods) < 1 - alpha else (low, middle)
    return float(high / np.sqrt(2) * _standard_error(blocks, methods))


def nemenyi(gaps: np.ndarray, blocks: int, methods: int) -> np.ndarray:
    """p-values of absolute differences of mean ranks, corrected for all pairs."""
    statistic = gaps / _standard_error(blocks, methods) * np.sqrt(2)
    return np.clip(1 - _range_cdf(statistic, methods), 0, 1)


def _range_cdf(ranges: np.ndarray, draws: int) -> np.ndarray:
    """Chances that so many draws of the standard normal lie within these ranges of each other.

    That is draws · ∫ φ(z) (Φ(z) − Φ(z − range))^(draws − 1) dz, z the largest of them. The trapezoidal rule
    errs by less than rounding does, since the integrand is smooth and vanishes at both ends.
    """
    largest, step = np.linspace(-12, 12, 1201, retstep=True)
    ndtr, below = scipy_special().ndtr, largest - np.asarray(ranges)[..., None]
    density = np.exp(-(largest**2) / 2) / np.sqrt(2 * np.pi)
    return draws * step * (density * (ndtr(largest) - ndtr(below)) ** (draws - 1)).sum(-1)


def _standard_error(blocks: int, methods: int) -> float:
    return float(np.sqrt(methods * (methods + 1) / (6 * blocks)))


def superiority(differences: np.ndarray) -> float:
    """Share of positive differences; zeros count half."""
    return float((differences > 0).mean() + (differences == 0).mean() / 2)
