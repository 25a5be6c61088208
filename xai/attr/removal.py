"""What methods share that take patches away and watch the score."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai.attr.base import PatchAttribution, Pixels
from xai.attr.batching import arguments_of, variant_scores
from xai.core import ModelError
from xai.core.options import check_counts
from xai.core.target import Target
from xai.perturb import AnyOperator, image_seeds, operator_of


class RemovalAttribution(PatchAttribution):
    """A method that asks the model about images without some of their patches.

    Args:
        forward_func: See `PatchAttribution`.
        operator: What "without" means: an operator of `xai.perturb` by name (`mean`, the image's mean colour;
            `token`, hidden from attention; …), a mapping with its name and parameters, or itself.
        seed: Of what the method or its operator draws.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    def __init__(
        self,
        forward_func: nn.Module,
        operator: AnyOperator,
        seed: int,
        internal_batch_size: int,
    ):
        super().__init__(forward_func)
        check_counts(internal_batch_size=internal_batch_size)
        self._operator = operator_of(operator)
        self.operator = self._operator.describe()
        self.seed, self.internal_batch_size = seed, internal_batch_size

    def _scores_without(
        self,
        pixels: Pixels,
        removed: Bool[Tensor, "*images variants rows cols"],
        targets: Sequence[Target],
        args: tuple[Any, ...],
    ) -> Float[Tensor, "targets b variants"]:
        """Scores of every image without each of these sets of patches, shared or the image's own."""
        images, seeds = len(pixels), image_seeds(pixels, self.seed)
        removed = removed.to(pixels.device).expand(images, *removed.shape[-3:])
        baseline = self._baseline(pixels, seeds)
        seed = torch.tensor(seeds, device=pixels.device)

        def forward(image: Tensor, variant: Tensor) -> Tensor:
            at = image.to(pixels.device)
            model = _Bound(self.model, arguments_of(args, image, images)) if args else self.model
            stand_in = None if baseline is None else baseline[at]
            gone = removed[at, variant.to(at.device)]
            return self._value(self._operator.logits(model, pixels[at], stand_in, gone, seed[at]))

        return variant_scores(forward, images, removed.shape[1], targets, self.internal_batch_size)

    def _start_logits(self, pixels: Pixels, args: tuple[Any, ...]) -> Tensor:
        """(B, classes) logits with all patches removed: where the complete ones start."""
        grid, seeds = self._grid(pixels), image_seeds(pixels, self.seed)
        everything = torch.ones(len(pixels), grid.rows, grid.cols, dtype=torch.bool, device=pixels.device)
        model = _Bound(self.model, args) if args else self.model
        seed = torch.tensor(seeds, device=pixels.device)
        return self._operator.logits(model, pixels, self._baseline(pixels, seeds), everything, seed)

    def _value(self, logits: Any) -> Any:
        """What is read from the logits, per class."""
        return logits

    def _baseline(self, pixels: Pixels, seeds: Sequence[int]) -> Tensor | None:
        try:
            with torch.no_grad():
                return self._operator.prepare(self.model, pixels, seeds)
        except ModelError as error:  # its hint names a protocol, which no method has
            raise ModelError(
                error.message, 'Use an operator that replaces pixels: operator="mean".'
            ) from None


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
