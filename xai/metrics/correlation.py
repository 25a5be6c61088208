"""Faithfulness correlation: does relevance add up to the effect of removing random sets of patches?"""

import torch
from torch import Tensor

from xai.core import UsageError, derive_seed
from xai.metrics.base import MetricInfo, PerturbationMetric, RawScores, span
from xai.metrics.context import Context
from xai.metrics.protocol import Protocol
from xai.metrics.registry import value_function
from xai.perturb import Request, States

SUBSETS = 100
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)


def correlation_forwards(n_patches: int, protocol: Protocol | None = None) -> int:
    """One state per subset, and the two ends; shared by all methods of an image."""
    return SUBSETS + 2


class FaithfulnessCorrelation(PerturbationMetric):
    """Pearson correlation of summed relevance and drop over random sets of patches, Bhatt et al. 2020.

    100 sets per image, 20 each of 10 %, 20 %, … 50 % of the patches, the same for all methods (common
    random numbers) and for the image in any batch. The correlation is taken within sets of one size (sums
    and drops are centred per size, then pooled): across sizes, any map of one sign would correlate, since
    larger sets have more relevance and drop more. With one size this is the paper's definition.

    Always on patches, also under a pixel protocol (on pixels where the model has no patches). A map or a
    model that does not vary earns 0 and is flagged as saturated.
    """

    info = MetricInfo(
        name="faithfulness_correlation",
        higher_is_better=True,
        range=(-1.0, 1.0),
        reference="Bhatt et al. 2020 (arXiv 2005.00631)",
        summary="Correlation of the relevance of random sets of patches with the effect of removing them.",
        needs="perturbation",
        forwards=correlation_forwards,
    )

    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        subsets = random_ranks(context)
        images, count, rows, cols = subsets.shape
        states = States(
            rankings=subsets.reshape(-1, rows, cols),
            image=torch.arange(images).repeat_interleave(count),
            row=torch.arange(images * count),
            low=torch.zeros(images * count, dtype=torch.int32),
            high=subset_sizes(context.grid.patches).repeat(images),
        )
        return [Request(self.operator(context), states, context.score)]

    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> RawScores:
        sizes = subset_sizes(context.grid.patches)
        removed = random_ranks(context).flatten(2) < sizes[:, None]  # (B, n, patches)
        patches = context.patch_relevance(relevance).double().cpu()
        patches = patches - patches.mean(
            -1, keepdim=True
        )  # changes nothing within a size; exact for constants
        sums = torch.einsum("mbp,bnp->mbn", patches, removed.double())
        drops = (clean[:, None] - values[0].reshape(context.images, -1)).expand_as(sums)
        constant = patches.abs().amax(-1) == 0
        moves = span(drops).masked_fill(constant, -torch.inf)
        return RawScores(pooled_correlation(sums, drops), moves)


faithfulness_correlation = value_function(FaithfulnessCorrelation)


def subset_sizes(patches: int) -> Tensor:
    """(n,) int32 number of patches in each random set.

    Raises:
        UsageError: There are too few patches for sets of different sizes.
    """
    sizes = [max(1, round(share * patches)) for share in SHARES]
    if patches < 4:
        raise UsageError(f"Random sets of patches need at least 4 patches; there are {patches}.")
    each = SUBSETS // len(SHARES)
    return torch.tensor(sizes, dtype=torch.int32).repeat_interleave(each)


def random_ranks(context: Context) -> Tensor:
    """(B, n, rows, cols) int32 random orders of the patches, seeded by the image alone."""
    grid, orders = context.grid, []
    for seed in context.seeds:
        generator = torch.Generator().manual_seed(derive_seed(seed, "random subsets"))
        keys = torch.rand(SUBSETS, grid.patches, generator=generator, dtype=torch.float64)
        orders.append(keys.argsort(dim=1).to(torch.int32))
    return torch.stack(orders).reshape(len(orders), SUBSETS, grid.rows, grid.cols)


def pooled_correlation(sums: Tensor, drops: Tensor) -> Tensor:
    """Pearson correlation (...) of (..., n), centred within sets of one size; 0 where one is constant."""
    shape = (*sums.shape[:-1], len(SHARES), -1)
    x, y = (v.reshape(shape) - v.reshape(shape).mean(-1, keepdim=True) for v in (sums, drops))
    x, y = x.flatten(-2), y.flatten(-2)
    norm = x.norm(dim=-1) * y.norm(dim=-1)
    return torch.where(norm > 0, (x * y).sum(-1) / norm.clamp_min(1e-300), 0.0).clamp(-1, 1)
