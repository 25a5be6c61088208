"""Arguments of the library's calls against the types they take, before anything is loaded or computed."""

from collections.abc import Iterable, Mapping, MutableSequence
from numbers import Real
from os import PathLike
from typing import Any

from xai.attr import PatchAttribution
from xai.core import UsageError
from xai.core.options import check_type

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


def box_given(box: object) -> tuple[float, float, float, float]:
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
