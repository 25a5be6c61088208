"""One backward pass per target, from the scores to the outputs of the recorded attention calls."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall
from xai.attr.base import scores
from xai.attr.target import Target
from xai.core import ModelError


def output_gradients(
    logits: Tensor, targets: Sequence[Target], calls: Sequence[AttentionCall]
) -> list[Float[Tensor, "targets b h n e"]]:
    """∂y/∂O of each call for each target: a list over calls of (targets, B, H, N, e).

    Raises:
        ModelError: When no gradient can pass from the logits to the calls.
    """
    outputs = [call.output for call in calls]
    gradients: list[tuple[Tensor, ...]] = []
    for left, target in zip(reversed(range(len(targets))), targets, strict=True):
        y = scores(logits, target).sum()
        if not y.requires_grad:
            raise ModelError("The logits are cut off from the attention layers: no gradient can pass.")
        gradients.append(torch.autograd.grad(y, outputs, retain_graph=left > 0, materialize_grads=True))
    return [torch.stack(of_call) for of_call in zip(*gradients, strict=True)]
