"""Paths as they were written down: on another system, with a home folder, around in a circle."""

import os
import stat
from pathlib import Path

from xai.core import DataError, printable
from xai.core.files import expanded

KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_A_FOLDER = "is a folder"
MOST_SHOWN = 160  # characters of a path in a message


def resolved(path: Path) -> Path:
    """The absolute path without symbolic links, as far as they lead anywhere; never an error."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # a NUL byte is in no path
        return Path(os.path.normpath(path.absolute()))


def path_from_table(folder: Path, text: str) -> Path:
    """A path from a table, relative to its folder; slashes for backslashes where only they lead to a file."""
    plain = folder / expanded(text)
    if "\\" in text and not _is_there(plain):
        turned = folder / expanded(text.replace("\\", "/"))
        if _is_there(turned):
            return turned
    return plain


def short_path(path: object) -> str:
    """A path on one line of a message, its middle left out where it is very long."""
    text = printable(path)
    return text if len(text) <= MOST_SHOWN else f"{text[:100]}…{text[-50:]}"


def fault_of(path: Path) -> str | None:
    """Why a path leads to no file that could be read, in words; None where it does.

    Only looks at it: a pipe or a device is never opened, since reading it may never end.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - says why, which Path.is_file does not
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError:
        return "a path cannot hold a NUL byte" if "\0" in str(path) else "a path that no system knows"
    if stat.S_ISREG(mode):
        return None
    return next((f"is {words}, not a file" for test, words in KINDS_OF_FILE if test(mode)), "not a file")


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; never an error."""
    return (fault_of(path) or "").startswith(_A_FOLDER)


def check_file(path: Path) -> None:
    """Raise a DataError unless the path leads to a file."""
    if (fault := fault_of(path)) is not None:
        raise DataError(f"{short_path(path)}: {fault}.")


def _is_there(path: Path) -> bool:
    return fault_of(path) is None
