"""Attention itself, without gradients: the same map for every class."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, Probe, Rows, attention_rows, row_chunks
from xai.attr.base import MethodInfo
from xai.attr.layers import HEAD_FUSIONS, LAYER_FUSIONS, LayerFusion, Layers, resolve_layers
from xai.attr.recorded_attention import HeadMaps, RecordedAttribution, RecordedPass, TokenMaps
from xai.attr.registry import register
from xai.core import UsageError
from xai.core.options import check_option

TokenMap = Float[Tensor, "b tokens"]


class _AttentionOnly(RecordedAttribution):
    """A method that needs one recorded forward pass and no gradient."""

    needs_gradients = False

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        relevance = self._map(record.probe, record.calls)
        return relevance.expand(record.targets, *relevance.shape)

    @abstractmethod
    def _map(self, probe: Probe, calls: Mapping[int, AttentionCall]) -> TokenMap:
        """The map from the recorded calls, by layer."""


@register
class RawAttention(_AttentionOnly):
    """Attention of the row that the classifier reads, fused over heads and layers.

    Args:
        forward_func: See `PatchAttribution`.
        layers: As in `GradientWeightedAttention`.
        head_fusion: `mean`, `max` or `min`.
        layer_fusion: `mean`, `sum`, `max` or `product`.
    """

    info = MethodInfo(
        name="raw_attention",
        family="attention",
        class_sensitive=False,
        signed=False,
        forwards=1,
        backwards=0,
        reference="Dosovitskiy et al. 2021, arXiv 2010.11929; baseline of Chefer et al., arXiv 2012.09838",
        summary="Attention of the row that the classifier reads; the same for every class.",
        layers=True,
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: torch.nn.Module,
        layers: Layers = "last_layer",
        head_fusion: str = "mean",
        layer_fusion: str = "mean",
    ):
        super().__init__(forward_func)
        check_option("head_fusion", head_fusion, HEAD_FUSIONS)
        check_option("layer_fusion", layer_fusion, LAYER_FUSIONS)
        self.layers = layers
        self.head_fusion = head_fusion
        self.layer_fusion = layer_fusion

    @property
    def fusion(self) -> LayerFusion:
        return LayerFusion(self.layers, self.head_fusion, self.layer_fusion)

    def of_all_layers(self) -> "RawAttention":
        return RawAttention(self.model, layers="all_layers")

    @property
    def every_row(self) -> bool:
        return False

    def layer_indices(self, depth: int) -> list[int]:
        return resolve_layers(self.layers, depth)

    def _map(self, probe: Probe, calls: Mapping[int, AttentionCall]) -> TokenMap:
        maps = [
            fused_attention(calls[i], probe.rows_of(i), self.head_fusion).mean(1)
            for i in self.layer_indices(probe.layers)
        ]
        return LAYER_FUSIONS[self.layer_fusion](torch.stack(maps, dim=1), 1)

    def _heads(self, record: RecordedPass) -> HeadMaps:
        probe = record.probe
        return [
            attention_rows(record.calls[i], probe.rows_of(i)).mean(-2).expand(record.targets, -1, -1, -1)
            for i in self.layer_indices(probe.layers)
        ]


@register
class AttentionRollout(_AttentionOnly):
    """Attention followed through all layers and residual connections.

    `Ā_l = (fuse_h A_l + I)`, rows normalised to 1; `R = Ā_L ⋯ Ā_1`; the map is the read-out row of R.
    Only that row is carried, from the last layer down, so one layer's matrix exists at a time.

    Args:
        forward_func: See `PatchAttribution`.
        head_fusion: `mean` (the paper's), `max` or `min`.
        discard_ratio: Share of the smallest entries of each fused matrix that is set to 0, in [0, 1).
    """

    info = MethodInfo(
        name="attention_rollout",
        family="attention",
        class_sensitive=False,
        signed=False,
        forwards=1,
        backwards=0,
        reference="Abnar and Zuidema 2020, arXiv 2005.00928, eq. 1",
        summary="Attention multiplied through all layers and residual connections; the same for every class.",
        needs="global_attention",
    )

    def __init__(self, forward_func: torch.nn.Module, head_fusion: str = "mean", discard_ratio: float = 0.0):
        super().__init__(forward_func)
        check_option("head_fusion", head_fusion, HEAD_FUSIONS)
        if not 0 <= discard_ratio < 1:
            raise UsageError(f"discard_ratio={discard_ratio} must be at least 0 and below 1.")
        self.head_fusion = head_fusion
        self.discard_ratio = discard_ratio

    def _map(self, probe: Probe, calls: Mapping[int, AttentionCall]) -> TokenMap:
        probe.check_chain()
        layers = list(range(probe.layers))
        if probe.pooling:
            row = self._fused(calls[layers.pop()]).mean(1, keepdim=True)
        else:
            query = calls[0].query
            row = torch.zeros(len(query), 1, probe.grid.tokens, device=query.device)
            row[..., list(probe.rows)] = 1 / len(probe.rows)
        for layer in reversed(layers):
            attention = self._fused(calls[layer])
            row = row.to(attention.dtype)
            attention.diagonal(dim1=-2, dim2=-1).add_(1)
            row = (row / attention.sum(-1)[:, None]) @ attention
        return row[:, 0]

    def _fused(self, call: AttentionCall) -> Float[Tensor, "b n m"]:
        """(B, N, M) head-fused attention with the smallest entries discarded."""
        attention = fused_attention(call, slice(None), self.head_fusion)
        discarded = int(attention[0].numel() * self.discard_ratio)
        if discarded:
            flat = attention.flatten(1)
            smallest = flat.topk(discarded, dim=1, largest=False).indices
            attention = flat.scatter(1, smallest, 0.0).view_as(attention)
        return attention


def fused_attention(call: AttentionCall, rows: Rows, head_fusion: str) -> Float[Tensor, "b r m"]:
    """Rows of attention fused over heads, (B, R, M), built in chunks so that heads never add up in memory."""
    fuse = HEAD_FUSIONS[head_fusion]
    return torch.cat([fuse(attention_rows(call, chunk), 1) for chunk in row_chunks(call, rows)], dim=1)
