"""Hide patches from attention: the presence of a patch scales what every query draws from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ALTERNATIVES, ImageInterceptor
from xai.attention.probe import Probe
from xai.attention.record import advice
from xai.attention.running import as_written
from xai.core import ModelError, PatchGrid

_ALIGNED = 16  # entries to which a row of the mask is padded in memory: fused kernels copy it otherwise


class _Masker(ImageInterceptor):
    def __init__(self, presence: Tensor, grid: PatchGrid, images: int | None):
        super().__init__(grid.tokens, images, differentiates=presence.requires_grad)
        self.presence = presence
        self.grid = grid
        self.hidden: dict[tuple[torch.dtype, int], Tensor] = {}

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        if len(self.presence) not in (1, len(query)):
            raise ModelError(
                f"The presence of patches is given for {len(self.presence)} images; "
                f"attention runs on {len(query)}."
            )
        if self.presence.requires_grad:
            torch.set_grad_enabled(True)  # also inside a model that runs its backbone under no_grad
        mask = self._log_presence(query.dtype, layer)
        given = options.get("attn_mask")
        if options.get("is_causal"):
            ones = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
            given = ones.tril() if given is None else given
        if given is not None:
            if given.dtype == torch.bool:
                given = torch.zeros_like(given, dtype=query.dtype).masked_fill_(~given, -torch.inf)
            mask = mask + given.to(query.dtype)
        options |= {"attn_mask": mask, "is_causal": False}
        return F.scaled_dot_product_attention(query, key, value, **options)

    def _log_presence(self, dtype: torch.dtype, layer: int) -> Tensor:
        """(B, 1, 1, tokens) to be added to the scores of this call; made once where all layers share it."""
        layer = min(layer, self.presence.shape[1] - 1)
        if (dtype, layer) not in self.hidden:
            presence, grid = self.presence[:, layer], self.grid
            width = -(-grid.tokens // _ALIGNED) * _ALIGNED
            if presence.dtype == torch.bool:
                row = torch.zeros(len(presence), width, dtype=dtype, device=presence.device)
                row[:, grid.prefix : grid.tokens].masked_fill_(~presence, -torch.inf)
            else:
                row = F.pad(presence.log().to(dtype), (grid.prefix, width - grid.tokens))
            self.hidden[dtype, layer] = row[:, None, None, : grid.tokens]
        return self.hidden[dtype, layer]


@contextmanager
def mask_patches(
    model: nn.Module,
    presence: Tensor,
    grid: PatchGrid,
    *,
    images: int | None = None,
    calls: int | None = None,
) -> Iterator[None]:
    """Add log(presence) of every patch to the attention scores of its key, in all image attention.

    A patch of presence 1 is as it was, one of presence 0 is not seen by any query: the model runs as if
    the token had been dropped after the embedding. Prefix tokens are always seen. Inside the block of
    `record_attention` the recorded calls hold the total mask. The model is not touched.

    Args:
        model: The module that will be called.
        presence: (B, patches), or (B, layers, patches) for each layer in the order of execution, the last
            one also for calls that follow; B = 1 for all images. Bool, or float in [0, 1], which may require
            grad; the gradient at a presence of exactly 0 is NaN.
        grid: The patch grid; attention over another number of keys than `grid.tokens` is passed through.
        images: Images that will be given; attention over another batch is passed through. None: any.
        calls: Image attention calls that a pass makes, `Probe.calls`; None asks for one at least.

    Raises:
        ModelError: When the shapes do not fit, or after the block when no image attention was seen, less
            of it than there are layers in `presence`, or another number of calls than `calls`.
    """
    if presence.dim() not in (2, 3) or presence.shape[-1] != grid.patches:
        raise ModelError(
            f"Presence must be (images, {grid.patches}) for {grid.rows}×{grid.cols} patches, "
            f"or (images, layers, {grid.patches}); got {tuple(presence.shape)}."
        )
    if presence.dtype != torch.bool and not presence.is_floating_point():
        raise ModelError(f"Presence must be bool or floating point; got {presence.dtype}.")
    masker = _Masker(presence if presence.dim() == 3 else presence[:, None], grid, images)
    # the masker may switch gradients on in the middle
    with torch.set_grad_enabled(torch.is_grad_enabled()), as_written(model), masker:
        yield
    if not masker.layers:
        raise ModelError(
            f"{type(model).__name__} ran no attention over {grid.tokens} tokens: no patch was masked.",
            advice(model) or ALTERNATIVES,
        )
    if masker.layers < masker.presence.shape[1]:
        raise ModelError(
            f"Presence is given for {presence.shape[1]} layers; {type(model).__name__} ran {masker.layers}."
        )
    masker.check_layers(model, calls)


def check_maskable(seen: Probe) -> None:
    """Refuse models in which a masked patch would still be read, or nothing would remain.

    Raises:
        ModelError: Naming what to use instead.
    """
    if seen.reads_patches:
        what = "reads patch tokens directly, so masked patches would still be read"
    elif not seen.grid.prefix:
        what = "has no token besides the patches, so nothing would remain with all of them masked"
    else:
        return
    raise ModelError(
        f"Patches cannot be removed by masking: the classifier {what}.",
        "Use a protocol that replaces pixels, such as vit-mean.",
    )
