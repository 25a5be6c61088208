"""Gradient-weighted attention: where the model looked, weighted by how much it mattered to the class."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import (
    AttentionCall,
    MappedLayer,
    MappedProbe,
    Probe,
    Rows,
    UnseenAttentionError,
    attention_rows,
    gradient_rows,
    map_attention,
)
from xai.attr.base import MethodInfo
from xai.attr.layers import HEAD_FUSIONS, LAYER_FUSIONS, LayerFusion, Layers, resolve_layers
from xai.attr.recorded_attention import (
    HeadMaps,
    RecordedAttribution,
    RecordedPass,
    TokenMaps,
    mean_of_rows,
)
from xai.attr.registry import register
from xai.core.options import check_option


@register
class GradientWeightedAttention(RecordedAttribution):
    """Attention times its gradient, `A ⊙ ∂y/∂A`, of the query that the classifier reads.

    Per chosen layer l and head h the relevance of patch j is `A_lh[r, j] · ∂y/∂A_lh[r, j]`, where r is
    the class token's row, or the mean over the patch rows of a model that mean-pools, or the row of an
    attention pooling head (which counts as the last layer). Heads are fused, then layers. With
    `clamp="heads"`, `head_fusion="mean"` and one layer this is the rule of Chefer et al.
    (arXiv 2103.15679, eq. 5) without the rollout.

    Where attention is not global (windows, pooled keys, stages), each layer is read by itself: the mean of
    `A ⊙ ∂y/∂A` over its read-out row, or over all its rows, lies on its keys, which are found in the image;
    every key's relevance is spread evenly over its pixels and summed in regions, so that layers of unlike
    resolution keep their sums; heads and layers are fused there (`docs/windowed-attention.md`).

    All layers with their sign, the default, on real weights: `reports/clip-forgery`. The last four alone cost
    two thirds of that.

    Args:
        forward_func: See `PatchAttribution`.
        layers: `last_layer`, `last_2_layers`, `last_4_layers`, `spaced_layers` (−6, −4, −2), `all_layers`,
            or indices (negative allowed).
        head_fusion: `mean`, `max` or `min` over the heads of a layer.
        layer_fusion: `mean`, `sum`, `max` or `product` over the layers.
        clamp: Where negative relevance is dropped: None nowhere; `fused`, after all fusions; `heads`, in each
            head before any fusion.
        rows: Whose attention is read: `read_out`, the row r above; `all`, the mean over the rows of all
            queries, so that what patches tell each other counts too.
        rules: As in `Saliency`.

    Examples:
        >>> import torch, xai
        >>> from xai.attr import GradientWeightedAttention
        >>> method = GradientWeightedAttention(xai.load("demo"), layers="last_4_layers")
        >>> pixels = torch.rand(2, 3, 224, 224)
        >>> method.attribute(pixels, target=1).shape
        torch.Size([2, 3, 224, 224])
        >>> method.attribute_patches(pixels, target=1).shape
        torch.Size([2, 14, 14])
    """

    info = MethodInfo(
        name="gradient_weighted_attention",
        family="attention",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Chefer et al. 2021, arXiv 2103.15679, eq. 5, without rollout",
        summary="Attention times its gradient of the query that the classifier reads.",
        layers=True,
        needs="attention",
    )

    maps_windows = True

    def __init__(
        self,
        forward_func: torch.nn.Module,
        layers: Layers = "all_layers",
        head_fusion: str = "mean",
        layer_fusion: str = "mean",
        clamp: str | None = None,
        rows: str = "read_out",
        rules: str | None = None,
    ):
        super().__init__(forward_func)
        self._follow(rules)
        check_option("head_fusion", head_fusion, HEAD_FUSIONS)
        check_option("layer_fusion", layer_fusion, LAYER_FUSIONS)
        check_option("clamp", clamp, ("fused", "heads", None))
        check_option("rows", rows, ("read_out", "all"))
        self.layers = layers
        self.head_fusion = head_fusion
        self.layer_fusion = layer_fusion
        self.clamp = clamp
        self.rows = rows

    @property
    def fusion(self) -> LayerFusion:
        return LayerFusion(self.layers, self.head_fusion, self.layer_fusion, self.clamp)

    def of_all_layers(self) -> "GradientWeightedAttention":
        return GradientWeightedAttention(self.model, layers="all_layers", rows=self.rows, rules=self.rules)

    @property
    def every_row(self) -> bool:
        return self.rows == "all"

    def layer_indices(self, depth: int) -> list[int]:
        """The layers used, counted from 0, in a model of `depth` attention layers."""
        return resolve_layers(self.layers, depth)

    def _probe(self, pixels: Tensor, args: tuple[Any, ...]) -> Probe:
        try:
            return super()._probe(pixels, args)
        except UnseenAttentionError as error:
            first = self._first(pixels, args)
            try:
                mapped = map_attention(self.model, first, args, self._grid(pixels))
            except UnseenAttentionError as unmapped:
                raise unmapped if unmapped.recorded else error from None
            self._probes[self._state(pixels)] = mapped
            return mapped

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        fuse_heads, fuse_layers = HEAD_FUSIONS[self.head_fusion], LAYER_FUSIONS[self.layer_fusion]
        products = self._products(record, clamp=self.clamp == "heads")
        fused = fuse_layers(torch.stack([fuse_heads(p, 2) for p in products], dim=2), 2)
        return fused.clamp_min(0) if self.clamp == "fused" else fused

    def _heads(self, record: RecordedPass) -> HeadMaps:
        return self._products(record, clamp=False)

    def _products(self, record: RecordedPass, clamp: bool) -> list[Float[Tensor, "targets b heads tokens"]]:
        """Per chosen layer."""
        maps = []
        for layer in self.layer_indices(record.probe.layers):
            if isinstance(record.probe, MappedProbe):
                maps.append(self._mapped(record, record.probe.of_layers[layer], layer, clamp))
            else:
                rows = slice(None) if self.rows == "all" else record.probe.rows_of(layer)
                maps.append(read_out(record.calls[layer], record.gradients[layer], rows, clamp))
        return maps

    def reads_rows(self, probe: MappedProbe, layer: int) -> bool:
        return self.clamp == "heads" or (self.rows != "all" and probe.of_layers[layer].rows is not None)

    def _mapped(
        self, record: RecordedPass, mapped: MappedLayer, layer: int, clamp: bool
    ) -> Float[Tensor, "targets b heads regions"]:
        """The same on the grid of regions: a mean over the rows of all windows, those of padding left out."""
        call = record.calls[layer]
        queries = call.output.shape[-2]
        if layer in record.value_gradients:
            # as O = A·V, the sum of A ⊙ ∂y/∂A over all rows is V ⊙ ∂y/∂V, summed over channels
            total = (call.value.detach() * record.value_gradients[layer]).sum(-1)
            return mapped.to_regions(total / (queries if mapped.rows is not None else mapped.queries))
        rows = slice(None) if self.rows == "all" or mapped.rows is None else list(mapped.rows)
        mean = read_out(call, record.gradients[layer], rows, clamp)
        return mapped.to_regions(mean if mapped.rows is not None else mean * (queries / mapped.queries))


def read_out(
    call: AttentionCall, gradients: Float[Tensor, "targets *b n e"], rows: Rows, clamp: bool
) -> Float[Tensor, "targets *b m"]:
    """Mean over `rows` of `A ⊙ ∂y/∂A`, each entry clamped at 0 first if asked.

    Args:
        call: A recorded layer.
        gradients: (targets, B, H, N, e), ∂y/∂O.
        rows: Query rows that are read.
        clamp: Drop negative entries.

    Returns:
        (targets, B, H, M)
    """

    def product(some: list[int]) -> Tensor:
        values = attention_rows(call, some) * gradient_rows(call, gradients, some)
        return values.clamp_min(0) if clamp else values

    return mean_of_rows(call, rows, len(gradients), product)
