"""Occlusion: what the score loses when patches are taken away."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.registry import register
from xai.attr.removal import RemovalAttribution
from xai.core import PatchGrid
from xai.core.options import check_counts
from xai.core.target import Target
from xai.perturb import AnyOperator


@register
class Occlusion(RemovalAttribution):
    """Loss of score under a sliding window: `R_j = mean_{W ∋ j} (y(x) − y(x without W))`, windows W.

    Windows of `window` × `window` patches lie on the patch grid, one at every position inside it. With
    window 1 each patch is judged alone; a transformer hardly misses one patch in hundreds, hence the
    larger default. Positive: the patches speak for the target.

    Args:
        forward_func: See `PatchAttribution`.
        window: Patches a side, at most the grid's.
        operator: What "without" means: an operator of `xai.perturb` by name (`mean`, the image's mean colour;
            `token`, hidden from attention; …), a mapping with its name and parameters, or itself.
        seed: For operators that draw noise.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="occlusion",
        family="perturbation",
        class_sensitive=True,
        signed=True,
        forwards=145,  # 14 × 14 patches
        backwards=0,
        reference="Zeiler and Fergus 2014, arXiv 1311.2901, section 4.2",
        summary="Loss of score when a window of patches is taken away.",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        window: int = 3,
        operator: AnyOperator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, operator, seed, internal_batch_size)
        check_counts(window=window)
        self.window = window

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        windows = sliding_windows(grid, self.window)
        nothing = torch.zeros(1, grid.rows, grid.cols, dtype=torch.bool)
        y = self._scores_without(pixels, torch.cat([nothing, windows]), targets, args)
        loss, covers = y[..., :1] - y[..., 1:], windows.to(y.device, y.dtype)
        return torch.einsum("tbn,nrc->tbrc", loss, covers) / covers.sum(0)


@register
class FeatureAblation(Occlusion):
    """Loss of score without each patch alone: `R_j = y(x) − y(x without j)`, Captum's feature ablation.

    A transformer hardly misses one patch in hundreds, so the map may be small and noisy; `occlusion` takes
    windows.

    Args:
        forward_func: See `PatchAttribution`.
        operator: As in `Occlusion`.
        seed: For operators that draw noise.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="feature_ablation",
        family="perturbation",
        class_sensitive=True,
        signed=True,
        forwards=197,  # 14 × 14 patches
        backwards=0,
        reference="Captum's FeatureAblation; leave-one-out after Zeiler and Fergus 2014, arXiv 1311.2901",
        summary="Loss of score when one patch is taken away.",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        operator: AnyOperator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, 1, operator, seed, internal_batch_size)


def sliding_windows(grid: PatchGrid, window: int) -> Bool[Tensor, "windows rows cols"]:
    """Every position of a window inside the grid; a larger window is cut to the grid."""
    row, col = (_spans(n, min(window, n)) for n in (grid.rows, grid.cols))
    return (row[:, None, :, None] & col[None, :, None, :]).flatten(0, 1)


def _spans(length: int, size: int) -> Bool[Tensor, "positions length"]:
    """Every run of `size` places among `length`."""
    first, place = torch.arange(length - size + 1)[:, None], torch.arange(length)
    return (first <= place) & (place < first + size)
