"""The order of units by relevance with numpy alone, as `xai.perturb.rank_units` gives it with torch."""

from functools import lru_cache

import numpy as np


def order_of_units(relevance: np.ndarray, seed: int | None) -> np.ndarray:
    """Places of the units, the most relevant first.

    Args:
        relevance: (units,) without NaN.
        seed: Units of equal relevance are put in a random order, the same for equal seeds; None keeps them
            in the order of their positions.

    Returns:
        (units,) int64; a permutation.
    """
    values = relevance + 0.0  # −0 becomes 0, so that both tie
    if seed is None:
        return np.argsort(-values, kind="stable")
    shuffle = shuffled_units(len(values), seed)
    return shuffle[np.argsort(-values[shuffle], kind="stable")]


TOP = 0.1  # share of the patches: the strongest ones


def top_shares(rows: np.ndarray) -> np.ndarray:
    """How much of each unit of maps (N, P) is among the strongest tenth; ties for its last place share it."""
    count = max(1, round(TOP * rows.shape[1]))
    least = np.partition(rows, -count, axis=1)[:, -count, None]
    above, at = rows > least, rows == least
    return above + at * (count - above.sum(1, keepdims=True)) / at.sum(1, keepdims=True)


@lru_cache(maxsize=1)  # all maps of one image share theirs
def shuffled_units(units: int, seed: int) -> np.ndarray:
    """(units,) int64: the permutation that `torch.randperm` draws on the CPU with a generator of this seed.

    Both draw from the Mersenne Twister: unit i changes places with one of those from i on.
    """
    drawn = np.random.RandomState(seed % 2**32).randint(0, 2**32, max(units - 1, 0), np.uint32)
    steps = (drawn % np.arange(units, 1, -1, dtype=np.uint32)).tolist()
    order = list(range(units))
    for place, step in enumerate(steps):
        order[place], order[place + step] = order[place + step], order[place]
    return np.array(order, np.int64)
