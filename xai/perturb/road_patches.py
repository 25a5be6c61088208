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

SMALLEST = 4  # pixels across a patch; below, rims are most of the picture


@dataclass(frozen=True, eq=False)
class Tables:
    """What depends on sizes alone. r pixels are a patch's rim, s its four sides (corners twice), a around it.

    Attributes:
        pixels: (patches · r,) place of every pixel of a rim in the picture.
        around: (patches · (r + a),) rim pixels that the equations of a patch speak of, its own first.
        pull: (patches, r, r + a) −A in these pixels.
        solve: (patches, r, r) A's inverse within a patch, what is around it kept as it is.
        sides: (patches · s,) rim pixels of the sides.
        facing: (patches · s,) those that face them, anything at the picture's border.
        meets: (patches · s, 1) 0 at the picture's border, else 1.
        edges: (r, s) A's inverse for two sides that face each other and take the same values.
        corners: (r, 4) linear interpolation from the corners of a patch.
        fill: (r, h · w) a whole patch from its rim.
    """

    pixels: Tensor
    around: Tensor
    pull: Tensor
    solve: Tensor
    sides: Tensor
    facing: Tensor
    meets: Tensor
    edges: Tensor
    corners: Tensor
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
    r = len(rim)
    # A between the pixels of a rim when what is inside follows it: inner = harmonic · rim
    harmonic = torch.linalg.solve(
        16 * torch.eye(len(inner)).double() - _weights(inner, inner), _weights(inner, rim)
    )
    neighbours = _weights(rim, rim) + _weights(rim, inner) @ harmonic
    patch = torch.cartesian_prod(torch.arange(rows) * h, torch.arange(cols) * w)[:, None]
    at, beyond = (patch + rim).unbind(2), (patch + outer + 1).unbind(2)
    number = torch.full((height, width), -1)
    number[at] = torch.arange(rows * cols * r).view(-1, r)
    beyond = F.pad(number, (1, 1, 1, 1), value=-1)[beyond]
    total = [
        4 - (torch.arange(side) == 0).double() - (torch.arange(side) == side - 1).double() for side in size
    ]
    system = torch.diag_embed(total[0][at[0]] * total[1][at[1]]) - neighbours
    others = _weights(rim, outer) * (beyond >= 0)[:, None]
    # the sides: of a patch, those that face them, and the patches that these belong to
    index = torch.full((h, w), -1)
    index[rim[:, 0], rim[:, 1]] = torch.arange(r)
    left, right, top, bottom = index[:, 0], index[:, -1], index[0], index[-1]
    pairs = [(right, left), (left, right), (bottom, top), (top, bottom)]
    beside = F.pad(torch.arange(rows * cols).view(rows, cols), (1, 1, 1, 1), value=-1)
    beside = [beside[1:-1, 2:], beside[1:-1, :-2], beside[2:, 1:-1], beside[:-2, 1:-1]]
    edges = []
    for side, _ in pairs:
        alone = 16 * torch.eye(len(side)).double() - neighbours[side][:, side]
        across = _weights(rim[side], rim[side]) / 2
        edges.append(
            torch.zeros(r, len(side)).double().index_add_(0, side, torch.linalg.inv(2 * (alone - across)))
        )
    facing = [n.reshape(-1, 1).clamp_min(0) * r + other for n, (_, other) in zip(beside, pairs, strict=True)]
    meets = [
        (n.reshape(-1, 1) >= 0).expand(-1, len(side)) for n, (side, _) in zip(beside, pairs, strict=True)
    ]
    share = rim / torch.tensor([h - 1, w - 1])
    share = torch.stack([1 - share, share], 2)  # (r, direction, first or last corner)
    fill = torch.zeros(r, h, w, dtype=torch.float64)
    fill[:, inner[:, 0], inner[:, 1]] = harmonic.T
    fill[:, rim[:, 0], rim[:, 1]] = torch.eye(r, dtype=torch.float64)

    def numbers(values: Tensor) -> Tensor:
        return values.to(device, dtype).contiguous()

    def places(values: Tensor) -> Tensor:
        return values.flatten().to(device)

    return Tables(
        pixels=places(at[0] * width + at[1]),
        around=places(torch.cat([number[at], beyond.clamp_min(0)], 1)),
        pull=numbers(torch.cat([-system, others], 2)),
        solve=numbers(torch.linalg.inv(system)),
        sides=places(torch.arange(rows * cols)[:, None] * r + torch.cat([side for side, _ in pairs])),
        facing=places(torch.cat(facing, 1)),
        meets=numbers(torch.cat(meets, 1).reshape(-1, 1)),
        edges=numbers(torch.cat(edges, 1)),
        corners=numbers((share[:, 0, :, None] * share[:, 1, None, :]).flatten(1)),
        fill=numbers(fill.flatten(1)),
    )


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
        seen = self._gather(x, self.tables.around, "around")
        return torch.bmm(self.tables.pull, seen, out=self.scratch("pull", x))

    def prolong(self, x: Tensor) -> Tensor:
        """P·x."""
        return (self.tables.corners @ self._corners(x)).mul_(self.inside[..., : x.shape[0] * x.shape[1]])

    def restrict(self, x: Tensor) -> Tensor:
        """Pᵀ·x."""
        four = (self.tables.corners.T @ x).mul_(self.inside[:, :4, : x.shape[2]])
        folded = F.fold(four.permute(2, 1, 0), self.coarse, 2)
        return folded.view(-1, self.images, *self.coarse).transpose(0, 1).contiguous()

    def correct(self, residual: Tensor, below: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of what every patch, every edge between two patches, and the corners would change."""
        tables = self.tables
        guess = torch.bmm(tables.solve, residual, out=self.scratch("guess", residual))
        sides = self._gather(residual, tables.sides, "sides")
        sides.add_(self._gather(residual, tables.facing, "facing")).mul_(self.both.view_as(sides))
        guess.baddbmm_(tables.edges.expand(len(guess), -1, -1), sides)
        corners = self._corners(below(self.restrict(residual)))
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
