"""Rebuild rows of the attention matrix and of its gradient from a recorded call.

Row-wise, in O(H·R·M) for R rows: the full N×N matrix exists only for who asks for all rows.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention.record import AttentionCall

Rows = slice | list[int]


def attention_rows(call: AttentionCall, rows: Rows) -> Float[Tensor, "b h r m"]:
    """Rows of `A = softmax(scale·Q·Kᵀ + mask)`: (B, H, R, M), at least in float32."""
    return torch.softmax(score_rows(call, rows), dim=-1)


def score_rows(call: AttentionCall, rows: Rows) -> Float[Tensor, "b h r m"]:
    """Rows of `scale·Q·Kᵀ + mask`, what the softmax gets; −∞ where a query does not see a key."""
    query = _accurate(call.query[..., rows, :]) * call.scale
    scores = query @ _per_head(_accurate(call.key), query).transpose(-2, -1)
    if call.mask is not None:
        mask = call.mask[..., rows, :] if call.mask.shape[-2] > 1 else call.mask
        scores = (
            scores.masked_fill(~mask, float("-inf"))
            if mask.dtype == torch.bool
            else scores + mask.detach().to(scores.dtype)
        )
    if call.is_causal:
        queries, keys = call.query.shape[-2], call.key.shape[-2]
        allowed = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed[rows], float("-inf"))
    return scores


def gradient_rows(
    call: AttentionCall, output_gradient: Float[Tensor, "*targets b h n e"], rows: Rows
) -> Float[Tensor, "*targets b h r m"]:
    """Rows of `∂y/∂A = (∂y/∂O)·Vᵀ`: (B, H, R, M), from ∂y/∂O of shape (B, H, N, e)."""
    gradient = _accurate(output_gradient[..., rows, :])
    return gradient @ _per_head(_accurate(call.value), gradient).transpose(-2, -1)


def _accurate(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _per_head(x: Tensor, like: Tensor) -> Tensor:
    """Repeat grouped keys or values so that every query head has its own."""
    groups = like.shape[-3] // x.shape[-3]
    return x if groups == 1 else x.repeat_interleave(groups, dim=-3)


def row_chunks(call: AttentionCall, rows: Rows, copies: int = 1, entries: int = 2**24) -> list[list[int]]:
    """Split rows so that one chunk of the matrix, times `copies`, has at most `entries` entries."""
    chosen = range(call.query.shape[-2])[rows] if isinstance(rows, slice) else rows
    per_row = call.query[..., 0, 0].numel() * call.key.shape[-2] * copies
    step = max(1, entries // per_row)
    return [list(chosen[i : i + step]) for i in range(0, len(chosen), step)]
