"""Class activation maps whose features are attention: AG-CAM, Grad-ECLIP and DAAM."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, attention_rows, gradient_rows, score_rows
from xai.attr.base import MethodInfo
from xai.attr.layers import LayerFusion, Layers, resolve_layers
from xai.attr.recorded_attention import (
    HeadMaps,
    RecordedAttribution,
    RecordedPass,
    TokenMaps,
    mean_of_rows,
)
from xai.attr.registry import register
from xai.core import PatchGrid

LayerMaps = Float[Tensor, "targets b heads tokens"]
Gradients = Float[Tensor, "targets b h n e"]


class _AttentionCAM(RecordedAttribution):
    """Maps per layer and head, fused in the method's own way."""

    def __init__(self, forward_func: torch.nn.Module, layers: Layers):
        super().__init__(forward_func)
        self.layers = layers

    def of_all_layers(self) -> "_AttentionCAM":
        return type(self)(self.model, layers="all_layers")

    @property
    def every_row(self) -> bool:
        return False

    def layer_indices(self, depth: int) -> list[int]:
        return resolve_layers(self.layers, depth)

    def _heads(self, record: RecordedPass) -> HeadMaps:
        return [self._layer(record, i) for i in self.layer_indices(record.probe.layers)]

    @abstractmethod
    def _layer(self, record: RecordedPass, layer: int) -> LayerMaps:
        """One layer's map of each head of the query that is read, with its sign."""


@register
class AttentionGuidedCAM(_AttentionCAM):
    """Positive gradients of attention, guided by attention scores that no softmax has sharpened.

    `Σ_l Σ_h σ(S_lh)[r, ·] ⊙ (∂y/∂A_lh)⁺[r, ·]` with the scores `S = scale·Q·Kᵀ` (position bias and mask
    included), the sigmoid σ and the class token's row r; for a model that mean-pools the mean over the patch
    rows, for an attention pooling head its own. The gradient is that of attention after its softmax.

    Args:
        forward_func: See `PatchAttribution`.
        layers: As in `GradientWeightedAttention`.
    """

    info = MethodInfo(
        name="attention_guided_cam",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Leem and Seo 2024, arXiv 2402.04563",
        summary="Positive gradient of attention times the sigmoid of its scores, summed over all layers.",
        layers=True,
        needs="global_attention",
    )

    @property
    def fusion(self) -> LayerFusion:
        return LayerFusion(self.layers, clamp="heads")

    def __init__(self, forward_func: torch.nn.Module, layers: Layers = "all_layers"):
        super().__init__(forward_func, layers)

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        maps = [self._layer(record, i, clamp=True).sum(2) for i in self.layer_indices(record.probe.layers)]
        return torch.stack(maps).sum(0)

    def _layer(self, record: RecordedPass, layer: int, clamp: bool = False) -> LayerMaps:
        call, gradients = record.calls[layer], record.gradients[layer]

        def relevance(queries: list[int]) -> Tensor:
            slope = gradient_rows(call, gradients, queries)
            return score_rows(call, queries).sigmoid() * (slope.clamp_min_(0) if clamp else slope)

        return mean_of_rows(call, record.probe.rows_of(layer), len(gradients), relevance)


