"""From logits to the one number per example that is explained."""

from typing import Any

import torch
from captum._utils.common import _select_targets
from torch import Tensor

from xai.attr.shapes import Scores
from xai.core import Margin, UsageError

Target = Any  # None | int | Tensor | list[int] | tuple[int, ...] | list[tuple[int, ...]] | Margin


def select_target(logits: Tensor, target: Target) -> Scores:
    """Pick the explained output of each example.

    Args:
        logits: (B, C), or (B,) with target None.
        target: Any of Captum's forms, or a `Margin`.

    Returns:
        (B,) scores, in the graph of the logits.

    Raises:
        UsageError: When the target does not fit the logits.
    """
    if isinstance(target, Margin):
        return _margin(logits, target)
    if target is None:
        if logits.numel() != logits.shape[0]:
            raise UsageError(
                f"No target was given, but the model answers {tuple(logits.shape[1:])} numbers an example.",
                "Pass target=<class index>.",
            )
        return logits.reshape(-1)
    _check_range(logits, target)
    if isinstance(target, Tensor) and target.is_inference():
        target = target.clone()
    try:
        return _select_targets(logits, target).reshape(len(logits))
    except (AssertionError, IndexError, RuntimeError) as error:
        raise UsageError(
            f"Target {target!r} does not fit logits of shape {tuple(logits.shape)}: {error}",
            "Valid: a class index, an index per example (list or integer tensor), tuples of indices, Margin.",
        ) from None


def _check_range(logits: Tensor, target: Target) -> None:
    """Refuse what Captum lets pass silently: True as a class, −1 as the last class."""
    flat = target.reshape(-1).tolist() if isinstance(target, Tensor) else target
    flat = flat if isinstance(flat, list | tuple) else [flat]
    for index in flat:
        if isinstance(index, bool):
            raise UsageError(f"Target {target!r} is a truth value; a class index is expected.")
        if isinstance(index, int) and logits.dim() == 2 and not 0 <= index < logits.shape[1]:
            raise UsageError(
                f"Class index {index} is out of range.",
                f"The model has {logits.shape[1]} classes: 0 … {logits.shape[1] - 1}.",
            )


def _margin(logits: Tensor, target: Margin) -> Scores:
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise UsageError(f"A margin needs two classes or more; the logits are {tuple(logits.shape)}.")
    _check_range(logits, target.positive)
    positive = logits[:, target.positive]
    if target.negative is not None:
        _check_range(logits, target.negative)
        return positive - logits[:, target.negative]
    others = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
    others[target.positive] = False
    return positive - logits[:, others].amax(dim=1)
