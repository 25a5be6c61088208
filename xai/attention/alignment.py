"""Do the tokens that a model attends over lie where the grid says?

A model may mirror, turn, crop or shuffle the image before its tower, as augmentation at test time does:
then its attention is sound, but a map of it lies elsewhere in the image.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ALTERNATIVES
from xai.core import ModelError, PatchGrid

_HERE = 0.1  # share of the gradient that at least comes from the place itself …
_THERE = 0.5  # … where this share comes from another one


def check_alignment(model: nn.Module, values: Iterable[Tensor], pixels: Tensor, grid: PatchGrid) -> None:
    """See which pixels the token of the upper right corner is made of.

    No turn or reflection of the image leaves that corner in its place, but the one about its own diagonal.

    Args:
        model: For messages.
        values: (B, H, tokens, e) values of attention calls that read no other attention, in the graph.
        pixels: (B, 3, H, W), the leaf of that graph.
        grid: The patch grid.

    Raises:
        ModelError: They lie far from it, together in another place.
    """
    token = grid.prefix + grid.cols - 1
    for value in values:
        row = value[0, :, token]
        weights = torch.linspace(1, 2, row.numel(), dtype=row.dtype, device=row.device).view_as(row)
        (gradient,) = torch.autograd.grad(
            (row * weights).sum(), pixels, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        shares = F.adaptive_avg_pool2d(gradient[:1].abs().float().sum(1), (grid.rows, grid.cols))[0]
        shares = shares / shares.sum().clamp_min(torch.finfo(shares.dtype).tiny)
        top, left = divmod(int(shares.argmax()), grid.cols)
        here, there = _around(shares, 0, grid.cols - 1), _around(shares, top, left)
        if here < _HERE and there > _THERE:
            raise ModelError(
                f"The token of patch (0, {grid.cols - 1}) of {type(model).__name__} is made of pixels around "
                f"patch ({top}, {left}): the model turns, mirrors, crops or reorders the image, so its "
                "attention does not lie where the grid says.",
                f"Explain the model without that step, on images to which it was applied. {ALTERNATIVES}",
            )


def _around(shares: Tensor, row: int, col: int) -> float:
    """Sum over a patch and its neighbours."""
    return float(shares[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2].sum())
