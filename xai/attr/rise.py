"""RISE: the average of random masks, weighted by the score of what they leave visible."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import arguments_of, class_values, variant_scores
from xai.attr.registry import register
from xai.core import PatchGrid, UsageError, derive_seed
from xai.core.options import check_option
from xai.core.target import Target


@register
class RISE(PatchAttribution):
    """Random masks weighted by their scores: `S_j = 1/(p·N) Σ_i f(x ⊙ M_i) · M_ij`.

    M_i is a `cells` × `cells` grid of zeros and ones (one with probability p), enlarged bilinearly and
    cropped at a random shift; what it hides is 0 in normalised space. The map is the mean over each patch's
    pixels. All images share the masks (common random numbers), so alone or in a batch an image gets the
    same map. It is a sample: its error falls with √N, and scores far above 0 add a constant to all patches.

    Args:
        forward_func: See `PatchAttribution`.
        n_masks: Masks N; the paper takes 4000 (VGG-16) and 8000 (ResNet-50).
        cells: Cells of the mask grid a side.
        p: Probability that a cell stays visible.
        value: f: `probability`, the paper's, the target's softmax probability (the logistic function of a
            single logit or an independent label's); or `logit`, the target's score itself.
        seed: Another seed gives other masks.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="rise",
        family="perturbation",
        class_sensitive=True,
        signed=False,
        forwards=1000,
        backwards=0,
        reference="Petsiuk et al. 2018, arXiv 1806.07421, section 3",
        summary="Average of random masks, weighted by the probability of the class behind each.",
        deterministic=False,
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_masks: int = 1000,
        cells: int = 7,
        p: float = 0.5,
        value: str = "probability",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        if n_masks < 1 or cells < 2 or not 0 < p <= 1 or internal_batch_size < 1:
            raise UsageError(
                f"n_masks={n_masks}, cells={cells}, p={p}, internal_batch_size={internal_batch_size} is out "
                "of range: n_masks ≥ 1, cells ≥ 2, 0 < p ≤ 1, internal_batch_size ≥ 1."
            )
        check_option("value", value, ("probability", "logit"))
        self.n_masks, self.cells, self.p, self.value = n_masks, cells, p, value
        self.seed, self.internal_batch_size = seed, internal_batch_size

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        images, (height, width), grid = len(pixels), pixels.shape[-2:], self._grid(pixels)
        masks = RandomMasks(self.n_masks, self.cells, self.p, height, width, self.seed, pixels.device)

        def forward(image: Tensor, variant: Tensor) -> Any:
            visible = masks(variant)[:, None].to(pixels.dtype)
            masked = pixels[image.to(pixels.device)] * visible
            return self._value(self.model(masked, *arguments_of(args, image, images)))

        weights = variant_scores(forward, images, self.n_masks, targets, self.internal_batch_size)
        shares = masks.patch_means(torch.arange(self.n_masks), grid)
        return torch.einsum("tbn,nrc->tbrc", weights, shares.to(weights.dtype)) / (self.n_masks * self.p)

    def _value(self, logits: Any) -> Any:
        return class_values(logits, self.value, self.model)


class RandomMasks:
    """RISE's masks, held as small grids and shifts and enlarged on demand.

    A grid is enlarged from s × s cells to (s + 1)·⌈H/s⌉ × (s + 1)·⌈W/s⌉ pixels (bilinear, edges
    repeated) and cropped to H × W at a shift of up to one cell.
    """

    def __init__(
        self, count: int, cells: int, p: float, height: int, width: int, seed: int, device: torch.device
    ):
        generator = torch.Generator().manual_seed(derive_seed(seed, "rise", cells, height, width))
        self.size = (height, width)
        self.cells = cells
        self.grids = (torch.rand(count, cells, cells, generator=generator) < p).float().to(device)
        self.shifts = [
            torch.randint(math.ceil(n / cells), (count,), generator=generator).to(device) for n in self.size
        ]

    def __call__(self, index: Int[Tensor, "s"]) -> Float[Tensor, "s height width"]:
        """The masks of these indices, in [0, 1]."""
        rows, cols = self._axes(index)
        return rows @ self.grids[index.to(self.grids.device)] @ cols.transpose(1, 2)

    def patch_means(self, index: Int[Tensor, "s"], grid: PatchGrid) -> Float[Tensor, "s rows cols"]:
        """Mean over each patch's pixels of the masks of these indices, without making the masks."""
        rows, cols = (
            _averages(size, patches, weights.device) @ weights
            for size, patches, weights in zip(
                self.size, (grid.rows, grid.cols), self._axes(index), strict=True
            )
        )
        return rows @ self.grids[index.to(self.grids.device)] @ cols.transpose(1, 2)

    def _axes(self, index: Int[Tensor, "s"]) -> tuple[Tensor, Tensor]:
        index = index.to(self.grids.device)
        down, across = self.shifts
        return self._weights(down[index], self.size[0]), self._weights(across[index], self.size[1])

    def _weights(self, shift: Int[Tensor, "s"], size: int) -> Float[Tensor, "s pixels cells"]:
        """Bilinear interpolation along one axis: each pixel's weights on the cells."""
        s = self.cells
        pixel = shift[:, None] + torch.arange(size, device=shift.device) + 0.5
        position = (pixel * s / ((s + 1) * math.ceil(size / s)) - 0.5).clamp(0, s - 1)
        return (1 - (position[..., None] - torch.arange(s, device=shift.device)).abs()).clamp_min(0)


def _averages(size: int, patches: int, device: torch.device) -> Float[Tensor, "patches size"]:
    """Rows that average the pixels of each patch along one axis."""
    patch = torch.arange(size, device=device) * patches // size
    member = (patch == torch.arange(patches, device=device)[:, None]).float()
    return member / member.sum(1, keepdim=True)
