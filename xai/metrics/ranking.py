"""Units in the order of their relevance: patches and pixels as they are, segments as the pixels they hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import derive_seed
from xai.metrics.maps import apply_sign
from xai.metrics.protocol import Protocol
from xai.perturb import rank_units, tie_fraction


@dataclass(frozen=True, eq=False)
class RankedMaps:
    """All maps of a batch in order: ranking (m·B + b)·D + d is draw d of method m on image b.

    Args:
        units: (M, B, n) relevance that was ranked.
        ranks: (M·B·D, rows, cols) int32, 0 for the most relevant unit.
        image: (M·B·D,) image of each ranking.
        ties: (M, B) share of units whose relevance is not unique.
        starts: (M·B·D, total + 1) rank at which the pixels of each unit begin, where units are segments: the
            units are then pixels with the relevance of their segment, and those of a segment rank together.
    """

    units: Tensor
    ranks: Tensor
    image: Tensor
    ties: Tensor
    starts: Tensor | None = None

    def places(self, counts: Sequence[int]) -> Tensor:
        """(M·B·D, K) int32: the ranks before which so many units stand."""
        at = torch.tensor(counts, dtype=torch.int32)
        return at.expand(len(self.ranks), -1) if self.starts is None else self.starts[:, at.long()]


def tie_seeds(protocol: Protocol, seeds: Sequence[int], methods: int) -> list[int] | None:
    """A seed for the ties of every ranking, in their order; None where ties are ordered by position."""
    if protocol.ties == "stable":
        return None
    return [derive_seed(seed, "ties", d) for seed in seeds for d in range(protocol.tie_draws)] * methods


def rank_segments(protocol: Protocol, pixels: Tensor, labels: Tensor, seeds: Sequence[int]) -> RankedMaps:
    """Rank the pixels of segments together, in the order of the segments' mean relevance.

    Args:
        protocol: That removes segments.
        pixels: (M, B, H, W) relevance.
        labels: (B, H, W) segment of each pixel.
        seeds: One per image.
    """
    methods, images, draws = len(pixels), len(labels), protocol.tie_draws
    total, size = protocol.units((1, 1), (1, 1))[1], labels.shape[1:]
    flat, of = pixels.flatten(2).double().cpu(), labels.flatten(1)
    units = torch.empty_like(flat)
    ranks = torch.empty(methods, images, draws, *size, dtype=torch.int32)
    starts = torch.empty(methods, images, draws, total + 1, dtype=torch.int32)
    ties = torch.empty(methods, images, dtype=torch.float64)
    for b, (label, seed) in enumerate(zip(of, seeds, strict=True)):
        sizes = label.bincount()
        sums = torch.zeros(methods, len(sizes), dtype=torch.float64)
        means = apply_sign(sums.index_add_(1, label, flat[:, b]) / sizes, protocol.sign)
        units[:, b], ties[:, b] = means[:, label], tie_fraction(means)
        rows = means.repeat_interleave(draws, dim=0)
        of_segments = rank_units(rows, tie_seeds(protocol, [seed], methods))  # (M·D, segments)
        of_pixels = of_segments[:, label].argsort(dim=1, stable=True).argsort(dim=1)
        ranks[:, b] = of_pixels.reshape(methods, draws, *size).int()
        behind = sizes[of_segments.argsort(dim=1)].cumsum(1)
        begun = F.pad(behind, (1, 0))  # pixels of the first k segments
        nearer = torch.arange(total + 1)
        nearer = torch.where(2 * nearer <= total, nearer, len(sizes) - total + nearer).clamp(0, len(sizes))
        starts[:, b] = begun[:, nearer].reshape(methods, draws, -1).int()
    return RankedMaps(
        units=units,
        ranks=ranks.reshape(-1, *size),
        image=torch.arange(images).repeat_interleave(draws).repeat(methods),
        ties=ties,
        starts=starts.reshape(-1, total + 1),
    )
