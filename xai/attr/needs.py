"""What methods need of a model."""

from typing import Any

import torch
from torch import Tensor, nn

from xai.core import ModelError

BLACK_BOX = "Methods that only call the model work: occlusion, rise or lime (--method occlusion)."
"""What explains a model without gradients."""


def check_differentiable(model: nn.Module, pixels: Tensor, args: tuple[Any, ...]) -> None:
    """Make sure that a gradient of the logits reaches the pixels.

    Args:
        model: A classifier.
        pixels: (B, 3, H, W), outside any graph.
        args: Further arguments of the model.

    Raises:
        ModelError: None does.
    """
    leaf = pixels.clone().requires_grad_()
    logits = model(leaf, *args)
    gradient = torch.autograd.grad(logits.sum(), leaf, allow_unused=True)[0] if logits.requires_grad else None
    if gradient is None:
        raise ModelError("The logits are cut off from the pixels: no gradient can pass.", BLACK_BOX)
