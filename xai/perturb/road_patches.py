"""ROAD's systems where what is removed are whole patches of a grid: only their rims are unknowns.

All patches are alike: what is inside a removed one is the same linear function of its own rim, of 60 pixels
of 256 in a patch of 16 × 16, and is eliminated by a small dense matrix, the same for all (Schur complement;
Smith, Bjørstad and Gropp 1996, Domain Decomposition, chapter 4). What is left is solved by conjugate
gradients, preconditioned by a sum of solutions: within every patch, its neighbours kept as they are; at every
edge between two patches, whose facing sides change alike; and between the corners, rims interpolated from
them. A step is a few products of many small dense matrices, and few steps are needed.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.perturb.road_parts import Parts, blocks, removed_in
from xai.perturb.road_systems import Hierarchy, Level, Scratch, known_mean
from xai.perturb.road_tables import Tables, tables

_SIDES = range(4, 33)  # pixels across a patch: below, rims are most of it; above, tables become large
_LOOKED_FOR = range(16, 7, -1)  # among pixels: what is smaller hardly pays, what is larger has such parts
_MOST_PARTS = 4  # patches removed in part, of an image: one of 32 × 32 has four of 16 × 16
_MOST_PATCHES = 1600


def grids_of(removed: Tensor, units: tuple[int, int]) -> list[tuple[tuple[int, int] | None, Tensor]]:
    """The grids of patches whose rims are solved for, None for pixels, and the images (n,) of each.

    Args:
        removed: (S, H, W) bool.
        units: Rows and columns in which what is removed was given.
    """
    size, every = (removed.shape[1], removed.shape[2]), torch.arange(len(removed), device=removed.device)
    if units != size:
        return [(units if _fits(size, units) else None, every)]
    sides = [side for side in _LOOKED_FOR if not (size[0] % side or size[1] % side)]
    grids = [grid for side in sides if _fits(size, grid := (size[0] // side, size[1] // side))]
    counts = [(removed_in(removed, grid), size[0] * size[1] // (grid[0] * grid[1])) for grid in grids]
    parts = [((count > 0) & (count < full)).sum((1, 2)) for count, full in counts]
    fewest, chosen = torch.stack([*parts, torch.full_like(every, _MOST_PARTS + 1)]).min(0)
    chosen[fewest > _MOST_PARTS] = len(grids)
    candidates = enumerate([*grids, None])
    return [(grid, some) for i, grid in candidates if len(some := every[chosen == i])]


def _fits(size: tuple[int, int], grid: tuple[int, int]) -> bool:
    whole = all(a % b == 0 and a // b in _SIDES for a, b in zip(size, grid, strict=True))
    return whole and grid[0] * grid[1] <= _MOST_PATCHES


class Rims(Level):
    """The system between the pixels of rims; vectors are (patches, r, channels · S), channel by channel.

    A patch removed in part has an unknown rim in part, and matrices of its own. No edge and no corner speaks
    for it: it is solved together with what is around it.

    Args:
        tables: Of the pictures' size and the grid.
        whole: (S, rows, cols) bool, the patches removed whole.
        parts: Those removed in part.
        channels: Of a picture.
        scratch: For results, which hold until the next of their shape.
    """

    over = (0, 1)
    tolerance = 2e-4

    def __init__(self, tables: Tables, whole: Tensor, parts: Parts, channels: int, scratch: Scratch):
        self.tables, self.parts, self.scratch = tables, parts, scratch
        self.images, rows, cols = whole.shape
        self.coarse = (rows + 1, cols + 1)
        patches, r = rows * cols, len(tables.fill)
        inside = whole.permute(1, 2, 0).reshape(patches, 1, 1, -1).to(tables.fill.dtype)
        inside = inside.expand(-1, r, channels, -1).reshape(patches, r, -1).contiguous()
        flat = inside[:, 0]
        self.both = (
            flat.index_select(0, tables.facing // r).mul_(tables.meets).view(patches, -1, flat.shape[1])
        )
        self.both.mul_(flat[:, None])
        self.ends = inside[:, :4].clone()
        self.inside = inside
        parts.meet(inside)

    def pull(self, x: Tensor) -> Tensor:
        """−A·x."""
        result = torch.bmm(self.tables.own, x, out=self.scratch("pull", x))
        result.baddbmm_(self.tables.others, self._gather(x, self.tables.around, "around"))
        return self.parts.pull(result, x)

    def pull_coarse(self, x: Tensor) -> Tensor:
        """−Pᵀ·A·P·x."""
        inside = self.ends[..., : x.shape[1] * self.images]
        seen = self._gather(self._corners(x) * inside, self.tables.near, "near")
        return self._joined(torch.bmm(self.tables.coarse, seen).mul_(inside))

    def correct(self, residual: Tensor, below: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of what every patch, every edge between two patches, and the corners would change."""
        tables = self.tables
        guess = torch.bmm(tables.solve, residual, out=self.scratch("guess", residual))
        self.parts.correct(guess, residual)
        sides = self._gather(residual, tables.sides, "sides")
        sides.add_(self._gather(residual, tables.facing, "facing")).mul_(self.both)
        guess.baddbmm_(tables.edges.expand(len(guess), -1, -1), sides)
        rest = self._joined((tables.corners.T @ residual).mul_(self.ends))
        corners = self._corners(below(rest)).mul_(self.ends)
        return guess.baddbmm_(tables.corners.expand(len(guess), -1, -1), corners).mul_(self.inside)

    def _gather(self, x: Tensor, places: Tensor, use: str) -> Tensor:
        """(patches, places, channels · S) of x's pixels."""
        found = self.scratch(use, x, len(places) // len(x), x.shape[2])
        torch.index_select(x.flatten(0, 1), 0, places, out=found.flatten(0, 1))
        return found

    def _corners(self, x: Tensor) -> Tensor:
        """(patches, 4, channels · S) of what stands at the corners, (S, channels, rows + 1, cols + 1)."""
        four = x.unfold(2, 2, 1).unfold(3, 2, 1).permute(2, 3, 4, 5, 1, 0)
        return four.reshape(len(self.inside), 4, -1)

    def _joined(self, four: Tensor) -> Tensor:
        """The transpose of `_corners`."""
        folded = F.fold(four.permute(2, 1, 0), self.coarse, 2)
        return folded.view(-1, self.images, *self.coarse).transpose(0, 1).contiguous()


def fill_patches(pixels: Tensor, removed: Tensor, grid: tuple[int, int], scratch: Scratch) -> Tensor:
    """The solution where pixels were removed, anything elsewhere.

    Args:
        pixels: (S, channels, H, W), float32 or float64.
        removed: (S, H, W) bool, whole patches and few in part.
        grid: Rows and columns of patches.
        scratch: Of this call or of earlier ones.
    """
    images, channels, height, width = pixels.shape
    (rows, cols), size = grid, (height // grid[0], width // grid[1])
    table = tables((height, width), grid, pixels.dtype, pixels.device)
    count = removed_in(removed, grid)
    known, whole = count == 0, count == size[0] * size[1]
    means = blocks(pixels, grid).mean((3, 5))
    mean = known_mean(means, known[:, None])
    few = ~(known.flatten(1).any(1) | whole.flatten(1).all(1))
    if few.any():
        mean[few] = known_mean(pixels[few], ~removed[few, None])
    parts = Parts(table, pixels, mean, removed, ~(known | whole))
    system = Rims(table, whole, parts, channels, scratch)
    middle = mean.permute(2, 3, 1, 0).flatten(1)  # (1, channels · S)
    rims = pixels.flatten(2).index_select(2, table.pixels).permute(2, 1, 0)
    offset = (rims.reshape_as(system.inside) - middle).mul_(1 - system.inside)
    spread = parts.spread(offset.abs().amax(0, keepdim=True).amax(1, keepdim=True))
    hierarchy = Hierarchy(system, images, channels)
    found = hierarchy.solve(parts.given(system.pull(offset)), spread)
    filled = parts.filled(found)
    patches = found.add_(middle).permute(2, 0, 1).reshape(-1, len(table.fill)) @ table.fill
    patches = patches.view(channels, images, rows, cols, *size).permute(1, 0, 2, 4, 3, 5)
    result = patches.reshape(pixels.shape)
    if parts:
        blocks(result, grid)[parts.image, :, parts.row, :, parts.col] = filled
    return result
