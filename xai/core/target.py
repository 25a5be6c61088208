"""What is explained, where a class index alone does not say it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Margin:
    """A contrastive target: logit of `positive` minus logit of `negative`.

    Args:
        positive: Class index.
        negative: Class index, or None for the largest of the other logits. With two classes both
            readings agree: `Margin(1)` is fake − real.
    """

    positive: int
    negative: int | None = None
