"""Metric-driven attribution: a map built from an order of patches that was searched for with the metrics."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.batching import VALUES, arguments_of, class_values, targets_of
from xai.attr.occlusion import sliding_windows
from xai.attr.registry import register
from xai.attr.removal import RemovalAttribution
from xai.core import PatchGrid, UsageError
from xai.core.options import check_option
from xai.core.target import Target
from xai.perturb import AnyOperator

Score = Callable[[Tensor], Tensor]  # (S, patches) bool, present patches → (S,) scores
_WINDOW, _WIDTH = 3, 28


@register
class MetricDrivenAttribution(RemovalAttribution):
    """Relevance that reproduces an order searched for insertion and deletion, in the manner of MDA.

    With v(T) the score of the patches T: first, patches join an empty image one by one, each the one that
    raises v most, until v is the share `cutoff` of the way from v(∅) to v(N) (insertion). Then the others
    join an empty image, each the one that leaves v lowest (deletion, from its end); the last of them to join
    comes next in the order. The gains of the mean of both curves along the order, made non-increasing (slopes
    of the least concave majorant, the paper's convexity), are the magnitudes:
    `R_j = (1 − dense) d_j + dense 2(n − i_j)/(n(n + 1))`, place i_j = 0 … n − 1, Σ d = 1, so ΣR = 1.

    In each round only the `width` candidates that stand first are tried. The paper ranks them by another
    method's map; here by the score of windows of 3 × 3 patches, alone and left out, so no gradients are
    needed. Further deviations: one operator in both phases (the paper inserts into a blurred image and
    deletes to black); log-odds, which choose as the probability does but do not saturate; a closed form for
    the convex curve (the paper solves a quadratic program); magnitudes and ranks are mixed with a weight
    rather than by a threshold. It knows the metrics, so it is a reference for few images rather than an
    explanation to compete with; greedy and restricted, it is no bound either.

    Args:
        forward_func: See `PatchAttribution`.
        width: Candidates of a round; None for 2√n, at most 28, as in the authors' program. The search costs
            about width · n passes.
        cutoff: Share of v(N) − v(∅) at which insertion ends.
        dense: Weight of the ranks beside the magnitudes; 0 is sparse (and may tie), 1 has ranks alone.
        operator: What absence means: an operator of `xai.perturb` by name, a mapping with its name and
            parameters, or itself. The map serves metrics with the same operator best.
        value: v: `log_odds`, `probability` (the paper's) or `logit` of the target.
        seed: For operators that draw noise.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="metric_driven_attribution",
        family="perturbation",
        class_sensitive=True,
        signed=False,
        forwards=5790,  # 14 × 14 patches
        backwards=0,
        reference="Walker et al. 2025, Metric-Driven Attributions for Vision Transformers, ICLR",
        summary="An order of patches searched for insertion and deletion; a strong reference for few images.",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        width: int | None = None,
        cutoff: float = 0.9,
        dense: float = 0.5,
        operator: AnyOperator = "mean",
        value: str = "log_odds",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, operator, seed, internal_batch_size)
        if (width is not None and width < 1) or not 0 <= cutoff <= 1 or not 0 <= dense <= 1:
            raise UsageError(
                f"width={width}, cutoff={cutoff}, dense={dense} is out of range: width ≥ 1 or None, "
                "cutoff and dense in 0 … 1."
            )
        check_option("value", value, VALUES)
        self.width, self.cutoff, self.dense, self.value = width, cutoff, dense, value

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        images, grid = len(pixels), self._grid(pixels)
        ends = torch.tensor([False, True]).view(2, 1, 1).expand(2, grid.rows, grid.cols)  # v(N), v(∅)
        values = self._scores_without(pixels, ends, targets, args).cpu()
        maps = torch.empty(len(targets), images, grid.patches, dtype=values.dtype)
        for t, target in enumerate(targets):
            for b, i in enumerate(torch.arange(images).split(1)):  # each search takes its own way
                own, wanted = arguments_of(args, i, images), targets_of(target, i)
                score = self._score(pixels[i.to(pixels.device)], wanted, own, grid)
                maps[t, b] = self._map(score, grid, *values[t, b].tolist())
        return maps.to(pixels.device).unflatten(-1, (grid.rows, grid.cols))

    def _score(self, pixels: Pixels, target: Target, args: tuple[Any, ...], grid: PatchGrid) -> Score:
        """V of one image and target."""

        def score(present: Tensor) -> Tensor:
            removed = ~present.unflatten(1, (grid.rows, grid.cols))
            return self._scores_without(pixels, removed, [target], args)[0, 0].cpu()

        return score

    def _map(self, score: Score, grid: PatchGrid, full: float, empty: float) -> Float[Tensor, "patches"]:
        n = grid.patches
        width = min(2 * int(n**0.5), _WIDTH) if self.width is None else self.width
        enough = empty + self.cutoff * abs(full - empty)
        order = search_order(score, window_effects(score, grid, full, empty), width, enough)
        magnitude = magnitudes(score, order, full, empty)
        rank = 2 * torch.arange(n, 0, -1) / (n * (n + 1))
        return torch.empty(n).scatter_(0, order, ((1 - self.dense) * magnitude + self.dense * rank).float())

    def _value(self, logits: Any) -> Any:
        return class_values(logits, self.value, self.model)


def window_effects(score: Score, grid: PatchGrid, full: float, empty: float) -> Float[Tensor, "patches"]:
    """Mean effect of the windows over each patch, of their joining nothing and of their leaving all."""
    windows = sliding_windows(grid, _WINDOW).flatten(1)
    alone, without = score(torch.cat([windows, ~windows])).chunk(2)
    effect, covers = (alone - empty) + (full - without), windows.to(alone.dtype)
    return effect @ covers / covers.sum(0)


def search_order(
    score: Score, prior: Float[Tensor, "patches"], width: int, enough: float
) -> Int[Tensor, "patches"]:
    """Patches from the most to the least relevant: the best by insertion, then the others by deletion."""
    ranked = prior.argsort(descending=True, stable=True)
    first = _grow(score, len(prior), ranked, width, enough)
    others = ranked[~torch.isin(ranked, first)].flip(0)
    last = _grow(lambda present: -score(present), len(prior), others, width)
    return torch.cat([first, last.flip(0)])


def _grow(
    score: Score, patches: int, candidates: Int[Tensor, "n"], width: int, enough: float = torch.inf
) -> Int[Tensor, "m"]:
    """Add to nothing, one by one, whichever of the first `width` candidates left makes the score largest."""
    present, left, chosen = torch.zeros(patches, dtype=torch.bool), candidates, candidates[:0]
    while len(left):
        tried = left[:width]
        states = present.repeat(len(tried), 1)
        states[torch.arange(len(tried)), tried] = True
        y = score(states)
        best = tried[y.argmax()]
        present[best] = True
        left, chosen = left[left != best], torch.cat([chosen, best[None]])
        if y.max() >= enough:
            break
    return chosen


def magnitudes(
    score: Score, order: Int[Tensor, "patches"], full: float, empty: float
) -> Float[Tensor, "patches"]:
    """Gain of each place of the order, non-increasing, of sum 1."""
    n = len(order)
    before = order.argsort() < torch.arange(1, n)[:, None]  # the first 1, 2, … of the order
    inserted, deleted = score(torch.cat([before, ~before])).double().chunk(2)
    scale = max(abs(full - empty), 1e-12)
    middle = ((inserted - empty) + (full - deleted)) / (2 * scale)
    ends = torch.tensor([0.0, (full - empty) / scale], dtype=torch.float64)
    curve = torch.cat([ends[:1], middle, ends[1:]]).clamp(0, 1).cummax(0).values
    slopes = concave_slopes(curve.diff())
    return slopes / slopes.sum() if slopes.sum() > 0 else torch.full_like(slopes, 1 / n)


def concave_slopes(gains: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Slopes of the least concave curve above the cumulative gains: their non-increasing regression."""
    n = len(gains)
    total = torch.cat([gains.new_zeros(1), gains.cumsum(0)])
    start, stop = torch.arange(n)[:, None], torch.arange(1, n + 1)
    mean = (total[stop] - total[start]) / (stop - start).clamp_min(1)
    mean = mean.masked_fill(stop <= start, -torch.inf)
    best = mean.flip(1).cummax(1).values.flip(1)  # over all runs from a that end at i or later
    return best.cummin(0).values.diagonal()  # over all starts a up to i
