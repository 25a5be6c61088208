"""How the score changes when patches begin to fade from attention."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, Probe, attention_rows, row_chunks
from xai.attr.base import MethodInfo
from xai.attr.layers import LayerFusion
from xai.attr.recorded_attention import HeadMaps, RecordedAttribution, RecordedPass, TokenMaps
from xai.attr.registry import register


@register
class MaskGradient(RecordedAttribution):
    """Gradient of the score with respect to the presence of each patch, at full presence.

    Presence m_j in [0, 1] adds `log m_j` to the attention scores of patch j's key in every layer: 1 leaves
    the model as it is, 0 hides the patch from all queries. With g = ∂y/∂A and row i of every head and layer,

        ∂y/∂m_j at m = 1  =  Σ_{l,h,i} A_ij (g_ij − Σ_k A_ik g_ik),

    gradient-weighted attention of all rows and layers, signed and centred by the softmax. Rebuilt from the
    record: `Σ_k A_ik g_ik = O_i · ∂y/∂O_i` needs no A, and one part of one layer's A exists at a time.

    Presence is that of keys alone: a model that reads patch tokens directly (mean pooling) still reads
    them, and a warning says so. Where no token stands beside the patches, the softmax cancels a common
    factor and relevance sums to 0: it says which patches matter more than the average.

    Args:
        forward_func: See `PatchAttribution`.
    """

    info = MethodInfo(
        name="mask_gradient",
        family="attention",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="this project; cf. head masks, arXiv 1905.10650, and patch masks, arXiv 2304.06391",
        summary="Gradient with respect to each patch's presence in attention, over all layers.",
        layers=True,
        needs="global_attention",
    )

    @property
    def every_row(self) -> bool:
        return False  # queries that nobody reads have no gradient

    @property
    def fusion(self) -> LayerFusion:
        return LayerFusion()

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        return sum(maps.sum(2) for maps in self._heads(record))  # type: ignore[return-value]  # ≥ 1 layer

    def _heads(self, record: RecordedPass) -> HeadMaps:
        warn_of_direct_reading(record.probe)
        layers = range(record.probe.layers)
        return [presence_gradient(record.calls[i], record.gradients[i]) for i in layers]


def warn_of_direct_reading(probe: Probe) -> None:
    """Say so where patches reach the classifier past attention, which presence does not touch."""
    if probe.reads_patches:
        warnings.warn(
            "The classifier reads patch tokens directly, not through attention alone. Mask gradients tell "
            "what patches add to tokens through attention, not what each one tells the classifier itself.",
            stacklevel=2,
        )


def presence_gradient(
    call: AttentionCall, gradients: Float[Tensor, "targets b h n e"]
) -> Float[Tensor, "targets b h m"]:
    """`Σ_i A_ij (g_ij − O_i · ∂y/∂O_i)` of one layer's heads; `Σ_i A_ij g_ij` is `V_j · Σ_i A_ij ∂y/∂O_i`."""
    drawn: Tensor | None = None
    for chunk in row_chunks(call, slice(None)):
        rows = slice(chunk[0], chunk[-1] + 1)
        attention = attention_rows(call, rows)
        slope = gradients[..., rows, :].to(attention.dtype)
        output = call.output.detach()[..., rows, :].to(attention.dtype)
        slope = torch.cat([slope, (output * slope).sum(-1, keepdim=True)], dim=-1)
        # targets side by side: broadcast over them, the product would copy A for each
        part = attention.transpose(-2, -1) @ slope.movedim(0, -2).flatten(-2)
        drawn = part if drawn is None else drawn + part
    assert drawn is not None  # noqa: S101 - a call has at least one row
    drawn = drawn.unflatten(-1, (len(gradients), -1)).movedim(-2, 0)
    groups = call.query.shape[1] // call.value.shape[1]
    value = call.value.to(drawn.dtype).repeat_interleave(groups, dim=1)
    return (drawn[..., :-1] * value).sum(-1) - drawn[..., -1]
