"""Guided integrated gradients: a path that goes where the model does not flinch."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, Pixels
from xai.attr.batching import accurate
from xai.attr.pixel_gradient import FineMap, PixelGradient
from xai.attr.registry import register
from xai.core import UsageError
from xai.core.target import Target
from xai.perturb import AnyOperator, baseline_images, operator_of

Flat = Float[Tensor, "b n"]


@register
class GuidedIntegratedGradients(PixelGradient):
    """Integrated gradients along a path chosen step by step: values with the smallest gradient move first.

    From the baseline x' to x in n steps; after step k the L1 distance to x is (1 − k/n) of the first one.
    In each step the share `fraction` of the values whose `|∂y/∂x_i|` is smallest moves first, at most to the
    end of its corridor: the straight path's position `max_dist` ahead, and never behind `max_dist` back.
    Relevance adds up `∂y/∂x_i · Δx_i` of every move, with the gradient at the start of the step, and a value
    may move through the whole corridor in one step: the sum approaches y(x) − y(x') as n grows and
    `max_dist` falls, hardly as n grows alone. Values of a pixel's channels move independently, as in the
    paper.

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: Steps of the path, a forward and a backward pass each.
        fraction: Share of the values that moves at once, in (0, 1].
        max_dist: Half width of the corridor as a share of the path, in [0, 1]; 0 is the straight path.
        baseline: As in `IntegratedGradients`.
        seed: For a baseline that draws noise.
    """

    info = MethodInfo(
        name="guided_integrated_gradients",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=200,
        backwards=200,
        reference="Kapishnikov et al. 2021, arXiv 2106.09788, algorithm 1 and section 3.3",
        summary="Integrated gradients along an adaptive path that avoids noisy, large gradients.",
        complete=True,
        needs="gradients",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_steps: int = 200,
        fraction: float = 0.25,
        max_dist: float = 0.02,
        baseline: AnyOperator = "constant",
        seed: int = 0,
    ):
        super().__init__(forward_func)
        if n_steps < 1 or not 0 < fraction <= 1 or not 0 <= max_dist <= 1:
            raise UsageError(
                f"n_steps={n_steps}, fraction={fraction}, max_dist={max_dist} is out of range: n_steps ≥ 1, "
                "0 < fraction ≤ 1, 0 ≤ max_dist ≤ 1."
            )
        self._start = operator_of(baseline)
        self.n_steps, self.fraction, self.max_dist = n_steps, fraction, max_dist
        self.baseline, self.seed = self._start.describe(), seed

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def _start_logits(self, pixels: Pixels, args: tuple[Any, ...]) -> Tensor:
        return self.model(baseline_images(self._start, self.model, pixels, self.seed), *args)

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        start = baseline_images(self._start, self.model, pixels, self.seed)

        def gradient(flat: Flat) -> Flat:
            point = flat.view_as(pixels).to(pixels.dtype).requires_grad_()
            (found,) = torch.autograd.grad(self._score(point, target, args).sum(), point)
            return accurate(found).flatten(1)

        first, last = accurate(start).flatten(1), accurate(pixels).flatten(1)
        return self._integrate(gradient, first, last).view_as(pixels)

    def _integrate(self, gradient: Callable[[Flat], Flat], first: Flat, last: Flat) -> Flat:
        span = last - first
        distance = span.abs().sum(1)
        x, relevance = first.clone(), torch.zeros_like(first)
        for step in range(1, self.n_steps + 1):
            alpha = step / self.n_steps
            low, high = max(alpha - self.max_dist, 0.0), min(alpha + self.max_dist, 1.0)
            slope, before = gradient(x), x
            # what fell behind the corridor is taken along, whatever its gradient
            x = torch.where((x - first).abs() < low * span.abs(), first + low * span, x)
            x = _advance(x, first + high * span, last, slope, distance * (1 - alpha), self.fraction)
            relevance += slope * (x - before)
        return relevance


def _advance(
    x: Flat, limit: Flat, last: Flat, slope: Flat, wanted: Float[Tensor, "b"], fraction: float
) -> Flat:
    """Move values with the smallest slope towards `limit` until the distance to `last` is `wanted`.

    A share of the values, those of the smallest slope among the ones that can still move, goes at a time:
    all the way, but in the last round, which goes just as far as is needed.
    """
    count = max(1, int(fraction * x.shape[1]))
    magnitude = slope.abs()
    for _ in range(-(-x.shape[1] // count) + 1):
        missing = ((last - x).abs().sum(1) - wanted).clamp_min(0)
        movable = x != limit
        if not (movable.any(1) & (missing > 0)).any():
            break
        order = torch.where(movable, magnitude, torch.inf)
        threshold = order.kthvalue(count, dim=1, keepdim=True).values
        chosen = movable & (order <= threshold)
        gain = ((limit - x).abs() * chosen).sum(1)
        share = (missing / gain.clamp_min(torch.finfo(gain.dtype).tiny)).clamp(0, 1)[:, None]
        moved = torch.where(share < 1, x + share * (limit - x), limit)
        x = torch.where(chosen, moved, x)
    return x
