"""Files that are either complete or not there, whoever is killed; and one writer of a folder at a time."""

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from time import sleep
from typing import IO, Any

from xai.core import DataError, printable
from xai.core.errors import OutputError, UsageError, valid_text

TEMPORARY = ".xai-writing-"
"""Beginning of the names of files that are being written; 16 hex digits follow."""

RESULTS = Path("attention_results")
"""Where results go, in the current folder, unless another one is named."""

_OURS = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{16}")
_PATIENCE = 0.5  # seconds: who only asks whether a folder is locked holds the lock for an instant
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[IO[bytes]]:
    """A binary file beside `path` that takes its place when the block succeeds and vanishes when it fails.

    Missing folders are made. The first file written to a folder by a process also clears away what killed
    processes left there, see `clear_leftovers`.

    Args:
        path: Of the file.
        durable: Whether it shall survive a power cut.

    Raises:
        OutputError: The disk objects; what stood at `path` is as it was.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_once(path.parent)
        with _temporary(path) as (file, temporary):
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            file.close()
            temporary.replace(path)
        if durable:
            _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a file as a whole, or not at all; see `replacing`."""
    with replacing(path, durable) as file:
        file.write(content)


def json_text(content: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Indented JSON that any reader takes: lone surrogates, which UTF-8 cannot hold, are replaced.

    Args:
        content: To write.
        default: Makes JSON of what is none; None: such objects are an error.
    """
    return valid_text(json.dumps(content, indent=2, ensure_ascii=False, default=default) + "\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON (UTF-8, indented) as a whole."""
    write_bytes(path, json_text(content).encode())


@contextmanager
def disk_errors(path: object) -> Iterator[None]:
    """Say what the disk objected to when `path`, a file or folder, was to be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"Cannot write to {path}: {error.strerror or error}.",
            "The disk is full: free some space and run the same command again. What was written is whole."
            if full
            else "Choose another folder or file.",
        ) from None


def check_writable(path: Path, is_file: bool = False) -> None:
    """Raise an OutputError where nothing can be written: before the work, not after. Nothing stays behind.

    Args:
        path: A folder, there or to be made.
        is_file: Whether it is a file instead, which may be replaced.
    """
    with disk_errors(path):
        if is_file and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = (path.parent if is_file else path).absolute()
        while not folder.exists():
            folder = folder.parent
        with TemporaryFile(dir=folder):
            pass


def expanded(path: str | Path) -> Path:
    """`~` and `~user` as their home folders; a name that no user has is taken as it stands."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def cache_folder() -> Path:
    """`$XAI_CACHE`, else `xai` in `$XDG_CACHE_HOME` or `~/.cache`; absolute."""
    if own := os.environ.get("XAI_CACHE"):
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "xai"


def clear_leftovers(folder: Path) -> None:
    """Delete what killed processes were writing in a folder; what a living one is writing stays."""
    try:
        names = [one.name for one in os.scandir(folder) if _OURS.fullmatch(one.name)]
    except OSError:
        return  # whoever writes there is told what is wrong
    for name in names:
        _clear(folder / name)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system lets go of it however the process ends.

    Raises:
        UsageError: Another process holds it.
        OutputError: The disk objects.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    with file:
        if not _lock_soon(file.fileno()):
            file.seek(0)
            raise UsageError(
                f"Another process ({file.read().strip() or 'unknown'}) is writing {folder}.",
                "Wait for it, or choose another folder.",
            )
        with disk_errors(folder):
            file.truncate(0)
            file.write(f"process {os.getpid()}\n")
            file.flush()
        yield


def is_locked(folder: Path) -> bool:
    """Whether some process is writing the folder now."""
    try:
        with (folder / ".lock").open("r+") as file:
            return not _lock(file.fileno())
    except OSError:
        return False


@cache
def _clear_once(folder: Path) -> None:
    clear_leftovers(folder)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """An open file that is known as ours by its name, and as in use by its lock; it is gone afterwards."""
    while True:
        temporary = path.with_name(f"{TEMPORARY}{token_hex(8)}")
        file = temporary.open("xb")
        _lock(file.fileno())
        if temporary.exists():
            break
        file.close()  # somebody cleared it away before it was locked
    # a second descriptor holds the lock when the first is closed, until the file has its name
    lock = None if sys.platform == "win32" else os.dup(file.fileno())
    try:
        yield file, temporary
    finally:
        with suppress(OSError):  # what is left in its buffer does not fit either
            file.close()
        temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def _clear(path: Path) -> None:
    with suppress(OSError), path.open("r+b") as file:  # gone meanwhile, another user's, no file …
        if _lock(file.fileno()):
            path.unlink(missing_ok=True)


def _lock_soon(descriptor: int) -> bool:
    """As `_lock`, for who can wait a moment."""
    for _ in range(10):
        if _lock(descriptor):
            return True
        sleep(_PATIENCE / 10)
    return False


def _lock(descriptor: int) -> bool:
    """Whether the file is ours alone now; where the file system knows no locks nobody else can tell."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_A_FOLDER = "is a folder"
LONGEST_PATH = 160  # characters of a path in a message


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
    return text if len(text) <= LONGEST_PATH else f"{text[:100]}…{text[-50:]}"


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
