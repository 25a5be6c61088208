"""Whether the maps of neighbouring frames are more alike than those of frames drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.core import derive_seed
from xai.stats.agreement import unit_ranks

SHUFFLES = 999
WORK = 2_000_000  # pairs compared in all shuffles, at the most
LEAST_SHUFFLES = 199
LEAST_FRAMES = 5  # of fewer there are too few orders for a control


@dataclass(frozen=True)
class Flicker:
    """Spearman's rank correlation of each map with the one before it, and the same in random orders.

    Args:
        pairs: (frames − 1,) of neighbours; None where one of the two maps is constant.
        mean: Of them; NaN where there is none.
        control: Mean over random orders of the same frames: what unrelated frames of this video agree by.
        low: The 2.5 % quantile of the mean over random orders.
        high: The 97.5 % quantile.
        p: How often a random order agrees as much or more, the order as it is counted among them; NaN of
            too few frames.
        shuffles: Random orders.
    """

    pairs: tuple[float | None, ...]
    mean: float
    control: float
    low: float
    high: float
    p: float
    shuffles: int

    @property
    def steadier_than_chance(self) -> bool | None:
        """Whether neighbours agree more than random pairs, at 5 %; None of too few frames."""
        return None if np.isnan(self.p) else self.p <= 0.05


def map_flicker(maps: Sequence[np.ndarray] | np.ndarray, seed: int = 0) -> Flicker:
    """Agreement of consecutive maps, against random orders of the same maps.

    If the maps of a video change with what it shows, neighbours are alike and random pairs less so. A method
    (or a model) whose maps jump from frame to frame gives neighbours that agree no more than any two frames:
    it flickers. The control keeps the maps and takes away their order, so that what all frames share (a face
    in the middle) counts on both sides. A constant map has no order of patches: its pairs are left out.

    Args:
        maps: (frames, rows, cols) in the order of the frames.
        seed: Of the random orders.
    """
    ranks = unit_ranks(np.asarray(maps, np.float64).reshape(len(maps), -1))
    known = np.flatnonzero(np.isfinite(ranks[:, 0])) if len(ranks) else np.empty(0, int)
    agreement = (ranks[:-1] * ranks[1:]).sum(1).clip(-1, 1)
    pairs = tuple(float(one) if np.isfinite(one) else None for one in agreement)
    found = [one for one in pairs if one is not None]
    mean = float(np.mean(found)) if found else float("nan")
    if len(known) < LEAST_FRAMES or not found:
        nan = float("nan")
        return Flicker(pairs, mean, nan, nan, nan, nan, 0)
    usable = ranks[known]
    rng = np.random.default_rng(derive_seed(seed, "flicker"))
    shuffles = int(np.clip(WORK // len(usable), LEAST_SHUFFLES, SHUFFLES))
    means = np.empty(shuffles)
    for place in range(shuffles):
        mixed = usable[rng.permutation(len(usable))]
        means[place] = np.einsum("ij,ij->i", mixed[:-1], mixed[1:]).mean()
    low, high = np.quantile(means, [0.025, 0.975])
    p = (1 + np.sum(means >= mean - 1e-9)) / (1 + shuffles)
    return Flicker(pairs, mean, float(means.mean()), float(low), float(high), float(p), shuffles)
