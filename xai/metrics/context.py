"""What all perturbation metrics of one batch share: protocol, images, classes, seeds and rankings."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xai.core import PatchGrid, derive_seed
from xai.metrics.maps import apply_sign, to_patches, to_pixels
from xai.metrics.protocol import Protocol
from xai.perturb import Operator, Request, States, rank_units, tie_fraction

_SCORES = {"margin": "log_odds", "probability": "log_odds", "logit": "logit", "accuracy": "correct"}


@dataclass(frozen=True, eq=False)
class Ranking:
    """All maps of a batch in order: ranking (m·B + b)·D + d is draw d of method m on image b.

    Args:
        units: (M, B, n) relevance that was ranked.
        ranks: (M·B·D, rows, cols) int32, 0 for the most relevant unit.
        image: (M·B·D,) image of each ranking.
        ties: (M, B) share of units whose relevance is not unique.
    """

    units: Tensor
    ranks: Tensor
    image: Tensor
    ties: Tensor


@dataclass(frozen=True, eq=False)
class Context:
    """A batch under a protocol.

    Args:
        protocol: How everything is computed.
        pixels: (B, 3, H, W).
        targets: (B,) class indices.
        seeds: One per image (`xai.perturb.image_seeds`), so that an image has the same in any batch.
        grid: The model's patch grid for these pixels; the grid of pixels where it has none.
    """

    protocol: Protocol
    pixels: Tensor
    targets: Tensor
    seeds: Sequence[int]
    grid: PatchGrid
    _ranked: list[tuple[Tensor, Ranking]] = field(default_factory=list, repr=False)

    @property
    def images(self) -> int:
        """B."""
        return len(self.pixels)

    @property
    def units(self) -> tuple[int, int]:
        """Rows and columns of what the protocol removes."""
        if self.protocol.unit == "patch":
            return self.grid.rows, self.grid.cols
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def total(self) -> int:
        """Number of units."""
        return self.units[0] * self.units[1]

    @property
    def counts(self) -> tuple[int, ...]:
        """Units removed at each point of a curve."""
        return self.protocol.counts(self.units)

    @property
    def fractions(self) -> Tensor:
        """(K,) float64 shares of units removed at each point of a curve."""
        return torch.tensor(self.counts, dtype=torch.float64) / self.total

    def patch_relevance(self, relevance: Tensor) -> Tensor:
        """(M, B, rows, cols) or (M, B, H, W) → (M, B, patches) with the protocol's sign."""
        patches = to_patches(relevance, (self.grid.rows, self.grid.cols))
        return apply_sign(patches, self.protocol.sign).flatten(2)

    def rank(self, relevance: Tensor) -> Ranking:
        """The order of the protocol's units in every map; computed once for all metrics."""
        for known, ranking in self._ranked:
            if known is relevance:
                return ranking
        ranking = self._rank(relevance)
        self._ranked.append((relevance, ranking))
        return ranking

    def _rank(self, relevance: Tensor) -> Ranking:
        protocol, (rows, cols) = self.protocol, self.units
        if protocol.unit == "patch":
            units = self.patch_relevance(relevance)
        else:
            pixels = to_pixels(relevance, (rows, cols), protocol.upsampling)
            units = apply_sign(pixels, protocol.sign).flatten(2)
        methods, images, total = units.shape
        draws = protocol.tie_draws
        seeds = None
        if protocol.ties == "random":
            drawn = [derive_seed(seed, "ties", d) for seed in self.seeds for d in range(draws)]
            seeds = drawn * methods
        flat = units.reshape(-1, total)
        return Ranking(
            units=units,
            ranks=rank_units(flat.repeat_interleave(draws, dim=0), seeds).reshape(-1, rows, cols),
            image=torch.arange(images).repeat_interleave(draws).repeat(methods),
            ties=tie_fraction(flat).reshape(methods, images).double().cpu(),
        )

    def request(self, ranking: Ranking, intervals: Sequence[tuple[int, int]], operator: Operator) -> Request:
        """In every ranking, one state per interval of ranks to remove."""
        rows, ends = len(ranking.ranks), torch.tensor(intervals, dtype=torch.int32)
        states = States(
            rankings=ranking.ranks,
            image=ranking.image,
            row=torch.arange(rows).repeat_interleave(len(ends)),
            low=ends[:, 0].repeat(rows),
            high=ends[:, 1].repeat(rows),
        )
        return Request(operator, states, self.score)

    def ends_request(self, ranking: Ranking, operator: Operator) -> Request:
        """Every image as it is and with everything removed."""
        row = torch.arange(self.images) * self.protocol.tie_draws  # of the first method
        high = torch.tensor([0, self.total], dtype=torch.int32)
        states = States(
            rankings=ranking.ranks,
            image=ranking.image,
            row=row.repeat_interleave(2),
            low=torch.zeros(2 * self.images, dtype=torch.int32),
            high=high.repeat(self.images),
        )
        return Request(operator, states, self.score)

    @property
    def score(self) -> str:
        """What the stream reads from the logits."""
        return _SCORES[self.protocol.value]

    def values(self, scores: Tensor) -> Tensor:
        """Float64 values of the protocol from what the stream read."""
        exact = scores.double()
        return exact.sigmoid() if self.protocol.value == "probability" else exact
