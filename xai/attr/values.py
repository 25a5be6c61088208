"""The number that a method without gradients reads from the logits."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attr.variants import accurate

VALUES = ("probability", "log_odds", "logit")


def class_values(logits: Any, value: str) -> Any:
    """Probability, log-odds or logit of every class; what is no tensor passes, as `scores` refuses it.

    A single logit is that of a yes: its probability is the logistic function of it, its log-odds itself.
    """
    if value == "logit" or not isinstance(logits, Tensor):
        return logits
    logits = accurate(logits)
    single = logits.dim() < 2 or logits.shape[1] == 1
    if value == "probability":
        return logits.sigmoid() if single else logits.softmax(1)
    return logits if single else log_odds(logits)


def log_odds(logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """`z_c − log Σ_{k≠c} exp z_k`: rises with the probability, but does not saturate where that is near 1."""
    total = logits.logsumexp(1, keepdim=True)
    others = total + torch.log1p(-(logits - total).exp())  # loses all digits for the largest class
    top = logits.argmax(1, keepdim=True)
    exact = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    return logits - others.scatter(1, top, exact)
