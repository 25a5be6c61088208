"""TokenTM: gradient-weighted attention, rolled out with how tokens are transformed before they are mixed."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import AttentionCall, attention_rows, gradient_rows, row_chunks
from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.recorded_attention import output_gradients
from xai.attr.registry import register
from xai.attr.transformer_blocks import BlockAttribution
from xai.attr.value_projection import Transformation, watch_transformations
from xai.core.target import Target, score


@register
class TokenTransformation(BlockAttribution):
    """Attention times gradient times token transformation, rolled out over all layers.

    Attention mixes transformed tokens `z̃_jh = v_jh W_Oh`, not the tokens z that enter the layer. Their weight

        W_lhj = ‖z̃_jh‖ / ‖z_j‖ · exp cos(z_j, z̃_jh) / Σ_k exp cos(z_k, z̃_kh)

    measures the change of length and, as normalised exponential cosine correlation, of direction. With
    `C_l = I + E_h (∂y/∂A_lh ⊙ A_lh)⁺ diag(W_lh)` the map is the row of `C_L ⋯ C_1 · diag(‖z_1j‖)` that the
    classifier reads: the class token's, the mean over the patch rows of a model that mean-pools, or an
    attention pooling head's own (without I). It starts from the lengths of the tokens of the first layer.

    Read from the paper: z is the residual stream before its norm; the transformation is measured per head,
    since that is what attention mixes; the correlation is normalised over all tokens, prefix included; the
    gradient makes it class-specific as in `Chefer`. The feed-forward network, which changes each token by
    itself, and LayerScale are not counted.

    Args:
        forward_func: See `PatchAttribution`.
        rules: As in `Saliency`.
    """

    info = MethodInfo(
        name="token_transformation",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Wu et al. 2024, TokenTM, arXiv 2403.14552",
        summary="Chefer's rule with attention weighted by how each token's length and direction change.",
        needs="global_attention",
    )

    def __init__(self, forward_func: nn.Module, rules: str | None = None):
        super().__init__(forward_func)
        self._follow(rules)

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe, blocks = self._probe(pixels, args), self._find_blocks(pixels, args)
        with watch_transformations(self.model, blocks, probe) as found:
            logits, calls = self._record(probe, pixels, args, range(probe.layers), gradients=True)
        gradients = output_gradients([score(logits, t) for t in targets], calls)
        queries = calls[-1].query.shape[-2]
        row = torch.eye(queries, device=logits.device)[probe.rows_of(probe.layers - 1)].mean(0)
        row = row.expand(len(targets), len(pixels), -1)
        for layer in reversed(range(probe.layers)):
            weights = transformation_weights(calls[layer], found.layers[layer])
            moved = weighted_rows(row, calls[layer], gradients[layer], weights)
            # the queries of a pooling head are no image tokens, so no residual passes it
            row = moved if probe.pooling and layer == probe.layers - 1 else row + moved
        return probe.grid.to_patches(row * found.layers[0].length())


def transformation_weights(call: AttentionCall, transformation: Transformation) -> Float[Tensor, "b h n"]:
    """W of each head and token: ratio of lengths times normalised exponential cosine correlation."""
    ratio, cosine = transformation.per_head(call)
    return ratio * cosine.softmax(dim=-1)


def weighted_rows(
    row: Float[Tensor, "targets b n"],
    call: AttentionCall,
    gradients: Float[Tensor, "targets b h n e"],
    weights: Float[Tensor, "b h m"],
) -> Float[Tensor, "targets b m"]:
    """`row · E_h (∂y/∂A_h ⊙ A_h)⁺ diag(weights_h)`, built in chunks of rows."""
    total: Tensor | None = None
    for chunk in row_chunks(call, slice(None), copies=len(gradients)):
        product = attention_rows(call, chunk) * gradient_rows(call, gradients, chunk)
        fused = (product.clamp_min_(0) * weights[:, :, None].to(product.dtype)).mean(2)
        part = (row[..., None, chunk].to(fused.dtype) @ fused)[..., 0, :]
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - a call has at least one row
    return total
