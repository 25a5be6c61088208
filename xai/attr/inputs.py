"""Inputs on their way to a method, relevance on its way back: checks, the graph, from patches to pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import checkpointing_as_model_error, uncompiled
from xai.core import ModelError, UsageError

Pixels = Float[Tensor, "b channels height width"]
PatchMap = Float[Tensor, "b rows cols"]

BLACK_BOX = "Methods that only call the model work: occlusion, rise or lime (--method occlusion)."
"""What explains a model without gradients."""


def spread_patches(patches: PatchMap, pixels: Pixels) -> Pixels:
    """Nearest upsampling of (B, rows, cols) to the pixels' shape, divided so that each sum is kept."""
    channels, height, width = pixels.shape[1:]
    rows, cols = patches.shape[1:]
    row = torch.arange(height, device=patches.device) * rows // height
    col = torch.arange(width, device=patches.device) * cols // width
    area = torch.bincount(row)[:, None] * torch.bincount(col) * channels
    spread = (patches / area)[:, row][:, :, col]
    return spread[:, None].expand(-1, channels, -1, -1).to(pixels.dtype).contiguous()


def like_inputs(inputs: Any, patches: PatchMap) -> Any:
    """Patch relevance in the inputs' shape and container."""
    spread = spread_patches(patches, inputs[0] if isinstance(inputs, tuple) else inputs)
    return (spread,) if isinstance(inputs, tuple) else spread


def prepare(inputs: Any, additional_forward_args: Any) -> tuple[Pixels, tuple[Any, ...]]:
    """Check the inputs and take them out of the caller's graph: ours starts at the attention.

    Raises:
        UsageError: When the inputs are not one finite floating-point tensor of shape (B, channels, H, W) with
            an image or more.
    """
    pixels = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
    if not isinstance(pixels, Tensor):
        raise UsageError(f"Inputs must be one tensor (or a 1-tuple of it); got {type(inputs).__name__}.")
    if pixels.dim() != 4 or not pixels.is_floating_point():
        raise UsageError(
            "Pixels must be floating point of shape (B, channels, H, W); "
            f"got {pixels.dtype} {tuple(pixels.shape)}."
        )
    if not len(pixels):
        raise UsageError(f"There is no image in pixels of shape {tuple(pixels.shape)}.")
    if (pixels * 0).any():  # NaN where one is no number; `isfinite` takes several times longer
        raise UsageError("The pixels hold NaN or infinite values.", "Check the preprocessing of this image.")
    given = additional_forward_args
    args = () if given is None else given if isinstance(given, tuple) else (given,)
    return _outside_graph(pixels), tuple(map(_outside_graph, args))


def _outside_graph(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.clone() if value.is_inference() else value.detach()


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients on, whatever the caller's mode (Captum's NoiseTunnel and metrics call under no_grad).

    What `torch.compile` made runs eagerly: hooks and interception do not reach into compiled code.
    """
    with torch.inference_mode(False), torch.enable_grad(), uncompiled(), checkpointing_as_model_error():
        yield


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
