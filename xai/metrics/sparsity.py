"""How concentrated a map is. Says nothing of faithfulness: a wrong map can be as sparse as a right one."""

import torch
from torch import Tensor

from xai.metrics.base import MetricInfo
from xai.metrics.maps import exact_maps
from xai.metrics.registry import register


@register(
    MetricInfo(
        name="gini",
        higher_is_better=True,
        range=(0.0, 1.0),
        reference="Hurley & Rickard 2009, arXiv 0811.4706; Chalasani et al. 2020, arXiv 1810.06583",
        summary="Gini index of the absolute relevance: 0 for an even map, near 1 if few patches hold it all.",
        needs="map",
        against_random=False,
    )
)
def gini(relevance: Tensor) -> Tensor:
    """Gini index of |relevance|, from 0 (all patches equal) to 1 − 1/n (one of n patches holds everything).

    A map of zeros is even: 0.

    Args:
        relevance: (B, rows, cols).

    Returns:
        (B,) float64 on the CPU.

    Examples:
        >>> import torch
        >>> from xai.metrics import gini
        >>> gini(torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]))
        tensor([0.7500, 0.0000], dtype=torch.float64)
    """
    ascending = _shares(relevance).sort(1).values
    patches = ascending.shape[1]
    above = (patches - torch.arange(patches, dtype=torch.float64) - 0.5) / patches
    return (1 - 2 * (ascending * above).sum(1)).clamp_min(0)  # −1e-16 for an even map


@register(
    MetricInfo(
        name="entropy",
        higher_is_better=False,
        range=(0.0, 1.0),
        reference="Shannon entropy over patches, cf. Bhatt et al. 2020, arXiv 2005.00631",
        summary="Entropy of the absolute relevance as a share of its maximum: 1 if even, 0 if in one patch.",
        needs="map",
        against_random=False,
    )
)
def entropy(relevance: Tensor) -> Tensor:
    """−Σ p·log p / log n with p = |relevance| / Σ|relevance|; 1 for a map of zeros, which is even.

    Args:
        relevance: (B, rows, cols).

    Returns:
        (B,) float64 on the CPU.
    """
    shares = _shares(relevance)
    patches = shares.shape[1]
    if patches == 1:
        return torch.ones(len(shares), dtype=torch.float64)
    return (torch.special.entr(shares).sum(1) / torch.tensor(patches, dtype=torch.float64).log()).clamp_max(1)


def _shares(relevance: Tensor) -> Tensor:
    """(B, patches) share of each patch in the absolute relevance, float64 on the CPU."""
    size = exact_maps(relevance).flatten(1).abs()
    size = torch.where(size.amax(1, keepdim=True) > 0, size, 1)
    return size / size.sum(1, keepdim=True)
