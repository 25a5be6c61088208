"""Options against the types that their function declares, before anything is done with them."""

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from typing import Any

from xai.core.errors import UsageError, nearest

_LONGEST = 80  # characters of a value in a message
MOST = 1_000_000  # of anything that is counted: steps, samples, images at once
_WORDS = {
    bool: "true or false",
    int: "a whole number (of 64 bits)",
    float: "a finite number",
    str: "a word",
    types.NoneType: "nothing",
}


def checked(function: Callable[..., Any], what: str, unchecked: Collection[str] = ()) -> Callable[..., Any]:
    """The function, which refuses arguments that are not of the types it declares.

    Args:
        function: Its first argument is passed on as it is: `self`.
        what: Of whom they are options, for messages: "Method 'rise'".
        unchecked: Arguments that are no options; the function says itself what is wrong with them.

    Returns:
        The same with the same signature; raises UsageError.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        hints = typing.get_type_hints(function)
        given = signature.bind_partial(*args, **options)
        for name, value in list(given.arguments.items())[1:]:
            if name in hints and name not in unchecked:
                check_type(f"{what}: {name}", value, hints[name])
                given.arguments[name] = _plain(value)
        return function(*given.args, **given.kwargs)

    return run


def check_type(name: str, value: object, declared: Any) -> None:
    """Raise a UsageError unless the value is of the declared type; numbers must be finite."""
    if not _is(value, declared):
        text = repr(value)
        raise UsageError(
            f"{name}={text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'} is not understood.",
            f"It takes {' or '.join(dict.fromkeys(_words(declared)))}.",
        )


def check_option(option: str, value: object, valid: Collection[str | None]) -> None:
    """Raise a UsageError that names the nearest valid value."""
    if not (value is None or isinstance(value, str)) or value not in valid:
        raise UsageError(f"{option}={value!r} is unknown.", nearest(str(value), map(str, valid)))


def check_counts(**counts: int) -> None:
    """Raise a UsageError unless every count is at least 1, and no more than could ever be done."""
    counted = ", ".join(f"{name}={count}" for name, count in counts.items())
    if min(counts.values()) < 1:
        raise UsageError(f"{counted}: 1 or more is needed.")
    if max(counts.values()) > MOST:
        raise UsageError(f"{counted}: {MOST} is the most.")


def _is(value: Any, declared: Any) -> bool:
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, one) for one in inner)
    if declared in (int, float):
        return _is_number(value, declared)
    if origin is Sequence and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return all(_is(one, inner[0]) for one in value)
    if origin is Mapping and isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value)
    if declared is None or isinstance(declared, type):
        return isinstance(value, types.NoneType if declared is None else declared)
    # what is written in other ways is the function's own to check
    return origin not in (Sequence, Mapping)


def _is_number(value: Any, declared: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Integral if declared is int else Real):
        return False
    return -(2**63) <= int(value) < 2**63 if isinstance(value, Integral) else math.isfinite(value)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which every library takes."""
    if isinstance(value, Integral) and not isinstance(value, int):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, int | float):
        return float(value)
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _words(declared: Any) -> list[str]:
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return [words for one in inner for words in _words(one)]
    if origin is Sequence:
        return ["a list"]
    if origin is Mapping:
        return ["a mapping"]
    return [_WORDS.get(declared) or f"a {getattr(declared, '__name__', declared)}"]
