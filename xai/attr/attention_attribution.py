"""Attention attribution: integrated gradients with attention itself as the input."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import Probe, scale_attention
from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import arguments_of
from xai.attr.gradient_attention import read_out
from xai.attr.layers import Layers, resolve_layers
from xai.attr.recorded_attention import output_gradients
from xai.attr.registry import register
from xai.core.options import check_counts
from xai.core.target import Target, score


@register
class AttentionAttribution(PatchAttribution):
    """Attention times its gradient, averaged while the layer's attention grows from nothing to what it is.

    `Attr_lh = A_lh ⊙ 1/m Σ_{k=1..m} ∂y(k/m · A_l)/∂A_lh`, where all heads of layer l, and no other layer, are
    scaled together after the softmax. The heads are summed: with fine steps a layer's Attr, over all rows and
    columns, sums to y − y(without attention in that layer). Of each layer the row that the classifier reads
    is taken, as in `GradientWeightedAttention`, and the layers are averaged; one step is that method with its
    sign kept, times the heads. (The paper goes on to trees of attributions over sentences: no map.)

    Args:
        forward_func: See `PatchAttribution`.
        layers: As in `GradientWeightedAttention`; each costs `n_steps` forward and backward passes.
        n_steps: m; 20 in the paper.
        internal_batch_size: Images per forward pass, at least the batch; it does not change the result.
    """

    info = MethodInfo(
        name="attention_attribution",
        family="attention",
        class_sensitive=True,
        signed=True,
        forwards=80,
        backwards=80,
        reference="Hao et al. 2021, arXiv 2004.11207",
        summary="Integrated gradients of attention, each layer's on its own, of the query that is read.",
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: torch.nn.Module,
        layers: Layers = "last_4_layers",
        n_steps: int = 20,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        check_counts(n_steps=n_steps, internal_batch_size=internal_batch_size)
        self.layers = layers
        self.n_steps = n_steps
        self.internal_batch_size = internal_batch_size

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe = self._probe(pixels, args)
        layers = resolve_layers(self.layers, probe.layers)
        maps = [self._layer(probe, pixels, targets, args, layer).sum(2) for layer in layers]
        return probe.grid.to_patches(torch.stack(maps).mean(0))

    def _layer(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...], layer: int
    ) -> Float[Tensor, "targets b h tokens"]:
        """Attr of one layer's heads of the query that is read."""
        dtype = torch.promote_types(pixels.dtype, torch.float32)
        alphas = torch.arange(1, self.n_steps + 1, dtype=dtype, device=pixels.device) / self.n_steps
        images, total = len(pixels), []
        for part in alphas.split(max(1, self.internal_batch_size // images)):
            more = arguments_of(args, torch.arange(images).repeat(len(part)), images)
            factors = {layer: part.repeat_interleave(images)}
            with scale_attention(
                self.model, factors, probe.grid.tokens, images=len(part) * images, calls=probe.calls
            ):
                repeated = pixels.repeat(len(part), 1, 1, 1)
                logits, (call,) = self._record(probe, repeated, more, [layer], gradients=True)
            wanted = [torch.stack([score(of_step, t) for of_step in logits.split(images)]) for t in targets]
            (gradients,) = output_gradients(wanted, [call])
            maps = read_out(call, gradients, probe.rows_of(layer), clamp=False)
            total.append(maps.unflatten(1, (len(part), images)).sum(1))
        return torch.stack(total).sum(0) / self.n_steps
