"""A method, two metrics, an operator and models that xai finds by name once this package is installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

import xai
from xai.attention import attention_rows
from xai.attr import MethodInfo, RecordedAttribution
from xai.attr.recorded_attention import RecordedPass, TokenMaps
from xai.metrics import Context, MetricInfo, register
from xai.metrics.curves import CurveMetric, Intervals, curve_forwards
from xai.models import LoadOptions, Source
from xai.perturb import PixelOperator


class ValueWeightedAttention(RecordedAttribution):
    """Attention of the last layer times the length of what it fetches: `mean_h A_h[r, j] · ‖v_hj‖`.

    Args:
        forward_func: See `PatchAttribution`.
    """

    info = MethodInfo(
        name="value_weighted_attention",
        family="attention",
        class_sensitive=False,
        signed=False,
        forwards=1,
        backwards=0,
        reference="Kobayashi et al. 2020, arXiv 2004.10102",
        summary="Attention of the last layer, weighted by the length of the values.",
    )
    needs_gradients = False

    def layer_indices(self, depth: int) -> list[int]:
        """Only the last layer is recorded."""
        return [depth - 1]

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        (last,) = record.calls
        call = record.calls[last]
        attention = attention_rows(call, record.probe.rows_of(last)).mean(-2)  # (B, heads, tokens)
        # grouped queries share values
        groups = call.query.shape[1] // call.value.shape[1]
        length = call.value.norm(dim=-1).repeat_interleave(groups, dim=1)
        relevance = (attention * length).mean(1)
        return relevance.expand(record.targets, *relevance.shape)


@register(
    MetricInfo(
        name="hoyer",
        higher_is_better=True,
        range=(0.0, 1.0),
        reference="Hurley and Rickard 2009, arXiv 0811.4706",
        summary="Hoyer's sparsity of the absolute relevance: 0 for an even map, 1 if one patch holds it all.",
        needs="map",
        against_random=False,
    )
)
def hoyer(relevance: Tensor) -> Tensor:
    """(√n − ‖R‖₁ / ‖R‖₂) / (√n − 1) of maps (B, rows, cols): (B,) float64 on the CPU; 0 where all is 0."""
    size = relevance.detach().to("cpu").double().flatten(1).abs()
    root = size.shape[1] ** 0.5
    length = size.norm(dim=1)
    ratio = (size.sum(1) / length.clamp_min(1e-300)).where(length > 0, root)
    return (root - ratio) / max(root - 1, 1e-300)


class HalfDeletion(CurveMetric):
    """Deletion up to half of the patches: what a curve tells before most of the image is gone."""

    info = MetricInfo(
        name="half_deletion",
        higher_is_better=False,
        range=(None, None),
        reference="deletion of Petsiuk et al. 2018 (arXiv 1806.07421), its first half twice",
        summary="Area under the model's value while the more relevant half of the patches is removed.",
        needs="perturbation",
        forwards=curve_forwards,
    )

    def intervals(self, context: Context) -> Intervals:
        """The points of the second half stand at one half, so that the curve ends there."""
        return [(0, min(count, context.total // 2)) for count in context.counts]


@dataclass(frozen=True)
class Maximum(PixelOperator):
    """The largest value of the normalised image, over all channels."""

    name: ClassVar[str] = "maximum"

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W), one value for each image."""
        return pixels.amax(dim=(1, 2, 3), keepdim=True).expand_as(pixels)


def load_shuffled(spec: str, options: LoadOptions) -> nn.Module:
    """Any model with the entries of every parameter shuffled: its maps show what is owed to no learning."""
    classifier = xai.load(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in classifier.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return classifier


shuffled = Source("shuffled:SPEC", "Another model with its weights shuffled.", load_shuffled)
