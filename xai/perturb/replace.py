"""Operators that put other pixels in the place of those removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention import grid_of
from xai.core import UsageError, nearest
from xai.perturb.operator import PixelOperator, register

SPACES = ("normalised", "pixel")


@register
@dataclass(frozen=True)
class Mean(PixelOperator):
    """The image's own mean colour."""

    name: ClassVar[str] = "mean"

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        return pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)


@register
@dataclass(frozen=True)
class RegionMean(PixelOperator):
    """Each region's own mean colour, on the grid that maps lie on: what is finer than a region is gone."""

    name: ClassVar[str] = "region_mean"

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        grid = grid_of(classifier, pixels)
        rows, cols = (
            torch.arange(side, device=pixels.device) * cells // side
            for side, cells in zip(pixels.shape[2:], (grid.rows, grid.cols), strict=True)
        )
        rows, cols = (F.one_hot(cell).to(pixels.dtype) for cell in (rows, cols))  # (pixels, cells)
        means = (rows / rows.sum(0)).T @ pixels @ (cols / cols.sum(0))
        return rows @ means @ cols.T


@register
@dataclass(frozen=True)
class Minimum(PixelOperator):
    """The smallest value of the normalised image, over all channels (what Quantus calls black)."""

    name: ClassVar[str] = "minimum"

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        return pixels.amin(dim=(1, 2, 3), keepdim=True).expand_as(pixels)


@register
@dataclass(frozen=True)
class Constant(PixelOperator):
    """One value for all images.

    Args:
        value: In the given space: 0 is the data set's mean colour in `normalised` (RISE), black in `pixel`.
        space: `normalised`: as the model sees it; `pixel`: in [0, 1], then normalised as the classifier does.
    """

    name: ClassVar[str] = "constant"
    value: float = 0.0
    space: str = "normalised"

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UsageError(f"Unknown space {self.space!r}.", nearest(str(self.space), SPACES))

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        value = pixels.new_full((3, 1, 1), self.value)
        if self.space == "pixel":
            steps: Any = getattr(classifier, "preprocessing", None)
            if steps is None:
                raise UsageError(
                    "A constant in pixel space needs to know how the classifier normalises; it does not say.",
                    'Use space="normalised", or a classifier that came with its preprocessing.',
                )
            mean, std = (pixels.new_tensor(x).view(3, 1, 1) for x in (steps.mean, steps.std))
            value = (value * 255 * steps.scale - mean) / std
        return value.expand_as(pixels)


@register
@dataclass(frozen=True)
class Noise(PixelOperator):
    """Gaussian noise around the data set's mean colour, drawn once per image.

    Args:
        std: In normalised pixels; natural images have about 1.
    """

    name: ClassVar[str] = "noise"
    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise UsageError(f"std={self.std} must be positive.")

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        return image_noise(pixels, seeds) * self.std


def image_noise(pixels: Tensor, seeds: Sequence[int]) -> Tensor:
    """(B, 3, H, W) standard normal, drawn on the CPU: an image has the same on any device, in any batch."""
    drawn = [
        torch.randn(pixels.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds
    ]
    return torch.stack(drawn).to(pixels)
