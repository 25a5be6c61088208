"""The linear systems of ROAD's imputation: conjugate gradients over a hierarchy of ever fewer unknowns.

Written as A·x = (D − W)·x = W·(known pixels), with W = [1 2 1] ⊗ [1 2 1] without its centre and D its sums
over the neighbours that there are (12 times the weights of the paper), the system is symmetric positive
definite. All images of a batch and their channels are solved together, preconditioned with one cycle.

A coarser level keeps every other row and column, and A becomes Pᵀ·A·P with P the linear interpolation
between them, nothing at known pixels: 9 weights per cell, found by sending 9 combs of cells through it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import XaiError

_MOST_STEPS = 100
_FIRST_CHECK = 3
_DAMPING = 0.95
_COARSEST = 64  # cells that are solved at once


class Scratch:
    """Memory by use and shape, written over and over: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, torch.Size], Tensor] = {}

    def __call__(self, use: str, like: Tensor, *sides: int) -> Tensor:
        """A tensor as it was left, anything at first: like `like`, but for the last sizes."""
        shape = torch.Size((*like.shape[: like.dim() - len(sides)], *sides))
        if (use, shape) not in self.held:
            self.held[use, shape] = like.new_zeros(shape) if use == "padded" else like.new_empty(shape)
        return self.held[use, shape]


class Level(ABC):
    """A system A·x = b of every image and channel.

    Attributes:
        over: Dimensions of a vector that hold one system.
        tolerance: Share of the known pixels' spread below which an estimated error, which is then taken off,
            is good enough.
        inside: 1 where an unknown is, else 0; for every image.
        coarse: Rows and columns of the next level, whose vectors are (S, channels, rows, columns).
        scratch: For results, which hold until the next of their shape.
    """

    over: ClassVar[tuple[int, int]]
    tolerance: ClassVar[float]
    inside: Tensor
    coarse: tuple[int, int]
    scratch: Scratch

    @abstractmethod
    def pull(self, x: Tensor) -> Tensor:
        """−A·x; x is 0 where nothing is unknown, the result need not be."""

    @abstractmethod
    def pull_coarse(self, x: Tensor) -> Tensor:
        """−Pᵀ·A·P·x of the next level's x, times a constant."""

    @abstractmethod
    def correct(self, residual: Tensor, below: Callable[[Tensor], Tensor]) -> Tensor:
        """Error that belongs to a residual, estimated; `below` estimates the next level's."""


