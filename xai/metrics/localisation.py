"""Does the relevance lie where the image was tampered with? Metrics that need a mask of the truth.

A mask (B, H, W) at the resolution of the model's input says per pixel what a map (B, rows, cols) says per
patch. A patch counts with the share of its pixels that the mask covers, which makes every number equal to
the one of the map laid over the pixels (nearest upsampling), with ties broken at random and averaged.
An image with an empty mask has nothing to find: its value is NaN, to be left out and counted.
"""

from dataclasses import dataclass
from math import nan

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import UsageError
from xai.core.explanation import CLICK_TOLERANCE
from xai.metrics.base import MetricInfo
from xai.metrics.maps import exact_maps
from xai.metrics.registry import register

COVERED = 0.5
"""A patch is part of the target, where it must be or not be, if the mask covers this share of it."""


def _of_mask(name: str, reference: str, summary: str) -> MetricInfo:
    return MetricInfo(
        name=name,
        higher_is_better=True,
        range=(0.0, 1.0),
        reference=reference,
        summary=summary,
        needs="mask",
    )


@register(
    _of_mask(
        "pointing_game",
        "Zhang et al. 2016, arXiv 1608.00507",
        summary="Whether the centre of the most relevant patch lies in the mask; ties count by their share, "
        "and by lot where methods are compared.",
    )
)
def pointing_game(relevance: Tensor, mask: Tensor, *, tolerance: int = 0) -> Tensor:
    """1 where the map's maximum hits the mask, 0 where it misses.

    Several maxima count as one drawn at random: the value is the share of them that hits. A constant map
    gets the mask's share of all patch centres, which is chance.

    Args:
        relevance: (B, rows, cols).
        mask: (B, H, W) bool at the model's input resolution.
        tolerance: Distance in pixels from the patch's centre at which the mask is still hit; the paper
            allows 15 at its resolution.

    Returns:
        (B,) float64 on the CPU, NaN for empty masks.
    """
    if tolerance < 0:
        raise UsageError(f"tolerance={tolerance} must be 0 pixels or more.")
    relevance, mask = _checked(relevance, mask)
    near = mask
    if tolerance:
        offset = torch.arange(-tolerance, tolerance + 1)
        disk = (offset[:, None] ** 2 + offset**2 <= tolerance**2).float()
        near = F.conv2d(mask[:, None].float(), disk[None, None], padding=tolerance)[:, 0] > 0.5
    (rows, cols), (height, width) = relevance.shape[1:], mask.shape[1:]
    y, x = ((torch.arange(n) * 2 + 1) * side // (2 * n) for n, side in ((rows, height), (cols, width)))
    hits = near[:, y][:, :, x].flatten(1).double()
    flat = relevance.flatten(1)
    top = (flat == flat.amax(1, keepdim=True)).double()
    return _unless_empty((top * hits).sum(1) / top.sum(1), mask)


@register(
    MetricInfo(
        name="pointing_game_clicks",
        higher_is_better=True,
        range=(0.0, 1.0),
        reference="Zhang et al. 2018, arXiv 1608.00507; clicks as in ExDDV, arXiv 2503.14421",
        summary="Whether the centre of the most relevant patch lies near a click on what was tampered with.",
        needs="clicks",
    )
)
def pointing_game_clicks(relevance: Tensor, clicks: Tensor, *, tolerance: float = CLICK_TOLERANCE) -> Tensor:
    """1 where the map's maximum lies near a click, 0 where it does not; ties count by their share.

    People click on one place of what they see, not on all of it, so nothing is said of the rest of the map.

    Args:
        relevance: (B, rows, cols).
        clicks: (B, H, W) bool at the model's input resolution, True in the pixels that were clicked.
        tolerance: Largest distance of the patch's centre from a click, as a share of the shorter side.

    Returns:
        (B,) float64 on the CPU, NaN where nothing was clicked, or only what the model does not see.
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance={tolerance} must be a share of the image's side, from 0 to below 1.")
    return pointing_game(relevance, clicks, tolerance=round(tolerance * min(clicks.shape[-2:])))


@register(
    _of_mask(
        "mass_accuracy",
        "Arras et al. 2020, arXiv 2003.07258",
        summary="Share of the positive relevance that lies inside the mask.",
    )
)
def mass_accuracy(relevance: Tensor, mask: Tensor) -> Tensor:
    """Positive relevance inside the mask, divided by all positive relevance.

    A map without positive relevance points nowhere and gets what a constant map gets: the mask's share of
    the image.

    Args:
        relevance: (B, rows, cols).
        mask: (B, H, W) bool at the model's input resolution.

    Returns:
        (B,) float64 on the CPU, NaN for empty masks.
    """
    cover = _Cover.of(relevance, mask)
    positive = cover.relevance.clamp_min(0)
    mass = torch.where((positive > 0).any(1, keepdim=True), positive, 1)
    return _unless_empty((mass * cover.covered).sum(1) / (mass * cover.area).sum(1), mask)


@register(
    _of_mask(
        "rank_accuracy",
        "Arras et al. 2020, arXiv 2003.07258",
        summary="Share of the mask among as many most relevant pixels as the mask has.",
    )
)
def rank_accuracy(relevance: Tensor, mask: Tensor) -> Tensor:
    """Of the K most relevant pixels, K the size of the mask, the share inside the mask.

    A mask that cuts through patches cannot be met exactly: the best possible value is then below 1, for
    every method alike.

    Args:
        relevance: (B, rows, cols).
        mask: (B, H, W) bool at the model's input resolution.

    Returns:
        (B,) float64 on the CPU, NaN for empty masks.
    """
    cover = _Cover.of(relevance, mask)
    return _unless_empty(cover.masked_on_top() / cover.covered.sum(1), mask)


@register(
    _of_mask(
        "iou",
        "intersection over union at the threshold that keeps the mask's area",
        summary="Overlap of the mask with the most relevant region of the same area.",
    )
)
def iou(relevance: Tensor, mask: Tensor) -> Tensor:
    """Intersection over union of the mask and the K most relevant pixels, K the size of the mask.

    No threshold to choose, and none that suits one method's scale. Equal areas tie it to rank accuracy a:
    the value is a / (2 − a), which ranks the methods on one image alike but not their means.

    Args:
        relevance: (B, rows, cols).
        mask: (B, H, W) bool at the model's input resolution.

    Returns:
        (B,) float64 on the CPU, NaN for empty masks.
    """
    cover = _Cover.of(relevance, mask)
    overlap, size = cover.masked_on_top(), cover.covered.sum(1)
    return _unless_empty(overlap / (2 * size - overlap), mask)


@register(
    _of_mask(
        "average_precision",
        "step-wise average precision over patches, as scikit-learn's",
        summary="Area under precision and recall of finding the masked patches by relevance.",
    )
)
def average_precision(relevance: Tensor, mask: Tensor) -> Tensor:
    """Average precision of relevance as a detector of patches at least half of which the mask covers.

    Where the mask covers half of no patch, the most covered ones take their place. Tied patches enter
    together. A constant map gets the share of positive patches.

    Args:
        relevance: (B, rows, cols).
        mask: (B, H, W) bool at the model's input resolution.

    Returns:
        (B,) float64 on the CPU, NaN for empty masks.
    """
    cover = _Cover.of(relevance, mask)
    share = cover.covered / cover.area
    positive = (share >= share.amax(1, keepdim=True).clamp_max(COVERED)).double()
    taken = _above(cover.relevance, torch.ones_like(share), ties=True)
    precision = _above(cover.relevance, positive, ties=True) / taken
    return _unless_empty((precision * positive).sum(1) / positive.sum(1), mask)


@dataclass(frozen=True, eq=False)
class _Cover:
    """Maps and masks patch by patch, (B, patches) each, float64 on the CPU.

    Args:
        relevance: Of each patch.
        area: Pixels of each patch.
        covered: Pixels of each patch inside the mask.
    """

    relevance: Tensor
    area: Tensor
    covered: Tensor

    @classmethod
    def of(cls, relevance: Tensor, mask: Tensor) -> "_Cover":
        relevance, mask = _checked(relevance, mask)
        rows, cols = (
            F.one_hot(
                torch.arange(side) * n // side, n
            ).double()  # which pixel row belongs to which patch row
            for n, side in zip(relevance.shape[1:], mask.shape[1:], strict=True)
        )
        covered = rows.T @ mask.double() @ cols
        area = (rows.sum(0)[:, None] * cols.sum(0)).expand_as(covered)
        return cls(relevance.flatten(1), area.flatten(1), covered.flatten(1))

    def masked_on_top(self) -> Tensor:
        """(B,) pixels of the mask among as many most relevant ones as it has; expected over ties."""
        before = _above(self.relevance, self.area, ties=False)
        tied = _above(self.relevance, self.area, ties=True) - before
        taken = ((self.covered.sum(1, keepdim=True) - before) / tied).clamp(0, 1)
        return (taken * self.covered).sum(1)


def _above(relevance: Tensor, weight: Tensor, *, ties: bool) -> Tensor:
    """For every patch, the weight of all patches of higher relevance, and of equal if `ties`."""
    order = relevance.argsort(1)
    ascending = relevance.gather(1, order)
    cumulative = F.pad(weight.gather(1, order).cumsum(1), (1, 0))
    first = torch.searchsorted(ascending, relevance, right=not ties)
    return cumulative[:, -1:] - cumulative.gather(1, first)


def _unless_empty(value: Tensor, mask: Tensor) -> Tensor:
    return value.masked_fill(~mask.cpu().flatten(1).any(1), nan)


def _checked(relevance: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    relevance = exact_maps(relevance)
    if mask.dtype != torch.bool or mask.dim() != 3 or len(mask) != len(relevance):
        raise UsageError(
            f"The mask must be a bool tensor of shape ({len(relevance)}, H, W); "
            f"got {mask.dtype} {tuple(mask.shape)}.",
            "True where the image was tampered with, at the resolution of the model's input.",
        )
    if any(n > side for n, side in zip(relevance.shape[1:], mask.shape[1:], strict=True)):
        raise UsageError(
            f"A mask of {mask.shape[1]}×{mask.shape[2]} pixels is smaller than the map's "
            f"{relevance.shape[1]}×{relevance.shape[2]} patches.",
            "Give the mask at the resolution of the model's input.",
        )
    return relevance, mask.cpu()
