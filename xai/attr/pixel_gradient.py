"""Gradients with respect to the pixels, by Captum, reduced to patches."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import frozen
from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels, Scores
from xai.attr.batching import accurate
from xai.attr.captum_classes import InputXGradient as CaptumInputXGradient
from xai.attr.captum_classes import Saliency as CaptumSaliency
from xai.attr.gradient import patch_sums
from xai.attr.registry import register
from xai.core import ModelError
from xai.core.options import check_option
from xai.core.target import Target, score

FineMap = Float[Tensor, "b c height width"]  # c: 1 or the input's channels

CHANNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: x.amax(1, keepdim=True),
    "sum": lambda x: x.sum(1, keepdim=True),
}


class PixelGradient(PatchAttribution):
    """A method that takes values per pixel and channel, and sums them over patches."""

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        with frozen(self.model), self._by_rules():
            fine = [self._fine(pixels, target, args) for target in targets]
        return torch.stack([patch_sums(accurate(values), grid) for values in fine])

    @abstractmethod
    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        """Relevance of the pixels."""

    def _logits(self, pixels: Tensor, args: tuple[Any, ...]) -> Any:
        logits = self.model(pixels, *args)
        if isinstance(logits, Tensor) and not logits.requires_grad:
            raise ModelError("The logits are cut off from the pixels: no gradient can pass.")
        return logits

    def _score(self, pixels: Tensor, target: Target, args: tuple[Any, ...]) -> Scores:
        """(B,) scores of the target, in the graph of the pixels."""
        return score(self._logits(pixels, args), target)


@register
class Saliency(PixelGradient):
    """The gradient's magnitude, by Captum: `Σ_{pixels of the patch} max_c |∂y/∂x_c|`.

    Args:
        forward_func: See `PatchAttribution`.
        channels: How the channels of a pixel are joined: `max`, the paper's, or `sum`.
        rules: Whose gradient: None, the model's own; `libra`, LibraGrad's, see `xai.attr.libra_rules`.
    """

    info = MethodInfo(
        name="saliency",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Simonyan et al. 2014, arXiv 1312.6034, section 3",
        summary="Magnitude of the score's gradient: where a small change would matter.",
        needs="gradients",
    )

    def __init__(self, forward_func: nn.Module, channels: str = "max", rules: str | None = None):
        super().__init__(forward_func)
        self._follow(rules)
        check_option("channels", channels, CHANNELS)
        self.channels = channels

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        gradient = CaptumSaliency(lambda x: self._score(x, target, args)).attribute(pixels.requires_grad_())
        return CHANNELS[self.channels](gradient)


@register
class InputXGradient(PixelGradient):
    """Input times gradient, by Captum: `Σ_{pixels of the patch} Σ_c x_c · ∂y/∂x_c`, with its sign.

    The first-order estimate of the change of y when a patch is set to 0 (in normalised space: to the
    mean colour of the training images), and therefore dependent on the normalisation.

    Args:
        forward_func: See `PatchAttribution`.
        rules: As in `Saliency`.
    """

    info = MethodInfo(
        name="input_x_gradient",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Shrikumar et al. 2016, arXiv 1605.01713",
        summary="Pixels times the score's gradient, summed over patches.",
        needs="gradients",
    )

    def __init__(self, forward_func: nn.Module, rules: str | None = None):
        super().__init__(forward_func)
        self._follow(rules)

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        return CaptumInputXGradient(lambda x: self._score(x, target, args)).attribute(pixels.requires_grad_())
