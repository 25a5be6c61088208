"""Gradients at random points around an image, or on the way to it from random references."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai.attr.base import MethodInfo, Pixels
from xai.attr.batching import accurate, arguments_of, batches, check_targets, targets_of
from xai.attr.captum_classes import Saliency as CaptumSaliency
from xai.attr.pixel_gradient import CHANNELS, FineMap, PixelGradient
from xai.attr.registry import register
from xai.core import UsageError
from xai.core.options import check_option
from xai.core.target import Target, score
from xai.perturb import image_seeds


@dataclass(frozen=True, eq=False)
class GradientSample:
    """Gradients at some points.

    Args:
        at: (S,) image of each point.
        offset: (S, 3, H, W) from the reference to the image on a path; else the noise.
        gradient: (S, 3, H, W), signed.
    """

    at: Int[Tensor, "s"]
    offset: Float[Tensor, "s c h w"]
    gradient: Float[Tensor, "s c h w"]


class SampledGradient(PixelGradient):
    """A method that averages over gradients at random points, drawn from each image's own seed.

    Alone or in a batch, in single or in half precision, an image gets the same points, and the caller's
    random state is not touched.
    """

    def __init__(
        self,
        forward_func: nn.Module,
        samples: int,
        seed: int,
        internal_batch_size: int,
        rules: str | None = None,
    ):
        super().__init__(forward_func)
        self._follow(rules)
        if samples < 1 or internal_batch_size < 1:
            raise UsageError(
                f"n_samples or nt_samples={samples}, internal_batch_size={internal_batch_size}: at least one "
                "sample and one image a pass."
            )
        self._samples, self.seed, self.internal_batch_size = samples, seed, internal_batch_size

    @abstractmethod
    def _draw(
        self, pixels: Pixels, image: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c h w"]]:
        """One point of one image, and the offset that belongs to it, on the CPU."""

    def _walk(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> Iterator[GradientSample]:
        images = len(pixels)
        # seeds from half-precision bytes, so that float32 and bfloat16 inputs get the same noise
        seeds = image_seeds(pixels.bfloat16().float(), self.seed)
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        source = pixels.cpu()
        for image, _ in batches(images, self._samples, self.internal_batch_size):
            drawn = [self._draw(source, int(i), generators[int(i)]) for i in image]
            at = image.to(pixels.device)
            point, offset = (torch.stack(part).to(pixels) for part in zip(*drawn, strict=True))
            extra = arguments_of(args, image, images)

            def own_score(x: Tensor, image: Tensor = image, extra: tuple[Any, ...] = extra) -> Tensor:
                logits = self._logits(x, extra)
                check_targets(logits, [target], images)
                return score(logits, targets_of(target, image))

            gradient = CaptumSaliency(own_score).attribute(point.requires_grad_(), abs=False)
            yield GradientSample(at, offset, gradient)


class _NoisyGradient(SampledGradient):
    """Gradients at noisy copies of the image; `sampled` as in `SampledGradient`."""

    def __init__(self, model: nn.Module, nt_samples: int, stdevs: float, channels: str, *sampled: Any):
        super().__init__(model, nt_samples, *sampled)
        if stdevs < 0:
            raise UsageError(f"stdevs={stdevs} must not be negative.")
        check_option("channels", channels, CHANNELS)
        self.nt_samples, self.stdevs, self.channels = nt_samples, stdevs, channels

    def _draw(self, pixels: Pixels, image: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        one = pixels[image]
        sigma = (one.amax() - one.amin()).float() * self.stdevs
        noise = torch.randn(one.shape, generator=generator) * sigma
        return (one + noise).to(one.dtype), noise


@register
class SmoothGrad(_NoisyGradient):
    """The gradient averaged over noisy copies: `max_c |1/n Σ_i ∂y/∂x_c(x + ε_i)|`, `ε_i ~ N(0, σ²)`.

    Captum's Saliency on each copy. The noise is drawn from the image's own seed, see `SampledGradient`.

    Args:
        forward_func: See `PatchAttribution`.
        nt_samples: Noisy copies per image.
        stdevs: σ as a share of the image's own range of values, max − min.
        absolute: Where the sign is dropped: `mean`, after averaging, as in the paper; `samples`, in each
            copy, as Captum's NoiseTunnel over Saliency does (noise then adds up instead of cancelling).
        channels: As in `Saliency`.
        seed: Another seed gives other noise.
        internal_batch_size: Copies per forward pass; memory grows with it, the result does not change.
        rules: As in `Saliency`.
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
        needs="gradients",
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
        rules: str | None = None,
    ):
        super().__init__(forward_func, nt_samples, stdevs, channels, seed, internal_batch_size, rules)
        check_option("absolute", absolute, ("mean", "samples"))
        self.absolute = absolute

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        total = torch.zeros_like(accurate(pixels))
        for sample in self._walk(pixels, target, args):
            gradient = accurate(sample.gradient)
            total.index_add_(0, sample.at, gradient.abs() if self.absolute == "samples" else gradient)
        return CHANNELS[self.channels](total.abs() / self.nt_samples)


