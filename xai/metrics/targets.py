"""One target per image: a class index, a margin, or nothing for models with one output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xai.core import Margin, UsageError, class_index, problem_type_of

One = int | Margin | None


def per_image(target: Any, images: int) -> list[One]:
    """Targets of every image from one for all, a sequence, or a tensor.

    Args:
        target: None, a class index, a `Margin`, or a sequence, integer array or tensor of one per image.
        images: How many.

    Raises:
        UsageError: When it is nothing of this.
    """
    if isinstance(target, Tensor | np.ndarray):
        target = target.tolist()
    several = list(target) if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    each: list[Any] = [_plain(one) for one in several] * (images if len(several) == 1 else 1)
    if len(each) != images or not all(_is_target(t) for t in each):
        raise UsageError(
            f"Target {target!r} does not fit {images} images.",
            "Give a class index, a Margin, or one of them per image.",
        )
    return each


def own_margins(targets: Sequence[One], classifier: nn.Module) -> list[One]:
    """Targets of a classifier: the margin of an independent label is its own logit."""
    if not problem_type_of(classifier).independent:
        return list(targets)
    return [t.positive if isinstance(t, Margin) and t.negative is None else t for t in targets]


def read_scores(logits: Tensor, targets: Sequence[One]) -> Tensor:
    """(S,) float64 score of every row of logits (S, C) under its own target.

    Raises:
        UsageError: When a class does not exist, or none is named where there are several.
    """
    if logits.dim() != 2 or len(logits) != len(targets):
        raise UsageError(
            f"Logits (S, classes) are expected for {len(targets)} inputs; got {tuple(logits.shape)}."
        )
    values, classes = logits.detach().double(), logits.shape[1]
    for index in {i for target in targets for i in _classes(target)}:
        if not 0 <= index < classes:
            raise UsageError(f"Class index {index} is out of range.", f"Valid: 0 … {classes - 1}.")
    if classes > 1 and None in targets:
        raise UsageError(
            f"No target was given, but the model has {classes} classes.", "Pass target=<class index>."
        )
    if classes < 2 and any(isinstance(t, Margin) for t in targets):
        raise UsageError("A margin needs two classes or more; the model has one.")
    first = torch.tensor([next(iter(_classes(t)), 0) for t in targets], device=logits.device)[:, None]
    positive = values.gather(1, first)
    rival = values.scatter(1, first, -torch.inf).amax(1, keepdim=True)
    named = [t.negative if isinstance(t, Margin) and t.negative is not None else -1 for t in targets]
    second = torch.tensor(named, device=logits.device)[:, None]
    negative = torch.where(second < 0, rival, values.gather(1, second.clamp_min(0)))
    contrast = torch.tensor([isinstance(t, Margin) for t in targets], device=logits.device)[:, None]
    return torch.where(contrast, positive - negative, positive)[:, 0]


def _classes(target: One) -> tuple[int, ...]:
    if isinstance(target, Margin):
        return (target.positive,) if target.negative is None else (target.positive, target.negative)
    return () if target is None else (target,)


def _plain(target: Any) -> Any:
    """NumPy's integers as Python's."""
    index = class_index(target)
    return target if index is None else index


def _is_target(target: Any) -> bool:
    return (
        target is None
        or isinstance(target, Margin)
        or (isinstance(target, int) and not isinstance(target, bool))
    )
