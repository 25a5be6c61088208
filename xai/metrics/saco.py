"""SaCo: do groups of more relevant units matter more, each removed alone?"""

from itertools import pairwise

import torch
from torch import Tensor

from xai.core import UsageError
from xai.metrics.base import MetricInfo, PerturbationMetric, RawScores, per_map, span
from xai.metrics.context import Context
from xai.metrics.protocol import Protocol
from xai.metrics.ranking import RankedMaps
from xai.metrics.registry import value_function
from xai.perturb import Request

GROUPS = 10


def saco_forwards(n_patches: int, protocol: Protocol | None = None) -> int:
    """One state per group, and the two ends."""
    return GROUPS + 2


class SaCo(PerturbationMetric):
    """Salience-guided faithfulness coefficient, Wu et al. 2024.

    The units are cut by rank into 10 groups as equal as whole units allow. With s(G) a group's relevance
    and d(G) the drop of the model's value when the group alone is removed, each per unit, every pair of
    groups weighs |s_i − s_j|; pairs whose drops are ordered as their relevance count for, the others against:

        F = Σ (s_i − s_j) · sign(d_i − d_j) / Σ |s_i − s_j|,  i < j.

    What the paper leaves open or we decide otherwise:

    - Equal drops count neither for nor against. The paper counts them for (d_i ≥ d_j), so that a model that
      never moves would give every map 1.
    - A map whose groups all weigh the same (a constant map) claims nothing: 0, what a random map earns on
      average, and flagged as saturated.
    - Relevance is taken with the protocol's sign; with "signed" negative relevance is salience below zero, so
      a group that speaks against the class should raise the value. F does not change when the map is
      scaled or shifted.
    - Sums are divided by the group's size: 196 patches do not divide by 10, and a larger group has both more
      relevance and a larger drop, so that sums would credit any map whose values lie far above 0.
    - Value and operator are the protocol's: with vit-mean and value=probability they are the paper's
      (mean per channel).
    """

    info = MetricInfo(
        name="saco",
        higher_is_better=True,
        range=(-1.0, 1.0),
        reference="Wu et al. 2024 (arXiv 2404.01415)",
        summary="Weighted share of pairs of rank groups whose effects are ordered as their relevance.",
        needs="perturbation",
        forwards=saco_forwards,
    )

    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        bounds = group_bounds(context.total)
        intervals = list(pairwise(bounds))
        return [context.request(context.rank(relevance), intervals, self.operator(context))]

    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> RawScores:
        ranking = context.rank(relevance)
        bounds = ranking.places(group_bounds(context.total))
        sizes = per_map(bounds.diff().clamp_min(1).double().flatten(), context, GROUPS)
        drops = (clean[:, None, None] - per_map(values[0], context, GROUPS)) / sizes
        salience = per_map(group_salience(ranking, bounds, context), context, GROUPS) / sizes
        coefficients = coefficient(salience, drops)
        moves = span(drops * sizes).mean(-1)
        constant = (ranking.units.amax(-1) == ranking.units.amin(-1)).cpu()
        return RawScores(
            coefficients.mean(-1).masked_fill(constant, 0.0), moves.masked_fill(constant, -torch.inf)
        )


saco = value_function(SaCo)


def coefficient(salience: Tensor, drops: Tensor) -> Tensor:
    """F of groups in rank order: (..., K) relevance and drops → (...)."""
    first, second = torch.triu_indices(salience.shape[-1], salience.shape[-1], offset=1)
    gaps = salience[..., first] - salience[..., second]
    agreement = (drops[..., first] - drops[..., second]).sign()
    total = gaps.abs().sum(-1)
    return torch.where(total > 0, (gaps * agreement).sum(-1) / total.clamp_min(1e-300), 0.0)


def group_bounds(total: int) -> list[int]:
    """The ranks at which the groups of `total` units begin and end.

    Raises:
        UsageError: There are fewer units than groups.
    """
    if total < GROUPS:
        raise UsageError(f"SaCo compares {GROUPS} groups of units; there are {total} units.")
    return [(2 * i * total + GROUPS) // (2 * GROUPS) for i in range(GROUPS + 1)]


def group_salience(ranking: RankedMaps, bounds: Tensor, context: Context) -> Tensor:
    """(M·B·D·K,) float64 sums of relevance per group, in the order of `Context.request`.

    Args:
        ranking: Of the maps.
        bounds: (M·B·D, K + 1) int32 ranks at which groups begin and end.
        context: Of the maps.
    """
    units = ranking.units.flatten(0, 1).double()
    units = units.repeat_interleave(context.protocol.tie_draws, dim=0)
    inner = bounds[:, 1:-1].contiguous().to(units.device)
    group = torch.searchsorted(inner, ranking.ranks.flatten(1).to(units.device), right=True)
    sums = torch.zeros(len(units), GROUPS, dtype=torch.float64, device=units.device)
    return sums.scatter_add_(1, group, units).flatten().cpu()
