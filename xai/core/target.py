"""What is explained, and what the logits of a classification head mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from xai.core.errors import ModelError, UsageError, nearest

if TYPE_CHECKING:
    from torch import Tensor

Target = Any
"""What is explained of a batch: any of Captum's forms, or a `Margin`, or one of them for each example.

None (the only output), int, tuple of indices; list, NumPy array or tensor of one for each example; `Margin`.
"""
REGRESSION = "regression"
GENUINE = ("real", "pristine", "genuine", "authentic", "original", "untouched", "live", "bonafide", "natural")
"""Labels and kinds of images that nobody tampered with; they stand last."""


def fakes_first(names: Sequence[str | None]) -> list[str]:
    """Each name once, in order, genuine ones last."""
    known = list(dict.fromkeys(name for name in names if name is not None))
    return sorted(known, key=lambda name: name.casefold() in GENUINE)


def class_index(value: Any) -> int | None:
    """The class index that an integer of Python, NumPy or torch means; None if it is none.

    NumPy's integers and arrays and tensors of no dimension count; truth values do not.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return value if is_index(value) else None


def is_index(value: Any) -> bool:
    """Whether a value is one of Python's integers and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_index(index: int, classes: int) -> None:
    """Refuse a class that the model does not have; −1 is not the last one.

    Raises:
        UsageError: With the range that is valid.
    """
    if not 0 <= index < classes:
        raise UsageError(
            f"Class index {index} is out of range.", f"The model has {classes} classes: 0 … {classes - 1}."
        )


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


class ProblemType(StrEnum):
    """What a head's logits mean, in the words of transformers' configurations.

    `SINGLE_LABEL`: exactly one class is true; probabilities are the softmax of the logits. A head with one
    logit z, a sigmoid, is of this kind: two classes with logits (−z/2, +z/2).
    `MULTI_LABEL`: each label is true or not by itself; its probability is the sigmoid of its own logit.
    """

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"

    @property
    def independent(self) -> bool:
        """Whether a label's logit alone says how probable it is."""
        return self is ProblemType.MULTI_LABEL

    def stands_alone(self, logits: "np.ndarray | Tensor") -> bool:
        """Whether each logit of (S, C) says by itself how probable its class is."""
        return self.independent or logits.ndim < 2 or logits.shape[1] == 1

    @overload
    def probabilities(self, logits: "Tensor") -> "Tensor": ...
    @overload
    def probabilities(self, logits: np.ndarray) -> np.ndarray: ...
    def probabilities(self, logits: Any) -> Any:
        """The softmax of logits (..., classes), or the sigmoid of each that stands alone.

        NumPy's logits give float64, torch's (S, classes) their own type, in their graph.
        """
        if not isinstance(logits, np.ndarray):
            return logits.sigmoid() if self.stands_alone(logits) else logits.softmax(1)
        exact = np.asarray(logits, np.float64)
        if self.independent:
            return (1 + np.tanh(exact / 2)) / 2  # the sigmoid, which overflows nowhere
        shares = np.exp(exact - exact.max(axis=-1, keepdims=True))
        return shares / shares.sum(axis=-1, keepdims=True)

    def margin(self, target: int) -> "int | Margin":
        """The target whose score says how far the model holds to a class.

        Among exclusive classes its logit against the largest other one; an independent label's log-odds are
        its logit.
        """
        return target if self.independent else Margin(target)

    def own_target(self, target: Target) -> Target:
        """The target itself, or the class of a margin over all others where that class stands by itself."""
        over_the_rest = isinstance(target, Margin) and target.negative is None
        return target.positive if over_the_rest and self.independent else target

    @classmethod
    def parse(cls, value: Any, name: str) -> "ProblemType | None":
        """Read a problem type as configurations write it; None where nothing is said.

        Args:
            value: None or a string.
            name: Of the model, for messages.

        Raises:
            ModelError: A regression head, whose answer is no logit.
            UsageError: No problem type.
        """
        if value is None:
            return None
        if value == REGRESSION:
            raise ModelError(
                f"{name} is a regression head (problem_type: regression): it answers with a number, "
                "which is no class and has no probability.",
                "If its one output is in fact a logit (transformers writes regression by itself where "
                "num_labels is 1), say so: problem_type single_label_classification, as --problem-type, "
                "as argument of xai.load, or in the YAML; or take problem_type out of its config.json.",
            )
        if value not in set(cls):
            raise UsageError(
                f"Unknown problem_type {value!r}.", nearest(str(value), [*map(str, cls), REGRESSION])
            )
        return cls(value)


