"""What the bootstrap of very many blocks comes to, without drawing: its limit, and the first term beyond.

The resampled mean of n blocks is distributed as an Edgeworth series in powers of n^-1/2 says (Hall 1992, The
Bootstrap and Edgeworth Expansion). The quantiles of this series, by Cornish and Fisher, and the bias
correction of a mean, which equals its acceleration (Efron 1987), give the ends of the BCa interval but for
terms of order 1/n in standard errors. Ends from thousands of resamples scatter around them by a few
hundredths of a standard error.
"""

import numpy as np

from xai.stats.bootstrap import Columns, scipy_special

LARGE = 20_000  # blocks: from here on blocks are not drawn
SHARE = 1 / 400  # of the sum of squares that one block may have: few blocks must not decide the mean


def holds(columns: Columns, blocks: int) -> bool:
    """Whether the expansion is as good as thousands of resamples for every column.

    It needs many blocks of which none counts for much (Lindeberg's condition): with at most a share s of the
    sum of squares each, the terms left out are below 2 s standard errors, and the steps of a score that has
    few values are below sqrt(s).
    """
    return blocks >= LARGE and bool((columns.largest[columns.varies] <= SHARE).all())


def expanded_ends(columns: Columns, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The BCa interval of `bca_ends`, in the limit of infinitely many resamples.

    Args:
        columns: Of blocks of equal weights for which the expansion `holds`.
        alpha: The interval covers 1 − alpha.

    Returns:
        Lower and upper ends, each (columns,).
    """
    skew, ends = columns.acceleration, []  # a sixth of the skewness of the mean; its bias correction too
    for level in (alpha / 2, 1 - alpha / 2):
        shifted = skew + scipy_special().ndtri(level)
        place = skew + shifted / (1 - skew * shifted)
        distance = columns.error * (place + skew * (place**2 - 1))
        ends.append(np.where(columns.varies, columns.mean + distance, columns.mean))
    return ends[0], ends[1]


def drawn_sums(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Resampled sums of whole numbers, drawn from the normal distribution with their mean and covariance.

    Args:
        values: (blocks, columns) whole numbers, whose sums are whole too: what ties, still ties.
        resamples: How many.
        rng: Draws them.

    Returns:
        (resamples, columns).
    """
    mean = values.mean(0, dtype=float)
    apart = values - mean
    drawn = rng.multivariate_normal(len(values) * mean, apart.T @ apart, resamples, method="eigh")
    return np.rint(drawn)
