"""Class names: read from a configuration, counted against the logits."""

from collections.abc import Sequence
from typing import Any

from xai.core import UsageError


def class_names(config: Any) -> list[str] | None:
    """The names that a transformers configuration gives, in the order of the logits; None if it gives none.

    A single logit speaks for its class and against everything else, so it has two names.
    """
    names = getattr(config, "id2label", None)
    if not names:
        return None
    labels = [str(names[index]) for index in sorted(names)]
    return [f"not {labels[0]}", *labels] if len(labels) == 1 else labels


def check_labels(labels: Sequence[str], logits: int, name: str) -> None:
    """Refuse labels that do not fit the number of logits; one logit makes two classes.

    Raises:
        UsageError: When they differ in number.
    """
    classes = max(logits, 2)
    if len(labels) != classes:
        raise UsageError(
            f"{name} has {classes} classes but {len(labels)} labels were given: {', '.join(labels)}.",
            "Give one label per class, in the order of the logits.",
        )
