"""LeGrad: the gradient with respect to attention is the explanation, layer by layer."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, gradient_rows, record_attention, row_chunks
from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.layers import Layers, resolve_layers
from xai.attr.recorded_attention import output_gradients
from xai.attr.registry import register
from xai.attr.transformer_blocks import BlockAttribution, block_outputs, tokens_of, without_blocks
from xai.core.options import check_option
from xai.core.target import Target, score


@register
class LeGrad(BlockAttribution):
    """Positive gradient of each layer's own score with respect to its attention, summed over layers.

    `y_l` is the score of layer l's tokens, pooled and passed through the model's own final norm and head;
    the map is `Σ_l mean_{h,i} (∂y_l/∂A_l)⁺[h, i, ·]` over heads h and all query tokens i. Attention itself
    is not multiplied in. In a model with an attention pooling head, the tokens of layer l go through that
    head, and the gradient is that of the head's attention.

    After one recorded forward pass the read-out runs once per layer with the blocks skipped.

    Args:
        forward_func: See `PatchAttribution`.
        layers: As in `GradientWeightedAttention`.
        pooling: `mean`, the mean of all tokens (the authors' program, for CLIP too); `model`, what the
            classifier reads, e.g. the class token. A pooling head always pools by itself.
    """

    info = MethodInfo(
        name="legrad",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Bousselham et al. 2024, arXiv 2404.03214",
        summary="Positive gradient of each layer's own score with respect to its attention, over all rows.",
        needs="global_attention",
    )

    def __init__(self, forward_func: torch.nn.Module, layers: Layers = "all_layers", pooling: str = "mean"):
        super().__init__(forward_func)
        check_option("pooling", pooling, ("mean", "model"))
        self.layers = layers
        self.pooling = pooling

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe = self._probe(pixels, args)
        blocks = self._find_blocks(pixels, args)
        chosen = resolve_layers(self.layers, len(blocks.modules))
        # a pooling head is met anew in each read-out, after the calls of the forward pass itself
        recorded = [probe.layers + i for i in range(len(chosen))] if probe.pooling else chosen
        heads = probe.calls - len(blocks.modules)  # calls that are in no block, made in each read-out anew
        calls = probe.calls + len(chosen) * heads
        with record_attention(
            self.model, tokens=probe.grid.tokens, layers=recorded, images=len(pixels), calls=calls
        ) as recording:
            with block_outputs(blocks.modules) as outputs:
                self.model(pixels, *args)
            logits = []
            for layer in chosen:
                tokens = tokens_of(outputs[layer])
                if self.pooling == "mean" and not probe.pooling:
                    tokens = tokens.mean(blocks.token_axis, keepdim=True).expand_as(tokens)
                with without_blocks(blocks.modules, outputs, tokens):
                    logits.append(self.model(pixels, *args))
        maps = []
        for index, of_layer in zip(recorded, logits, strict=True):
            call = recording.calls[index]
            (gradients,) = output_gradients([score(of_layer, t) for t in targets], [call])
            maps.append(positive_gradient(call, gradients))
        return probe.grid.to_patches(torch.stack(maps).sum(0))


def positive_gradient(
    call: AttentionCall, gradients: Float[Tensor, "targets b h n e"]
) -> Float[Tensor, "targets b m"]:
    """Mean over heads and query rows of `(∂y/∂A)⁺`, from ∂y/∂O: (targets, B, M)."""
    sums = [
        gradient_rows(call, gradients, chunk).clamp_min_(0).sum(-2).mean(2)
        for chunk in row_chunks(call, slice(None), copies=len(gradients))
    ]
    return torch.stack(sums).sum(0) / call.query.shape[-2]
