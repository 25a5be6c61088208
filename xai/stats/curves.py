"""Mean curves over images, with an interval at every point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.core import derive_seed
from xai.stats.asymptotic import expanded_ends, holds
from xai.stats.blocks import Blocks, Weights
from xai.stats.bootstrap import (
    LEAST_BLOCKS,
    ROUNDING,
    Columns,
    bca,
    bca_ends,
    drawn_counts,
    resampled_means,
)


@dataclass(frozen=True)
class Band:
    """A mean curve. The interval holds point by point, not for the curve as a whole.

    Args:
        fractions: (points,) share of units removed or inserted.
        mean: (points,).
        low: (points,) lower ends of the BCa bootstrap intervals; NaN of fewer than `LEAST_BLOCKS`.
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


class Draws:
    """Which blocks of images are drawn, for all curves of the same images; what grows with the images.

    Args:
        images: How many.
        groups: (images,) what each image is a frame or crop of; None: images are independent.
        resamples: Of the bootstrap; 0: none are drawn, see `xai.stats.asymptotic`.
        seed: Of the bootstrap.
    """

    def __init__(self, images: int, groups: np.ndarray | None, *, resamples: int, seed: int):
        self.resamples = resamples
        if groups is None:
            self.block, self.sizes = np.arange(images), np.ones(images, int)
        else:
            _, self.block, self.sizes = np.unique(groups, return_inverse=True, return_counts=True)
        rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
        self._counts = [
            # nearly always one byte for each count
            (start, np.ascontiguousarray(counts.T.astype(np.min_scalar_type(counts.max()))))
            for start, counts in drawn_counts(len(self.sizes), resamples, rng)
        ]

    def add_sums(self, sums: np.ndarray, blocks: np.ndarray, values: np.ndarray) -> None:
        """Add to (resamples, columns) sums what (k,) blocks with (k, columns) values give."""
        for start, counts in self._counts:
            drawn = counts[blocks].astype(values.dtype)
            sums[start : start + drawn.shape[1]] += drawn.T @ values


class MeanCurves:
    """Mean curves of images that arrive a few at a time: the numbers of `mean_curve` up to rounding.

    Sums are kept, not curves, and the curves of images whose group is not complete yet.

    Args:
        draws: Of the same images.
        columns: Numbers that arrive of each image: points, of all curves.
    """

    def __init__(self, draws: Draws, columns: int):
        self._draws = draws
        self._partly: dict[int, tuple[int, np.ndarray]] = {}  # block → images that arrived, and their sum
        self._count = 0
        self._shift = np.zeros(columns)  # a value of each column: differences to it are summed
        self._powers = np.zeros((3, columns))
        self._ends = np.full((2, columns), [[np.inf], [-np.inf]])
        self._sums = np.zeros((draws.resamples, columns))

    def add(self, images: np.ndarray, values: np.ndarray) -> None:
        """Take (k,) images, each of which arrives once, with (k, columns) finite values."""
        blocks = self._draws.block[images]
        if (self._draws.sizes[blocks] == 1).all():
            self._take(blocks, values)
            return
        order = np.argsort(blocks, kind="stable")
        blocks, starts, counts = np.unique(blocks[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(values[order], starts, axis=0)
        for place, block in enumerate(blocks):
            if block in self._partly:
                before, partly = self._partly.pop(block)
                counts[place] += before
                sums[place] += partly
        sizes = self._draws.sizes[blocks]
        for place in np.flatnonzero(counts < sizes):
            self._partly[blocks[place]] = (counts[place], sums[place].copy())
        whole = counts == sizes
        if whole.any():
            self._take(blocks[whole], sums[whole] / sizes[whole, None])

    def _take(self, blocks: np.ndarray, values: np.ndarray) -> None:
        if not self._count:
            self._shift = values[0].copy()
        self._count += len(blocks)
        self._ends[0] = np.minimum(self._ends[0], values.min(0))
        self._ends[1] = np.maximum(self._ends[1], values.max(0))
        apart = values - self._shift
        power = apart
        for number in range(3):
            self._powers[number] += power.sum(0)
            power = power * apart
        self._draws.add_sums(self._sums, blocks, apart)

    def bands(self, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Mean and both ends of the interval, each (columns,), when all images have arrived.

        Args:
            alpha: The intervals cover 1 − alpha.

        Returns:
            None if nothing was drawn and these curves need it.
        """
        blocks = self._count
        first, second, third = self._powers
        mean = first / blocks
        if blocks < LEAST_BLOCKS:
            nothing = np.full(len(mean), np.nan)
            return self._shift + mean, nothing, nothing
        # central moments; leaving out a block moves the mean by its distance / (blocks − 1)
        squares = np.maximum(second - blocks * mean**2, 0) / (blocks - 1) ** 2
        cubes = (third - 3 * mean * second + 2 * blocks * mean**3) / (blocks - 1) ** 3
        slack = ROUNDING * np.abs(self._ends).max(0)
        varies = self._ends[1] - self._ends[0] > slack
        most = ((self._ends - self._shift - mean) ** 2).max(0) / (blocks - 1) ** 2
        columns = Columns.of_moments(self._shift + mean, slack, varies, squares, cubes, most, blocks)
        if not self._draws.resamples:
            return (columns.mean, *expanded_ends(columns, alpha)) if holds(columns, blocks) else None
        low, high = bca_ends(columns, self._shift + self._sums / blocks, alpha)
        return columns.mean, low, high
