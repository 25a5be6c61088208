"""Where in the image a key of attention lies, found without knowing the model: by coded backward passes.

Let values v (slots) be computed from a tensor x (places) by what moves and projects single tokens: window
partition, shift, padding, layout, linear layers. The gradient of Σ w·v at a place of x then belongs to one
slot, that was made of it, and the gradient of Σ c(slot)·w·v is c(slot) times the first: their ratio is the
number of the slot. Where a place feeds several slots the two are not proportional, which shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import PatchGrid

_HALF = (torch.float16, torch.bfloat16)
_LIVE = 1e-5  # of the largest gradient at a place: less is none
_APART = 0.1  # of a place's gradient may be another slot's
_ALIKE = 0.8  # correlation of where places lie and where they are said to lie
_PREFIXES = range(6)  # special tokens that may stand before the patches


class Coding:
    """How slots read the places that they were computed from.

    Args:
        values: (B, …, e) in a graph: all axes between the first and the last are slots.
        source: (B, …), what they were computed from.
    """

    def __init__(self, values: Tensor, source: Tensor):
        self.values, self.source = values, source
        self.base = 8 if source.dtype in _HALF else 256
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(values.shape[1:], generator=generator)
        self._weights = weights.to(values)
        self.plain = self._gradient(self._weights.expand_as(values))

    def _gradient(self, weights: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(
            self.values,
            self.source,
            weights,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return gradient.float()

    def mixes_images(self) -> bool:
        """Whether the values of the first image depend on another one: the batch is folded in another way."""
        weights = torch.zeros_like(self.values)
        weights[0] = self._weights
        return bool(self._gradient(weights)[1:].any())

    def weighted(self, codes: Tensor) -> Tensor:
        """The gradient at the source when slots are weighted by `codes`, broadcast to (…, e)."""
        return self._gradient((self._weights * codes.to(self._weights)).expand_as(self.values))

    def slots(self, axis: int, digits: dict[int, list[Tensor]], places: Sequence[int]) -> Tensor | None:
        """Which index of a slot axis every place feeds; None where one feeds several.

        Args:
            axis: Among the axes of `values`.
            digits: Gradients by axis that were made before; new ones are added.
            places: Axes of the source that are places.

        Returns:
            (B, *places), −1 where a place feeds none.
        """
        size = self.values.shape[axis]
        if axis not in digits:
            shape = [1] * (self.values.dim() - 1)
            shape[axis - 1] = size
            index = torch.arange(size, device=self.values.device)
            digits[axis] = [self.weighted(part.view(shape)) for part in _digits(index, size, self.base)]
        reduced = [i for i in range(1, self.source.dim()) if i not in places]
        power = self.plain.square().sum(reduced)
        live = power > _LIVE**2 * power.max()
        found = torch.zeros_like(power)
        for factor, gradient in enumerate(digits[axis]):
            digit = ((gradient * self.plain).sum(reduced) / power.clamp_min(1e-30)).round()
            spread = _expand(digit, self.plain, reduced)
            apart = (gradient - spread * self.plain).square().sum(reduced)
            if (apart > _APART**2 * power)[live].any() or not live.any():
                return None
            found += digit * self.base**factor
        found = found.long()
        if ((found < 0) | (found >= size))[live].any():
            return None
        return found.where(live, -1)

    def lies_on(self, grid: PatchGrid, places: Sequence[int], base: PatchGrid) -> bool:
        """Whether slots, one axis of `grid.tokens`, follow the places, in rows and columns as `base` says.

        For tokens that overlap (convolutions): every place then feeds several slots, but their mean lies
        where the place does. Tokens before the first patch must read no patch.
        """
        index = torch.arange(grid.patches, device=self.values.device)
        before = index.new_zeros(grid.prefix)
        if grid.prefix:
            special = self.weighted(torch.cat([before + 1, index * 0])[:, None])
            if self._on(special, special, places, base).any():
                return False
        for code, count, axis in ((index // grid.cols, grid.rows, -2), (index % grid.cols, grid.cols, -1)):
            if count == 1:
                continue
            gradient = self.weighted(torch.cat([before, code - (count - 1) / 2])[:, None])
            of_both = torch.stack([self._on(x, self.plain, places, base) for x in (gradient, self.plain)])
            pooled = F.adaptive_avg_pool2d(of_both, (grid.rows, grid.cols))
            ratio = pooled[0] / pooled[1].clamp_min(1e-30)
            place = torch.arange(count, device=ratio.device).float()
            place = place[:, None] if axis == -2 else place
            both = torch.stack([ratio.flatten(), place.expand_as(ratio).flatten()])
            if not torch.corrcoef(both)[0, 1] > _ALIKE:
                return False
        return True

    def _on(self, one: Tensor, other: Tensor, places: Sequence[int], base: PatchGrid) -> Tensor:
        """(B, rows, cols) inner product of two gradients at the patches of the source."""
        reduced = [i for i in range(1, self.source.dim()) if i not in places]
        product = (one * other).sum(reduced).flatten(1)[:, base.prefix :]
        return product.unflatten(1, (base.rows, base.cols))


def _digits(index: Tensor, size: int, base: int) -> Iterator[Tensor]:
    """The digits of numbers below `size`, the lowest first."""
    while size > 1:
        yield index % base
        index, size = index // base, -(-size // base)


def _expand(x: Tensor, like: Tensor, reduced: Sequence[int]) -> Tensor:
    for axis in reduced:
        x = x.unsqueeze(axis)
    return x.expand_as(like)


def agreed(of_images: Tensor) -> Tensor | None:
    """What (B, …) says of every image alike, −1 standing for nothing said; None where they differ."""
    best = of_images.amax(0)
    return best if ((of_images == best) | (of_images < 0)).all() else None


def grids_of(tokens: int, height: int, width: int) -> Iterator[PatchGrid]:
    """Grids of so many tokens whose cells are about as wide as high, fewest special tokens first."""
    for prefix in _PREFIXES:
        patches = tokens - prefix
        if patches < 1:
            return
        divisors = (n for n in range(1, patches + 1) if patches % n == 0)
        rows = min(divisors, key=lambda n: abs(log(n * n * width / (patches * height))))
        if 0.8 < rows * rows * width / (patches * height) < 1.25:
            yield PatchGrid(rows, patches // rows, prefix)


def in_cells(grid: PatchGrid, height: int, width: int, device: torch.device) -> Tensor:
    """(height, width): the cell, prefix counted, that a place lies in."""
    row = torch.arange(height, device=device) * grid.rows // height
    col = torch.arange(width, device=device) * grid.cols // width
    return grid.prefix + row[:, None] * grid.cols + col


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the keys of one layer lie on the grid of regions: sparse, as triples.

    A key's relevance is spread evenly over the pixels that its token stands for, and every region takes what
    lies on its pixels: sums are kept, also between layers of unlike resolution.

    Args:
        slots: (K,) key, counted through all windows.
        regions: (K,) region.
        shares: (K,) share of the key's pixels that lie in that region; they sum to 1 for every placed key.
        count: Number of regions.
    """

    slots: Tensor
    regions: Tensor
    shares: Tensor
    count: int

    @classmethod
    def of_pixels(cls, slot_of_pixel: Tensor, grid: PatchGrid) -> "Placement":
        """From (H, W) keys, −1 where a pixel is of none."""
        height, width = slot_of_pixel.shape
        region = in_cells(PatchGrid(grid.rows, grid.cols), height, width, slot_of_pixel.device)
        known = slot_of_pixel >= 0
        pairs = slot_of_pixel[known] * grid.patches + region[known]
        pairs, pixels = pairs.unique(return_counts=True)
        slots = pairs // grid.patches
        area = torch.zeros(int(slots.max()) + 1, device=slots.device).index_add(0, slots, pixels.float())
        return cls(slots, pairs % grid.patches, pixels / area[slots], grid.patches)

    @property
    def placed(self) -> Tensor:
        """Keys that lie somewhere, ascending."""
        return self.slots.unique()

    def place(self, relevance: Tensor) -> Tensor:
        """(…, keys) → (…, regions)."""
        shared = relevance[..., self.slots] * self.shares.to(relevance.dtype)
        out = relevance.new_zeros(*relevance.shape[:-1], self.count)
        return out.index_add(-1, self.regions, shared)
