"""How alike two maps are: rank correlation, structural similarity, and whether the class changes the map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import UsageError
from xai.metrics.base import MetricInfo
from xai.metrics.maps import exact
from xai.metrics.registry import register

_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of every pair of maps, ties at their mean rank.

    A constant map has no order: two of them are alike (1), one of them is unrelated to any other (0).

    Args:
        first: (B, rows, cols).
        second: (B, rows, cols).

    Returns:
        (B,) float64 on the CPU, in [−1, 1].
    """
    a, b = (_centred_ranks(x) for x in _checked(first, second))
    norm = (a.square().sum(1) * b.square().sum(1)).sqrt()
    both_constant = ((a == 0) & (b == 0)).all(1)
    correlation = torch.where(norm > 0, (a * b).sum(1) / norm, both_constant.double())
    return correlation.clamp(-1, 1)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of every pair of maps, each scaled to [0, 1] by its own extremes.

    Wang et al. 2004 with a flat window of 7×7 patches, or the largest odd one that a smaller map holds,
    placed only where it fits, and population moments. A constant map becomes 0.

    Args:
        first: (B, rows, cols).
        second: (B, rows, cols).

    Returns:
        (B,) float64 on the CPU, in [−1, 1].
    """
    a, b = (_unit(x) for x in _checked(first, second))
    side = min(_WINDOW, *a.shape[1:])
    side -= side % 2 == 0

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x[:, None], side, stride=1)[:, 0]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (var_a + var_b + _C2)
    return (luminance * structure).mean((1, 2)).clamp(-1, 1)


@register(
    MetricInfo(
        name="class_sensitivity",
        higher_is_better=True,
        range=(0.0, 1.0),
        reference="after the random logit test, Sixt et al. 2020, arXiv 1912.09818",
        summary="How different the maps of two classes are: 0 the same (fails), ½ unrelated, 1 opposite.",
        needs="class",
        against_random=False,
    )
)
def class_sensitivity(relevance: Tensor, other: Tensor) -> Tensor:
    """(1 − Spearman's ρ) / 2 between the map of the class explained and that of another class.

    0 says that the method shows the same whatever it is asked, so its map cannot be evidence for a class.
    Opposite maps are what a signed method should give for the two sides of one margin, so ρ = −1 is no
    failure, and |ρ| would call it one. Sizes of gradients (saliency) are the same for both sides of a
    two-class margin, and score 0 there by construction. Patches that matter to both classes keep good
    methods below 1: read it as a test against 0, not as a ranking.

    Args:
        relevance: (B, rows, cols) for the class explained.
        other: (B, rows, cols) by the same method for another class, best the runner-up.

    Returns:
        (B,) float64 on the CPU.
    """
    return (1 - spearman(relevance, other)) / 2


def _centred_ranks(maps: Tensor) -> Tensor:
    """(B, patches) mean ranks around 0; exact halves, so that a constant map gives exact zeros."""
    flat = maps.flatten(1).contiguous()
    ascending = flat.sort(1).values
    below = torch.searchsorted(ascending, flat)
    upto = torch.searchsorted(ascending, flat, right=True)
    return (below + upto - flat.shape[1]).double() / 2


def _unit(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 0)


def _checked(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if first.dim() != 3 or first.shape != second.shape:
        raise UsageError(
            f"Two maps of one shape (B, rows, cols) can be compared; got {tuple(first.shape)} "
            f"and {tuple(second.shape)}."
        )
    return exact(first), exact(second)
