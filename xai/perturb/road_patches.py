"""ROAD's systems where what is removed are whole patches of a grid: only their rims are unknowns.

All patches are alike: what is inside a removed one is the same linear function of its own rim, of 60 pixels
of 256 in a patch of 16 × 16, and is eliminated by a small dense matrix, the same for all (Schur complement;
Smith, Bjørstad and Gropp 1996, Domain Decomposition, chapter 4). What is left is solved by conjugate
gradients, preconditioned by a sum of solutions: within every patch, its neighbours kept as they are; at every
edge between two patches, whose facing sides change alike; and between the corners, rims interpolated from
them. A step is a few products of many small dense matrices, and few steps are needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.perturb.road_systems import Hierarchy, Level, Scratch, known_mean

_SIDES = range(4, 33)  # pixels across a patch: below, rims are most of it; above, tables become large
_MOST_PATCHES = 1600


def fits(size: tuple[int, int], grid: tuple[int, int]) -> bool:
    """Whether a grid of patches, (rows, columns), in a picture, (height, width), is solved by their rims."""
    whole = all(a % b == 0 and a // b in _SIDES for a, b in zip(size, grid, strict=True))
    return whole and grid[0] * grid[1] <= _MOST_PATCHES


@dataclass(frozen=True, eq=False)
class Tables:
    """What depends on sizes alone. r pixels are a patch's rim, s its four sides (corners twice), a around it.

    Attributes:
        pixels: (patches · r,) place of every pixel of a rim in the picture.
        own: (patches, r, r) −A within a rim.
        others: (patches, r, a) −A between a rim and what is around it.
        around: (patches · a,) rim pixels around a patch, anything beyond the picture.
        solve: (patches, r, r) A's inverse within a patch, what is around it kept as it is.
        sides: (patches · s,) rim pixels of the sides.
        facing: (patches · s,) those that face them, anything at the picture's border.
        meets: (patches · s, 1) 0 at the picture's border, else 1.
        edges: (r, s) A's inverse for two sides that face each other and take the same values.
        corners: (r, 4) linear interpolation from the corners of a patch.
        coarse: (patches, 4, 36) −Pᵀ·A·P between corners of a patch, and those of its neighbourhood of nine.
        near: (patches · 36,) these among the corners of all patches, anything beyond the picture.
        fill: (r, h · w) a whole patch from its rim.
    """

    pixels: Tensor
    own: Tensor
    others: Tensor
    around: Tensor
    solve: Tensor
    sides: Tensor
    facing: Tensor
    meets: Tensor
    edges: Tensor
    corners: Tensor
    coarse: Tensor
    near: Tensor
    fill: Tensor


@lru_cache(maxsize=2)
def tables(size: tuple[int, int], grid: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tables:
    """For pictures of a size, (height, width), in a grid of patches, (rows, columns), that divides it."""
    (height, width), (rows, cols), (h, w) = size, grid, (size[0] // grid[0], size[1] // grid[1])
    place = torch.cartesian_prod(torch.arange(-1, h + 1), torch.arange(-1, w + 1))
    row, col = place.T
    within = (row >= 0) & (row < h) & (col >= 0) & (col < w)
    on_rim = within & ((row == 0) | (row == h - 1) | (col == 0) | (col == w - 1))
    inner, rim, outer = place[within & ~on_rim], place[on_rim], place[~within]
    r, count = len(rim), rows * cols
    # A between the pixels of a rim when what is inside follows it: inner = harmonic · rim
    inside = 16 * torch.eye(len(inner)).double() - _weights(inner, inner)
    harmonic = torch.linalg.solve(inside, _weights(inner, rim))
    neighbours = _weights(rim, rim) + _weights(rim, inner) @ harmonic
    patch = torch.cartesian_prod(torch.arange(rows) * h, torch.arange(cols) * w)[:, None]
    at, beyond = (patch + rim).unbind(2), (patch + outer + 1).unbind(2)
    number = torch.full((height, width), -1)
    number[at] = torch.arange(count * r).view(-1, r)
    around = F.pad(number, (1, 1, 1, 1), value=-1)[beyond]
    total = [4 - F.one_hot(torch.tensor([0, side - 1]), side).sum(0).double() for side in size]
    own = neighbours - torch.diag_embed(total[0][at[0]] * total[1][at[1]])
    others = _weights(rim, outer) * (around >= 0)[:, None]
    # sides: of a patch, those that face them, and whose these are
    beside = F.pad(torch.arange(count).view(rows, cols), (1, 1, 1, 1), value=-1)
    beside = beside.unfold(0, 3, 1).unfold(1, 3, 1).reshape(count, 9)
    index = torch.full((h, w), -1)
    index[rim[:, 0], rim[:, 1]] = torch.arange(r)
    left, right, top, bottom = index[:, 0], index[:, -1], index[0], index[-1]
    sides, facing, meets, edges = [], [], [], []
    for side, other, where in ((right, left, 5), (left, right, 3), (bottom, top, 7), (top, bottom, 1)):
        alone = 16 * torch.eye(len(side)).double() - neighbours[side][:, side]
        alike = torch.linalg.inv(2 * alone - _weights(rim[side], rim[side]))
        edges.append(torch.zeros(r, len(side)).double().index_add_(0, side, alike))
        sides.append(torch.arange(count)[:, None] * r + side)
        facing.append(beside[:, where, None].clamp_min(0) * r + other)
        meets.append((beside[:, where, None] >= 0).expand(-1, len(side)))
    # corners: of a patch and of the eight around it
    near = torch.cat([rim, outer])
    corners = _from_corners(near % torch.tensor([h, w]), h, w)
    of = 3 * (near[:, 0] // h + 1) + near[:, 1] // w + 1  # which of the nine
    nine = F.one_hot(of, 9)[:, :, None] * corners[:, None]
    fill = torch.zeros(r, h, w).double()
    fill[:, inner[:, 0], inner[:, 1]] = harmonic.T
    fill[:, rim[:, 0], rim[:, 1]] = torch.eye(r).double()

    def numbers(values: Tensor) -> Tensor:
        return values.to(device, dtype).contiguous()

    def places(values: Tensor) -> Tensor:
        return values.flatten().to(device)

    return Tables(
        pixels=places(at[0] * width + at[1]),
        own=numbers(own),
        others=numbers(others),
        around=places(around.clamp_min(0)),
        solve=numbers(torch.linalg.inv(-own)),
        sides=places(torch.cat(sides, 1)),
        facing=places(torch.cat(facing, 1)),
        meets=numbers(torch.cat(meets, 1).reshape(-1, 1)),
        edges=numbers(torch.cat(edges, 1)),
        corners=numbers(corners[:r]),
        coarse=numbers(corners[:r].T @ torch.cat([own, others], 2) @ nine.flatten(1)),
        near=places(4 * beside.clamp_min(0)[:, :, None] + torch.arange(4)),
        fill=numbers(fill.flatten(1)),
    )


def _from_corners(place: Tensor, h: int, w: int) -> Tensor:
    """(n, 4) shares of a patch's corners in pixels (n, 2) of it."""
    share = place / torch.tensor([h - 1, w - 1]).double()
    (up, across), (down, along) = (1 - share).T, share.T
    return torch.stack([up * across, up * along, down * across, down * along], 1)


