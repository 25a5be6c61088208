"""ROAD's systems where what is removed are whole patches of a grid: only their rims are unknowns.

All patches are alike: what is inside a removed one is the same linear function of its own rim, of 60 pixels
of 256 in a patch of 16 × 16, and is eliminated by a small dense matrix, the same for all (Schur complement;
Smith, Bjørstad and Gropp 1996, Domain Decomposition, chapter 4). What is left is solved by conjugate
gradients, preconditioned by a sum of solutions: within every patch, its neighbours kept as they are; at every
edge between two patches, whose facing sides change alike; and between the corners, rims interpolated from
them. A step is a few products of many small dense matrices, and few steps are needed.
Patches of which some pixels were removed and others were not have matrices of their own.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.perturb.road_systems import Hierarchy, Level, Scratch, known_mean
from xai.perturb.road_tables import Tables, tables

_SIDES = range(4, 33)  # pixels across a patch: below, rims are most of it; above, tables become large
_LOOKED_FOR = range(16, 7, -1)  # among pixels: what is smaller hardly pays, what is larger has such parts
_MOST_PARTS = 4  # patches removed in part, of an image: one of 32 × 32 has four of 16 × 16
_MOST_PATCHES = 1600


def blocks(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., H, W) as (..., rows, h, cols, w), a view."""
    return pixels.unflatten(-1, (grid[1], -1)).unflatten(-3, (grid[0], -1))


def removed_in(removed: Tensor, grid: tuple[int, int]) -> Tensor:
    """How many pixels of every patch were removed: (S, H, W) bool → (S, rows, cols)."""
    return blocks(removed.to(torch.float32), grid).sum((2, 4))


class Parts:
    """Patches removed in part, n of a batch: their inner pixels follow their rims and what they keep.

    Args:
        tables: Of the pictures' size and the grid.
        pixels: (S, channels, H, W).
        mean: (S, channels, 1, 1), taken off the pixels.
        removed: (S, H, W) bool.
        partly: (S, rows, cols) bool, the patches.

    Attributes:
        image: (n,) of the batch, for each patch; its row and column.
        rim: (n, r, 1) 1 where a rim's pixel is unknown, else 0.
        right: (n, r, channels) what kept inner pixels add to a rim.
    """

    def __init__(self, tables: Tables, pixels: Tensor, mean: Tensor, removed: Tensor, partly: Tensor):
        grid = (partly.shape[1], partly.shape[2])
        self.tables, self.images = tables, len(pixels)
        self.image, self.row, self.col = partly.nonzero().T
        self.patch, self.mean = self.row * grid[1] + self.col, mean[self.image]
        self.size = blocks(pixels, grid).shape[3::2]
        unknown = blocks(removed, grid)[self.image, self.row, :, self.col].flatten(1)[..., None].to(pixels)
        kept = blocks(pixels, grid)[self.image, :, self.row, :, self.col] - self.mean
        self.kept = kept.flatten(2).mT * (1 - unknown)  # (n, h · w, channels)
        inner, self.rim = unknown[:, tables.inner], unknown[:, tables.rim]
        # inner pixels as a function of the rim, and of what is kept among them
        given = self.kept[:, tables.inner]
        asked = torch.cat([tables.onto.expand(len(given), -1, -1), -tables.inside @ given], 2) * inner
        solved = torch.cholesky_solve(asked, torch.linalg.cholesky(_cut(tables.inside, inner)))
        self._harmonic, alone = solved.split([len(tables.rim), given.shape[2]], 2)
        self._alone = alone + given
        self.right = tables.onto.T @ self._alone * self.rim
        self._change = tables.onto.T @ (self._harmonic - tables.fill[:, tables.inner].T)

    def __len__(self) -> int:
        return len(self.image)

    def meet(self, inside: Tensor) -> None:
        """Enter which pixels of rims are unknown, (patches, r, channels · S), and know what is around."""
        tables, r = self.tables, len(self.tables.rim)
        own, others = tables.own[self.patch] + self._change, tables.others[self.patch]
        ring = tables.ring.expand(len(self), -1, -1)
        within = torch.arange(r, device=own.device) + r * self.patch[:, None]
        self._places = torch.cat([within, tables.around.view(len(inside), -1)[self.patch]], 1)
        self._among(inside)[self.patch, :, :, self.image] = self.rim
        unknown = self._with_ring(inside)[:, :, :1] * tables.within[self.patch]
        system = torch.cat([torch.cat([own, others], 2), torch.cat([others.mT, ring], 2)], 1)
        self._solve = torch.linalg.inv(_cut(-system, unknown)) * unknown * unknown.mT

    def pull(self, result: Tensor, x: Tensor) -> Tensor:
        """Make −A·x of whole patches right, and 0 where a rim's pixel is known."""
        if len(self):
            to, taken = self._among(result), self._among(x)[self.patch, :, :, self.image]
            whole = to[self.patch, :, :, self.image]
            to[self.patch, :, :, self.image] = (whole + self._change @ taken) * self.rim
        return result

    def correct(self, guess: Tensor, residual: Tensor) -> Tensor:
        """Instead of what patches alone would change: with what is around them."""
        if len(self):
            self._among(guess)[self.patch, :, :, self.image] = 0
            change = self._solve @ self._with_ring(residual)
            to = self._among(guess).flatten(0, 1).mT  # (rim pixels, S, channels)
            to.index_put_((self._places, self.image[:, None]), change, accumulate=True)
        return guess

    def given(self, right: Tensor) -> Tensor:
        """Add to a right side what kept inner pixels add to it."""
        if len(self):
            self._among(right)[self.patch, :, :, self.image] += self.right
        return right

    def spread(self, of_rims: Tensor) -> Tensor:
        """(1, 1, channels · S), at least the largest of what is kept."""
        if not len(self):
            return of_rims
        largest = of_rims.view(-1, self.images).T.contiguous()
        places = self.image[:, None].expand(-1, largest.shape[1])
        return largest.scatter_reduce_(0, places, self.kept.abs().amax(1), "amax").T.reshape(of_rims.shape)

    def filled(self, found: Tensor) -> Tensor:
        """(n, channels, h, w) whole patches, of the solution for their rims."""
        rim = self._among(found)[self.patch, :, :, self.image] + self.kept[:, self.tables.rim]
        result = torch.empty_like(self.kept)
        result[:, self.tables.rim] = rim
        result[:, self.tables.inner] = self._harmonic @ rim + self._alone
        return result.mT.unflatten(2, self.size) + self.mean

    def _among(self, x: Tensor) -> Tensor:
        """A vector as (patches, r, channels, S), a view."""
        return x.unflatten(2, (-1, self.images))

    def _with_ring(self, x: Tensor) -> Tensor:
        """(n, r + a, channels) of a vector's rims and what is around them."""
        return self._among(x).flatten(0, 1)[self._places, :, self.image[:, None]]


def _cut(matrix: Tensor, inside: Tensor) -> Tensor:
    """(n, k, k) with ones on the diagonal for what is not inside, (n, k, 1), and nothing else."""
    return matrix * inside * inside.mT + torch.diag_embed(1 - inside[..., 0])


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
