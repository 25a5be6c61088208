"""Grad-CAM's relatives on the tokens that enter an attention layer: Grad-CAM++, HiResCAM and LayerCAM."""

from jaxtyping import Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo
from xai.attr.cam_formulas import own_gradient, own_positive_gradient, positive_gradient_shares
from xai.attr.layers import Layers
from xai.attr.registry import register
from xai.attr.token_grad_cam import TokenGradCAM

PatchTokens = Float[Tensor, "b patches d"]


@register
class TokenGradCAMPlusPlus(TokenGradCAM):
    """Grad-CAM++ with tokens for pixels: `ReLU(Σ_k w_k · T_jk)`, `w_k = Σ_j α_jk · (g_jk)⁺`.

    With `g = ∂y/∂T` over the patches j, T as in `TokenGradCAM`, and the paper's weights for the score exp(y):
    `α_jk = g_jk² / (2 g_jk² + g_jk³ Σ_a T_ak)`, 0 where the gradient is 0. The factor exp(y), the same for
    all patches, is left out. The paper has non-negative features in mind; those of a transformer are not, so
    the denominator can come close to 0, and a few channels can decide the map.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `TokenGradCAM`.
        relu: Drop negative relevance, as in the paper.
        rules: See `TokenGradCAM`.
    """

    info = MethodInfo(
        name="token_grad_cam_plusplus",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Chattopadhay et al. 2018, arXiv 1710.11063",
        summary="Channels of the tokens entering the last attention, weighted by positive gradients.",
        needs="global_attention",
    )

    def _combine(self, tokens: PatchTokens, gradient: PatchTokens) -> Float[Tensor, "b patches"]:
        return positive_gradient_shares(tokens, gradient)


@register
class TokenHiResCAM(TokenGradCAM):
    """HiResCAM with tokens for pixels: `Σ_k ∂y/∂T_jk · T_jk`, each patch by its own gradient.

    T as in `TokenGradCAM`. Signed, as in the paper: the gradient is not averaged first, so what is summed is
    exactly what a linear read-out of T would add to the score.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `TokenGradCAM`.
        relu: Drop negative relevance.
        rules: See `TokenGradCAM`.
    """

    info = MethodInfo(
        name="token_hires_cam",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Draelos and Carin 2020, arXiv 2011.08891",
        summary="Tokens entering the last attention times their gradient, summed over channels.",
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        layer: Layers = -1,
        relu: bool = False,
        rules: str | None = None,
    ):
        super().__init__(forward_func, layer, relu, rules)

    def _combine(self, tokens: PatchTokens, gradient: PatchTokens) -> Float[Tensor, "b patches"]:
        return own_gradient(tokens, gradient)


@register
class TokenLayerCAM(TokenGradCAM):
    """LayerCAM with tokens for pixels: `ReLU(Σ_k (∂y/∂T_jk)⁺ · T_jk)`, T as in `TokenGradCAM`.

    Args:
        forward_func: See `PatchAttribution`.
        layer: See `TokenGradCAM`.
        relu: Drop negative relevance, as in the paper.
        rules: See `TokenGradCAM`.
    """

    info = MethodInfo(
        name="token_layer_cam",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Jiang et al. 2021, LayerCAM, IEEE TIP 30, doi 10.1109/TIP.2021.3089943",
        summary="Tokens entering the last attention times their positive gradient, summed over channels.",
        needs="global_attention",
    )

    def _combine(self, tokens: PatchTokens, gradient: PatchTokens) -> Float[Tensor, "b patches"]:
        return own_positive_gradient(tokens, gradient)
