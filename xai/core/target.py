"""What is explained or measured of a model: a target, and its score from the logits.

The score is a logit, a margin, log-odds; the formulas are here alone, but for softmax and sigmoid, which
`ProblemType.probabilities` has. Tensors are handled by their own methods, so nothing here imports torch, and
every result is in the graph of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from xai.core.classes import ProblemType, check_index, class_index, is_index, problem_type_of
from xai.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

Target = Any
"""What is explained of a batch: any of Captum's forms, or a `Margin`, or one of them for each example.

None (the only output), int, tuple of indices; list, NumPy array or tensor of one for each example; `Margin`.
"""
EXCLUSIVE = ProblemType.SINGLE_LABEL


@dataclass(frozen=True)
class Margin:
    """A contrastive target: logit of `positive` minus logit of `negative`.

    Args:
        positive: Class index.
        negative: Class index, or None for the largest of the other logits. With two classes both
            readings agree: `Margin(1)` is fake − real.

    Raises:
        UsageError: When one of them is no integer, or both are the same.
    """

    positive: int
    negative: int | None = None

    def __post_init__(self) -> None:
        for name in ("positive", "negative"):
            value = getattr(self, name)
            index = class_index(value)
            if index is None and not (name == "negative" and value is None):
                raise UsageError(f"{name}={value!r} is no class index.", "Give an integer.")
            object.__setattr__(self, name, index)
        if self.positive == self.negative:
            raise UsageError(
                f"The margin of class {self.positive} over itself is 0 for every image.",
                "Give two different classes.",
            )


ImageTarget = int | Margin | None
"""What is explained of one image."""


def plain_target(target: Target) -> Target:
    """A target in Python's own types: arrays and tensors become a list, or one index where they hold one.

    What is no class index stays as it is, to be refused by `score`.
    """
    if isinstance(target, list | tuple):
        return type(target)(plain_target(one) for one in target)
    if hasattr(target, "tolist"):
        return target.reshape(-1).tolist()[0] if prod(target.shape) == 1 else target.tolist()
    return target


def image_targets(target: Target, images: int) -> list[ImageTarget]:
    """The target of each image, from one for all, a sequence, an array or a tensor.

    Args:
        target: None, a class index, a `Margin`, or one of these for each image.
        images: How many.

    Raises:
        UsageError: When it is nothing of this.
    """
    target = plain_target(target)
    several = list(target) if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    each: list[Any] = several * (images if len(several) == 1 else 1)
    if len(each) != images or not all(map(_is_of_one_image, each)):
        raise UsageError(
            f"Target {target!r} does not fit {images} images.",
            "Give a class index, a Margin, or one of them per image.",
        )
    return each


def _is_of_one_image(target: Any) -> bool:
    return target is None or isinstance(target, Margin) or is_index(target)


def margin_of(target: int, problem_type: ProblemType) -> int | Margin:
    """The target whose score says how far the model holds to a class.

    Among exclusive classes its logit against the largest other one; an independent label's log-odds are
    its logit.
    """
    return target if problem_type.independent else Margin(target)


def own_target(target: Target, problem_type: ProblemType) -> Target:
    """The target itself, or the class of a margin over all others where that class stands by itself."""
    over_the_rest = isinstance(target, Margin) and target.negative is None
    return target.positive if over_the_rest and problem_type.independent else target


def read_target(target: Target, model: Any) -> Target:
    """A target in Python's own types, as the head of a model means it.

    The margin of an independent label over all others is its own logit.
    """
    target = plain_target(target)
    if isinstance(target, Margin):
        return own_target(target, problem_type_of(model))
    if isinstance(target, list) and any(isinstance(one, Margin) for one in target):
        return [own_target(one, problem_type_of(model)) for one in target]
    return target


def score(logits: Tensor, target: Target) -> Tensor:
    """Pick the explained output of each example: one logit, or the difference of two.

    Args:
        logits: (B, C); with a tuple as target (B, …), with None anything of one number an example.
        target: Any of Captum's forms, a `Margin`, or a list of class indices and margins.

    Returns:
        (B,) scores in the type of the logits.

    Raises:
        UsageError: When the target does not fit the logits, or these are no tensor.
    """
    if not hasattr(logits, "numel"):
        raise UsageError(
            f"The model returns {type(logits).__name__}, not a tensor of logits.",
            "Load it with xai.load(...), which unwraps it.",
        )
    if target is None:
        return _only_output(logits)
    target = plain_target(target)
    try:
        if isinstance(target, Margin):
            target = [target] * len(logits)
        if not isinstance(target, list):
            return _place(logits, target).reshape(len(logits))
        if len(target) != len(logits):
            raise ValueError(f"it has {len(target)} entries for {len(logits)} examples.")
        if target and all(isinstance(one, tuple) for one in target):
            return _places(logits, target).reshape(len(logits))
        return _classes(logits, target)
    except UsageError:
        raise
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"Target {target!r} does not fit logits of shape {tuple(logits.shape)}: {error}",
            "Valid: a class index, an index per example (list, integer array or tensor), tuples of indices, "
            "Margin.",
        ) from None


def log_odds(logits: Tensor, target: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """z_t − log Σ_{c≠t} exp z_c, or z_t where labels are independent: (S, C), (S,) → (S,).

    Its sigmoid is the probability; it does not saturate where that does. With two exclusive classes it is the
    logit margin.
    """
    if problem_type.independent:
        return logit(logits, target)
    if logits.shape[1] < 2:
        raise ModelError("The odds of a class need two classes or more; the model has one.")
    index = target[:, None]
    return (logits.gather(1, index) - _others(logits, index).logsumexp(1, keepdim=True))[:, 0]


def class_log_odds(logits: Tensor, problem_type: ProblemType = EXCLUSIVE) -> Tensor:
    """(S, C) → (S, C) log-odds of every class; see `log_odds`.

    A logit that stands alone (an independent label's, or a single one) is its own log-odds.
    """
    if problem_type.stands_alone(logits):
        return logits
    total = logits.logsumexp(1, keepdim=True)
    others = total + (-(logits - total).exp()).log1p()  # loses all digits for the largest class
    top = logits.argmax(1, keepdim=True)
    return logits - others.scatter(1, top, _others(logits, top).logsumexp(1, keepdim=True))


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
"""What a stream of perturbed states reads of its targets, by name."""


def _only_output(logits: Tensor) -> Tensor:
    if logits.numel() != logits.shape[0]:
        raise UsageError(
            f"No target was given, but the model answers {tuple(logits.shape[1:])} numbers an example.",
            "Pass target=<class index>.",
        )
    return logits.reshape(-1)


def _place(logits: Tensor, target: int | tuple[int, ...]) -> Tensor:
    """The logits at one index, or at a tuple of them, of every example."""
    place = target if isinstance(target, tuple) else (target,)
    _check_place(place, logits)
    return logits[(slice(None), *place)]


def _places(logits: Tensor, targets: Sequence[tuple[int, ...]]) -> Tensor:
    for place in targets:
        _check_place(place, logits)
    return logits[(list(range(len(targets))), *map(list, zip(*targets, strict=True)))]


def _classes(logits: Tensor, targets: Sequence[Any]) -> Tensor:
    """Logits and margins of one target for each example."""
    if logits.dim() != 2:
        raise ValueError("logits (examples, classes) are expected.")
    for target in targets:
        _check_classes(target, logits)
    first = _column(logits, [t.positive if isinstance(t, Margin) else t or 0 for t in targets])
    own = logits.gather(1, first)
    if not any(isinstance(t, Margin) for t in targets):
        return own[:, 0]
    second = _column(logits, [-1 if _over_the_rest(t) else getattr(t, "negative", 0) for t in targets])
    rival = logits.gather(1, second.clamp_min(0))
    if any(map(_over_the_rest, targets)):
        rival = _others(logits, first).amax(1, keepdim=True).where(second < 0, rival)
    contrast = _column(logits, [isinstance(t, Margin) for t in targets]).bool()
    return (own - rival).where(contrast, own)[:, 0]


def _check_place(place: tuple[int, ...], logits: Tensor) -> None:
    if len(place) > logits.dim() - 1:
        raise ValueError("it has more indices than the logits have dimensions.")
    for index, size in zip(place, logits.shape[1:], strict=False):
        _check_index(index, size)


def _check_classes(target: Any, logits: Tensor) -> None:
    classes = logits.shape[1]
    if target is None:
        _only_output(logits)
    elif not isinstance(target, Margin):
        _check_index(target, classes)
    elif classes < 2:
        raise UsageError(f"A margin needs two classes or more; the logits are {tuple(logits.shape)}.")
    else:
        _check_index(target.positive, classes)
        _check_index(target.positive if target.negative is None else target.negative, classes)


def _check_index(index: Any, classes: int) -> None:
    if isinstance(index, bool):
        raise UsageError(f"Target {index!r} is a truth value; a class index is expected.")
    if not is_index(index):
        raise TypeError(f"{index!r} is no class index.")
    check_index(index, classes)


def _over_the_rest(target: Any) -> bool:
    return isinstance(target, Margin) and target.negative is None


def _others(logits: Tensor, index: Tensor) -> Tensor:
    """Logits (S, C) with −∞ in the place of the index (S, 1)."""
    return logits.scatter(1, index, float("-inf"))


def _column(logits: Tensor, values: Sequence[int]) -> Tensor:
    """(S, 1) integers where the logits are."""
    return logits.detach().new_empty(0).long().new_tensor(values).reshape(-1, 1)
