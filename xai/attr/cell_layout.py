"""Which axes of a module's output are rows, columns and channels: what its shape allows, and how to tell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MOST_PREFIX = 24
"""Special tokens at the most; as many registers as any published vision transformer has, and some more."""


@dataclass(frozen=True)
class CellLayout:
    """How a tensor's cells lie.

    Args:
        axes: Order of the tensor's axes in which it is (B, rows, cols, C), or (B, N, C).
        rows: Cells from top to bottom.
        cols: Cells from left to right.
        start: Tokens before the first cell, of (B, N, C).
        by_column: Whether tokens run down the columns, one after the other.
    """

    axes: tuple[int, ...]
    rows: int
    cols: int
    start: int = 0
    by_column: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is (B, C, h, w), as convolutions have it."""
        return self.axes == (0, 2, 3, 1)

    def cells(self, x: Tensor) -> Float[Tensor, "b cells d"]:
        """The cells of a tensor, row by row."""
        x = x.permute(self.axes)
        if x.dim() == 4:
            return x.flatten(1, 2)
        x = x[:, self.start : self.start + self.rows * self.cols]
        if self.by_column:
            return x.unflatten(1, (self.cols, self.rows)).transpose(1, 2).flatten(1, 2)
        return x

    def reached(self, gradient: Tensor) -> bool:
        """Whether a gradient lies on more positions than there are tokens besides the cells."""
        x = gradient.permute(self.axes)
        positions = (x != 0).any(-1).any(0).flatten()
        return int(positions.sum()) > len(positions) - self.rows * self.cols

    def centre(self, before: Tensor, after: Tensor) -> tuple[float, float]:
        """(y, x) of what changed beyond what changed everywhere, from −1 at the top and at the left to 1.

        Change is relative to a cell's length: single tokens of a trained transformer are many times longer.
        """
        old, new = (self.cells(x).double() for x in (before, after))
        length = old.square().sum(-1) + new.square().sum(-1)
        change = (new - old).square().sum(-1) / (length + length.mean()).clamp_min(1e-300)
        mass = change.sum(0).view(self.rows, self.cols)
        mass = mass - mass.min()
        total = float(mass.sum())
        if not 0 < total < torch.inf:
            return 0.0, 0.0
        y, x = (torch.linspace(-1, 1, n, dtype=mass.dtype, device=mass.device) for n in mass.shape)
        return float(mass.sum(1) @ y) / total, float(mass.sum(0) @ x) / total


def layouts_of(shape: Sequence[int], images: int, size: tuple[int, int]) -> list[CellLayout]:
    """The layouts that fit an output's shape, for so many images of `size` (height, width) in pixels."""
    if len(shape) == 4:
        return list(_of_maps(tuple(shape), images, size)) if shape[0] == images else []
    if len(shape) != 3 or shape[2] < 2:  # one number a token is no feature: channels that were pooled
        return []
    found = []
    for batch, tokens in ((0, 1), (1, 0)):
        if shape[batch] == images:
            found += _of_tokens((batch, tokens, 2), shape[tokens], size)
    return found


def _of_maps(shape: tuple[int, ...], images: int, size: tuple[int, int]) -> Iterator[CellLayout]:
    for axes in ((0, 2, 3, 1), (0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 1, 3)):
        rows, cols = shape[axes[1]], shape[axes[2]]
        # a convolution without padding loses cells at the border, so the aspect is not kept exactly
        if _is_map(rows, cols, size) and 0.5 < rows * size[1] / (cols * size[0]) < 2:
            yield CellLayout(axes, rows, cols)


def _of_tokens(axes: tuple[int, ...], tokens: int, size: tuple[int, int]) -> list[CellLayout]:
    """The grid with the image's aspect and the fewest tokens besides, these before or after it."""
    grids = [
        (rows * size[1] != cols * size[0], besides, rows, cols)
        for besides in range(min(MOST_PREFIX, tokens - 4) + 1)
        for rows, cols in _factors(tokens - besides)
        if _is_map(rows, cols, size) and _one_stride(rows, cols, size)
    ]
    if not grids:
        return []
    _, besides, rows, cols = min(grids)
    return [
        CellLayout(axes, rows, cols, start, by_column)
        for start in dict.fromkeys((besides, 0))
        for by_column in (False, True)
    ]


def _factors(n: int) -> Iterator[tuple[int, int]]:
    return ((rows, n // rows) for rows in range(2, n // 2 + 1) if n % rows == 0)


def _is_map(rows: int, cols: int, size: tuple[int, int]) -> bool:
    return 2 <= rows <= size[0] and 2 <= cols <= size[1]


def _one_stride(rows: int, cols: int, size: tuple[int, int]) -> bool:
    """Whether cells can be squares of one size, give or take one at the border."""
    height, width = size
    if height == width:
        return rows == cols
    return height / (rows + 1) < width / (cols - 1) and width / (cols + 1) < height / (rows - 1)