@register
class VarGrad(_NoisyGradient):
    """Variance of the gradient over noisy copies: `1/n Σ_i g_i² − (1/n Σ_i g_i)²`, per pixel and channel.

    Large where the gradient changes its mind under noise, wherever it points on average.

    Args:
        forward_func: See `PatchAttribution`.
        nt_samples: Noisy copies per image.
        stdevs: As in `SmoothGrad`.
        channels: As in `Saliency`.
        seed: Another seed gives other noise.
        internal_batch_size: Copies per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="vargrad",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=50,
        backwards=50,
        reference="Adebayo et al. 2018, arXiv 1810.03307",
        summary="Variance of the gradient over noisy copies of the image.",
        deterministic=False,
        needs="gradients",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        nt_samples: int = 50,
        stdevs: float = 0.15,
        channels: str = "max",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, nt_samples, stdevs, channels, seed, internal_batch_size)
        if nt_samples < 2:
            raise UsageError(f"nt_samples={nt_samples}: a variance needs at least two.")

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        total = torch.zeros_like(accurate(pixels))
        squares = torch.zeros_like(total)
        for sample in self._walk(pixels, target, args):
            gradient = accurate(sample.gradient)
            total.index_add_(0, sample.at, gradient)
            squares.index_add_(0, sample.at, gradient**2)
        variance = squares / self.nt_samples - (total / self.nt_samples) ** 2
        return CHANNELS[self.channels](variance.clamp_min(0))  # rounding may leave it below 0


class _Path(SampledGradient):
    """Expected gradients: `E[(x − x') ⊙ ∂y/∂x(x' + α(x − x'))]` over references x' and α ~ U(0, 1)."""

    baselines: Tensor | None

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def _fine(self, pixels: Pixels, target: Target, args: tuple[Any, ...]) -> FineMap:
        total = torch.zeros_like(accurate(pixels))
        for sample in self._walk(pixels, target, args):
            total.index_add_(0, sample.at, accurate(sample.offset) * accurate(sample.gradient))
        return total / self._samples

    def _between(self, image: Tensor, reference: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        offset = image - reference
        return reference + torch.rand((), generator=generator).to(image) * offset, offset

    def _given(self, pixels: Pixels, generator: torch.Generator) -> Tensor | None:
        """One of the references that were given."""
        if self.baselines is None:
            return None
        if self.baselines.dim() != 4 or self.baselines.shape[1:] != pixels.shape[1:]:
            raise UsageError(
                f"baselines must be (N, {', '.join(map(str, pixels.shape[1:]))}) like the images; "
                f"got {tuple(self.baselines.shape)}."
            )
        return self.baselines[int(torch.randint(len(self.baselines), (), generator=generator))].to(pixels)


@register
class ExpectedGradients(_Path):
    """Integrated gradients averaged over reference images and drawn points of the path.

    `E_{x', α}[(x − x') ⊙ ∂y/∂x(x' + α(x − x'))]`. In expectation complete: relevance sums to
    y(x) − E[y(x')]; of a sample it does so up to its error, which falls with √n.

    The references should be images as the model knows them, such as pristine photographs of the user's.
    Without any, copies of the image itself are taken, mirrored at random and shifted around by a random
    offset: same colours and textures, content elsewhere (our choice, not the paper's).

    Args:
        forward_func: See `PatchAttribution`.
        n_samples: Pairs of reference and point per image.
        baselines: (N, 3, H, W) references, preprocessed as the inputs are.
        seed: Another seed gives other pairs.
        internal_batch_size: Points per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="expected_gradients",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=200,
        backwards=200,
        reference="Erion et al. 2021, arXiv 1906.10670, eq. 4",
        summary="Integrated gradients averaged over many reference images.",
        deterministic=False,
        needs="gradients",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_samples: int = 200,
        baselines: Tensor | None = None,
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, n_samples, seed, internal_batch_size)
        self.n_samples, self.baselines = n_samples, baselines

    def _draw(self, pixels: Pixels, image: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        one = pixels[image]
        reference = self._given(pixels, generator)
        return self._between(one, _moved(one, generator) if reference is None else reference, generator)


@register
class GradientSHAP(_Path):
    """Expected gradients at noisy copies: `E[(x̃ − x') ⊙ ∂y/∂x(x' + α(x̃ − x'))]`, `x̃ = x + N(0, σ²)`.

    As Captum's GradientShap, with points that depend on the image alone.

    Args:
        forward_func: See `PatchAttribution`.
        n_samples: Draws per image.
        stdevs: σ as a share of the image's own range of values, max − min.
        baselines: (N, 3, H, W) references x', preprocessed as the inputs are; default 0, which is the mean
            colour in normalised pixels.
        seed: Another seed gives other draws.
        internal_batch_size: Points per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="gradient_shap",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=50,
        backwards=50,
        reference="Lundberg and Lee 2017, arXiv 1705.07874; Captum's GradientShap",
        summary="Gradients on the way from a reference to noisy copies of the image.",
        deterministic=False,
        needs="gradients",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_samples: int = 50,
        stdevs: float = 0.1,
        baselines: Tensor | None = None,
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, n_samples, seed, internal_batch_size)
        if stdevs < 0:
            raise UsageError(f"stdevs={stdevs} must not be negative.")
        self.n_samples, self.stdevs, self.baselines = n_samples, stdevs, baselines

    def _draw(self, pixels: Pixels, image: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        one = pixels[image]
        reference = self._given(pixels, generator)
        sigma = (one.amax() - one.amin()).float() * self.stdevs
        noisy = (one + torch.randn(one.shape, generator=generator) * sigma).to(one.dtype)
        return self._between(noisy, torch.zeros_like(one) if reference is None else reference, generator)


def _moved(image: Float[Tensor, "c h w"], generator: torch.Generator) -> Float[Tensor, "c h w"]:
    """The image shifted around by a random offset, mirrored every second time."""
    height, width = image.shape[1:]
    down = int(torch.randint(height, (), generator=generator))
    right = int(torch.randint(width, (), generator=generator))
    mirrored = image.flip(2) if int(torch.randint(2, (), generator=generator)) else image
    return mirrored.roll((down, right), (1, 2))
