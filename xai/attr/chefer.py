"""Generic attention explainability of Chefer et al.: gradient-weighted attention, rolled out."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, Rows, attention_rows, gradient_rows, row_chunks
from xai.attr.base import MethodInfo, register
from xai.attr.recorded import Record, RecordedAttribution, TokenMaps


@register
class Chefer(RecordedAttribution):
    """Gradient-weighted attention followed through all layers and residual connections.

    `Ā_l = E_h (∂y/∂A_l ⊙ A_l)⁺`, `R ← R + Ā_l R` from R = I up to the last layer, without
    normalisation; the map is the row of R that the classifier reads: the class token's, the mean over
    the patch rows of a model that mean-pools, or, for an attention pooling head, the head's own Ā times R.

    As `R = (I + Ā_L) ⋯ (I + Ā_1)`, only that row is carried, from the last layer down: vector-matrix
    products, with a part of one layer's matrix in memory at a time.

    Args:
        forward_func: See `PatchAttribution`.
    """

    info = MethodInfo(
        name="chefer",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Chefer et al. 2021, arXiv 2103.15679, eq. 5 and 6",
        summary="Attention times its gradient, clamped and multiplied through all layers and residuals.",
    )

    def _tokens(self, record: Record) -> TokenMaps:
        seen = record.seen
        layers = list(range(seen.layers))
        read: Rows = list(seen.rows)
        first = record.gradients[0]
        tokens = first.new_zeros(record.targets, first.shape[1], seen.grid.tokens)
        if seen.pooling:  # its queries are no image tokens, so no residual passes it
            top = layers.pop()
            queries = record.calls[top].query.shape[-2]
            row = tokens.new_full((*tokens.shape[:2], queries), 1 / queries)
            row, read = propagate(row, record.calls[top], record.gradients[top], slice(None)), slice(None)
        else:
            row = tokens.index_fill(-1, torch.tensor(read, device=tokens.device), 1 / len(read))
        for layer in reversed(layers):
            row = row + propagate(row, record.calls[layer], record.gradients[layer], read)
            read = slice(None)
        return row


def propagate(
    row: Float[Tensor, "targets b n"],
    call: AttentionCall,
    gradients: Float[Tensor, "targets b h n e"],
    rows: Rows,
) -> Float[Tensor, "targets b m"]:
    """`row · Ā`, where Ā is the head mean of the clamped `A ⊙ ∂y/∂A` of a recorded layer.

    Args:
        row: (targets, B, N), zero outside of `rows`.
        call: The recorded layer.
        gradients: (targets, B, H, N, e), ∂y/∂O.
        rows: Query rows to build.

    Returns:
        (targets, B, M)
    """
    total: Tensor | None = None
    for chunk in row_chunks(call, rows, copies=len(gradients)):
        product = attention_rows(call, chunk) * gradient_rows(call, gradients, chunk)
        weighted = product.clamp_min_(0).mean(2)
        part = (row[..., None, chunk].to(weighted.dtype) @ weighted)[..., 0, :]
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - a call has at least one row
    return total
