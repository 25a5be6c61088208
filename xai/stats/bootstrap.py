"""Bootstrap of means, blocks resampled whole: BCa intervals (Efron 1987), of many columns at once.

Which blocks are drawn follows from the seed and the number of blocks alone. So tables of equally many blocks
share their draws, and their resampled sums are one matrix product: counts (resamples, blocks) times values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import erfc
from statistics import NormalDist
from typing import Any

import numpy as np

from xai.core import UsageError
from xai.core.ahead import ahead

CELLS = 2**22  # counts held at a time, of two bytes
ROWS = 512  # resamples at a time, at most
DRAWN = 2**17  # blocks drawn at a time: what is counted stays in the processor's cache
SLAB = 2048  # blocks whose counts are multiplied at a time
ROUNDING = 1e-12  # of the largest value: closer values count as equal
LEAST_BLOCKS = 5  # of fewer, the ends of a 95 % interval would be the extreme blocks, and cover far less


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
    weighted = np.concatenate([values * weights[:, None], weights[:, None]], 1)
    (sums,) = resampled_sums([weighted], resamples, rng)
    return sums[:, :-1] / sums[:, -1:]


def resampled_sums(
    matrices: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Sums over blocks drawn with replacement, the same blocks for all matrices.

    Args:
        matrices: Each (blocks, columns), in the type in which it is multiplied.
        resamples: How often.
        rng: Draws the blocks.

    Returns:
        Of each matrix (resamples, columns) float64.
    """
    blocks = len(matrices[0])
    sums = [np.zeros((resamples, matrix.shape[1])) for matrix in matrices]
    types = list(dict.fromkeys(matrix.dtype for matrix in matrices))
    for start, counts in ahead(drawn_counts(blocks, resamples, rng)):
        rows = slice(start, start + len(counts))
        for low in range(0, blocks, SLAB):
            some = slice(low, low + SLAB)
            for kind in types:  # one wide product is faster than many narrow ones
                mine = [i for i, matrix in enumerate(matrices) if matrix.dtype == kind]
                joined = np.concatenate([matrices[i][some] for i in mine], 1)
                products = counts[:, some].astype(kind) @ joined
                ends = np.cumsum([matrices[i].shape[1] for i in mine])[:-1]
                for i, product in zip(mine, np.split(products, ends, axis=1), strict=True):
                    sums[i][rows] += product
    return sums


def drawn_counts(blocks: int, resamples: int, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """How often each block was drawn, some resamples at a time: number of the first, (some, blocks)."""
    chunk = min(ROWS, max(1, CELLS // max(1, blocks)))
    few = max(1, DRAWN // max(1, blocks))
    for start in range(0, resamples if blocks else 0, chunk):
        counts = np.empty((min(chunk, resamples - start), blocks), np.uint16)
        for first in range(0, len(counts), few):
            rows = min(few, len(counts) - first)
            drawn = rng.integers(0, blocks, (rows, blocks))
            drawn += np.arange(rows)[:, None] * blocks
            counted = np.bincount(drawn.ravel(), minlength=rows * blocks)
            counts[first : first + rows] = counted.reshape(rows, blocks)
        yield start, counts


@dataclass(frozen=True, eq=False)
class Columns:
    """What the BCa interval of a mean asks of the values themselves; each field is (columns,).

    Args:
        mean: Weighted mean.
        slack: Difference up to which means count as equal.
        varies: Whether the values have any spread.
        acceleration: Skewness of the jackknife over 6; 0 where leaving a block out changes nothing.
        error: Standard error of the mean of blocks of equal weights; 0 for a single one.
        largest: Share that one block has in the sum of squares, at most; 0 as for the acceleration.
    """

    mean: np.ndarray
    slack: np.ndarray
    varies: np.ndarray
    acceleration: np.ndarray
    error: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> "Columns":
        """Of (blocks, columns) values and (blocks,) weights."""
        total = weights @ values
        slack = ROUNDING * np.abs(values).max(0)
        varies = np.ptp(values, axis=0) > slack
        if len(values) < 2:
            nothing = np.zeros(values.shape[1])
            return cls(total / weights.sum(), slack, varies, nothing, nothing, nothing)
        influence = values * weights[:, None]  # large, so one array is changed step by step
        np.subtract(total, influence, out=influence)
        influence /= (weights.sum() - weights)[:, None]  # the mean without each block
        np.subtract(influence.mean(0), influence, out=influence)
        squares = influence * influence  # the operator ** is several times as slow
        influence *= squares
        mean, most, square = total / weights.sum(), squares.max(0), squares.sum(0)
        return cls.of_moments(mean, slack, varies, square, influence.sum(0), most, len(values))

    @classmethod
    def of_moments(
        cls,
        mean: np.ndarray,
        slack: np.ndarray,
        varies: np.ndarray,
        squares: np.ndarray,
        cubes: np.ndarray,
        most: np.ndarray,
        blocks: int,
    ) -> "Columns":
        """Of the sums of squares and cubes of the jackknife's influence values, and the largest square."""
        flat = squares <= (slack / blocks) ** 2 * blocks
        known = np.where(flat, 1.0, squares)
        acceleration = np.where(flat, 0.0, cubes / known**1.5) / 6
        error = np.sqrt(squares) * (blocks - 1) / blocks
        return cls(mean, slack, varies, acceleration, error, np.where(flat, 0.0, most / known))


def bca(
    values: np.ndarray, weights: np.ndarray, means: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated interval of weighted means; the acceleration is jackknifed over blocks.

    A column without any spread gives an interval of no width; fewer than `LEAST_BLOCKS` give none: NaN.

    Args:
        values: (blocks, columns).
        weights: (blocks,).
        means: (resamples, columns) from `resampled_means`.
        alpha: The interval covers 1 − alpha.

    Returns:
        Lower and upper ends, each (columns,).
    """
    if len(values) < LEAST_BLOCKS:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    return bca_ends(Columns.of(values, weights), means, alpha)


def bca_ends(columns: Columns, means: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The interval of `bca`, of `LEAST_BLOCKS` or more."""
    mean, slack = columns.mean, columns.slack
    # where the mean lies among the resampled ones; ties count half
    below = ((means < mean - slack).mean(0) + (means <= mean + slack).mean(0)) / 2
    bias = np.array(
        [NormalDist().inv_cdf(one) for one in np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means))]
    )
    low, high = mean.copy(), mean.copy()
    for ends, level in ((low, alpha / 2), (high, 1 - alpha / 2)):
        shifted = bias + NormalDist().inv_cdf(level)
        with np.errstate(divide="ignore"):
            places = bias + shifted / (1 - columns.acceleration * shifted)
        share = [erfc(-place / 2**0.5) / 2 for place in places]  # of the normal distribution
        for column in np.flatnonzero(columns.varies):
            ends[column] = np.percentile(means[:, column], 100 * share[column])
    return low, high


def scipy_special() -> Any:
    """The module `scipy.special`, imported when first needed: `scipy.stats` would take a second to import.

    Raises:
        UsageError: SciPy is not installed.
    """
    try:
        from scipy import special
    except ImportError as error:
        raise UsageError(
            "Statistics need SciPy, which is not installed.", "Run: pip install 'vit-xai[bench]'"
        ) from error
    return special
