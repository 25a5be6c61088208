"""Mean curves of a metric, with the interval of the mean at every point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.core import derive_seed
from xai.stats.blocks import Blocks, Weights
from xai.stats.bootstrap import bca, resampled_means


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
