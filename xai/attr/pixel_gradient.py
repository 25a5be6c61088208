"""Gradients with respect to the pixels, by Captum, reduced to patches."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import Saliency as CaptumSaliency
from jaxtyping import Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchAttribution, register, scores
from xai.attr.gradient import patch_sums
from xai.attr.options import check_option
from xai.attr.shapes import PatchMaps, Pixels, Scores
from xai.attr.target import Target
from xai.attr.variants import accurate, argument_rows, batches, check_targets, target_rows
from xai.core import ModelError, UsageError
from xai.perturb import image_seeds

FineMap = Float[Tensor, "b c height width"]  # c: 1 or the input's channels

_CHANNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: x.amax(1, keepdim=True),
    "sum": lambda x: x.sum(1, keepdim=True),
}


class _PixelGradient(PatchAttribution):
    """A method that takes values per pixel and channel, and sums them over patches."""

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        with frozen(self.model):
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
        return scores(self._logits(pixels, args), target)


@register
class Saliency(_PixelGradient):
    """The gradient's magnitude, by Captum: `Σ_{pixels of the patch} max_c |∂y/∂x_c|`.

    Args:
        forward_func: See `PatchAttribution`.
        channels: How the channels of a pixel are joined: `max`, the paper's, or `sum`.
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
    )

    def __init__(self, forward_func: nn.Module, channels: str = "max"):
        super().__init__(forward_func)
        check_option("channels", channels, _CHANNELS)
        self.channels = channels

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        gradient = CaptumSaliency(lambda x: self._score(x, target, args)).attribute(pixels.requires_grad_())
        return _CHANNELS[self.channels](gradient)


@register
class InputXGradient(_PixelGradient):
    """Input times gradient, by Captum: `Σ_{pixels of the patch} Σ_c x_c · ∂y/∂x_c`, with its sign.

    The first-order estimate of the change of y when a patch is set to 0 (in normalised space: to the
    mean colour of the training images), and therefore dependent on the normalisation.
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
    )

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        return CaptumInputXGradient(lambda x: self._score(x, target, args)).attribute(pixels.requires_grad_())


@register
class SmoothGrad(_PixelGradient):
    """The gradient averaged over noisy copies: `max_c |1/n Σ_i ∂y/∂x_c(x + ε_i)|`, `ε_i ~ N(0, σ²)`.

    Captum's Saliency on each copy. The noise is drawn from the image's own seed: alone or in a batch, in
    single or in half precision, an image gets the same, and the caller's random state is not touched.

    Args:
        forward_func: See `PatchAttribution`.
        nt_samples: Noisy copies per image.
        stdevs: σ as a share of the image's own range of values, max − min.
        absolute: Where the sign is dropped: `mean`, after averaging, as in the paper; `samples`, in each
            copy, as Captum's NoiseTunnel over Saliency does (noise then adds up instead of cancelling).
        channels: As in `Saliency`.
        seed: Another seed gives other noise.
        internal_batch_size: Copies per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="smoothgrad",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=50,
        backwards=50,
        reference="Smilkov et al. 2017, arXiv 1706.03825",
        summary="Saliency of the gradient averaged over noisy copies of the image.",
        deterministic=False,
    )

    def __init__(
        self,
        forward_func: nn.Module,
        nt_samples: int = 50,
        stdevs: float = 0.15,
        absolute: str = "mean",
        channels: str = "max",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        if nt_samples < 1 or stdevs < 0 or internal_batch_size < 1:
            raise UsageError(
                f"nt_samples={nt_samples}, stdevs={stdevs}, internal_batch_size={internal_batch_size}: "
                "at least one sample and image a pass, and no negative deviation."
            )
        check_option("absolute", absolute, ("mean", "samples"))
        check_option("channels", channels, _CHANNELS)
        self.nt_samples, self.stdevs, self.absolute, self.channels = nt_samples, stdevs, absolute, channels
        self.seed, self.internal_batch_size = seed, internal_batch_size

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        images = len(pixels)
        sigma = (pixels.amax((1, 2, 3)) - pixels.amin((1, 2, 3))).float() * self.stdevs
        # seeds from half-precision bytes, so that float32 and bfloat16 inputs get the same noise
        seeds = image_seeds(pixels.bfloat16().float(), self.seed)
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        total = torch.zeros_like(accurate(pixels))
        for image, _ in batches(images, self.nt_samples, self.internal_batch_size):
            noise = torch.stack([torch.randn(pixels.shape[1:], generator=generators[i]) for i in image])
            at = image.to(pixels.device)
            noisy = (pixels[at] + noise.to(pixels.device) * sigma[at, None, None, None]).to(pixels.dtype)
            extra = argument_rows(args, image, images)

            def score(x: Tensor, image: Tensor = image, extra: tuple[Any, ...] = extra) -> Tensor:
                logits = self._logits(x, extra)
                check_targets(logits, [target], images)
                return scores(logits, target_rows(target, image))

            gradient = CaptumSaliency(score).attribute(noisy.requires_grad_(), abs=self.absolute == "samples")
            total.index_add_(0, at, accurate(gradient))
        return _CHANNELS[self.channels](total.abs() / self.nt_samples)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Only the pixels need gradients: the parameters' flags are off meanwhile, which saves memory."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
