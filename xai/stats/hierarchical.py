"""Means over several models, each measured on sources of its own: bootstrap over models, then over sources.

Images of one source, and sources of one model, are no independent draws: an interval that resampled images
alone would speak of these very models. Two-stage bootstrap of nested data: Davison & Hinkley 1997,
*Bootstrap Methods and their Application*, section 3.8; Saravanan et al. 2020 (arXiv 2007.07797).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.core import UsageError, derive_seed
from xai.stats.bootstrap import resampled_means


@dataclass(frozen=True, eq=False)
class HierarchicalMeans:
    """Means of columns with percentile intervals; each array is (columns,).

    Args:
        mean: Over models, of means over sources, of means over images: models and sources count alike.
        low: Lower end; NaN of a single model, which says nothing of others.
        high: Upper end.
        resampled: (resamples, columns) of the bootstrap.
        models: How many.
        sources: How many, of all models.
        images: How many.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    resampled: np.ndarray
    models: int
    sources: int
    images: int


def hierarchical_means(
    values: np.ndarray,
    models: Sequence[str],
    sources: Sequence[str],
    *,
    alpha: float = 0.05,
    resamples: int = 9999,
    seed: int = 0,
) -> HierarchicalMeans:
    """Bootstrap means: as many models are drawn as there are, and of each drawn one as many sources.

    What is resampled has the variance (B + mean over models of V / S) / M: B is the variance of the M models'
    means, V that of a model's S source means, both over their number, not less one. With few models that is
    too small, in B by a factor of about (M − 1) / M: over three models an interval is a lower bound of doubt.

    Args:
        values: (images, columns), finite.
        models: (images,) which model each image was shown to.
        sources: (images,) what each is a crop or frame of; the same name under two models is two sources.
        alpha: The interval covers 1 − alpha.
        resamples: How often.
        seed: Of the draws.

    Raises:
        UsageError: Lengths that differ, no image, or values that are not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not len(values) or not len(values) == len(models) == len(sources):
        raise UsageError(
            "Values are (images, columns) with a model and a source for each image, "
            f"not {values.shape} with {len(models)} models and {len(sources)} sources."
        )
    if not np.isfinite(values).all():
        raise UsageError("A value is not finite.", "Leave images out on which a row has no score.")
    levels, of_model = np.unique(np.asarray(models), return_inverse=True)
    rng = np.random.default_rng(derive_seed(seed, "hierarchical"))
    drawn = rng.integers(0, len(levels), (resamples, len(levels)))
    sums, means, counted = np.zeros((resamples, values.shape[1])), [], 0
    for model in range(len(levels)):
        mine = of_model == model
        names, of_source = np.unique(np.asarray(sources)[mine], return_inverse=True)
        images = np.bincount(of_source)
        by_source = np.zeros((len(names), values.shape[1]))
        np.add.at(by_source, of_source, values[mine])
        by_source /= images[:, None]
        # every time that the model is drawn its sources are drawn anew
        resample, _ = np.nonzero(drawn == model)
        again = resampled_means(by_source, np.ones(len(names)), len(resample), rng)
        np.add.at(sums, resample, again)
        means.append(by_source.mean(0))
        counted += len(names)
    resampled = sums / len(levels)
    mean = np.mean(means, 0)
    low, high = np.percentile(resampled, [50 * alpha, 100 - 50 * alpha], axis=0)
    if len(levels) < 2:
        low = high = np.full(values.shape[1], np.nan)
    return HierarchicalMeans(mean, low, high, resampled, len(levels), counted, len(values))
