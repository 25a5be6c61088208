"""Bootstrap of means, blocks resampled whole: BCa intervals (Efron 1987), all columns or curves at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai.core import UsageError, derive_seed
from xai.stats.blocks import Blocks, Weights

CELLS = 2**22  # resampled blocks held at a time
ROUNDING = 1e-12  # of the largest value: closer values count as equal


def resampled_means(
    values: np.ndarray, weights: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Weighted means of blocks drawn with replacement.

    Args:
        values: (blocks, columns).
        weights: (blocks,).
        resamples: How often.
        rng: Draws the same blocks whatever the columns are.

    Returns:
        (resamples, columns).
    """
    weighted = values * weights[:, None]
    return np.concatenate(
        [(counts @ weighted) / (counts @ weights)[:, None] for counts in _counts(len(values), resamples, rng)]
    )


def _counts(blocks: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """(some, blocks) float: how often each block was drawn, a chunk of resamples at a time."""
    chunk = max(1, CELLS // blocks)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, blocks, (rows, blocks))
        drawn += np.arange(rows)[:, None] * blocks
        yield np.bincount(drawn.ravel(), minlength=rows * blocks).reshape(rows, blocks).astype(float)


def bca(
    values: np.ndarray, weights: np.ndarray, means: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated interval of weighted means; the acceleration is jackknifed over blocks.

    A column without any spread gives an interval of no width; a single block says nothing of spread: NaN.

    Args:
        values: (blocks, columns).
        weights: (blocks,).
        means: (resamples, columns) from `resampled_means`.
        alpha: The interval covers 1 − alpha.

    Returns:
        Lower and upper ends, each (columns,).
    """
    if len(values) < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    normal = scipy_stats().norm
    mean = weights @ values / weights.sum()
    slack = ROUNDING * np.abs(values).max(0)
    # where the mean lies among the resampled ones; ties count half
    below = ((means < mean - slack).mean(0) + (means <= mean + slack).mean(0)) / 2
    bias = normal.ppf(np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means)))
    acceleration = _acceleration(values, weights, slack)
    low, high = mean.copy(), mean.copy()
    spread = np.flatnonzero(np.ptp(values, axis=0) > slack)
    for ends, level in ((low, alpha / 2), (high, 1 - alpha / 2)):
        shifted = bias + normal.ppf(level)
        with np.errstate(divide="ignore"):
            share = normal.cdf(bias + shifted / (1 - acceleration * shifted))
        for column in spread:
            ends[column] = np.percentile(means[:, column], 100 * share[column])
    return low, high


def _acceleration(values: np.ndarray, weights: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """(columns,) skewness of the jackknife over 6; 0 where leaving a block out changes nothing."""
    if len(values) == 1:
        return np.zeros(values.shape[1])
    total = weights @ values
    left_out = (total - values * weights[:, None]) / (weights.sum() - weights)[:, None]
    influence = left_out.mean(0) - left_out
    squares = (influence**2).sum(0)
    flat = squares <= (slack / len(values)) ** 2 * len(values)
    return np.where(flat, 0.0, (influence**3).sum(0) / (6 * np.where(flat, 1.0, squares) ** 1.5))


def scipy_stats() -> Any:
    """The module `scipy.stats`, imported when first needed.

    Raises:
        UsageError: SciPy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise UsageError(
            "Statistics need SciPy, which is not installed.", "Run: pip install 'vit-xai[bench]'"
        ) from error
    return stats


@dataclass(frozen=True)
class Band:
    """A mean curve. The interval holds point by point, not for the curve as a whole.

    Args:
        fractions: (points,) share of units removed or inserted.
        mean: (points,).
        low: (points,) lower ends of the BCa bootstrap intervals.
        high: (points,) upper ends.
        images: That were averaged.
    """

    fractions: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    images: int


def mean_curve(
    curves: np.ndarray,
    fractions: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    weights: Weights = "groups",
    alpha: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
) -> Band:
    """Average curves over images, or over groups of images, and bootstrap every point.

    Args:
        curves: (images, points); an image with NaN is left out.
        fractions: (points,) where the values lie.
        groups: (images,) what each image is a frame or crop of; None: images are independent.
        weights: What counts once in a mean: "groups" or "images".
        alpha: The intervals cover 1 − alpha.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    blocks = Blocks.of(curves, groups, weights)
    places = tuple(float(fraction) for fraction in fractions)
    if not blocks.images or blocks.values.shape[1] < len(places):
        nothing = (float("nan"),) * len(places)
        return Band(places, nothing, nothing, nothing, 0)
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    means = resampled_means(blocks.values, blocks.weights, resamples, rng)
    low, high = bca(blocks.values, blocks.weights, means, alpha)
    return Band(
        places,
        tuple(blocks.mean().tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        blocks.images,
    )
