"""Errors that teach: what was given, what was expected, what to do; and text that can be written anywhere."""

from collections.abc import Iterable
from difflib import get_close_matches


class XaiError(Exception):
    """An error that is the caller's to mend, shown as one message without a traceback.

    Args:
        message: What was given and what was expected.
        hint: What to do about it, one sentence.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message if hint is None else f"{message}\n  {hint}")
        self.message = message
        self.hint = hint


class UsageError(XaiError, ValueError):
    """A wrong option, name, target or value."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file that cannot be read or holds a wrong key or value."""


class ModelError(XaiError):
    """A model or its weights are missing, do not fit, or cannot be explained."""

    exit_code = 3


class DataError(XaiError):
    """An image or another input is missing or broken."""

    exit_code = 3


class OutputError(DataError):
    """Results cannot be written; a run ends here, since whatever follows would fail alike."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid name was probably meant, then list the valid ones."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return f"{meant}Valid: {', '.join(names)}."


def valid_text(text: str) -> str:
    """The text with bytes of file names that are no UTF-8 as escapes; as bytes it is valid UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 500 characters; its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__


def printable(text: object) -> str:
    """The text on one line, for messages: control and other invisible characters as escapes."""
    valid = valid_text(str(text))
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in valid)
