"""Logits from what a module returned: one row an image, floating point, finite, and no probabilities.

A probability read as a logit would be squashed again: that of a sigmoid would never be less than one half, so
that the same class was said of every image.
"""

from typing import Any

import torch
from torch import Tensor

from xai.core import ModelError

# of autograd's graph: what keeps each number as it is
_REARRANGE = (
    "Alias", "AsStrided", "Clone", "Expand", "Index", "Permute", "ReshapeAlias", "Select", "Slice", "Squeeze",
    "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View",
)  # fmt: skip
_SQUASH = {"Sigmoid": "sigmoid", "Softmax": "softmax"}


def read_logits(output: Any, images: int, name: str) -> Tensor:
    """(B, classes) logits, one class where the module has one, in its graph.

    Args:
        output: What the module returned: a tensor, or an output with `.logits`.
        images: B, how many it was given.
        name: Of the model, for messages.

    Raises:
        ModelError: It is no (B, classes) tensor of finite floating-point numbers, or holds probabilities.
    """
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"{name} returned {type(output).__name__}; expected logits (batch, classes).",
            "Wrap the model so that it returns a tensor or an output with .logits.",
        )
    if not logits.is_floating_point():
        raise ModelError(
            f"{name} answered with {_plain(logits.dtype)}; expected floating-point logits (batch, classes).",
            "Return the logits, not the number of the largest, nor a decision.",
        )
    if logits.ndim < 2 and images == 1:  # squeezed; of more images the first axis tells
        logits = logits.reshape(1, -1)
    elif logits.ndim == 1 and len(logits) == images:
        logits = logits[:, None]
    if logits.ndim != 2:
        raise ModelError(f"{name} returned logits of shape {tuple(logits.shape)}, not (batch, classes).")
    if len(logits) != images:
        raise ModelError(
            f"{name} returned logits of shape {tuple(logits.shape)} for {images} images.",
            "It must answer each image of a batch by itself: (batch, classes).",
        )
    if not torch.isfinite(logits.detach()).all():
        raise ModelError(
            f"{name} answered with NaN or infinity ({_plain(logits.dtype)}).",
            "Check the input tensor, or load with a wider dtype.",
        )
    _refuse_probabilities(logits, name)
    return logits


def _refuse_probabilities(logits: Tensor, name: str) -> None:
    # comparisons and lists alone: propagation rules may be watching what is computed with features
    if not logits.numel() or (logits < 0).any() or (logits > 1).any():
        return
    kind = _last_step(logits)
    if kind is None and not _sum_to_one(logits):
        return
    raise ModelError(
        f"{name} answers with probabilities{f' (its last step is a {kind})' if kind else ''}; "
        "expected logits, of which probabilities are made here.",
        "Leave out the last softmax or sigmoid, or undo it: return p.log() of a softmax, p.logit() of a "
        "sigmoid.",
    )


def _sum_to_one(logits: Tensor) -> bool:
    """As probabilities do and logits do not, told by more digits than half precision has."""
    if logits.shape[1] < 2 or logits.dtype not in (torch.float32, torch.float64):
        return False
    slack = 8 * torch.finfo(logits.dtype).eps
    return all(abs(sum(row) - 1) <= slack for row in logits.tolist())


def _last_step(logits: Tensor) -> str | None:
    """The sigmoid or softmax after which, as the graph says, nothing else was computed."""
    node: Any = logits.grad_fn
    while node is not None:
        kind = node.name().partition("Backward")[0]
        if kind in _SQUASH:
            return _SQUASH[kind]
        if kind not in _REARRANGE:
            return None
        node = node.next_functions[0][0]
    return None


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
