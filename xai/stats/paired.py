"""Two series of scores of the same images, such as one method in two runs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xai.core import UsageError, derive_seed
from xai.stats.blocks import Blocks, Weights
from xai.stats.bootstrap import bca, resampled_means
from xai.stats.ranktests import holm, signed_rank, smallest_p
from xai.stats.reference import shifted_p
from xai.stats.results import Comparison
from xai.stats.verdict import Verdict


def compare_paired(
    a: np.ndarray,
    b: np.ndarray,
    groups: Sequence[str] | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    higher_is_better: bool = True,
    weights: Weights = "groups",
    alpha: float = 0.05,
    resamples: int = 9999,
    seed: int = 0,
    tolerance: float = 0.0,
) -> Comparison:
    """Compare two series image by image.

    Args:
        a: (images,) scores; NaN where there is none.
        b: (images,) scores of the same images, in the same order.
        groups: (images,) what each image is a frame or crop of; None: images are independent.
        names: Of the two, for the verdict.
        higher_is_better: Direction of the metric.
        weights: What counts once in a mean: "groups" or "images".
        alpha: Level of test and interval.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        tolerance: How far the precision of the scores could have shifted their mean difference.

    Raises:
        UsageError: The series differ in length, or have no image in common with both scores.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise UsageError(
            f"Two series of scores of the same images are compared, not of shapes {a.shape} and {b.shape}."
        )
    blocks = Blocks.of(np.stack([a, b], 1), groups, weights)
    if blocks.values.shape[1] < 2 or not blocks.images:
        raise UsageError("No image has a score in both series.")
    # the difference is averaged as such, so that rounding cannot make equal scores differ
    both = np.isfinite(a) & np.isfinite(b)
    difference = Blocks.of(
        (a - b)[both][:, None], None if groups is None else list(_only(groups, both)), weights
    )
    values = difference.values
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    resampled = resampled_means(values, difference.weights, resamples, rng)
    low, high = bca(values, difference.weights, resampled, alpha)
    sign = 1 if higher_is_better else -1
    test, allowed = signed_rank(sign * values[:, 0]), None
    if tolerance:
        allowed = shifted_p(lambda by: signed_rank(sign * values[:, 0] - by), test.side, tolerance)
    verdict = Verdict(
        other=names[1],
        p=test.p,
        side=test.side,
        superiority=test.superiority,
        difference=sign * test.median + 0.0,  # no negative zero
        blocks=len(values),
        unit=blocks.unit,
        alpha=alpha,
        smallest_p=smallest_p(len(values)),
        identical=bool((a[both] == b[both]).all()),
        imprecise=allowed is not None and test.p < alpha <= allowed,
    )
    first, second = blocks.mean().tolist()
    return Comparison(
        names=names,
        means=(first, second),
        difference=float(difference.mean()[0]),
        low=float(low[0]),
        high=float(high[0]),
        images=blocks.images,
        excluded=blocks.excluded,
        verdict=verdict,
        tolerance=tolerance if np.isfinite(tolerance) else None,
        p_allowed=allowed,
    )


def adjust(comparisons: Sequence[Comparison], *, alpha: float = 0.05) -> list[Comparison]:
    """The same comparisons with Holm's correction over all of them.

    Args:
        comparisons: From `compare_paired`.
        alpha: Level of the tests.
    """
    adjusted = holm(np.array([one.p for one in comparisons]))
    allowed = holm(np.array([one.p if one.p_allowed is None else one.p_allowed for one in comparisons]))
    return [
        replace(
            one,
            verdict=replace(
                one.verdict,
                p=float(p),
                alpha=alpha,
                adjusted_over=len(comparisons),
                imprecise=one.p_allowed is not None and bool(p < alpha <= other),
            ),
        )
        for one, p, other in zip(comparisons, adjusted, allowed, strict=True)
    ]


def _only(groups: Sequence[str], chosen: np.ndarray) -> list[str]:
    return [group for group, keep in zip(groups, chosen, strict=True) if keep]
