"""Find out once how a model attends: how many layers, and which token rows its classifier reads."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention.record import record_attention
from xai.core import ModelError, PatchGrid


@dataclass(frozen=True)
class Probe:
    """How a model attends to an input of a given size.

    Args:
        grid: Its patch grid.
        layers: Number of image attention layers, a pooling head included if the classifier reads it.
        rows: Token rows that the classifier reads: the class token's where it has one, else all patches.
        pooling: Whether the last call is an attention pooling head, whose own rows are read instead.
        reads_patches: Whether the classifier reads patch rows of the last layer, besides or instead of the
            class token's; a pooling head reads them through attention only, which does not count.
    """

    grid: PatchGrid
    layers: int
    rows: tuple[int, ...]
    pooling: bool
    reads_patches: bool

    @property
    def readout(self) -> str:
        """What the classifier reads, in words."""
        if self.pooling:
            return "pooling head"
        return "class token" if self.rows[0] < self.grid.prefix else "mean over patches"

    def rows_of(self, layer: int) -> list[int] | slice:
        """Query rows to read in a layer; their mean is that layer's read-out."""
        if self.pooling and layer == self.layers - 1:
            return slice(None)
        return list(self.rows)


def probe(model: nn.Module, pixels: Tensor, args: tuple[Any, ...], grid: PatchGrid) -> Probe:
    """Run the model once and look at which rows of its last layer carry gradient.

    A row of the last attention layer that the classifier does not read has a gradient of exactly zero.
    Models that read the class token together with the patches (DINOv2) count as reading the class token.

    Raises:
        ModelError: When no image attention is seen or no gradient reaches it.
    """
    with record_attention(model, tokens=grid.tokens) as recording:
        logits = model(pixels, *args)
    if not logits.requires_grad:
        raise ModelError(
            "The logits do not depend on the recorded attention through a graph.",
            "The model may detach its features or compute them under torch.inference_mode().",
        )
    calls = list(recording.calls.values())
    # distinct weights: the logits of a two-class margin head would cancel in a plain sum
    weights = torch.arange(1, logits.shape[-1] + 1, device=logits.device, dtype=logits.dtype)
    gradients = torch.autograd.grad(
        (logits * weights).sum(), [c.output for c in calls[-2:]], materialize_grads=True
    )
    used = [(g != 0).any(dim=-1).flatten(0, 1).any(dim=0).cpu() for g in gradients]
    pooling = calls[-1].query.shape[-2] != grid.tokens
    if pooling and not used[-1].any():  # a pooling head that runs, but is not read
        pooling = False
        del calls[-1], used[-1]
    rows = used[-2] if pooling and len(used) > 1 else used[-1]
    if not rows.any():
        raise ModelError(
            "No gradient of the logits reaches the last attention layer: there is nothing to explain."
        )
    special = () if pooling else tuple(rows[: grid.prefix].nonzero()[:, 0].tolist())
    patches = tuple(range(grid.prefix, grid.tokens))
    reads_patches = not pooling and bool(rows[grid.prefix :].any())
    return Probe(grid, len(calls), special or patches, pooling, reads_patches)
