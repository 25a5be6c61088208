"""ROAD's imputation: this build, the earlier one, and a sparse LU, state for state, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/road_solver.py

The peer is as good as scipy makes it: the weights between all pixels of a picture are assembled once, outside
of the time that counts; a state takes its rows and columns from them and calls `scipy.sparse.linalg.spsolve`
in float64, all channels at once. The same with the ordering for symmetric matrices stands beside it.
"""

import functools
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
import turns
from measure import spread
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn.functional import interpolate

from xai.perturb import make_operator

SIDE = 224
SOLVED = 5  # states of a repetition that LU solves too
TARGET = 10
CASES = {
    # units across as masks are given; where removed units lie, or the patches' pixels; states
    "patches of 16, random": (14, "random", 10),
    "patches of 16, random, 28 states": (14, "random", 28),
    "patches of 16, contiguous": (14, "contiguous", 28),
    "patches of 14, random": (16, "random", 28),
    "patches of 14, contiguous": (16, "contiguous", 10),
    "pixels ranked by a map of patches of 16": (SIDE, "16", 28),
    "pixels ranked by a map of patches of 14": (SIDE, "14", 28),
    "pixels ranked by themselves, contiguous": (SIDE, "contiguous", 10),
    "pixels ranked by themselves, random": (SIDE, "random", 10),
}

HEADER = [
    "removed: 10 to 90 % of the units",
    "states",
    "LU, ms a state",
    "earlier build, ms",
    "this build, ms",
    "LU / this build",
    "LU, symmetric ordering / this build",
    "earlier / this build",
    "largest error, earlier → this",
]
PARAGRAPHS = [
    "Pictures of 3 × 224 × 224, one thread, seconds of CPU; the two builds by turns, LU after this one "
    "in its process. Medians; ratios pair by pair with the 5th and 95th percentile. LU is scipy's "
    "`spsolve` in float64; its matrix is taken, by rows and columns, from one assembled before; all "
    "channels are right sides of one call. The last column is the largest difference to LU in shares of "
    "the picture's spread: at most 1e-4.",
    "`reports/peers` compares with grad-cam 1.5.7's imputer as it is, on masks of pixels: 11 to 12.5 "
    "times for the earlier build. That peer also assembles its matrix in Python, which LU here does not "
    "do.",
    "Where whole patches of a grid are removed, their rims are the only unknowns "
    "(`xai/perturb/road_patches.py`). The preset `road` ranks pixels. From a map of patches that gives whole "
    "patches and one in part, whose pixels come in a random order; it has small dense matrices of its own "
    "(`road_patches.py`), and steps become 8 to 13. What remains is solved between pixels by multigrid "
    "(`road_systems.py`), as in the earlier build: maps of pixels, bilinear upsampling, and "
    "maps with many equal values, whose pixels are drawn from many patches at once.",
    "Steps of conjugate gradients to 1e-4 with patches, edges and corners as they are: 7 to 9. Tried "
    "for it: no edges, 11 to 13; no edges, but the corners' solution before the patches', 10 to 11 with "
    "two products each; no edges, but a grid twice as fine as the corners, 8 to 9 with a coarse system "
    "three times as large; patches alone, 16 to more than 60; unknowns only on lines between patches, "
    "26. With parts: corners that speak for them too, 8 to 14, no gain; parts solved with their neighbours "
    "as they are, up to 14. Estimated, not tried: direct elimination by nested dissection, 0.4 Gflop a "
    "state.",
]


def picture() -> Tensor:
    """(1, 3, 224, 224) in [0, 1] with structure at every scale."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.rand(1, 3, n, n, generator=generator) for n in (4, 14, 56, SIDE)]
    return torch.cat([interpolate(x, (SIDE, SIDE), mode="bilinear") for x in layers]).mean(0, keepdim=True)


def masks(units: int, kind: str, states: int) -> Tensor:
    """(S, units, units) bool: 10 to 90 % of the units, nested as the states of a deletion curve are."""
    generator = torch.Generator().manual_seed(1)
    order = torch.rand(1, 1, units, units, generator=generator)
    if kind == "contiguous":
        order = (
            interpolate(torch.rand(1, 1, 5, 5, generator=generator), (units, units), mode="bicubic")
            + order / 20
        )
    elif kind.isdigit():  # the pixels of a patch follow each other in a random order, as the preset has them
        patches = torch.rand(1, 1, units // int(kind), units // int(kind), generator=generator)
        order = interpolate(patches, (units, units)) + order / 1e5
    rank = order.flatten().argsort().argsort().reshape(1, units, units)
    return rank < torch.linspace(0.1, 0.9, states).mul(units * units).round()[:, None, None]


@functools.cache
def weights() -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Between all pixels, 1/6 over edges and 1/12 over corners, and their sums."""
    line = scipy.sparse.csr_matrix(np.eye(SIDE, k=-1) + 2 * np.eye(SIDE) + np.eye(SIDE, k=1))
    square = scipy.sparse.kron(line, line) - 4 * scipy.sparse.identity(SIDE * SIDE)
    square = scipy.sparse.csr_matrix(square / 12)
    square.eliminate_zeros()
    return square, np.asarray(square.sum(axis=1))[:, 0]


