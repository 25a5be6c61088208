"""Edges of the image: a control that resembles many heatmaps and knows no model."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from xai.attr.base import MethodInfo, PatchAttribution, register
from xai.attr.gradient import patch_sums
from xai.attr.shapes import PatchMaps, Pixels
from xai.attr.target import Target


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
