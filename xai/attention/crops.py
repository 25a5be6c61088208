"""Models that look at several crops of an image and average what they answer (B-Free), and where those lie.

Of such a model every crop is an input in its own right, with a patch grid of its own; the answer is the mean
over crops, so a map of the whole image is the sum of the crops' maps, each divided by their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai.core import PatchGrid


@dataclass(frozen=True)
class Crops:
    """The crops of an input, on its patch grid.

    Args:
        side: Of a patch, pixels.
        grid: Patches of the whole input; what is left over at its right and lower border is not seen.
        places: For each crop the rows and the columns of the grid that it shows; an input that is too small
            is shown repeated.
    """

    side: int
    grid: PatchGrid
    places: tuple[tuple[Tensor, Tensor], ...]

    def cut(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (crops · B, 3, h, w), crop by crop."""
        inner = torch.arange(self.side, device=pixels.device)

        def of_pixels(patches: Tensor) -> Tensor:
            return (patches.to(pixels.device)[:, None] * self.side + inner).flatten()

        return torch.cat([
            pixels[:, :, of_pixels(rows)][..., of_pixels(cols)] for rows, cols in self.places
        ])  # fmt: skip

    def added(self, maps: Tensor) -> Tensor:
        """(…, crops · B, rows, cols) maps of what `cut` gives → (…, B, rows, cols) of the whole input."""
        crops = maps.unflatten(-3, (len(self.places), -1)).unbind(-4)
        whole = maps.new_zeros(*crops[0].shape[:-2], self.grid.rows, self.grid.cols)
        for one, (rows, cols) in zip(crops, self.places, strict=True):
            wide = one.new_zeros(*one.shape[:-1], self.grid.cols).index_add(-1, cols.to(one.device), one)
            whole = whole.index_add(-2, rows.to(one.device), wide)
        return whole / len(self.places)

    def mean(self, scores: Tensor) -> Tensor:
        """(crops · B,) scores of what `cut` gives → (B,)."""
        return scores.unflatten(0, (len(self.places), -1)).mean(0)

    def each(self, targets: Sequence[Any]) -> list[Any]:
        """Targets of the images as those of the crops: one that comes by image is repeated."""
        count = len(self.places)
        return [
            one.repeat(count, *[1] * (one.ndim - 1))
            if isinstance(one, Tensor) and one.ndim
            else one * count
            if isinstance(one, list)
            else one
            for one in targets
        ]


def five_crops(height: int, width: int, side: int, patches: int) -> Crops | None:
    """The centre and the four corners, `patches` × `patches` patches each; None where the input is one crop.

    An input with fewer patches along a side is repeated to fill one crop, and cut to it, as B-Free does.

    Args:
        height: Of the input, pixels.
        width: Its.
        side: Of a patch.
        patches: Along a crop's side.
    """
    rows, cols = height // side, width // side
    if (height, width) == (patches * side, patches * side):
        return None
    grid = PatchGrid(rows, cols)
    run = torch.arange(patches)
    if rows < patches or cols < patches:
        places: Sequence[tuple[Tensor, Tensor]] = [(run % rows, run % cols)]
    else:
        low, right = rows - patches, cols - patches
        offsets = ((low // 2, right // 2), (0, 0), (low, 0), (low, right), (0, right))
        places = [(run + top, run + left) for top, left in offsets]
    return Crops(side, grid, tuple(places))
