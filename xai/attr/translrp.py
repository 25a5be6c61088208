"""Transformer attribution: relevance of attention maps by LRP, weighted by their gradient, rolled out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xai.attention import Probe, as_written, attention_rows, gradient_rows, refuse_hidden_backward
from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import accurate
from xai.attr.chefer import roll_out
from xai.attr.lrp_positive import RelevanceRules, divide
from xai.attr.lrp_rules import followed
from xai.attr.recorded_attention import output_gradients
from xai.attr.registry import register
from xai.core import ModelError
from xai.core.target import Target, score


@register
class TransLRP(PatchAttribution):
    """Relevance of the attention maps times their gradient, followed through all layers.

    `Ā_l = I + E_h (∂y/∂A_l ⊙ R_{A_l})⁺`; the map is the classifier's row of `Ā_L ⋯ Ā_1`, read as by `Chefer`.
    `R_{A_l}` comes by relevance propagation from 1 at the target logit (for a margin, 1 and −1):

    - linear layer: by the positive contributions, `R_j = Σ_k (x_j w_jk)⁺ R_k / Σ_j (x_j w_jk)⁺`;
    - activation, softmax, normalisation, scaling, a constant added: relevance passes as it is;
    - `A·V`, `Q·Kᵀ`, gates: by the contributions, half to each factor;
    - residual sum u + v: by the terms, then `R_u · |ΣR_u| / (|ΣR_u| + |ΣR_v|) · ΣR / ΣR_u`, per image;
    - means and sums over tokens: by the terms.

    Where paper and the authors' program differ, this is the program: LayerNorm passes relevance as it is (the
    paper gives no rule), biases take part nowhere, a product's normalisation is the factor ½ (equal to the
    paper's as each side's relevance sums to that of the product). The program normalises over its batch of
    one; here each image is normalised alone.

    A constant factor keeps its share: in a pooling head, the query a quarter. The rules divide by
    values of either sign that can be near 0, so maps change with the rounding of weights: those of a model
    in half precision are computed in single precision, and still differ from those of its original weights.

    One plain forward and backward pass for the gradient, one of each by the rules for the relevance; A and
    R_A are built row by row, so a part of one layer's matrix is in memory at a time.

    Args:
        forward_func: See `PatchAttribution`.
    """

    info = MethodInfo(
        name="translrp",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=2,
        backwards=2,
        reference="Chefer et al. 2021, arXiv 2012.09838",
        summary="LRP relevance of attention times its gradient, clamped and rolled out.",
        needs="global_attention",
    )

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe = self._probe(pixels, args)
        logits, calls = self._record(probe, pixels, args, range(probe.layers), gradients=True)
        gradients = output_gradients([score(logits, t) for t in targets], calls)
        shares = self._relevance_shares(probe, pixels, targets, args)

        def weighted(layer: int, rows: list[int]) -> Tensor:
            call = calls[layer]
            relevance = attention_rows(call, rows) * gradient_rows(call, shares[layer], rows) / 2
            return (relevance * gradient_rows(call, gradients[layer], rows)).clamp_min_(0).mean(2)

        return probe.grid.to_patches(roll_out(probe, calls, len(targets), weighted))

    def _relevance_shares(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> list[Tensor]:
        """`R_O / O` of every layer, (targets, B, H, N, e), with which `R_A = ½ A ⊙ (R_O / O) Vᵀ`."""
        rules = RelevanceRules(len(pixels), probe.grid.tokens)
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), pixels)
        pixels = pixels.to(accurate(weight[:0]).dtype)  # no cast of the model's happens under the rules
        with followed(self.model), as_written(self.model), rules:
            # a copy, since a leaf cannot be written over
            logits = self.model(pixels.detach().requires_grad_().clone(), *args)
        refuse_hidden_backward(logits)
        if len(rules.outputs) != probe.calls:
            raise ModelError(
                f"{len(rules.outputs)} attention calls were met by the rules, {probe.calls} by the recorder."
            )
        outputs = rules.outputs[: probe.layers]
        found = []
        for left, target in zip(reversed(range(len(targets))), targets, strict=True):
            leaf = logits.detach().requires_grad_()
            (start,) = torch.autograd.grad(score(leaf, target).sum(), leaf)
            with followed(self.model):
                found.append(
                    torch.autograd.grad(logits, outputs, start, retain_graph=left > 0, materialize_grads=True)
                )
        return [
            divide(accurate(torch.stack(of_layer)), accurate(output.detach()))
            for output, of_layer in zip(outputs, zip(*found, strict=True), strict=True)
        ]
