"""What a caller asks for, read before anything is computed: targets, boxes, faces, the types of arguments."""

from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from xai.attr import PatchAttribution
from xai.core import Margin, ProblemType, UsageError, class_index, nearest
from xai.core.classes import check_index
from xai.core.options import check_type
from xai.core.target import own_target
from xai.data import read_boxes
from xai.explanation.faces import EVERY, FaceFinder
from xai.explanation.inputs import BoxOf
from xai.models import Classifier

Wanted = str | int | Margin | Sequence[str | int | Margin] | None
_REST = "rest"
"""What a margin is over where it names no class."""
_TYPES: dict[str, Any] = {
    "batch_size": int,
    "boxes": str | PathLike | None,
    "every": str | float | None,
    "failures": MutableSequence | None,
    "folders": bool | None,
    "frames": int | None,
    "out": str | PathLike | None,
    "part_removal": bool | None,
    "seed": int,
    "whole_image": bool,
}


def check_arguments(**arguments: object) -> None:
    """Refuse arguments of another type than the calls that have them take.

    Raises:
        UsageError: Naming the first, what was given and what it takes; or batches of less than one image.
    """
    for name, value in arguments.items():
        check_type(name, value, _TYPES[name])
        if name == "batch_size" and isinstance(value, int) and value < 1:
            raise UsageError(f"batch_size={value} must be 1 or more.")


def check_method(method: object) -> str | type[PatchAttribution]:
    """The method, where it is the name of one or a class of one.

    Raises:
        UsageError: Naming what was given.
    """
    if not (isinstance(method, str) or (isinstance(method, type) and issubclass(method, PatchAttribution))):
        raise UsageError(
            f"{method!r:.80} is no method.",
            "It takes one name (xai.list_methods()) or one subclass of xai.attr.PatchAttribution.",
        )
    return method


def check_methods(methods: object) -> None:
    """Refuse what is no list of methods to compare, nor a mapping of each to its options.

    Raises:
        UsageError: Naming what was given.
    """
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise UsageError(
            f"methods={methods!r:.80} is not understood.",
            'It takes a list of names, methods=["saliency"], or a mapping of names to options.',
        )
    for name, options in methods.items() if isinstance(methods, Mapping) else ():
        if not isinstance(options, Mapping):
            raise UsageError(
                f"The options of {name} are {options!r:.80}.",
                f'It takes a mapping of names to values, {{}} for none: methods={{"{name}": {{}}}}.',
            )


def boxes_for(
    box: tuple[float, float, float, float] | None = None, boxes: str | Path | None = None
) -> BoxOf | None:
    """The box of each image, by its path: one for all, from a CSV file, or None.

    Raises:
        UsageError: The box is no four numbers.
        ConfigError: The file cannot be read.
    """
    if boxes is not None:
        return read_boxes(boxes)
    if box is None:
        return None
    given = _box_given(box)
    return lambda path: given


def _box_given(box: object) -> tuple[float, float, float, float]:
    """The box that a caller gave, any four numbers in a row.

    Raises:
        UsageError: It is something else.
    """
    sides: list[Any] = list(box) if isinstance(box, Iterable) and not isinstance(box, str) else []
    if len(sides) != 4 or any(isinstance(side, bool) or not isinstance(side, Real) for side in sides):
        raise UsageError(
            f"box={box!r:.80} is not understood.", "It takes four numbers, (x, y, width, height), in pixels."
        )
    return sides[0], sides[1], sides[2], sides[3]


def face_finder(
    classifier: Classifier,
    face: str | int | None = None,
    *,
    whole_image: bool = False,
    box_of: BoxOf | None = None,
) -> FaceFinder | None:
    """What cuts out faces, if it is to be done.

    Args:
        classifier: Where its YAML says `faces: aligned`, faces are looked for without being asked.
        face: Which are explained: "all", "largest", a number; None: all, if any are looked for.
        whole_image: Look for none.
        box_of: Says where to look, so none are looked for.

    Raises:
        UsageError: Two of these contradict each other.
        ModelError: The weights of the face finder are not here.
    """
    if face is not None and whole_image:
        raise UsageError(
            "--face, and --whole-image or --faces never, contradict each other.", "Give one of them."
        )
    if face is not None and box_of is not None:
        raise UsageError(
            "--face or --faces always, and a box, both say what to cut out.", "Give one of them."
        )
    if whole_image or box_of is not None or (face is None and classifier.faces is None):
        return None
    return FaceFinder(EVERY if face is None else face)


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
            UsageError: No class, one that the model does not have, or a contrast whose name another target
                has too.
        """
        if wanted is None:
            every = range(len(labels)) if len(labels) <= 2 else ()
            return cls(labels, tuple((labels[index], index) for index in every))
        given: Any = [wanted] if _is_one(wanted) else wanted
        several = list(given)
        if not several:
            raise UsageError(
                f"target={wanted!r} names no class.", "Leave it out for those that are explained by default."
            )
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
