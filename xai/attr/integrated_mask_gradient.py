"""How the score changes while patches fade out of attention altogether."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import Probe, mask_patches
from xai.attr.base import LayerMaps, MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import arguments_of
from xai.attr.integration_paths import presence_path
from xai.attr.layers import LayerFusion
from xai.attr.mask_gradient import presence_gradient, warn_of_direct_reading
from xai.attr.recorded_attention import output_gradients
from xai.attr.registry import register
from xai.core import ModelError
from xai.core.options import check_counts, check_option
from xai.core.target import Target, score

PATHS_OVER = ("all_layers", "layers_up", "layers_down")


@register
class IntegratedMaskGradient(PatchAttribution):
    """Mask gradients integrated from the absence of all patches to their presence.

    `∫₀¹ ∂y/∂m_j(α, …, α) dα`, all patches fading together: Aumann and Shapley's share of each patch, as in
    integrated gradients, but with true absence as the start instead of a baseline image. Complete:
    relevance sums to y(x) − y(all patches masked). Away from m = 1 attention is the masked one, and
    `∂y/∂m_j = 1/m_j · Σ_{l,h,i} A_ij (g_ij − O_i · ∂y/∂O_i)`.

    With a presence m_lj for every layer, `path_over` says in which order layers come: all together, or one
    after another (all patches of a layer together), from the first up or from the last down. The integral
    of a layer starts where the one before it ended, so the sum is the same, and complete; how it is shared
    depends on the order. Each layer on its own, the others present, would not be complete.

    In a model that reads patch tokens directly (mean pooling) the start is the same model with its patch
    keys masked, each patch still reading itself past attention; the sum is complete against that, and a
    warning says so.

    `clamp="heads"` keeps the positive share of every layer's head, `Σ_lh (Σ_i …)⁺`: what speaks for the class
    somewhere is not set off by what speaks against it elsewhere. For maps of where the evidence is: no longer
    complete nor signed (`docs/integrated-mask-gradient.md` tells what it gains and costs).

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: Points of the path, a forward and a backward pass each. For shares that are to be quoted take
            48: on the shipped detector's ten images they keep the sum within 0.6 %
            (`reports/mask_gradient_quadrature.md`); 16 are a median of 0.5 % off, and 12 % at worst; 41 % on
            the worst of 64 forgeries (`reports/mask_gradient_variants.md`).
        path: Where the points are: `logarithmic`, `uniform`, or `s^2`, `s^3`, `s^4`, `s^8`. What is
            integrated stays the same; see `presence_path`.
        rule: `midpoint` or `gauss_legendre` along the path.
        internal_batch_size: Images per forward pass, at least the batch: by default the points of the path go
            by turns, in the memory of one pass. More is faster on a GPU and does not change the result.
        path_over: `all_layers`; or `layers_up` or `layers_down`, which take `n_steps` for each layer.
        clamp: `heads` drops the negative shares of heads; None keeps the sign and the sum.
    """

    info = MethodInfo(
        name="integrated_mask_gradient",
        family="attention",
        class_sensitive=True,
        signed=True,
        forwards=8,
        backwards=8,
        reference="this project; path as in Sundararajan et al. 2017, arXiv 1703.01365",
        summary="Mask gradients from no patch to all; sums to y(x) − y(all patches masked).",
        layers=True,
        complete=True,
        needs="read_out_token",
    )

    def __init__(
        self,
        forward_func: torch.nn.Module,
        n_steps: int = 8,
        path: str = "logarithmic",
        rule: str = "midpoint",
        internal_batch_size: int = 1,
        path_over: str = "all_layers",
        clamp: str | None = None,
    ):
        super().__init__(forward_func)
        check_option("clamp", clamp, ("heads", None))
        check_option("path_over", path_over, PATHS_OVER)
        check_counts(internal_batch_size=internal_batch_size)
        self.n_steps = n_steps
        self.path = path
        self.rule = rule
        self.path_over = path_over
        self.clamp = clamp
        self.internal_batch_size = internal_batch_size
        self.points = presence_path(n_steps, path, rule)

    def has_convergence_delta(self) -> bool:
        return self.clamp is None  # clamped shares have no sum to compare with

    @property
    def fusion(self) -> LayerFusion:
        return LayerFusion(clamp=self.clamp)

    def attribute_with_layers(
        self, inputs: Any, targets: Sequence[Target], additional_forward_args: Any = None
    ) -> tuple[PatchMaps, LayerMaps | None]:
        if self._in_crops(inputs) is not None:
            return super().attribute_with_layers(inputs, targets, additional_forward_args)
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            shares = [
                share.detach().to(pixels.dtype)
                for share in self._layer_maps(pixels, self._normalised(targets), args)
            ]
        alike = (
            len({share.shape[2] for share in shares}) == 1
        )  # a pooling head may have heads of its own number
        return self.fusion.fuse_each(shares), torch.stack(shares, dim=2) if alike else None

    def _masked(self, pixels: Pixels, args: tuple[Any, ...]) -> Probe:
        """The probe of a model in which something remains when all patches are masked."""
        probe = self._probe(pixels, args)
        if not probe.grid.prefix:
            raise ModelError(
                "The model has no token besides the patches, so nothing remains with all of them masked.",
                "Use mask_gradient, or integrated_gradients with a baseline image.",
            )
        return probe

    def _check_needs(self, pixels: Pixels, args: tuple[Any, ...]) -> None:
        self._masked(pixels, args)

    def _start_logits(self, pixels: Pixels, args: tuple[Any, ...]) -> Tensor:
        """(B, classes) logits with all patches masked."""
        with torch.enable_grad():  # how the model attends is found out by gradients, the first time
            probe = self._masked(pixels, args)
        device = next((p.device for p in self.model.parameters()), pixels.device)
        nothing = torch.zeros(1, probe.grid.patches, dtype=torch.bool, device=device)
        with mask_patches(self.model, nothing, probe.grid, images=len(pixels), calls=probe.calls):
            return self.model(pixels, *args)

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        return self.fusion.fuse_each(self._layer_maps(pixels, targets, args))

    def _layer_maps(
        self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> list[Float[Tensor, "targets b _ rows cols"]]:
        probe = self._masked(pixels, args)
        return [probe.grid.to_patches(share) for share in self._layers(probe, pixels, targets, args)]

    def _layers(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> list[Float[Tensor, "targets b _ tokens"]]:
        """The share of every layer's heads."""
        warn_of_direct_reading(probe)
        device = next((p.device for p in self.model.parameters()), pixels.device)
        dtype = torch.promote_types(pixels.dtype, torch.float32)
        steps = max(1, self.internal_batch_size // len(pixels))
        shares: dict[int, Tensor] = {}
        for levels, factors in zip(*(t.split(steps) for t in self._fading(probe.layers)), strict=True):
            part = self._part(
                probe, pixels, targets, args, levels.to(device, dtype), factors.to(device, dtype)
            )
            for layer, share in part.items():
                shares[layer] = shares[layer] + share if layer in shares else share
        return [shares[layer] for layer in range(probe.layers)]

    def _fading(self, layers: int) -> tuple[Float[Tensor, "points layers"], Float[Tensor, "points layers"]]:
        """Presence in each layer at every point of the path, and the factor of `∂y/∂log m` there."""
        alpha, weight = torch.tensor(self.points, dtype=torch.float64).T
        if self.path_over == "all_layers":
            return alpha[:, None].expand(-1, layers), (weight / alpha)[:, None].expand(-1, layers)
        levels, factors = [], []
        for fading in range(layers):
            level = torch.zeros(len(alpha), layers, dtype=alpha.dtype)
            there = slice(fading) if self.path_over == "layers_up" else slice(fading + 1, None)
            level[:, there], level[:, fading] = 1, alpha
            factor = torch.zeros_like(level)
            factor[:, fading] = weight / alpha
            levels.append(level)
            factors.append(factor)
        return torch.cat(levels), torch.cat(factors)

    def _part(
        self,
        probe: Probe,
        pixels: Pixels,
        targets: Sequence[Target],
        args: tuple[Any, ...],
        levels: Float[Tensor, "points layers"],
        factors: Float[Tensor, "points layers"],
    ) -> dict[int, Float[Tensor, "targets b heads tokens"]]:
        """What some points of the path add to the layers that fade there, in one forward pass."""
        points, batch = len(levels), len(pixels)
        presence = levels.repeat_interleave(batch, dim=0)[..., None].expand(-1, -1, probe.grid.patches)
        if self.path_over == "all_layers":
            presence = presence[:, 0]
        more = arguments_of(args, torch.arange(batch).repeat(points), batch)
        layers = factors.any(0).nonzero().flatten().tolist()
        last = self._readout_only(probe, pixels, args)
        with (
            self._recording(probe, points * batch, layers) as recording,
            mask_patches(self.model, presence, probe.grid, images=points * batch, calls=probe.calls),
            last,
        ):
            logits = self.model(pixels.repeat(points, 1, 1, 1), *more)
        calls = [recording.calls[i] for i in layers]
        wanted = [torch.stack([score(part, t) for part in logits.chunk(points)]) for t in targets]
        gradients = output_gradients(wanted, calls)
        shares = {}
        for layer, call, gradient in zip(layers, calls, gradients, strict=True):
            slope = presence_gradient(call, gradient).unflatten(1, (points, batch))
            shares[layer] = (slope * factors[:, layer, None, None, None]).sum(1)
        return shares
