"""Noisy linear imputation (ROAD): removed pixels become what their neighbours let expect.

Rong et al., arXiv 2202.00449. Every removed pixel is the weighted mean of its 8 neighbours, 1/6 each over
edges and 1/12 each over corners, renormalised at the image's border: a sparse linear system per image, solved
on the device for all images of a batch and their channels together: between pixels, or between the rims
of patches where whole patches were removed, and few in part. A ranking of pixels makes such masks where a map
of patches was laid over them: the pixels of a patch come one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from xai.core import UsageError
from xai.perturb.operator import Operator, on_pixels, register
from xai.perturb.replace import image_noise
from xai.perturb.road_patches import fill_patches, grids_of
from xai.perturb.road_systems import Scratch, fill_pixels

_CACHED = 2**20  # values that a processor takes at once, for its cache; an accelerator takes all
_CACHED_PATCHES = 2**22  # the same where patches were removed: less is held of each


@register
@dataclass(frozen=True)
class Road(Operator):
    """Noisy linear imputation (Rong et al. 2022, arXiv 2202.00449), solved on the device.

    The paper imputes before normalisation. Imputing is affine, so normalised pixels give the same; the noise
    is scaled to them where the classifier says how it normalises, else it is taken to be in their units.

    Args:
        noise: Standard deviation, for pixels in [0, 1]; drawn once per image.
    """

    name: ClassVar[str] = "road"
    noise: float = 0.01

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise UsageError(f"noise={self.noise} must be 0 or more.")

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """The noise, (B, 3, H, W)."""
        if not self.noise:
            return None
        noise = image_noise(pixels, seeds) * self.noise
        steps: Any = getattr(classifier, "preprocessing", None)
        if steps is not None:
            noise *= 255 * steps.scale / noise.new_tensor(steps.std).view(-1, 1, 1)
        return noise

    def logits(
        self, classifier: nn.Module, pixels: Tensor, baseline: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        return classifier(impute(pixels, removed, baseline))


@torch.no_grad()
def impute(pixels: Tensor, removed: Tensor, noise: Tensor | None = None) -> Tensor:
    """Fill removed pixels by linear interpolation from the kept ones, then add noise to them.

    The solution commutes with any affine change of a channel, so normalised pixels may be given as they
    are; the paper's noise (standard deviation 0.01 on [0, 1]) then has to be scaled by the caller. What an
    image gets does not depend on the others of the batch. No gradient passes through it.

    An image with every pixel removed has no equation to solve (the paper's system is singular there): it
    becomes the mean of each channel, the only constant that the image itself suggests.

    Args:
        pixels: (S, channels, H, W), finite.
        removed: (S, rows, cols) bool, True where a unit is unknown: a pixel, or all pixels of a patch.
        noise: (S, channels, H, W) added where pixels were removed.

    Returns:
        (S, channels, H, W) in the pixels' dtype, kept pixels untouched; computed in float32 at least.
    """
    _check(pixels, removed, noise)
    if not len(pixels):
        return pixels.detach().clone()
    size = (pixels.shape[2], pixels.shape[3])
    holes = on_pixels(removed, size)
    divided = grids_of(holes, (removed.shape[1], removed.shape[2]))
    if len(divided) == 1:
        return _filled(pixels, holes, noise, divided[0][0])
    result = torch.empty_like(pixels)
    for grid, some in divided:
        added = None if noise is None else noise[some]
        result[some] = _filled(pixels[some], holes[some], added, grid)
    return result


def _filled(pixels: Tensor, holes: Tensor, noise: Tensor | None, grid: tuple[int, int] | None) -> Tensor:
    """Of `impute`, by a grid of patches or by pixels; holes (S, H, W)."""
    cached = _CACHED if grid is None else _CACHED_PATCHES
    count = min(len(pixels), -(-pixels.numel() // cached)) if pixels.device.type == "cpu" else 1
    noises = [None] * count if noise is None else noise.tensor_split(count)
    scratch, parts = Scratch(), []
    with torch.autocast(pixels.device.type, enabled=False):
        for image, hole, added in zip(
            pixels.tensor_split(count), holes.tensor_split(count), noises, strict=True
        ):
            wide = image.to(torch.promote_types(image.dtype, torch.float32))
            if grid is None:
                filled = fill_pixels(wide, hole, scratch)
            else:
                filled = fill_patches(wide, hole, grid, scratch)
            if added is not None:
                filled.add_(added)
            # an eighth of torch.where's time on CPUs, and exact at weights of 0 and 1
            parts.append(torch.lerp(image, filled.to(image.dtype), hole[:, None].to(image.dtype)))
    return parts[0] if count == 1 else torch.cat(parts)


def _check(pixels: Tensor, removed: Tensor, noise: Tensor | None) -> None:
    if pixels.dim() != 4 or not pixels.is_floating_point():
        raise UsageError(
            "Pixels must be floating point of shape (S, channels, H, W); "
            f"got {pixels.dtype} {tuple(pixels.shape)}."
        )
    units, size = tuple(removed.shape), tuple(pixels.shape[2:])
    allowed = (
        len(units) == 3
        and units[0] == len(pixels)
        and all(0 < a <= b for a, b in zip(units[1:], size, strict=True))
    )
    if removed.dtype != torch.bool or not allowed:
        raise UsageError(
            f"What is removed must be a bool tensor (S, rows, cols), {len(pixels)} masks of at most {size}; "
            f"got {removed.dtype} {units}.",
            "Give one mask per image, True where a pixel or a patch is to be filled.",
        )
    if noise is not None and noise.shape != pixels.shape:
        raise UsageError(f"The noise is {tuple(noise.shape)}, the pixels are {tuple(pixels.shape)}.")
