"""Whether rankings agree: between operators, protocols, metrics, halves of images; and whether maps do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from xai.core import UsageError, derive_seed
from xai.stats.blocks import Blocks, Weights
from xai.stats.ranktests import average_ranks
from xai.stats.results import Agreement, SplitHalf

HELD = 2**21  # random numbers held at a time


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
    groups: Sequence[str] | np.ndarray | None = None,
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
    (found,) = split_halves([(values, groups)], weights=weights, splits=splits, alpha=alpha, seed=seed)
    return found


def split_halves(
    tables: Iterable[tuple[np.ndarray, Sequence[str] | np.ndarray | None]],
    *,
    weights: Weights = "groups",
    splits: int = 1000,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[SplitHalf]:
    """What `split_half` says of each (values, groups); tables of equally many blocks share their splits."""
    blocks = [Blocks.of(values, groups, weights) for values, groups in tables]
    tau: dict[int, list[np.ndarray]] = {place: [] for place in range(len(blocks))}
    counts = [len(one.values) for one in blocks]
    for count in sorted(set(counts) - {0, 1}):
        same = [place for place, one in enumerate(counts) if one == count]
        for first in _halves(count, splits, seed):
            for place in same:
                means = _means(first, blocks[place]), _means(~first, blocks[place])
                tau[place].append(tau_b(*means))
    return [_split_half(tau[place], counts[place], alpha) for place in range(len(blocks))]


def _split_half(parts: Sequence[np.ndarray], count: int, alpha: float) -> SplitHalf:
    tau = np.concatenate([np.empty(0), *parts])
    tau = tau[np.isfinite(tau)]
    if not len(tau):
        nan = float("nan")
        return SplitHalf(nan, nan, nan, 0, count)
    low, high = np.quantile(tau, [alpha / 2, 1 - alpha / 2])
    return SplitHalf(float(tau.mean()), float(low), float(high), len(tau), count)


def _halves(count: int, splits: int, seed: int) -> Iterator[np.ndarray]:
    """(some, count) bool, some splits at a time: what falls into the first half."""
    rng = np.random.default_rng(derive_seed(seed, "split_half"))
    # of an odd number the one too many falls on either side, as drawn after all splits
    after = np.random.default_rng(derive_seed(seed, "split_half"))
    after.bit_generator.advance(splits * count)  # type: ignore[attr-defined] # one step a number
    sizes = count // 2 + after.integers(0, 1 + count % 2, splits)
    chunk = max(1, HELD // count)
    for start in range(0, splits, chunk):
        size = sizes[start : start + chunk]
        numbers = rng.random((len(size), count))
        last = np.partition(numbers, (count // 2 - 1, count // 2), axis=1)[np.arange(len(size)), size - 1]
        yield numbers <= last[:, None]


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


def map_agreement(maps: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every pair of maps, ties at their mean rank.

    Args:
        maps: (M, P), a row per map, of the same P patches.

    Returns:
        (M, M) float64, symmetric, 1 on the diagonal; NaN in the row and column of a map that has no order:
        a constant one, or one that holds NaN.
    """
    units = unit_ranks(np.asarray(maps))
    agreement = np.clip(units @ units.T, -1, 1)
    np.fill_diagonal(agreement, np.where(np.isfinite(units[:, 0]), 1.0, np.nan))
    return agreement


def unit_ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks of each row, ties at their mean, centred and of length 1: products are Spearman's correlations.

    Args:
        rows: (M, P).

    Returns:
        (M, P) float64; NaN in a row that has no order: a constant one, or one that holds NaN.
    """
    if not len(rows):
        return np.zeros(rows.shape)
    ranks = np.stack([_ranks(row) for row in rows])
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    return np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0)


def disagreement(agreement: np.ndarray, chosen: np.ndarray) -> float:
    """1 − mean rank correlation between the chosen maps; NaN where no two of them can be compared.

    Args:
        agreement: (M, M), see `map_agreement`.
        chosen: (M,) bool, or indices: the maps that count.
    """
    among = agreement[chosen][:, chosen]
    pairs = among[np.triu_indices(len(among), k=1)]
    pairs = pairs[np.isfinite(pairs)]
    return float(1 - pairs.mean()) if len(pairs) else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties at their mean; NaN everywhere if a value has no rank."""
    if np.isnan(values).any():
        return np.full(values.shape, np.nan)
    return average_ranks(values) - 1