@register
class GradECLIP(_AttentionCAM):
    """Values of the patches, weighted by channel and by how alike query and key are.

    `(Σ_c w_c · λ_j · v_jc)⁺` with `w = ∂y/∂O[r]`, the gradient of the attention output in the class token's
    row r, and `λ_j = cos(q_r, k_j)` over all heads together, scaled to 0 … 1 over the patches in place of the
    softmax. Several layers are summed before the clamp. For a model that mean-pools it is the mean over its
    rows r, for an attention pooling head its own row.

    The authors' program runs the last layer with a single head of full width, so it explains another model
    than it was given (arXiv 2605.12952 argues so too), and takes q and k after the output projection; here
    the model's own heads and its q and k are used. `Σ_c w_c v_jc` is then `Σ_h ∂y/∂A_h[r, j]`.

    Args:
        forward_func: See `PatchAttribution`.
        layers: As in `GradientWeightedAttention`.
    """

    info = MethodInfo(
        name="grad_eclip",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Zhao et al. 2024, arXiv 2502.18816",
        summary="Values weighted by their channels' gradient and by the likeness of query and key.",
        layers=True,
        needs="global_attention",
    )

    @property
    def fusion(self) -> LayerFusion:
        return LayerFusion(self.layers, clamp="fused")

    def __init__(self, forward_func: torch.nn.Module, layers: Layers = "last_layer"):
        super().__init__(forward_func, layers)

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        maps = [self._layer(record, i).sum(2) for i in self.layer_indices(record.probe.layers)]
        return torch.stack(maps).sum(0).clamp_min(0)

    def _layer(self, record: RecordedPass, layer: int) -> LayerMaps:
        call, gradients = record.calls[layer], record.gradients[layer]

        def relevance(queries: list[int]) -> Tensor:
            return likeness(call, queries, record.probe.grid) * gradient_rows(call, gradients, queries)

        return mean_of_rows(call, record.probe.rows_of(layer), len(gradients), relevance)


@register
class DAAM(_AttentionCAM):
    """What the class token draws from each patch in every layer, weighted by the channels' positive gradient.

    Attention output of the class token's row r is `Σ_j T_j` with `T_jc = A[r, j] · v_jc`; a layer's map is
    `(Σ_c w_c · T_jc)⁺` with `w = (∂y/∂O[r])⁺`, scaled to 0 … 1 over the patches. The maps are summed over the
    layers: the last frame of the paper's dynamic map, whose frames up to layer l are `layers=range(l + 1)`.
    For a model that mean-pools a layer's map is the mean over the patch rows before the clamp, for an
    attention pooling head that of its own row.

    Args:
        forward_func: See `PatchAttribution`.
        layers: As in `GradientWeightedAttention`.
        normalize: Scale each layer's map to 0 … 1, as the authors do.
    """

    info = MethodInfo(
        name="daam",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Liao et al. 2025, arXiv 2503.14640",
        summary="Attention times values, weighted by positive gradient per channel, accumulated over layers.",
        layers=True,
        needs="global_attention",
    )

    def __init__(self, forward_func: torch.nn.Module, layers: Layers = "all_layers", normalize: bool = True):
        super().__init__(forward_func, layers)
        self.normalize = normalize

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        indices = self.layer_indices(record.probe.layers)
        maps = [self._layer(record, i).sum(2).clamp_min(0) for i in indices]
        if self.normalize:
            maps = [unit_range(m, record.probe.grid) for m in maps]
        return torch.stack(maps).sum(0)

    def _layer(self, record: RecordedPass, layer: int) -> LayerMaps:
        call, weights = record.calls[layer], record.gradients[layer].clamp_min(0)

        def relevance(queries: list[int]) -> Tensor:
            return attention_rows(call, queries) * gradient_rows(call, weights, queries)

        return mean_of_rows(call, record.probe.rows_of(layer), len(weights), relevance)


def likeness(call: AttentionCall, queries: list[int], grid: PatchGrid) -> Float[Tensor, "b 1 r m"]:
    """`cos(q_i, k_j)` over all heads together, scaled to 0 … 1 over the patches of each row."""
    groups = call.query.shape[1] // call.key.shape[1]
    query, key = call.query[:, :, queries], call.key.repeat_interleave(groups, dim=1)
    query, key = (x if x.dtype == torch.float64 else x.float() for x in (query, key))
    length = query.square().sum((1, 3)).sqrt()[..., None] * key.square().sum((1, 3)).sqrt()[:, None]
    product = (query @ key.transpose(-2, -1)).sum(1)
    return unit_range(product / length.clamp_min(torch.finfo(product.dtype).tiny), grid)[:, None]


def unit_range(values: Float[Tensor, "*shape m"], grid: PatchGrid) -> Float[Tensor, "*shape m"]:
    """Shift and scale so that the patches have 0 … 1; 0 where all are equal."""
    patches = values[..., grid.prefix :]
    low, high = patches.amin(-1, keepdim=True), patches.amax(-1, keepdim=True)
    return (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny)
