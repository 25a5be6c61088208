"""What is read from the logits of a state, by what the classifier's head means.

The torch side of `xai.core.ProblemType`: the only formulas from logits to probabilities besides its own.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from xai.core import ModelError, ProblemType, UsageError

EXCLUSIVE = ProblemType.SINGLE_LABEL


def probabilities(logits: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """(S, C) → (S, C): softmax, or sigmoid where labels are independent or there is one logit."""
    return logits.sigmoid() if _each_alone(logits, problem_type) else logits.softmax(1)


def class_log_odds(logits: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """(S, C) → (S, C) log-odds of every class, whose sigmoid is the probability; see `log_odds`.

    A logit that stands alone (an independent label's, or a single one) is its own log-odds.
    """
    if _each_alone(logits, problem_type):
        return logits
    total = logits.logsumexp(1, keepdim=True)
    others = total + torch.log1p(-(logits - total).exp())  # loses all digits for the largest class
    top = logits.argmax(1, keepdim=True)
    exact = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    return logits - others.scatter(1, top, exact)


def log_odds(logits: Tensor, target: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """z_t − log Σ_{c≠t} exp z_c, or z_t where labels are independent: (S, C), (S,) → (S,).

    Its sigmoid is the probability; it does not saturate where that does. With two exclusive classes it is the
    logit margin.
    """
    if problem_type.independent:
        return logit(logits, target)
    if logits.shape[1] < 2:
        raise ModelError("The odds of a class need two classes or more; the model has one.")
    others = logits.scatter(1, target[:, None], -torch.inf).logsumexp(dim=1)
    return logit(logits, target) - others


def logit(logits: Tensor, target: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """z_t: (S, C), (S,) → (S,)."""
    return logits.gather(1, target[:, None])[:, 0]


def correct(logits: Tensor, target: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """1.0 where the target has the largest logit: (S, C), (S,) → (S,).

    Raises:
        UsageError: Independent labels, of which several can be true: there is no first choice.
    """
    if problem_type.independent:
        raise UsageError(
            "Accuracy asks for the first choice among exclusive classes; the labels are independent.",
            "Read the probability or the margin of the label instead.",
        )
    return (logits.argmax(dim=1) == target).float()


SCORES: Mapping[str, Callable[[Tensor, Tensor, ProblemType], Tensor]] = {
    "log_odds": log_odds,
    "logit": logit,
    "correct": correct,
}


def _each_alone(logits: Tensor, problem_type: ProblemType) -> bool:
    return problem_type.independent or logits.dim() < 2 or logits.shape[1] == 1
