"""The names of classes, in the order of the logits: from a configuration, or as a caller gives them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xai.core.errors import UsageError
from xai.core.target import class_index


def class_names(config: Any) -> list[str] | None:
    """The names that a transformers configuration gives, in the order of the logits; None if it gives none.

    A single logit speaks for its class and against everything else, so it has two names. A name that several
    classes share, as ImageNet's two cranes do, is followed by the number of its class.
    """
    names = getattr(config, "id2label", None)
    if not names:
        return None
    try:
        # by number, which JSON has made strings of: "10" stands after "2"
        ordered = [names[one] for one in sorted(names, key=int)] if isinstance(names, Mapping) else names
    except (TypeError, ValueError):
        return None
    labels = [str(name) for name in ordered]
    if len(labels) == 1:
        return [f"not {labels[0]}", *labels]
    count = Counter(labels)
    return [label if count[label] == 1 else f"{label} ({i})" for i, label in enumerate(labels)]


def read_labels(labels: Any) -> tuple[str, ...]:
    """Class names in the order of the logits, as a caller gives them.

    Args:
        labels: A sequence of names; or a mapping between names and the numbers of the classes, in either
            direction, as `id2label` and `label2id` of a transformers configuration are.

    Raises:
        UsageError: It is one text, holds something else than names, or numbers are missing.
    """
    hint = 'Give one name per class, in the order of the logits: labels=["real", "fake"].'
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise UsageError(f"labels={labels!r} is no sequence of class names.", hint)
    names = list(labels)
    if isinstance(labels, Mapping):
        by_number = {class_index(key): name for key, name in labels.items()}
        if None in by_number:
            by_number = {class_index(number): name for name, number in labels.items()}
        if len(by_number) != len(names) or by_number.keys() != set(range(len(names))):
            raise UsageError(f"labels={labels!r} does not number the classes 0 … {len(names) - 1}.", hint)
        names = [by_number[number] for number in range(len(names))]
    if odd := [name for name in names if not isinstance(name, str)]:
        raise UsageError(f"The class name {odd[0]!r} is no text but {type(odd[0]).__name__}.", hint)
    return tuple(map(str, names))


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
