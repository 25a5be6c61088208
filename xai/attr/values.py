"""The number that a method without gradients reads from the logits."""

from typing import Any

from torch import Tensor, nn

from xai.attr.variants import accurate
from xai.core import problem_type_of
from xai.perturb.scores import EXCLUSIVE, class_log_odds, probabilities

VALUES = ("probability", "log_odds", "logit")


def class_values(logits: Any, value: str, model: nn.Module | None = None) -> Any:
    """Probability, log-odds or logit of every class; what is no tensor passes, as `scores` refuses it.

    The model says whether its classes exclude each other (softmax, also without a model) or are independent
    labels (sigmoid). A single logit is that of a yes: its probability is the logistic function of it, its
    log-odds itself.
    """
    if value == "logit" or not isinstance(logits, Tensor):
        return logits
    read = probabilities if value == "probability" else class_log_odds
    return read(accurate(logits), EXCLUSIVE if model is None else problem_type_of(model))
