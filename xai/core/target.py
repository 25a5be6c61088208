"""What is explained, where a class index alone does not say it."""

from dataclasses import dataclass
from typing import Any

from xai.core.errors import UsageError


def class_index(value: Any) -> int | None:
    """The class index that an integer of Python, NumPy or torch means; None if it is none.

    NumPy's integers and arrays and tensors of no dimension count; truth values do not.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, int) and not isinstance(value, bool) else None


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
