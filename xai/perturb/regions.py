"""Random contiguous regions of cells: what stands beside a region whose removal is asked about."""

import numpy as np
from numpy.typing import NDArray

Regions = NDArray[np.bool_]


def grown_order(allowed: Regions, pieces: np.ndarray, rng: np.random.Generator) -> NDArray[np.int32]:
    """The order in which random regions grow over a grid: the first k cells of one are a region of k cells.

    A region starts from as many random cells as it is to have pieces and takes in neighbours (above, below,
    left, right) after waiting times that are exponential and independent: first-passage percolation, by
    which a region of any size is contiguous (Richardson 1973, doi 10.1017/S0305004100077288; pieces that meet
    become one). Where a region cannot grow on, it starts anew from a random cell.

    Args:
        allowed: (R, rows, cols) cells that a region may take in.
        pieces: (R,) cells to start from; no more than are allowed.
        rng: Source of every random choice.

    Returns:
        (R, rows, cols), each a permutation of the cells' ranks; cells not allowed come last.
    """
    count, cells = len(allowed), allowed[0].size
    flat = allowed.reshape(count, cells)
    chance = np.where(flat, rng.random((count, cells)), np.inf)
    first = chance.argsort(1).argsort(1)  # a random order of the allowed cells
    wait = rng.exponential(size=allowed.shape)
    arrival = np.where(first < np.maximum(pieces, 1)[:, None], 0.0, np.inf).reshape(allowed.shape)
    while True:
        arrival = _settled(arrival, wait, allowed)
        reached = np.isfinite(arrival).reshape(count, cells)
        left = np.where(flat & ~reached, chance, np.inf)
        stuck = np.flatnonzero(np.isfinite(left).any(1))
        if not len(stuck):
            break
        last = np.where(reached[stuck], arrival.reshape(count, cells)[stuck], 0).max(1)
        arrival.reshape(count, cells)[stuck, left[stuck].argmin(1)] = last + 1
    times = arrival.reshape(count, cells)
    # cells that start together, and those not allowed, are in random order
    order = np.lexsort((rng.random((count, cells)), times), axis=1)
    ranks = np.empty((count, cells), np.int32)
    np.put_along_axis(ranks, order, np.arange(cells, dtype=np.int32)[None].repeat(count, 0), axis=1)
    return ranks.reshape(allowed.shape)


def count_pieces(regions: Regions) -> NDArray[np.int64]:
    """(R,) in how many pieces regions (R, rows, cols) lie, cells that share a side being of one."""
    count, cells = len(regions), regions[0].size
    own = np.arange(cells, dtype=float).reshape(regions.shape[1:])
    lowest = _settled(np.where(regions, own, np.inf), np.zeros(regions.shape), regions)
    return ((lowest == own) & regions).reshape(count, cells).sum(1)


def _settled(arrival: np.ndarray, wait: np.ndarray, allowed: Regions) -> np.ndarray:
    """Earliest times at which allowed cells are reached from a neighbour, each after its own wait."""
    while True:
        wide = np.pad(arrival, ((0, 0), (1, 1), (1, 1)), constant_values=np.inf)
        near = np.minimum(
            np.minimum(wide[:, :-2, 1:-1], wide[:, 2:, 1:-1]),
            np.minimum(wide[:, 1:-1, :-2], wide[:, 1:-1, 2:]),
        )
        earlier = np.where(allowed, np.minimum(arrival, near + wait), np.inf)
        if np.array_equal(earlier, arrival):
            return earlier
        arrival = earlier
