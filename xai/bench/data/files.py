"""Files of a run, on this machine or behind a URL, that are either complete or not there."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any, TypeVar

from xai.bench.data.remote import Folder, RemotePath
from xai.core import DataError, files, valid_text
from xai.core.files import disk_errors

DEEPEST = 100  # levels of JSON
LARGEST = 10**300  # whole number, which floating point still has
READERS = 16  # files waited for at once

Item = TypeVar("Item")
Result = TypeVar("Result")


def write_bytes(path: Folder, content: bytes) -> None:
    """Write a file as a whole: after a crash at any moment there is the old file, the new one, or none.

    Raises:
        OutputError: The disk objects.
    """
    if isinstance(path, RemotePath):
        with disk_errors(path):
            path.write_whole(content)
    else:
        files.write_bytes(path, content, durable=True)


def write_json(path: Folder, content: Any) -> None:
    """Write JSON (UTF-8, indented) as a whole."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    write_bytes(path, valid_text(text).encode())


def read_json(path: Folder) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: Missing or broken: no JSON object, nested more than 100 deep, numbers too large,
            or text that is no Unicode.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object.")
    if (wrong := _fault(content)) is not None:
        raise DataError(f"{path} is broken: it holds {wrong}.")
    return content


@contextmanager
def only_writer(folder: Folder) -> Iterator[None]:
    """Hold the lock of a run's folder, and clear away what killed processes and workers were writing.

    A folder behind a URL has no lock: two runs at once do the work twice, and write the same parts.

    Raises:
        UsageError: Another process holds it.
        OutputError: The disk objects.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    with files.only_writer(folder):
        _clear(folder)
        yield
        _clear(folder)


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
    return not isinstance(folder, RemotePath) and files.is_locked(folder)


def _fault(content: Any) -> str | None:
    """What JSON may hold and no run writes: it could not be shown, or written again."""
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        if any(isinstance(one, str) and not one.isascii() and valid_text(one) != one for one in level):
            return "text that is no Unicode"
        if any(isinstance(one, int) and abs(one) > LARGEST for one in level):
            return "a number that is too large"
        inner = [[*one, *one.values()] if isinstance(one, dict) else one for one in level]
        level = [value for one in inner if isinstance(one, list) for value in one]
        if not level:
            return None
    return f"more than {DEEPEST} levels of lists in lists"


def _clear(folder: Path) -> None:
    """Delete what was being written, in the folder and the folders in it."""
    for one in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        files.clear_leftovers(one)
