"""What a person asks to have explained: class names, indices, contrasts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xai.core import Margin, ProblemType, UsageError, class_index, nearest
from xai.core.classes import check_index
from xai.core.target import own_target

Wanted = str | int | Margin | Sequence[str | int | Margin] | None
_REST = "rest"
"""What a margin is over where it names no class."""


@dataclass(frozen=True)
class Targets:
    """What to explain of every image.

    Args:
        labels: All class names, in the order of the logits.
        chosen: (name, class index or Margin) per map; empty means the top two classes of each image.
    """

    labels: tuple[str, ...]
    chosen: tuple[tuple[str, int | Margin], ...]

    @classmethod
    def parse(
        cls,
        wanted: Wanted,
        labels: tuple[str, ...],
        problem_type: ProblemType = ProblemType.SINGLE_LABEL,
    ) -> "Targets":
        """Read class names, indices, `fake-real` (the logit of fake minus that of real) or a `Margin`.

        Indices may be NumPy's or torch's, one or an array of several. None means both classes of a two-class
        model, else the top two of each image. The margin of an independent label over the rest is its logit.

        Raises:
            UsageError: A class that the model does not have, or a contrast whose name another target has too.
        """
        if wanted is None:
            every = range(len(labels)) if len(labels) <= 2 else ()
            return cls(labels, tuple((labels[index], index) for index in every))
        several: Any = [wanted] if _is_one(wanted) else wanted
        chosen: dict[str, int | Margin] = {}
        for each in several:
            name, target = _parse(each, labels, problem_type)
            if (name in labels and isinstance(target, Margin)) or chosen.setdefault(name, target) != target:
                raise UsageError(
                    f"The contrast {name} has the name of another target.",
                    "Explain it alone, or give the classes other names: labels=[...].",
                )
        return cls(labels, tuple(chosen.items()))

    def target_of(self, name: str) -> int | Margin:
        """The target behind the name of a map."""
        chosen = dict(self.chosen)
        return chosen[name] if name in chosen else self.labels.index(name)

    def resolve(self, logits: Tensor) -> tuple[list[list[str]], list[Any]]:
        """Names of the maps per image, and the targets in the form that methods take.

        Args:
            logits: (B, C).

        Returns:
            B lists of T names, and T targets: class index, `Margin`, or a (B,) tensor of class indices.
        """
        if self.chosen:
            names, targets = zip(*self.chosen, strict=True)
            return [list(names)] * len(logits), list(targets)
        ranked = logits.topk(2, dim=1).indices
        return [[self.labels[index] for index in row] for row in ranked.tolist()], list(ranked.T)


def _is_one(wanted: Any) -> bool:
    """Whether it is one class, and not several; an array of no dimension is one."""
    return (
        isinstance(wanted, str | Margin)
        or getattr(wanted, "ndim", None) == 0
        or not isinstance(wanted, Iterable)
    )


def _parse(wanted: Any, labels: tuple[str, ...], problem_type: ProblemType) -> tuple[str, int | Margin]:
    wanted = own_target(wanted, problem_type)
    if isinstance(wanted, Margin):
        positive = labels[_index(wanted.positive, labels)]
        if wanted.negative is None and _REST in labels and len(labels) > 2:
            raise UsageError(
                f"A class is called {_REST}, as a margin over all other classes is.",
                "Say the class to compare with, or give the classes other names: labels=[...].",
            )
        negative = _REST if wanted.negative is None else labels[_index(wanted.negative, labels)]
        return f"{positive}-{negative}", wanted
    if isinstance(wanted, str) and wanted not in labels:
        found = [pair for pair in _splits(wanted) if pair[0] in labels and pair[1] in labels]
        if len(found) > 1:
            readings = " and ".join(f"{positive!r} less {negative!r}" for positive, negative in found)
            raise UsageError(
                f"The contrast {wanted} can be read as {readings}.",
                "In Python give a Margin of class indices; or give the classes other names.",
            )
        if found:
            positive, negative = found[0]
            return wanted, Margin(labels.index(positive), labels.index(negative))
    index = _index(wanted, labels)
    return labels[index], index


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Every reading of `a-b`, since class names may hold a minus themselves."""
    for place, sign in enumerate(text):
        if sign == "-":
            yield text[:place], text[place + 1 :]


def _index(wanted: Any, labels: Sequence[str]) -> int:
    if isinstance(wanted, str) and wanted in labels:
        return labels.index(wanted)
    index = int(wanted) if isinstance(wanted, str) and wanted.isdecimal() else class_index(wanted)
    if index is not None:
        check_index(index, len(labels))
        return index
    if not isinstance(wanted, str):
        raise UsageError(
            f"Target {wanted!r} is no class.", "Give a class name, its index, a contrast or a Margin."
        )
    candidates = (
        labels if len(labels) <= 20 else [name for name in labels if wanted.lower() in name.lower()][:20]
    )
    hint = nearest(wanted, candidates or labels[:20])
    raise UsageError(f"Unknown class {wanted!r}.", f"{hint} Or a contrast such as {labels[-1]}-{labels[0]}.")
