"""The one number that is read from the logits of a state."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from xai.core import ModelError


def log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """z_t − log Σ_{c≠t} exp z_c: (S, C), (S,) → (S,); its sigmoid is the softmax probability.

    With two classes it is the logit margin. It does not saturate where the probability does.
    """
    if logits.shape[1] < 2:
        raise ModelError("The odds of a class need two classes or more; the model has one.")
    others = logits.scatter(1, target[:, None], -torch.inf).logsumexp(dim=1)
    return logit(logits, target) - others


def logit(logits: Tensor, target: Tensor) -> Tensor:
    """z_t: (S, C), (S,) → (S,)."""
    return logits.gather(1, target[:, None])[:, 0]


def correct(logits: Tensor, target: Tensor) -> Tensor:
    """1.0 where the target has the largest logit: (S, C), (S,) → (S,)."""
    return (logits.argmax(dim=1) == target).float()


SCORES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "log_odds": log_odds,
    "logit": logit,
    "correct": correct,
}
