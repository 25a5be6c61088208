"""Transformer input sampling: the score of subsets of tokens that the model's own features suggest."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.batching import VALUES, accurate, arguments_of, class_values
from xai.attr.registry import register
from xai.attr.removal import RemovalAttribution
from xai.attr.transformer_blocks import BlockAttribution, TransformerBlocks, block_outputs, tokens_of
from xai.core import PatchGrid, UsageError
from xai.core.options import check_option
from xai.core.target import Target
from xai.perturb import AnyOperator


@register
class TransformerInputSampling(RemovalAttribution, BlockAttribution):
    """Masks over tokens, weighted by the score of what they keep: `S_j = Σ_i f(x | M_i) M_ij / Σ_i M_ij`.

    Every channel of every block's output is a map over the patches. They are clustered (k-means); M_i keeps
    the share `keep` of the patches where the i-th centroid is largest. The others are dropped as tokens,
    so nothing stands in their place, and the sum is corrected for how often each patch was kept.
    Masks are the image's own; a patch that none keeps gets 0. Deviations: 999 masks for the authors' 1024,
    so that all passes are 1000; k-means starts from channels evenly spaced over the blocks rather than drawn,
    so nothing is random; no scaling to [0, 1].

    Args:
        forward_func: See `PatchAttribution`.
        n_masks: Masks, at most blocks × channels.
        keep: Share of the patches that a mask keeps.
        operator: How the others go. The default needs a model that reads its patches by attention alone and
            has a token besides them; for any other, an operator that replaces pixels (`mean`).
        value: f: `probability`, as in the paper, `log_odds` or `logit` of the target.
        seed: For operators that draw noise.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="tis",
        family="perturbation",
        class_sensitive=True,
        signed=False,
        forwards=1000,
        backwards=0,
        reference="Englebert et al. 2023, Explaining through Transformer Input Sampling, ICCV workshops",
        summary="Subsets of tokens found by clustering the features, weighted by the probability they keep.",
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_masks: int = 999,
        keep: float = 0.5,
        operator: AnyOperator = "token",
        value: str = "probability",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, operator, seed, internal_batch_size)
        if n_masks < 1 or not 0 < keep <= 1:
            raise UsageError(f"n_masks={n_masks}, keep={keep} is out of range: n_masks ≥ 1, 0 < keep ≤ 1.")
        check_option("value", value, VALUES)
        self.n_masks, self.keep, self.value = n_masks, keep, value

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        images, grid, blocks = len(pixels), self._grid(pixels), self._find_blocks(pixels, args)
        # each image alone: rounding in a batch could move a channel to another cluster
        masks = []
        for i in torch.arange(images).split(1):
            own = arguments_of(args, i, images)
            channels = self._channels(pixels[i.to(pixels.device)], own, blocks, grid)
            masks.append(largest(centroids(channels, self.n_masks), self.keep))
        present = torch.stack(masks)
        removed = ~present.unflatten(-1, (grid.rows, grid.cols))
        y = self._scores_without(pixels, removed, targets, args)
        share = present.to(y)
        relevance = torch.einsum("tbn,bnp->tbp", y, share) / share.sum(1).clamp_min(1)
        return relevance.unflatten(-1, (grid.rows, grid.cols))

    def _channels(
        self, pixels: Pixels, args: tuple[Any, ...], blocks: TransformerBlocks, grid: PatchGrid
    ) -> Float[Tensor, "maps patches"]:
        """All channels of all blocks' outputs of one image."""
        with torch.no_grad(), block_outputs(blocks.modules) as outputs:
            self.model(pixels, *args)
        tokens = [tokens_of(output).movedim(blocks.token_axis, -1).flatten(0, 1) for output in outputs]
        return accurate(torch.cat(tokens)[:, grid.prefix : grid.tokens])

    def _value(self, logits: Any) -> Any:
        return class_values(logits, self.value, self.model)


def centroids(points: Float[Tensor, "n d"], count: int, iterations: int = 100) -> Float[Tensor, "clusters d"]:
    """Lloyd's k-means from points evenly spaced in the order given; an empty cluster stays where it is."""
    count = min(count, len(points))
    centres = points[torch.arange(count, device=points.device) * len(points) // count]
    nearest = torch.full((len(points),), -1, device=points.device)
    for _ in range(iterations):
        before = nearest
        nearest = (centres.square().sum(1) - 2 * points @ centres.T).argmin(1)
        if torch.equal(nearest, before):
            break
        member = points.new_zeros(count, len(points)).scatter_(0, nearest[None], 1)
        size = member.sum(1, keepdim=True)
        centres = torch.where(size > 0, member @ points / size.clamp_min(1), centres)
    return centres


def largest(maps: Float[Tensor, "n patches"], share: float) -> Bool[Tensor, "n patches"]:
    """True at the given share of the patches, at least one, where each map is largest."""
    count = max(1, int(share * maps.shape[1]))
    top = maps.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(maps, dtype=torch.bool).scatter_(1, top, True)