def problem_type_of(model: Any) -> ProblemType:
    """What the logits of a classifier, or of any torch module, mean; exclusive classes where nothing says it.

    Raises:
        ModelError: A regression head, or parts that contradict each other.
    """
    for part in model.modules() if hasattr(model, "modules") else (model,):
        known = getattr(part, "problem_type", None)
        if isinstance(known, ProblemType):
            return known
    return find_problem_type(model, type(model).__name__) or ProblemType.SINGLE_LABEL


def find_problem_type(
    module: Any, name: str, classes: int | None = None, given: str | None = None
) -> ProblemType | None:
    """What a caller or a module's transformers configuration says of its head; None where neither does.

    Args:
        module: A torch module. Its own configuration counts, that of what it merely wraps (DataParallel,
            PEFT, torch.compile), and that of every image classifier inside with `classes` labels. That of a
            tower does not: its head was taken off.
        name: Of the model, for messages.
        classes: Number of labels, if known.
        given: What the caller says.

    Raises:
        ModelError: A regression head, or parts that contradict each other.
        UsageError: The caller contradicts the configuration, or names no problem type.
    """
    wanted = ProblemType.parse(given, name)
    stated = list(dict.fromkeys(_stated(module, classes)))
    if wanted is not None and stated == [(REGRESSION, 1)]:
        return wanted  # written by transformers for any head of one output that was trained with labels
    found = {_read(kind, logits, name) for kind, logits in stated}
    if len(found) > 1:
        raise ModelError(
            f"{name} holds classifiers of several kinds: {', '.join(sorted(found))}.",
            "Give config.problem_type of each the kind of the model as a whole.",
        )
    known = next(iter(found), None)
    if wanted is not None and known not in (None, wanted):
        raise UsageError(
            f"problem_type={wanted} contradicts the configuration of {name}, which says {known}.",
            "Leave it out; or, if the configuration is wrong, correct problem_type there.",
        )
    return wanted or known


def _read(kind: str, logits: int | None, name: str) -> ProblemType:
    found = ProblemType.parse(kind, name)
    # one label, true or not: the same probability as of two exclusive classes
    return ProblemType.SINGLE_LABEL if found is None or logits == 1 else found


def _stated(module: Any, classes: int | None) -> Iterator[tuple[str, int | None]]:
    """(problem type, number of logits) of every configuration that counts."""
    whole = module
    while whole is not None:
        if own := _of_config(whole):
            yield own
            return
        inside = list(whole.children()) if hasattr(whole, "children") else []
        whole = inside[0] if len(inside) == 1 else None
    for part in module.modules() if hasattr(module, "modules") else ():
        own = _of_config(part)
        if own and "ForImageClassification" in type(part).__name__ and _fits(own[1], classes):
            yield own


def _of_config(module: Any) -> tuple[str, int | None] | None:
    config = getattr(module, "config", None)
    kind = config.get("problem_type") if isinstance(config, dict) else getattr(config, "problem_type", None)
    if kind is None:
        return None
    logits = getattr(config, "num_labels", None)
    return str(kind), logits if isinstance(logits, int) else None


def _fits(logits: int | None, classes: int | None) -> bool:
    return classes is None or logits is None or classes in (logits, max(logits, 2))
