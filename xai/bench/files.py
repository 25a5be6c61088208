"""Files that are either complete or not there, and one writer at a time."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import Any, TypeVar

from xai.bench.remote import Folder, RemotePath
from xai.core import DataError, UsageError, valid_text

TEMPORARY = ".writing-"
READERS = 16  # files waited for at once

Item = TypeVar("Item")
Result = TypeVar("Result")


def write_bytes(path: Folder, content: bytes) -> None:
    """Write a file as a whole: after a crash at any moment there is the old file, the new one, or none.

    Raises:
        DataError: The disk objects.
    """
    with disk_errors(path.parent):
        if isinstance(path, RemotePath):
            path.write_whole(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TEMPORARY}{token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def write_json(path: Folder, content: Any) -> None:
    """Write JSON (UTF-8, indented) as a whole."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    write_bytes(path, valid_text(text).encode())


def read_json(path: Folder) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: Missing or broken.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object.")
    return content


@contextmanager
def disk_errors(folder: Folder) -> Iterator[None]:
    """Say what the disk objected to, and that nothing written before is lost."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"The disk that holds {folder} is full.",
                "Every completed unit is intact. Free some space and run the same command again.",
            ) from None
        raise DataError(f"Cannot write to {folder}: {error.strerror or error}.") from None


@contextmanager
def only_writer(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however the process ends.

    A folder behind a URL has no lock: two runs at once do the work twice, and write the same parts.

    Raises:
        UsageError: Another process holds it.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    with file:
        if not _try_lock(file.fileno()):
            file.seek(0)
            raise UsageError(
                f"Another process ({file.read().strip() or 'unknown'}) is writing {folder}.",
                "Wait for it, or choose another folder.",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()}\n")
        file.flush()
        _clear(folder)  # of a process that was killed
        yield
        _clear(folder)  # of a worker that was killed


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in order, of a function that waits for files more than it computes."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(function, items))


def remove_folder(folder: Folder) -> None:
    """Delete a folder and what is in it, if it is there."""
    if isinstance(folder, RemotePath):
        folder.remove_all()
    else:
        rmtree(folder, ignore_errors=True)


def is_locked(folder: Folder) -> bool:
    """Whether some process is writing the folder now; behind a URL nobody can tell."""
    if isinstance(folder, RemotePath):
        return False
    path = folder / ".lock"
    if not path.exists():
        return False
    try:
        with path.open("r+") as file:
            return not _try_lock(file.fileno())
    except OSError:
        return False


def _clear(folder: Path) -> None:
    """Delete what was being written, in the folder and the folders in it."""
    for pattern in (f"{TEMPORARY}*", f"*/{TEMPORARY}*"):
        for left in folder.glob(pattern):
            left.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
