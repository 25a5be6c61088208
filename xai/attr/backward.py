"""One backward pass per target, from the scores to the outputs of the recorded attention calls."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall
from xai.core import ModelError


def output_gradients(
    scores: Sequence[Tensor], calls: Sequence[AttentionCall]
) -> list[Float[Tensor, "targets b h n e"]]:
    """∂y/∂O of each call for each target: a list over calls of (targets, B, H, N, e).

    Args:
        scores: One tensor per target, the examples' scores in the graph of the calls.
        calls: Recorded with gradients.

    Raises:
        ModelError: When no gradient can pass from the scores to the calls.
    """
    outputs = [call.output for call in calls]
    gradients: list[tuple[Tensor, ...]] = []
    for left, y in zip(reversed(range(len(scores))), scores, strict=True):
        if not y.requires_grad:
            raise ModelError("The scores are cut off from the attention layers: no gradient can pass.")
        gradients.append(torch.autograd.grad(y.sum(), outputs, retain_graph=left > 0, materialize_grads=True))
    return [torch.stack(of_call) for of_call in zip(*gradients, strict=True)]