class GridLevel(Level):
    """Unknowns in rows and columns, twice as many as on the next level; vectors are (S, channels, H, W)."""

    over = (2, 3)
    tolerance = 5e-5
    jacobi: Tensor  # damped inverse of A's diagonal

    def __init__(self, inside: Tensor, scratch: Scratch):
        self.inside, self.scratch = inside, scratch
        height, width = inside.shape[-2:]
        self.coarse = (-(-height // 2), -(-width // 2))

    def correct(self, residual: Tensor, below: Callable[[Tensor], Tensor]) -> Tensor:
        """One symmetric V-cycle."""
        error = torch.mul(residual, self.jacobi, out=self.scratch("error", residual))
        rest = self.restrict(self.pull(error).add_(residual))
        error.add_(self.prolong(below(rest)))
        return error.addcmul_(self.pull(error).add_(residual), self.jacobi)

    def pull_coarse(self, x: Tensor) -> Tensor:
        """−Pᵀ·A·P·x, 16 times over."""
        return self.restrict(self.pull(self.prolong(x)))

    def prolong(self, x: Tensor) -> Tensor:
        """4·P·x. Beyond the last row or column values stay what they are."""
        for dim in (3, 2):
            last = x.shape[dim] - 1
            sides = [x.shape[2] * (1 + (dim == 2)), x.shape[3] * (1 + (dim == 3))]
            fine = self.scratch("fine", x, *sides)
            own, between = fine.unflatten(dim, (-1, 2)).unbind(dim + 1)
            torch.add(x, x, out=own)
            torch.add(x.narrow(dim, 0, last), x.narrow(dim, 1, last), out=between.narrow(dim, 0, last))
            between.select(dim, last).copy_(own.select(dim, last))
            x = fine
        height, width = self.inside.shape[-2:]
        return x[..., :height, :width].mul_(self.inside)

    def restrict(self, x: Tensor) -> Tensor:
        """The transpose of `prolong`."""
        height, width = x.shape[-2:]
        x = x.mul_(self.inside)
        x = F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
        for dim, use in ((2, "halfway"), (3, "coarse")):
            own, between = x.unflatten(dim, (-1, 2)).unbind(dim + 1)
            last = own.shape[dim] - 1
            x = torch.add(between, own, alpha=2, out=self.scratch(use, own))
            x.narrow(dim, 1, last).add_(between.narrow(dim, 0, last))
            x.select(dim, last).add_(between.select(dim, last))
        return x


class Pixels(GridLevel):
    """The system between pixels.

    Args:
        hole: (S, 1, H, W), 1 where a pixel is unknown, else 0.
        scratch: For results, which hold until the next of their shape.
    """

    def __init__(self, hole: Tensor, scratch: Scratch):
        super().__init__(hole, scratch)
        self.centre = _weighted_sum(torch.ones_like(hole[:1]), Scratch())  # D, and the 4 in the sum below
        self.jacobi = hole * (_DAMPING / (self.centre - 4))

    def pull(self, x: Tensor) -> Tensor:
        """What the neighbours add to a pixel, less what it takes itself."""
        return _weighted_sum(x, self.scratch).addcmul_(self.centre, x, value=-1)


class CoarseCells(GridLevel):
    """The system between the cells of a coarser level.

    Args:
        weights: (S, 9, h, w) entries of −A in the row of each cell, its neighbourhood row by row.
        scratch: As of `Pixels`.
    """

    def __init__(self, weights: Tensor, scratch: Scratch):
        self.weights = weights.split(1, dim=1)
        own = -self.weights[4]
        super().__init__((own > 0).to(own.dtype), scratch)
        self.jacobi = torch.where(own > 0, _DAMPING / own, 0)

    def pull(self, x: Tensor) -> Tensor:
        """−A·x."""
        padded = _padded(x, self.scratch)
        height, width = x.shape[-2:]
        result = torch.mul(x, self.weights[4], out=self.scratch("sum", x))
        for place, weight in enumerate(self.weights):
            if place != 4:
                row, col = divmod(place, 3)
                result.addcmul_(weight, padded[..., row : row + height, col : col + width])
        return result


class Hierarchy:
    """A system, its coarser ones, and the inverse of the last.

    Args:
        finest: The system to solve.
        images: Of the batch.
        channels: Of an image.
    """

    def __init__(self, finest: Level, images: int, channels: int):
        self.levels: list[Level] = [finest]
        level = finest
        while (
            not isinstance(level, CoarseCells) or level.inside.shape[-2] * level.inside.shape[-1] > _COARSEST
        ):
            level = _coarser(level, images, channels)
            self.levels.append(level)
        self.levels.pop()
        height, width = level.inside.shape[-2:]
        cells = torch.eye(height * width, dtype=level.inside.dtype, device=level.inside.device)
        matrix = -(level.pull(cells.reshape(1, -1, height, width) * level.inside) * level.inside).flatten(2)
        # cells without unknowns have an empty row; a system without known pixels would be singular
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        inverse = torch.linalg.inv(matrix + torch.diag_embed(torch.where(diagonal > 0, diagonal * 1e-6, 1)))
        self.last = inverse * level.inside.flatten(2)

    def correct(self, residual: Tensor, depth: int = 0) -> Tensor:
        """Error that belongs to a residual of the level at this depth, estimated by one cycle."""
        if depth == len(self.levels):
            return (residual.flatten(2) @ self.last).reshape(residual.shape)
        return self.levels[depth].correct(residual, lambda rest: self.correct(rest, depth + 1))

    def solve(self, right: Tensor, spread: Tensor) -> Tensor:
        """Conjugate gradients for A·x = right; a system that has converged is left alone.

        Args:
            right: As the first level's vectors; anything where nothing is unknown.
            spread: Of every system's known pixels, 1 in the dimensions of one system.
        """
        system = self.levels[0]
        over, uses = system.over, ("x", "residual", "direction", "product")
        x, residual, direction, product = (system.scratch(use, right) for use in uses)

        def dot(a: Tensor, b: Tensor) -> Tensor:
            return torch.mul(a, b, out=product).sum(over, keepdim=True)

        def largest(a: Tensor) -> Tensor:
            first, second = over
            return torch.abs(a, out=product).amax(first, keepdim=True).amax(second, keepdim=True)

        x.zero_()
        residual.copy_(right)
        enough = system.tolerance * spread
        guess = self.correct(residual)  # of what x still lacks; the next takes its place in memory
        direction.copy_(guess)
        energy = dot(residual, guess)
        for step in range(1, _MOST_STEPS + 1):
            change = system.pull(direction)
            curvature = -dot(direction, change)
            active = (largest(guess) > enough) & (curvature > 0)
            if step >= _FIRST_CHECK and not active.any():
                return x.add_(guess)
            length = torch.where(active, energy / curvature, 0)
            x.addcmul_(length, direction)
            residual.addcmul_(length, change)
            guess = self.correct(residual)
            before, energy = energy, dot(residual, guess)
            torch.addcmul(guess, direction, torch.where(active, energy / before, 0), out=direction)
        raise XaiError(f"ROAD imputation did not converge in {_MOST_STEPS} steps.")


def fill_pixels(pixels: Tensor, removed: Tensor, scratch: Scratch) -> Tensor:
    """The solution where pixels were removed, anything elsewhere.

    Args:
        pixels: (S, channels, H, W), float32 or float64.
        removed: (S, H, W) bool.
        scratch: Of this call or of earlier ones.
    """
    known = ~removed[:, None]
    mean = known_mean(pixels, known)
    offset = (pixels - mean) * known  # the known pixels around 0: less to round, and 0 where all is removed
    system = Pixels((~known).to(pixels.dtype), scratch)
    hierarchy = Hierarchy(system, *offset.shape[:2])
    right = system.pull(offset)  # nothing of a known pixel is taken at an unknown one
    return hierarchy.solve(right, offset.abs().amax((2, 3), keepdim=True)).add_(mean)


def known_mean(values: Tensor, known: Tensor) -> Tensor:
    """Of (S, channels, rows, cols) where known (S, 1, rows, cols); of all where nothing is known."""
    share = known.to(values.dtype)
    count = share.sum((2, 3), keepdim=True)
    total = (values * share).sum((2, 3), keepdim=True)
    return torch.where(count > 0, total / count.clamp_min(1), values.mean((2, 3), keepdim=True))


def _coarser(level: Level, images: int, channels: int) -> CoarseCells:
    """Pᵀ·A·P. Cells three apart share no neighbour, so one comb of them gives one weight of every cell."""
    row, col = (torch.arange(side, device=level.inside.device) % 3 for side in level.coarse)
    combs = F.one_hot(3 * row[:, None] + col, 9).permute(2, 0, 1).to(level.inside.dtype)
    found = [
        level.pull_coarse(some).clone()
        for some in combs.expand(images, -1, -1, -1).split(channels, dim=1)  # as many as the scratch has
    ]
    shift = torch.arange(3, device=row.device)[:, None] - 1
    rows, cols = ((side + shift) % 3 for side in (row, col))
    neighbour = (3 * rows[:, None, :, None] + cols[None, :, None, :]).flatten(0, 1)
    return CoarseCells(torch.cat(found, 1).gather(1, neighbour.expand(images, -1, -1, -1)), level.scratch)


def _padded(x: Tensor, scratch: Scratch) -> Tensor:
    """The same with zeros around it."""
    height, width = x.shape[-2:]
    padded = scratch("padded", x, height + 2, width + 2)
    padded[..., 1:-1, 1:-1] = x
    return padded


def _weighted_sum(x: Tensor, scratch: Scratch) -> Tensor:
    """[1 2 1] ⊗ [1 2 1], 0 beyond the border."""
    height, width = x.shape[-2:]
    padded, across = _padded(x, scratch), scratch("across", x, height + 2, width)
    torch.add(padded[..., :-2], padded[..., 2:], out=across).add_(padded[..., 1:-1], alpha=2)
    result = scratch("sum", x)
    return torch.add(across[..., :-2, :], across[..., 2:, :], out=result).add_(across[..., 1:-1, :], alpha=2)
