"""Class activation maps on a model's feature map, in any classifier that has one: CNN, Swin, hybrid, ViT."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.cam_formulas import (
    Features,
    Relevance,
    mean_gradient,
    own_gradient,
    own_positive_gradient,
    positive_gradient_shares,
)
from xai.attr.feature_map import FeatureMap, find_feature_map, module_path
from xai.attr.registry import register
from xai.core import ModelError, PatchGrid
from xai.core.target import Target, score

NativeMap = Float[Tensor, "b h w"]
NativeMaps = Float[Tensor, "targets b h w"]


class FeatureCAM(PatchAttribution):
    """A map of the cells of a feature map F, put on the grid of image regions.

    F is what the last stage passes to the classifier: the last output of a module through which all gradient
    from the logits to the pixels flows, found by trial (see `find_feature_map`), or the module that `layer`
    names. For a ViT whose class token is read it is the norm before the last attention, and the map the one
    that `token_grad_cam` and its relatives give, which ask for recorded attention.

    F is what the module gave, also where a ReLU in place writes over it afterwards (DenseNet), as it does
    over what grad-cam and torchcam keep on a CPU.

    The map has F's own h × w cells (`attribute_native`). On the region grid it is interpolated bilinearly,
    over the area of a region where that is coarser; where both are the same it is not touched.

    Args:
        forward_func: See `PatchAttribution`.
        layer: Path of a module, as in `model.named_modules()`; what the model is wrapped in may be left out.
        relu: Drop negative relevance, of the cells before interpolation.
    """

    def __init__(self, forward_func: nn.Module, layer: str | None, relu: bool):
        super().__init__(forward_func)
        self.layer, self.relu = layer, relu
        self._path = None if layer is None else module_path(self.model, layer)
        self._maps: dict[Any, FeatureMap] = {}

    def attribute_native(
        self, inputs: Any, target: Target = None, additional_forward_args: Any = None
    ) -> NativeMap:
        """Relevance (B, h, w) of the feature map's own cells: raw, detached, in the inputs' dtype.

        Args:
            inputs: (B, 3, H, W), or a 1-tuple of it.
            target: Any of Captum's forms, or `xai.core.Margin`.
            additional_forward_args: Passed to the model after the pixels.

        Raises:
            ModelError: The model has no feature map.
        """
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            return self._native(pixels, self._normalised([target]), args)[0].detach().to(pixels.dtype)

    def feature_map(self, inputs: Any, additional_forward_args: Any = None) -> FeatureMap:
        """The feature map that is looked at: its module's path, h × w and axes.

        Raises:
            ModelError: The model has none.
        """
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            return self._feature_map(pixels, args)

    def _check_needs(self, pixels: Pixels, args: tuple[Any, ...]) -> None:
        self._feature_map(pixels, args)

    def _feature_map(self, pixels: Pixels, args: tuple[Any, ...]) -> FeatureMap:
        state = self._state(pixels)
        if state not in self._maps:
            first = self._first(pixels, args)
            self._maps[state] = find_feature_map(self.model, first, args, self._path)
        return self._maps[state]

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        return on_grid(self._native(pixels, targets, args), grid)

    def _native(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> NativeMaps:
        found = self._feature_map(pixels, args)
        relevance = self._cells(found, pixels, targets, args).unflatten(-1, found.size)
        return relevance.clamp_min(0) if self.relu else relevance

    @abstractmethod
    def _cells(
        self, found: FeatureMap, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> Float[Tensor, "targets b cells"]:
        """Relevance of the cells, before the ReLU."""


class GradientFeatureCAM(FeatureCAM):
    """A function of features and their gradient, `_combine`: one forward pass for all targets.

    The graph begins at the feature map, so a target costs a backward pass through what follows it alone.
    """

    def _cells(
        self, found: FeatureMap, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> Float[Tensor, "targets b cells"]:
        with found.place.as_leaf(self.model) as leaves:
            logits = self.model(pixels, *args)
        leaf, cells = leaves[0], found.cells(leaves[0])
        maps = []
        for left, target in zip(reversed(range(len(targets))), targets, strict=True):
            y = score(logits, target).sum()
            if not y.requires_grad:
                raise ModelError(f"The logits are cut off from {found.name}: no gradient can pass.")
            (gradient,) = torch.autograd.grad(y, leaf, retain_graph=left > 0, materialize_grads=True)
            maps.append(self._combine(cells, found.cells(gradient)))
        return torch.stack(maps)

    @abstractmethod
    def _combine(self, features: Features, gradient: Features) -> Relevance:
        """Relevance of the cells, before the ReLU."""


@register
class GradCAM(GradientFeatureCAM):
    """Grad-CAM: `ReLU(Σ_k w_k · F_jk)`, `w_k = mean_j ∂y/∂F_jk` over the cells j.

    F is the model's last feature map, see `layer`. The answer is a map of its h × w cells.

    Args:
        forward_func: See `PatchAttribution`.
        layer: Path of the module whose output is looked at, as in `model.named_modules()`; default: the last
            map of features through which all gradient from the logits to the pixels flows, found by trial. It
            is a CNN's last stage, a Swin's last norm, and in a ViT whose class token is read the norm before
            the last attention.
        relu: Drop negative relevance, as in the paper.
    """

    info = MethodInfo(
        name="grad_cam",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Selvaraju et al. 2017, arXiv 1610.02391, eq. 1-2",
        summary="Channels of the last feature map, weighted by their mean gradient.",
        needs="feature_map",
    )

    def __init__(self, forward_func: nn.Module, layer: str | None = None, relu: bool = True):
        super().__init__(forward_func, layer, relu)

    def _combine(self, features: Features, gradient: Features) -> Relevance:
        return mean_gradient(features, gradient)


@register
class HiResCAM(GradientFeatureCAM):
    """HiResCAM: `Σ_k ∂y/∂F_jk · F_jk`, each cell j by its own gradient.

    Signed, as in the paper. Where what follows F is linear (mean pooling and a linear layer), relevance sums
    to the score but for its bias, and Grad-CAM without its ReLU is the same.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `GradCAM`.
        relu: Drop negative relevance.
    """

    info = MethodInfo(
        name="hires_cam",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Draelos and Carin 2020, arXiv 2011.08891",
        summary="The last feature map times its gradient, summed over channels.",
        needs="feature_map",
    )

    def __init__(self, forward_func: nn.Module, layer: str | None = None, relu: bool = False):
        super().__init__(forward_func, layer, relu)

    def _combine(self, features: Features, gradient: Features) -> Relevance:
        return own_gradient(features, gradient)


@register
class LayerCAM(GradientFeatureCAM):
    """LayerCAM: `ReLU(Σ_k (∂y/∂F_jk)⁺ · F_jk)`, which also suits earlier, finer layers.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `GradCAM`.
        relu: Drop negative relevance, as in the paper.
    """

    info = MethodInfo(
        name="layer_cam",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Jiang et al. 2021, LayerCAM, IEEE TIP 30, doi 10.1109/TIP.2021.3089943",
        summary="The last feature map times its positive gradient, summed over channels.",
        needs="feature_map",
    )

    def __init__(self, forward_func: nn.Module, layer: str | None = None, relu: bool = True):
        super().__init__(forward_func, layer, relu)

    def _combine(self, features: Features, gradient: Features) -> Relevance:
        return own_positive_gradient(features, gradient)


@register
class GradCAMPlusPlus(GradientFeatureCAM):
    """Grad-CAM++: `ReLU(Σ_k w_k · F_jk)`, `w_k = Σ_j α_jk · (g_jk)⁺` with `g = ∂y/∂F`.

    The paper's weights for the score exp(y): `α_jk = g_jk² / (2 g_jk² + g_jk³ Σ_a F_ak)`, 0 where the
    gradient is 0. The factor exp(y), the same for all cells, is left out, and nothing is added to the
    denominator, which the usual programs do: at small gradients that addition decides. The paper has
    non-negative features in mind; where they are not, the denominator can come close to 0, and a few
    channels can decide.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `GradCAM`.
        relu: Drop negative relevance, as in the paper.
    """

    info = MethodInfo(
        name="grad_cam_plus_plus",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Chattopadhay et al. 2018, arXiv 1710.11063, eq. 19",
        summary="Channels of the last feature map, weighted by shares of their positive gradients.",
        needs="feature_map",
    )

    def __init__(self, forward_func: nn.Module, layer: str | None = None, relu: bool = True):
        super().__init__(forward_func, layer, relu)

    def _combine(self, features: Features, gradient: Features) -> Relevance:
        return positive_gradient_shares(features, gradient)


def on_grid(maps: NativeMaps, grid: PatchGrid) -> PatchMaps:
    """Interpolate bilinearly to the regions, over the area of a region where these are coarser."""
    size = (grid.rows, grid.cols)
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", antialias=True)