def solved(image: np.ndarray, hole: np.ndarray, ordering: str | None = None) -> np.ndarray:
    """(3, H, W) with the removed pixels (H, W) filled."""
    between, total = weights()
    hole = hole.ravel()
    rows = between[hole]
    matrix = scipy.sparse.diags(total[hole]) - rows[:, hole]
    filled = image.reshape(3, -1).copy()
    filled[:, hole] = spsolve(matrix.tocsc(), rows[:, ~hole] @ filled[:, ~hole].T, permc_spec=ordering).T
    return filled.reshape(image.shape)


def repetition(units: int, kind: str, states: int) -> Mapping[str, Any]:
    """CPU seconds of a state, by us and by LU, and how far we are from LU, in the picture's spread."""
    torch.set_num_threads(1)
    image, removed, operator = picture(), masks(units, kind, states), make_operator("road", noise=0.0)
    repeated, seeds = image.expand(states, -1, -1, -1), torch.zeros(states, dtype=torch.long)
    start = time.process_time()
    filled = operator.logits(torch.nn.Identity(), repeated, None, removed, seeds)
    ours = (time.process_time() - start) / states
    if Path(sys.executable) != turns.BASE_PYTHON:  # only one of the two is asked how long LU takes
        by_lu.cache_clear()
    found, seconds = by_lu(units, kind, states)
    error = np.abs(found - filled[chosen(states)].double().numpy()).max() / np.ptp(image.numpy())
    return {"ours": ours, "error": float(error), **seconds}


def chosen(states: int) -> np.ndarray:
    """States that LU solves too."""
    return np.linspace(0, states - 1, SOLVED).round().astype(int)


@functools.cache
def by_lu(units: int, kind: str, states: int) -> tuple[np.ndarray, dict[str, float]]:
    """Some states solved, and CPU seconds of one; this build's process does it anew each time."""
    exact, size = picture()[0].double().numpy(), SIDE // units
    holes = masks(units, kind, states)[chosen(states)]
    holes = holes.repeat_interleave(size, 1).repeat_interleave(size, 2).numpy()
    found, seconds = np.empty(0), {"lu_symmetric": math.nan}
    orderings = {"lu_symmetric": "MMD_AT_PLUS_A", "lu": None}
    if (units, kind) == (SIDE, "random"):
        del orderings["lu_symmetric"]  # it takes half a minute
    for name, ordering in orderings.items():
        start = time.process_time()
        found = np.stack([solved(exact, hole, ordering) for hole in holes])
        seconds[name] = (time.process_time() - start) / len(holes)
    return found, seconds


def row(case: str, pairs: Sequence[tuple[turns.Turn, turns.Turn]]) -> tuple[float, list[str]]:
    """How many times as fast as LU, and what the table says of a case."""
    now = [second for _, second in pairs]
    base, ours = (1000 * seconds for seconds in turns.medians(pairs, "ours"))
    alone = math.isnan(now[0].figures["lu_symmetric"])
    ratios = {
        name: spread([turn.figures[name] / turn.figures["ours"] for turn in now])
        for name in ("lu", "lu_symmetric")
    }
    errors = [max(pair[place].figures["error"] for pair in pairs) for place in (0, 1)]
    cells = [
        case,
        str(CASES[case][2]),
        f"{1000 * turns.medians(pairs, 'lu')[1]:.1f}",
        f"{base:.1f}",
        f"{ours:.1f}",
        turns.percentiles(ratios["lu"], 1),
        "half a minute a state" if alone else turns.percentiles(ratios["lu_symmetric"], 1),
        turns.percentiles(turns.ratios(pairs, "ours")),
        " → ".join(f"{error:.0e}" for error in errors),
    ]
    return ratios["lu"]["median"], cells


def main() -> None:
    options = turns.parser(
        "ROAD's imputation beside an earlier build and a sparse LU.", rounds=15
    ).parse_args()
    found = {case: row(case, turns.by_turns(__file__, case, options.rounds)) for case in CASES}
    by_kind = {
        kind: [ratio for case, (ratio, _) in found.items() if case.startswith(kind)]
        for kind in ("patches", "pixels ranked by a map", "pixels ranked by themselves")
    }
    said = [
        f"{kind} {min(ratios):.1f} to {max(ratios):.1f}, {'**missed**' if min(ratios) < TARGET else 'met'}"
        for kind, ratios in by_kind.items()
    ]
    path = turns.publish(
        "road",
        "ROAD's imputation",
        [
            *PARAGRAPHS,
            f"{options.rounds} repetitions. Target: at least {TARGET} times as fast as LU: "
            + "; ".join(said)
            + ".",
        ],
        HEADER,
        [cells for _, cells in found.values()],
    )
    print(path.read_text("utf-8"))


if __name__ == "__main__":
    turns.serve({case: functools.partial(repetition, *of) for case, of in CASES.items()})
    main()
