"""Whether rankings agree: between operators or protocols, between metrics, between halves of the images."""

from collections.abc import Mapping, Sequence

import numpy as np

from xai.core import UsageError, derive_seed
from xai.stats.blocks import Blocks, Weights
from xai.stats.results import Agreement, SplitHalf


def rank_stability(scores: Mapping[str, Mapping[str, float]]) -> Agreement:
    """Kendall's tau-b between the rankings of the same methods under several operators or protocols.

    Args:
        scores: Operator or protocol → method → mean score, of one metric.
    """
    return metric_agreement(scores, dict.fromkeys(scores, True))


def metric_agreement(
    scores: Mapping[str, Mapping[str, float]], higher_is_better: Mapping[str, bool]
) -> Agreement:
    """Kendall's tau-b between the rankings of the same methods by several metrics.

    Args:
        scores: Metric → method → mean score. Methods that one of two metrics lacks do not count for the two.
        higher_is_better: Direction of every metric.
    """
    missing = [name for name in scores if name not in higher_is_better]
    if missing:
        raise UsageError(f"The direction of {', '.join(missing)} is not given.")
    names = tuple(scores)
    signs = {name: 1 if higher_is_better[name] else -1 for name in names}
    tau = [[float("nan")] * len(names) for _ in names]
    shared = [[0] * len(names) for _ in names]
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            methods = [
                name
                for name in scores[one]
                if name in scores[other]
                and np.isfinite(scores[one][name])
                and np.isfinite(scores[other][name])
            ]
            shared[i][j] = len(methods)
            left = np.array([signs[one] * scores[one][name] for name in methods])
            right = np.array([signs[other] * scores[other][name] for name in methods])
            tau[i][j] = float(tau_b(left, right))
    return Agreement(names, tuple(map(tuple, tau)), tuple(map(tuple, shared)))


def split_half(
    values: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    weights: Weights = "groups",
    splits: int = 1000,
    alpha: float = 0.05,
    seed: int = 0,
) -> SplitHalf:
    """Split the images (or groups) at random into halves, again and again, and compare the two rankings.

    Args:
        values: (images, methods) scores of one metric; images without a score of some method are left out.
        groups: (images,) what each image is a frame or crop of; groups are never split.
        weights: What counts once in a mean: "groups" or "images".
        splits: How often.
        alpha: The interval holds 1 − alpha of the splits.
        seed: Of the splits.
    """
    blocks = Blocks.of(values, groups, weights)
    count, methods = blocks.values.shape
    if count < 2 or methods < 2:
        nan = float("nan")
        return SplitHalf(nan, nan, nan, 0, count)
    rng = np.random.default_rng(derive_seed(seed, "split_half"))
    first = np.zeros((splits, count), bool)
    order = np.argsort(rng.random((splits, count)), axis=1)
    # of an odd number the one too many falls on either side
    sizes = count // 2 + rng.integers(0, 1 + count % 2, splits)
    np.put_along_axis(first, order, np.arange(count) < sizes[:, None], axis=1)
    tau = tau_b(_means(first, blocks), _means(~first, blocks))
    tau = tau[np.isfinite(tau)]
    if not len(tau):
        nan = float("nan")
        return SplitHalf(nan, nan, nan, 0, count)
    low, high = np.quantile(tau, [alpha / 2, 1 - alpha / 2])
    return SplitHalf(float(tau.mean()), float(low), float(high), len(tau), count)


def tau_b(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kendall's tau-b along the last axis, ties accounted for; NaN where one of the two is flat.

    Args:
        first: (…, methods).
        second: (…, methods).
    """
    i, j = np.triu_indices(first.shape[-1], 1)
    one = np.sign(first[..., i] - first[..., j])
    other = np.sign(second[..., i] - second[..., j])
    untied = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    with np.errstate(invalid="ignore"):
        return np.divide((one * other).sum(-1), untied, out=np.full(untied.shape, np.nan), where=untied > 0)


def _means(chosen: np.ndarray, blocks: Blocks) -> np.ndarray:
    """(splits, methods) weighted means of the chosen blocks."""
    weights = chosen * blocks.weights
    return weights @ blocks.values / weights.sum(1, keepdims=True)
