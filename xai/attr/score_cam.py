"""Class activation maps that need no gradient of the class: Score-CAM and Eigen-CAM."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, Pixels
from xai.attr.batching import VALUES, arguments_of, check_targets, class_values, variant_scores
from xai.attr.cam_formulas import Features
from xai.attr.feature_cams import FeatureCAM
from xai.attr.feature_map import FeatureMap
from xai.attr.registry import register
from xai.core.options import check_counts, check_option
from xai.core.target import Target, score


@register
class ScoreCAM(FeatureCAM):
    """Score-CAM: `ReLU(Σ_k w_k · F_k)`, w the softmax over channels of the score that each one's mask keeps.

    `w_k = softmax_k(f(x ⊙ s(Up(F_k))))`: channel k of the feature map, enlarged bilinearly to the image and
    scaled to 0 … 1, dims the image. The paper does not say how Up lays the cells over the image: here, as in
    torchcam, each over its part of it; grad-cam lays the outermost cells' centres on the image's corners, and
    but for that gives the same values. The score of a baseline, which the paper takes from each, cancels in
    the softmax. A channel that is the same everywhere hides all.

    One forward pass per channel, 2048 of them on a ResNet-50.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `GradCAM`.
        value: f: `logit` of the target, as grad-cam and torchcam have it; `probability`, which the paper's
            section on the normalisation of scores asks for; or `log_odds`.
        relu: Drop negative relevance, as in the paper.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="score_cam",
        family="perturbation",
        class_sensitive=True,
        signed=False,
        forwards=2049,
        backwards=0,
        reference="Wang et al. 2020, arXiv 1910.01279, eq. 7-9",
        summary="Channels of the last feature map, weighted by the score of what each shows of the image.",
        needs="feature_map",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        layer: str | None = None,
        value: str = "logit",
        relu: bool = True,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, layer, relu)
        check_option("value", value, VALUES)
        check_counts(internal_batch_size=internal_batch_size)
        self.value, self.internal_batch_size = value, internal_batch_size

    def _cells(
        self, found: FeatureMap, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> Float[Tensor, "targets b cells"]:
        features, logits = features_of(self.model, found, pixels, args)
        check_targets(logits, targets, len(pixels))  # before the long part
        channels = features.transpose(1, 2).unflatten(-1, found.size)

        def forward(image: Tensor, variant: Tensor) -> Any:
            at = image.to(pixels.device)
            masks = enlarged(channels[at, variant.to(pixels.device)], pixels.shape[-2:])
            dimmed = pixels[at] * masks[:, None].to(pixels.dtype)
            logits = self.model(dimmed, *arguments_of(args, image, len(pixels)))
            return class_values(logits, self.value, self.model)

        y = variant_scores(forward, len(pixels), channels.shape[1], targets, self.internal_batch_size)
        return torch.einsum("tbk,bjk->tbj", y.softmax(-1).to(features), features)


@register
class EigenCAM(FeatureCAM):
    """Eigen-CAM: the cells' first principal component, `F v` with v the first right singular vector of F.

    F (cells × channels) is the model's last feature map. It is the same for every class: what stands out
    to the model, whatever it makes of it. A singular vector has no sign of its own; that one is taken under
    which the cell farthest from 0 is positive (Chung and Ying 2025, doi 10.3390/app15137562, eq. 13).

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `GradCAM`.
        center: Take each channel's mean over the cells from it first, as the usual program does; the paper
            does not. Without that the component of a transformer's features is often alike everywhere.
        relu: Drop negative relevance.
    """

    info = MethodInfo(
        name="eigen_cam",
        family="gradient",
        class_sensitive=False,
        signed=False,
        forwards=1,
        backwards=0,
        reference="Muhammad and Yeasin 2020, arXiv 2008.00299",
        summary="The first principal component of the last feature map, whatever the class.",
        needs="feature_map",
    )

    def __init__(
        self, forward_func: nn.Module, layer: str | None = None, center: bool = True, relu: bool = True
    ):
        super().__init__(forward_func, layer, relu)
        self.center = center

    def _cells(
        self, found: FeatureMap, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> Float[Tensor, "targets b cells"]:
        features, logits = features_of(self.model, found, pixels, args)
        for target in targets:  # the class does not matter, but a wrong one is an error all the same
            if target is not None:
                score(logits, target)
        component = first_component(features, self.center)
        return component.expand(len(targets), *component.shape)


def features_of(
    model: nn.Module, found: FeatureMap, pixels: Pixels, args: tuple[Any, ...]
) -> tuple[Features, Any]:
    """The feature map's cells and the logits, from one pass without gradients."""
    with torch.no_grad(), found.place.watched(model) as seen:
        logits = model(pixels, *args)
    return found.cells(seen[0]), logits


def enlarged(maps: Float[Tensor, "n h w"], size: Sequence[int]) -> Float[Tensor, "n height width"]:
    """Each map enlarged bilinearly and scaled to 0 … 1; zeros where it is constant."""
    maps = F.interpolate(maps[:, None], tuple(size), mode="bilinear")[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def first_component(features: Features, center: bool) -> Float[Tensor, "b cells"]:
    """The cells' coordinates on the first principal axis of their features, in their type."""
    exact = features.double()
    if center:
        exact = exact - exact.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(exact @ exact.transpose(1, 2))
    component = vectors[..., -1] * values[..., -1:].clamp_min(0).sqrt()
    farthest = component.gather(1, component.abs().argmax(1, keepdim=True))
    return torch.where(farthest < 0, -component, component).to(features.dtype)
