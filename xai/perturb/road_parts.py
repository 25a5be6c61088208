"""Patches of which some pixels were removed and others were not: each has matrices of its own."""

import torch
from torch import Tensor

from xai.perturb.road_tables import Tables


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
