"""Occlusion: what the score loses when patches are taken away."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchAttribution, register
from xai.attr.options import operator_of
from xai.attr.shapes import PatchMaps, Pixels
from xai.attr.target import Target
from xai.attr.variants import argument_rows, variant_scores
from xai.core import PatchGrid, UsageError
from xai.perturb import Operator, image_seeds


@register
class Occlusion(PatchAttribution):
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
        operator: str | Mapping[str, Any] | Operator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        if window < 1 or internal_batch_size < 1:
            raise UsageError(
                f"window={window}, internal_batch_size={internal_batch_size}: 1 or more is needed."
            )
        self._operator = operator_of(operator)
        self.operator = self._operator.describe()
        self.window, self.seed, self.internal_batch_size = window, seed, internal_batch_size

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        images, grid = len(pixels), self._grid(pixels)
        seeds = image_seeds(pixels, self.seed)
        windows = sliding_windows(grid, self.window)
        nothing = torch.zeros(1, grid.rows, grid.cols, dtype=torch.bool)
        removed = torch.cat([nothing, windows]).to(pixels.device)
        with torch.no_grad():
            substrate = self._operator.prepare(self.model, pixels, seeds)
        seed = torch.tensor(seeds, device=pixels.device)

        def forward(image: Tensor, variant: Tensor) -> Tensor:
            at = image.to(pixels.device)
            model = _Bound(self.model, argument_rows(args, image, images)) if args else self.model
            stand_in = None if substrate is None else substrate[at]
            return self._operator.logits(
                model, pixels[at], stand_in, removed[variant.to(at.device)], seed[at]
            )

        y = variant_scores(forward, images, len(removed), targets, self.internal_batch_size)
        loss, covers = y[..., :1] - y[..., 1:], windows.to(y.device, y.dtype)
        return torch.einsum("tbn,nrc->tbrc", loss, covers) / covers.sum(0)


def sliding_windows(grid: PatchGrid, window: int) -> Bool[Tensor, "windows rows cols"]:
    """Every position of a window inside the grid; a larger window is cut to the grid."""
    row, col = (_spans(n, min(window, n)) for n in (grid.rows, grid.cols))
    return (row[:, None, :, None] & col[None, :, None, :]).flatten(0, 1)


def _spans(length: int, size: int) -> Bool[Tensor, "positions length"]:
    """Every run of `size` places among `length`."""
    first, place = torch.arange(length - size + 1)[:, None], torch.arange(length)
    return (first <= place) & (place < first + size)


class _Bound(nn.Module):
    """A classifier with its further arguments filled in; else it answers as the classifier does."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...]):
        super().__init__()
        self.model, self.args = model, args

    def forward(self, pixels: Tensor) -> Any:
        return self.model(pixels, *self.args)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)
