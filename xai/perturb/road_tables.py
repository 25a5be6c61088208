"""What ROAD's systems between rims of patches hold in common: it depends on sizes alone, and is kept."""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tables:
    """What depends on sizes alone. r pixels are a patch's rim, s its four sides (corners twice), a around it.

    Attributes:
        pixels: (patches · r,) place of every pixel of a rim in the picture.
        own: (patches, r, r) −A within a rim.
        others: (patches, r, a) −A between a rim and what is around it.
        around: (patches · a,) rim pixels around a patch, anything beyond the picture.
        ring: (a, a) −A between what is around a patch, of removed patches within the picture.
        solve: (patches, r, r) A's inverse within a patch, what is around it kept as it is.
        sides: (patches · s,) rim pixels of the sides.
        facing: (patches · s,) those that face them, anything at the picture's border.
        meets: (patches · s, 1) 0 at the picture's border, else 1.
        edges: (r, s) A's inverse for two sides that face each other and take the same values.
        corners: (r, 4) linear interpolation from the corners of a patch.
        coarse: (patches, 4, 36) −Pᵀ·A·P between corners of a patch, and those of its neighbourhood of nine.
        near: (patches · 36,) these among the corners of all patches, anything beyond the picture.
        within: (patches, r + a, 1) 0 beyond the picture, else 1.
        fill: (r, h · w) a whole patch from its rim.
        rim: (r,) place of a rim's pixels in a patch.
        inner: (i,) place of the others.
        inside: (i, i) A between these.
        onto: (i, r) −A between these and the rim.
    """

    pixels: Tensor
    own: Tensor
    others: Tensor
    around: Tensor
    ring: Tensor
    solve: Tensor
    sides: Tensor
    facing: Tensor
    meets: Tensor
    edges: Tensor
    corners: Tensor
    coarse: Tensor
    near: Tensor
    within: Tensor
    fill: Tensor
    rim: Tensor
    inner: Tensor
    inside: Tensor
    onto: Tensor


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
    onto = _weights(inner, rim)
    harmonic = torch.linalg.solve(inside, onto)
    neighbours = _weights(rim, rim) + onto.T @ harmonic
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
    numbers_of = index[tuple((outer % torch.tensor([h, w])).T)]
    same = of[r:, None] == of[r:]
    ring = torch.where(same, neighbours[numbers_of][:, numbers_of], _weights(outer, outer))
    ring -= 16 * torch.eye(len(outer)).double()
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
        ring=numbers(ring),
        solve=numbers(torch.linalg.inv(-own)),
        sides=places(torch.cat(sides, 1)),
        facing=places(torch.cat(facing, 1)),
        meets=numbers(torch.cat(meets, 1).reshape(-1, 1)),
        edges=numbers(torch.cat(edges, 1)),
        corners=numbers(corners[:r]),
        coarse=numbers(corners[:r].T @ torch.cat([own, others], 2) @ nine.flatten(1)),
        near=places(4 * beside.clamp_min(0)[:, :, None] + torch.arange(4)),
        within=numbers(F.pad((around >= 0).to(torch.float64), (r, 0), value=1)[:, :, None]),
        fill=numbers(fill.flatten(1)),
        rim=places(rim[:, 0] * w + rim[:, 1]),
        inner=places(inner[:, 0] * w + inner[:, 1]),
        inside=numbers(inside),
        onto=numbers(onto),
    )


def _from_corners(place: Tensor, h: int, w: int) -> Tensor:
    """(n, 4) shares of a patch's corners in pixels (n, 2) of it."""
    share = place / torch.tensor([h - 1, w - 1]).double()
    (up, across), (down, along) = (1 - share).T, share.T
    return torch.stack([up * across, up * along, down * across, down * along], 1)


def _weights(of: Tensor, among: Tensor) -> Tensor:
    """[1 2 1] ⊗ [1 2 1] between pixels (n, 2), 4 of a pixel to itself."""
    return (2 - (of[:, None] - among).abs()).clamp_min(0).prod(2).double()
