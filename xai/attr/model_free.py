"""Maps that know nothing about the model: what every method must beat."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.gradient import patch_sums
from xai.attr.registry import register
from xai.core import UsageError
from xai.core.target import Target
from xai.perturb import image_seeds


@register
class RandomAttribution(PatchAttribution):
    """Independent uniform relevance in [0, 1), drawn per image: alone or in a batch, an image gets the same.

    Args:
        forward_func: See `PatchAttribution`; never called.
        seed: Another seed gives another map.
    """

    info = MethodInfo(
        name="random",
        family="control",
        class_sensitive=False,
        signed=False,
        forwards=0,
        backwards=0,
        reference="control",
        summary="Uniform noise: a method that is no better tells nothing.",
        deterministic=False,
    )

    def __init__(self, forward_func: torch.nn.Module, seed: int = 0):
        super().__init__(forward_func)
        self.seed = seed

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        maps = []
        for seed in image_seeds(pixels, self.seed):
            generator = torch.Generator().manual_seed(seed)
            maps.append(torch.rand(grid.rows, grid.cols, generator=generator))
        relevance = torch.stack(maps).to(pixels.device)
        return relevance.expand(len(targets), *relevance.shape)


@register
class CenterPrior(PatchAttribution):
    """A Gaussian at the image's centre, 1 at its peak: what a photographer's habit alone would tell.

    Args:
        forward_func: See `PatchAttribution`; never called.
        sigma: Standard deviation as a share of the image's height and width.
    """

    info = MethodInfo(
        name="center_prior",
        family="control",
        class_sensitive=False,
        signed=False,
        forwards=0,
        backwards=0,
        reference="control; cf. Judd et al. 2009",
        summary="A Gaussian at the centre: subjects stand there, whatever the model saw.",
    )

    def __init__(self, forward_func: torch.nn.Module, sigma: float = 0.25):
        super().__init__(forward_func)
        if sigma <= 0:
            raise UsageError(f"sigma={sigma} must be above 0.")
        self.sigma = sigma

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        y, x = (
            (torch.arange(n, device=pixels.device, dtype=torch.float32) + 0.5) / n - 0.5
            for n in (grid.rows, grid.cols)
        )
        relevance = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * self.sigma * self.sigma))
        return relevance.expand(len(targets), len(pixels), grid.rows, grid.cols)


@register
class Uniform(PatchAttribution):
    """The same relevance everywhere: all patches tie, so their order is the seeded tie rule's alone.

    What a metric gives it is what the metric gives to no information at all.

    Args:
        forward_func: See `PatchAttribution`; never called.
    """

    info = MethodInfo(
        name="uniform",
        family="control",
        class_sensitive=False,
        signed=False,
        forwards=0,
        backwards=0,
        reference="control",
        summary="One value everywhere: what a metric gives it, it gives for nothing.",
    )

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        return pixels.new_full((len(targets), len(pixels), grid.rows, grid.cols), 1 / grid.patches)


@register
class SobelEdges(PatchAttribution):
    """Edge strength, `Σ_{pixels of the patch} √(g_x² + g_y²)`, by Sobel's 3×3 kernels on the channels' mean.

    The border is repeated outwards. The model is never called.
    """

    info = MethodInfo(
        name="sobel",
        family="control",
        class_sensitive=False,
        signed=False,
        forwards=0,
        backwards=0,
        reference="control; Adebayo et al. 2018, arXiv 1810.03292, compare with an edge detector",
        summary="Edges of the image: a map that looks like this may show no more than edges.",
    )

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grey = F.pad(pixels.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=pixels.device)
        edges = F.conv2d(grey, torch.stack([kernel, kernel.T])[:, None]).square().sum(1, keepdim=True).sqrt()
        relevance = patch_sums(edges, self._grid(pixels))
        return relevance.expand(len(targets), *relevance.shape)
