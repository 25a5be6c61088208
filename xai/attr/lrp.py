"""Layer-wise relevance propagation through transformers: AttnLRP and CP-LRP."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from xai.attr.base import MethodInfo, PatchAttribution, PatchMap, PatchMaps, Pixels
from xai.attr.batching import accurate
from xai.attr.gradient import patch_sums
from xai.attr.libra import ruled
from xai.attr.lrp_gradient import GradientRules
from xai.attr.registry import register
from xai.core import ModelError, PatchGrid, UsageError
from xai.core.options import check_option
from xai.core.target import Target, score

_AT = ("pixels", "embeddings")


class _LRP(PatchAttribution):
    """One forward pass by the rules, one backward pass per target."""

    constant_attention: ClassVar[bool]

    def __init__(
        self,
        forward_func: nn.Module,
        gamma: float = 0.05,
        gamma_attention: float = 0.0,
        gamma_embedding: float = 0.25,
        at: str = "pixels",
    ):
        super().__init__(forward_func)
        gammas = {"gamma": gamma, "gamma_attention": gamma_attention, "gamma_embedding": gamma_embedding}
        for name, value in gammas.items():
            if not 0 <= value < float("inf"):
                raise UsageError(f"{name}={value!r}: a finite number of 0 or more is needed.")
        check_option("at", at, _AT)
        self.gamma, self.gamma_attention, self.gamma_embedding = gamma, gamma_attention, gamma_embedding
        self.at = at

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def _check_needs(self, pixels: Pixels, args: tuple[Any, ...]) -> None:
        super()._check_needs(pixels, args)
        self._relevance(self._first(pixels, args).clone(), [0], args)  # only a pass tells what has no rule

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        rules = GradientRules(
            self.gamma, self.gamma_attention, self.gamma_embedding, constant_attention=self.constant_attention
        )
        x = pixels.requires_grad_()
        with ruled(self.model, lambda: rules):
            logits = self.model(x, *args)
            wanted = [score(logits, t) for t in targets]
            if not logits.requires_grad:
                raise ModelError("The logits are cut off from the pixels: no relevance can pass.")
            source = x if self.at == "pixels" else rules.embedding
            if source is None:
                raise ModelError("The model embeds patches without a convolution.", "Use at='pixels'.")
            maps = []
            for left, y in zip(reversed(range(len(wanted))), wanted, strict=True):
                (gradient,) = torch.autograd.grad(y.sum(), [source], retain_graph=left > 0)
                relevance = accurate(source.detach()) * accurate(gradient)
                maps.append(
                    patch_sums(relevance, grid) if self.at == "pixels" else _on_grid(relevance.sum(1), grid)
                )
        return torch.stack(maps)


@register
class AttnLRP(_LRP):
    """Attention-aware layer-wise relevance propagation.

    The score is handed back layer by layer. With `x` the inputs, `z` the outputs of an operation:

    - linear layer and patch embedding: γ rule, `R_j = Σ_k x_j w_jk (1 + γ [x_j w_jk z_k > 0]) ρ_k` with
      `ρ_k = R_k / Σ_j x_j w_jk (1 + γ [x_j w_jk z_k > 0])`, the bias counted among the inputs; γ = 0 is the
      ε rule with ε → 0;
    - activation function: `R_x = R_z`, elementwise;
    - LayerNorm, RMSNorm, L2 norm: the deviation (or norm) is a constant, what remains is linear;
    - `A·V`, `Q·Kᵀ`, gates: each factor gets half, and shares it by the ε rule;
    - softmax: Taylor decomposition, `R_x = x (R_s − s Σ R_s)`;
    - sums and means: by the ε rule, each term as it contributes.

    All of this is `R_x = x ⊙ g` with a modified gradient g, so one backward pass does it, the fused attention
    kernel included (its gradients times ½ for V, ¼ for Q and K). The map is `x ⊙ g` at the pixels, summed
    over patches. Sums, linear layers without bias, norms and activations hand on all they get, at any γ;
    biases, class token and positions keep their share, and the softmax keeps or adds what its Taylor
    expansion leaves out. An operation without a rule is an error.

    For ViTs the authors advise γ > 0, against the noise of the gradient, tuned for each model: their example
    searches 0 to 1 for linear layers and 0.1 to 100 for the embedding. The defaults are from within that
    range, with the ε rule for the projections of the attention, and were not tuned for your model.

    Args:
        forward_func: See `PatchAttribution`.
        gamma: γ of linear layers outside of attention (MLP, head).
        gamma_attention: γ of the projections to Q, K, V and of the attention's output projection.
        gamma_embedding: γ of convolutions, that is of the patch embedding. If that has no bias, it moves
            relevance within patches only.
        at: `pixels`, or `embeddings`: at the patch embedding's output, whose bias then counts to the patch.
            Without a bias both are equal.
    """

    constant_attention = False
    info = MethodInfo(
        name="attn_lrp",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Achtibat et al. 2024, arXiv 2402.05602",
        summary="The score handed back layer by layer, through attention's values, queries and keys.",
        needs="gradients",
    )


@register
class CPLRP(_LRP):
    """Conservative propagation: layer-wise relevance with the attention probabilities as constants.

    As `AttnLRP`, but no relevance passes the softmax: `A·V` gives all of it to V. Without biases, positions
    and class token, relevance sums to the score at any γ.

    Args:
        forward_func: See `PatchAttribution`.
        gamma: As in `AttnLRP`; CP-LRP as first described has none.
        gamma_attention: As in `AttnLRP`.
        gamma_embedding: As in `AttnLRP`.
        at: As in `AttnLRP`.
    """

    constant_attention = True
    info = MethodInfo(
        name="cp_lrp",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Ali et al. 2022, arXiv 2202.07304; γ for ViT: arXiv 2402.05602",
        summary="The score handed back layer by layer, attention probabilities taken as constants.",
        needs="gradients",
    )


def _on_grid(patches: PatchMap, grid: PatchGrid) -> PatchMap:
    if patches.shape[1:] != (grid.rows, grid.cols):
        raise ModelError(
            f"The first convolution gives {tuple(patches.shape[1:])} places, but the grid is "
            f"{grid.rows}×{grid.cols}.",
            "Use at='pixels'.",
        )
    return patches
