"""From logits to the one number per example that is explained."""

from typing import Any

import numpy as np
import torch
from captum._utils.common import _select_targets
from jaxtyping import Float
from torch import Tensor, nn

from xai.core import Margin, UsageError, class_index, problem_type_of

Scores = Float[Tensor, "b"]
# None | int | Tensor | list[int] | tuple[int, ...] | list[tuple[int, ...]] | Margin, and NumPy's of the kind
Target = Any


def normalise_target(target: Target, model: nn.Module) -> Target:
    """A target as the methods handle it.

    NumPy's integers and integer arrays become Python's and torch's. The margin of an independent label over
    all others is its own logit.
    """
    if isinstance(target, Margin):
        independent = target.negative is None and problem_type_of(model).independent
        return target.positive if independent else target
    return plain_target(target)


def plain_target(target: Target) -> Target:
    """NumPy's integers and integer arrays as Python's and torch's; anything else as it is."""
    if isinstance(target, np.ndarray) and target.ndim and target.dtype.kind in "iu":
        return torch.from_numpy(target.astype(np.int64))
    if isinstance(target, list):
        return [plain_target(one) for one in target]
    if isinstance(target, tuple):
        return tuple(plain_target(one) for one in target)
    if isinstance(target, Tensor) and target.dim():
        return target.long() if _is_integer(target) else target
    index = class_index(target)
    return target if index is None else index


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
    target = plain_target(target)
    _check_range(logits, target)
    if isinstance(target, Tensor) and target.is_inference():
        target = target.clone()
    try:
        return _select_targets(logits, target).reshape(len(logits))
    except (AssertionError, IndexError, RuntimeError) as error:
        raise UsageError(
            f"Target {target!r} does not fit logits of shape {tuple(logits.shape)}: {error}",
            "Valid: a class index, an index per example (list, integer array or tensor), tuples of indices, "
            "Margin.",
        ) from None


def _check_range(logits: Tensor, target: Target) -> None:
    """Refuse what Captum lets pass silently: True as a class, −1 as the last class."""
    flat = target.reshape(-1).tolist() if isinstance(target, Tensor | np.ndarray) else target
    flat = flat if isinstance(flat, list | tuple) else [flat]
    for index in flat:
        if isinstance(index, bool | np.bool_):
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


def _is_integer(target: Tensor) -> bool:
    return not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
