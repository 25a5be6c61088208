"""The classes of a head: their names and indices, and what its logits mean."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import StrEnum
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from xai.core.errors import ModelError, UsageError, nearest

if TYPE_CHECKING:
    from torch import Tensor

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
            direction, as `id2label` and `label2id` of a transformers configuration are, also as JSON writes
            them, with the numbers as text.

    Raises:
        UsageError: It is one text, holds something else than names, or numbers are missing.
    """
    hint = 'Give one name per class, in the order of the logits: labels=["real", "fake"].'
    if isinstance(labels, str | bytes | Set) or not isinstance(labels, Iterable):  # a set has no order
        raise UsageError(f"labels={labels!r} is no sequence of class names.", hint)
    names = list(labels)
    if isinstance(labels, Mapping):
        flipped = [(number, name) for name, number in labels.items()]
        readings = (
            {read(number): name for number, name in pairs}
            for read in (class_index, _number)
            for pairs in (labels.items(), flipped)
        )
        by_number = next((reading for reading in readings if None not in reading), {})
        if len(by_number) != len(names) or by_number.keys() != set(range(len(names))):
            raise UsageError(f"labels={labels!r} does not number the classes 0 … {len(names) - 1}.", hint)
        names = [by_number[number] for number in range(len(names))]
    if odd := [name for name in names if not isinstance(name, str)]:
        raise UsageError(f"The class name {odd[0]!r} is no text but {type(odd[0]).__name__}.", hint)
    return tuple(map(str, names))


def _number(value: Any) -> int | None:
    """A class index, also as JSON writes one where it is a key."""
    return int(value) if isinstance(value, str) and value.isdecimal() else class_index(value)


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
