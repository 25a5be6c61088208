"""How far the maps of one image agree: rank correlation of every pair of methods. Needs numpy only."""

import numpy as np


def map_agreement(maps: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every pair of maps, ties at their mean rank.

    Args:
        maps: (M, P), a row per map, of the same P patches.

    Returns:
        (M, M) float64, symmetric, 1 on the diagonal; NaN in the row and column of a map that has no order:
        a constant one, or one that holds NaN.
    """
    ranks = np.stack([_ranks(row) for row in np.asarray(maps)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1))
    length[length == 0] = np.nan
    agreement = np.clip(centred @ centred.T / np.outer(length, length), -1, 1)
    np.fill_diagonal(agreement, np.where(np.isfinite(length), 1.0, np.nan))
    return agreement


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
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]
