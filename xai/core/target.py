"""What is explained: a class of each example, or a contrast of two."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from xai.core.errors import UsageError

Target = Any
"""What is explained of a batch: any of Captum's forms, or a `Margin`, or one of them for each example.

None (the only output), int, tuple of indices; list, NumPy array or tensor of one for each example; `Margin`.
"""


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
        UsageError: When one of them is no integer.
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
