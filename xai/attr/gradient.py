"""Captum's own gradient methods, reduced to patches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai.attr.base import (
    MethodInfo,
    PatchAttribution,
    PatchMap,
    PatchMaps,
    Pixels,
    Scores,
)
from xai.attr.captum_classes import GradientAttribution, log_usage
from xai.attr.captum_classes import IntegratedGradients as CaptumIntegratedGradients
from xai.attr.inputs import check_differentiable, like_inputs
from xai.attr.integration_paths import PATHS
from xai.attr.registry import register
from xai.core import Margin, PatchGrid
from xai.core.options import check_counts, check_option
from xai.core.target import Target, score
from xai.perturb import AnyOperator, baseline_images, operator_of


@register
class IntegratedGradients(PatchAttribution, GradientAttribution):
    """Integrated gradients, by Captum, summed over the pixels and channels of each patch.

    `IG_i = (x_i − x'_i) · ∫₀¹ ∂y/∂x_i(x' + α(x − x')) dα`. Complete: relevance sums to y(x) − y(x').
    Summed over a region it is `∫₀¹ ∂y/∂m_j(α, …, α) dα`, the share of the region's presence m_j while all
    regions fade together into the image: what `IntegratedMaskGradient` asks of attention, for any model.

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: Points of the path.
        baseline: Where the path starts: an operator of `xai.perturb` that paints the whole image, by name, a
            mapping with its name and parameters, or itself. Default 0, the mean colour in normalised pixels;
            `mean`, `blur` and `region_mean` start nearer to the image.
        path: Where the points are: `uniform`, `logarithmic`, `s^2`, `s^3`, `s^4` or `s^8`, the last ones
            closer to the baseline. What is integrated stays the same.
        seed: For a baseline that draws noise.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
        rules: As in `Saliency`; with `libra` relevance no longer sums to the score's change.
    """

    info = MethodInfo(
        name="integrated_gradients",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=50,
        backwards=50,
        reference="Sundararajan et al. 2017, arXiv 1703.01365, eq. 1",
        summary="Gradient times input, averaged along the path from a baseline; sums to the score's change.",
        complete=True,
        needs="gradients",
    )

    def __init__(
        self,
        forward_func: torch.nn.Module,
        n_steps: int = 50,
        baseline: AnyOperator = "constant",
        seed: int = 0,
        internal_batch_size: int = 32,
        path: str = "uniform",
        rules: str | None = None,
    ):
        super().__init__(forward_func)
        self._follow(rules)
        check_option("path", path, PATHS)
        check_counts(n_steps=n_steps, internal_batch_size=internal_batch_size)
        self.gradient_func = GradientAttribution(forward_func).gradient_func  # pyrefly: ignore[bad-assignment, bad-override-param-name]
        self._start = operator_of(baseline)
        self.n_steps, self.baseline, self.seed = n_steps, self._start.describe(), seed
        self.internal_batch_size = internal_batch_size
        self.path = path

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Scores:
        """(B,) sum of relevance − (y(end) − y(start)); None starts at the constructor's baseline.

        Args:
            attributions: (B, 3, H, W), or a 1-tuple of it.
            start_point: Where the path started, a number or a tensor like the inputs.
            end_point: The inputs.
            target: As in `attribute`.
            additional_forward_args: As in `attribute`.
        """
        total = attributions[0] if isinstance(attributions, tuple) else attributions
        with self._attributing(end_point, additional_forward_args) as (pixels, args):
            (target,) = self._normalised([target])
            return total.flatten(1).sum(1) - self._rise(pixels, start_point, target, args)

    def _rise(self, pixels: Pixels, start: Any, target: Target, args: tuple[Any, ...]) -> Scores:
        """(B,) y(pixels) − y(start), None for the constructor's baseline."""
        start = start[0] if isinstance(start, tuple) else start
        if start is None:
            start = self._baseline(pixels)
        start = start if isinstance(start, Tensor) else torch.full_like(pixels, start)
        return self._score(pixels, target, args) - self._score(start.expand_as(pixels), target, args)

    def _start_logits(self, pixels: Pixels, args: tuple[Any, ...]) -> Tensor:
        return self.model(self._baseline(pixels), *args)

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    @log_usage()
    def attribute(  # Captum's own signature of this method
        self,
        inputs: Any,
        baselines: Any = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Like `captum.attr.IntegratedGradients.attribute`, each patch's sum spread evenly over its pixels.

        Args:
            inputs: (B, 3, H, W), or a 1-tuple of it.
            baselines: Start of the path, a number or a tensor like the inputs; default the constructor's.
            target: Any of Captum's forms, or `xai.core.Margin`.
            additional_forward_args: Passed to the model after the pixels.
            n_steps: Overrides the constructor's.
            method: Captum's quadrature rule, along the path.
            internal_batch_size: Overrides the constructor's.
            return_convergence_delta: Also return (B,) sum of relevance − (y(x) − y(x')).
        """
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            (target,) = self._normalised([target])
            grid = self._grid(pixels)  # a model that does not say it is told before the long part
            fine = self._pixels(pixels, baselines, target, args, n_steps, method, internal_batch_size)
            spread = like_inputs(inputs, patch_sums(fine, grid))
            if not return_convergence_delta:
                return spread
            rise = self._rise(pixels, baselines, target, args)
        return spread, fine.flatten(1).sum(1) - rise

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        return torch.stack([patch_sums(self._pixels(pixels, None, t, args), grid) for t in targets])

    @torch.no_grad()
    def _score(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> Scores:
        return score(self.model(pixels, *args), target)

    def _baseline(self, pixels: Pixels) -> Pixels:
        return baseline_images(self._start, self.model, pixels, self.seed).contiguous()

    def _pixels(
        self,
        pixels: Pixels,
        baselines: Any,
        target: Target,
        args: tuple[Any, ...],
        n_steps: int | None = None,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
    ) -> Pixels:
        """Captum's result, (B, 3, H, W)."""
        self._score(pixels, target, args)  # Captum expands the target, so a wrong one must be told here
        each = target if isinstance(target, list) else [target]
        margins = list(dict.fromkeys(one for one in each if isinstance(one, Margin)))

        def forward(x: Tensor, *more: Any) -> Tensor:
            """The logits, after the margins: a column of these is what Captum takes for a target."""
            logits = self.model(x, *more)
            if not margins:
                return logits
            return torch.cat([*(score(logits, one)[:, None] for one in margins), logits], dim=1)

        def column(one: Target) -> Target:
            if isinstance(one, Margin):
                return margins.index(one)
            return one + len(margins) if margins else one

        try:
            with self._by_rules():
                return _AlongPath(forward, self.path).attribute(
                    pixels,
                    baselines=self._baseline(pixels) if baselines is None else baselines,
                    target=[column(one) for one in each] if isinstance(target, list) else column(target),
                    additional_forward_args=args or None,
                    n_steps=n_steps or self.n_steps,
                    method=method,
                    internal_batch_size=max(internal_batch_size or self.internal_batch_size, len(pixels)),
                )
        except RuntimeError:
            check_differentiable(self.model, pixels, args)  # says so where that is the reason
            raise


class _AlongPath(CaptumIntegratedGradients):
    """Captum's, with its points and weights substituted: `∫ f(α) dα = ∫ f(α(s)) α'(s) ds`."""

    def __init__(self, forward_func: Any, path: str):
        super().__init__(forward_func)
        self.curve, self.slope = PATHS[path]

    def _attribute(self, *args: Any, step_sizes_and_alphas: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        weights, points = (np.asarray(part, dtype=float) for part in step_sizes_and_alphas)
        substituted = (weights * self.slope(points)).tolist(), self.curve(points).tolist()
        return super()._attribute(*args, step_sizes_and_alphas=substituted, **kwargs)


@register
class IntegratedGradientsBlur(IntegratedGradients):
    """Integrated gradients from a blurred copy of the image: what detail adds to its coarse colours.

    Against a flat baseline, relevance of a pixel is 0 wherever its colour equals the baseline's; a blurred
    one differs from the image only in detail. A blurred image may itself look forged to a detector.

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: Points of the path.
        kernel: Side of the blur's kernel in pixels, odd.
        sigma: Its standard deviation in pixels.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="integrated_gradients_blur",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=50,
        backwards=50,
        reference="Sundararajan et al. 2017, arXiv 1703.01365; blur as in Fong and Vedaldi, arXiv 1704.03296",
        summary="Integrated gradients along the path from a blurred copy of the image.",
        complete=True,
        needs="gradients",
    )

    def __init__(
        self,
        forward_func: torch.nn.Module,
        n_steps: int = 50,
        kernel: int = 41,
        sigma: float = 10.0,
        internal_batch_size: int = 32,
    ):
        blur = {"name": "blur", "kernel": kernel, "sigma": sigma}
        super().__init__(forward_func, n_steps, blur, internal_batch_size=internal_batch_size)
        self.kernel, self.sigma = kernel, sigma


def patch_sums(values: Pixels, grid: PatchGrid) -> PatchMap:
    """Sum (B, C, H, W) over channels and over the pixels of each patch: (B, rows, cols)."""
    height, width = values.shape[-2:]
    row = torch.arange(height, device=values.device) * grid.rows // height
    col = torch.arange(width, device=values.device) * grid.cols // width
    sums = values.new_zeros(len(values), grid.rows, grid.cols)
    sums.view(len(values), -1).index_add_(
        1, (row[:, None] * grid.cols + col).flatten(), values.sum(1).flatten(1)
    )
    return sums
