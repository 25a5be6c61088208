"""Means, spreads and differences of many maps, and whether those of a video flicker.

Maps are summed up by blocks of groups, so that memory stays flat. Images of one group (frames of a video,
crops of a photograph) are not independent: intervals and tests resample or leave out whole groups. Up to
`MOST` groups are blocks of their own; of more, several share a block at random, which keeps intervals and
tests valid ("random groups", Wolter 2007, chapter 2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from xai.core import derive_seed
from xai.stats.agreement import unit_ranks
from xai.stats.bootstrap import bca, resampled_means, scipy_special

Cell = tuple[str | None, ...]
MOST = 200  # blocks
FEW = 10  # blocks under which nothing is tested

SHUFFLES = 999
WORK = 2_000_000  # pairs compared in all shuffles, at the most
LEAST_SHUFFLES = 199
LEAST_FRAMES = 5  # of fewer there are too few orders for a control


class BlockNumbers:
    """Numbers groups: the first `MOST` in the order they come, the others by a hash of their names."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    @property
    def count(self) -> int:
        """Groups that came, at most `MOST`."""
        return len(self._known)

    def of(self, group: str) -> int:
        """The block of a group, always the same."""
        found = self._known.get(group)
        if found is None:
            if len(self._known) >= MOST:
                return (
                    int.from_bytes(blake2b(group.encode("utf-8", "replace"), digest_size=8).digest()) % MOST
                )
            found = self._known[group] = len(self._known)
        return found


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over images.

    Args:
        squares: (width,) sum of squares.
        counts: (blocks,) images of each block that has any.
        sums: (blocks, width).
        blocks: (blocks,) their numbers, ascending.
    """

    squares: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    blocks: np.ndarray

    @property
    def images(self) -> int:
        """That were summed."""
        return int(self.counts.sum())

    @property
    def mean(self) -> np.ndarray:
        """(width,); every image counts once."""
        return self.sums.sum(0) / max(self.images, 1)

    @property
    def spread(self) -> np.ndarray:
        """(width,) standard deviation over images; NaN of a single one."""
        n = self.images
        if n < 2:
            return np.full(len(self.squares), np.nan)
        return np.sqrt(np.maximum(self.squares - n * self.mean**2, 0.0) / (n - 1))

    def interval(self, resamples: int, alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(width,) lower and upper ends of the BCa bootstrap interval of the mean, blocks resampled whole.

        NaN of fewer than `LEAST_BLOCKS` blocks.
        """
        values, weights = self.sums / self.counts[:, None], self.counts.astype(np.float64)
        random = np.random.default_rng(derive_seed(seed, "survey"))
        return bca(values, weights, resampled_means(values, weights, resamples, random), alpha)


class CellTotals:
    """Sums of vectors, by cell (such as label, answer and kind) and by block.

    Args:
        blocks: Numbers the groups; shared by all totals of a survey.
    """

    def __init__(self, blocks: BlockNumbers):
        self._blocks = blocks
        self._sums: dict[tuple[Cell, int], tuple[int, np.ndarray]] = {}
        self._squares: dict[Cell, np.ndarray] = {}

    def add(self, cell: Cell, group: str, values: np.ndarray) -> None:
        """Add the vector of one image."""
        values = np.asarray(values, np.float64)
        key = cell, self._blocks.of(group)
        count, sums = self._sums.get(key, (0, 0.0))
        self._sums[key] = count + 1, sums + values
        self._squares[cell] = self._squares.get(cell, 0.0) + values**2

    @property
    def cells(self) -> list[Cell]:
        """In the order they came."""
        return list(self._squares)

    def of(self, wanted: Callable[[Cell], bool] = lambda cell: True) -> Totals | None:
        """Of all cells that are wanted together; None where there are none."""
        chosen = [cell for cell in self._squares if wanted(cell)]
        if not chosen:
            return None
        counts: dict[int, int] = {}
        sums: dict[int, np.ndarray] = {}
        for (cell, block), (count, values) in self._sums.items():
            if wanted(cell):
                counts[block] = counts.get(block, 0) + count
                sums[block] = sums.get(block, 0.0) + values
        order = sorted(counts)
        return Totals(
            np.sum([self._squares[cell] for cell in chosen], axis=0),
            np.array([counts[block] for block in order]),
            np.stack([sums[block] for block in order]),
            np.array(order),
        )


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """Difference of two means, cell by cell.

    Args:
        value: (width,) first − second.
        p: (width,) two-sided, by Benjamini and Hochberg (1995) over all cells; None where nothing is tested.
        blocks: That the test leaves out by turns.
    """

    value: np.ndarray
    p: np.ndarray | None
    blocks: int


def mean_difference(first: Totals, second: Totals) -> MeanDifference:
    """Difference of two means, and a test of every cell of it that respects groups.

    The standard error is the jackknife's that leaves out one block after the other, in both at once where it
    has images of both; the test is Student's with one degree of freedom less than blocks (MacKinnon, Nielsen,
    Webb 2023: the estimator CV3). A mean of no images, or fewer than `FEW` blocks, is not tested.
    """
    value = first.mean - second.mean
    blocks = np.union1d(first.blocks, second.blocks)
    left_out = [_without_each(one, blocks) for one in (first, second)]
    if len(blocks) < FEW or any(counts.min() == 0 for counts, _ in left_out):
        return MeanDifference(value, None, len(blocks))
    (a, sums_a), (b, sums_b) = left_out
    return MeanDifference(value, _adjusted(value, sums_a / a[:, None] - sums_b / b[:, None]), len(blocks))


def mean_of_differences(differences: Totals) -> MeanDifference:
    """The same of paired images, whose differences were summed: whether their mean is zero."""
    blocks = differences.blocks
    counts, sums = _without_each(differences, blocks)
    if len(blocks) < FEW or counts.min() == 0:
        return MeanDifference(differences.mean, None, len(blocks))
    return MeanDifference(differences.mean, _adjusted(differences.mean, sums / counts[:, None]), len(blocks))


def map_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Half the summed absolute difference of two maps, each divided by its summed absolute relevance.

    0 where they are the same but for their scale; 1 where they have no place in common, or everywhere
    opposite signs, or where one of them is zero.
    """
    sums = np.abs(a).sum(), np.abs(b).sum()
    return float(np.abs(a / sums[0] - b / sums[1]).sum() / 2) if all(sums) else 1.0


def adjusted_p(values: np.ndarray) -> np.ndarray:
    """P by Benjamini and Hochberg (1995): of those under α, a share of at most α is expected to be false."""
    p = np.asarray(values, np.float64)
    order = np.argsort(p)[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    found = np.empty_like(p)
    found[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return found


def _without_each(totals: Totals, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(blocks,) images and (blocks, width) sums without each of these blocks."""
    counts, sums = np.zeros(len(blocks)), np.zeros((len(blocks), totals.sums.shape[1]))
    places = np.searchsorted(blocks, totals.blocks)
    counts[places], sums[places] = totals.counts, totals.sums
    return counts.sum() - counts, sums.sum(0) - sums


def _adjusted(value: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Adjusted p of estimates, from the estimates without each block."""
    blocks = len(without)
    error = np.sqrt((blocks - 1) / blocks * ((without - without.mean(0)) ** 2).sum(0))
    flat = error <= 1e-12 * np.abs(value).max(initial=0.0)
    t = np.abs(value) / np.where(flat, 1.0, error)
    p = 2 * scipy_special().stdtr(blocks - 1, -t)
    return adjusted_p(np.where(flat, 1.0, p))


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