def _weights(of: Tensor, among: Tensor) -> Tensor:
    """[1 2 1] ⊗ [1 2 1] between pixels (n, 2), 4 of a pixel to itself."""
    return (2 - (of[:, None] - among).abs()).clamp_min(0).prod(2).double()


class Rims(Level):
    """The system between the pixels of rims; vectors are (patches, r, channels · S), channel by channel.

    Args:
        tables: Of the pictures' size and the grid.
        removed: (S, rows, cols) bool.
        channels: Of a picture.
        scratch: For results, which hold until the next of their shape.
    """

    over = (0, 1)
    tolerance = 2e-4

    def __init__(self, tables: Tables, removed: Tensor, channels: int, scratch: Scratch):
        self.tables, self.scratch = tables, scratch
        self.images, rows, cols = removed.shape
        self.coarse = (rows + 1, cols + 1)
        inside = removed.permute(1, 2, 0).reshape(rows * cols, 1, 1, -1).to(tables.fill.dtype)
        self.inside = inside.expand(-1, len(tables.fill), channels, -1).flatten(2)
        flat = self.inside.flatten(0, 1)
        self.both = flat.index_select(0, tables.sides).mul_(flat.index_select(0, tables.facing))
        self.both.mul_(tables.meets)

    def pull(self, x: Tensor) -> Tensor:
        """−A·x."""
        result = torch.bmm(self.tables.own, x, out=self.scratch("pull", x))
        return result.baddbmm_(self.tables.others, self._gather(x, self.tables.around, "around"))

    def pull_coarse(self, x: Tensor) -> Tensor:
        """−Pᵀ·A·P·x."""
        inside = self.inside[:, :4, : x.shape[1] * self.images]
        seen = self._gather(self._corners(x) * inside, self.tables.near, "near")
        return self._joined(torch.bmm(self.tables.coarse, seen).mul_(inside))

    def correct(self, residual: Tensor, below: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of what every patch, every edge between two patches, and the corners would change."""
        tables = self.tables
        guess = torch.bmm(tables.solve, residual, out=self.scratch("guess", residual))
        sides = self._gather(residual, tables.sides, "sides")
        sides.add_(self._gather(residual, tables.facing, "facing")).mul_(self.both.view_as(sides))
        guess.baddbmm_(tables.edges.expand(len(guess), -1, -1), sides)
        rest = self._joined((tables.corners.T @ residual).mul_(self.inside[:, :4]))
        corners = self._corners(below(rest))
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


def fill_patches(pixels: Tensor, removed: Tensor, scratch: Scratch) -> Tensor:
    """The solution where patches were removed, anything elsewhere.

    Args:
        pixels: (S, channels, H, W), float32 or float64.
        removed: (S, rows, cols) bool.
        scratch: Of this call or of earlier ones.
    """
    images, channels, height, width = pixels.shape
    rows, cols = removed.shape[1:]
    table = tables((height, width), (rows, cols), pixels.dtype, pixels.device)
    system = Rims(table, removed, channels, scratch)
    means = pixels.unflatten(3, (cols, -1)).unflatten(2, (rows, -1)).mean((3, 5))
    mean = known_mean(means, ~removed[:, None]).permute(2, 3, 1, 0).flatten(1)  # (1, channels · S)
    rims = pixels.flatten(2).index_select(2, table.pixels).permute(2, 1, 0)
    offset = (rims.reshape_as(system.inside) - mean).mul_(1 - system.inside)
    found = Hierarchy(system, images, channels).solve(offset).add_(mean)
    patches = found.permute(2, 0, 1).reshape(-1, len(table.fill)) @ table.fill
    patches = patches.view(channels, images, rows, cols, height // rows, width // cols)
    return patches.permute(1, 0, 2, 4, 3, 5).reshape(pixels.shape)
