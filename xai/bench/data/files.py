"""Files of a run, on this machine or behind a URL, that are either complete or not there."""

import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from secrets import token_hex
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import IO, Any, TypeVar

from xai.core import DataError, UsageError, files, valid_text
from xai.core.files import disk_errors, json_text

DEEPEST = 100  # levels of JSON
LARGEST = 10**300  # whole number, which floating point still has
READERS = 16  # files waited for at once

Item = TypeVar("Item")
Result = TypeVar("Result")


WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "memory"}
"""Object stores: an object is there whole or not at all; elsewhere a file is written aside and renamed."""

TEMPLATES = "reference"
"""A file system whose files are templates, which older versions of fsspec run as code."""


@dataclass(frozen=True)
class RemotePath:
    """A file or folder behind a URL; a path is cheap, and may be sent to another machine.

    Args:
        url: As fsspec takes it: s3://…, gs://…, hdfs://…, file://…
    """

    url: str

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}  # a connection belongs to one process

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.url).name

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return PurePosixPath(self.url).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder that holds it."""
        return RemotePath(self.url.rstrip("/").rpartition("/")[0])

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """File system, and the path within it."""
        if any(part.partition("://")[0] == TEMPLATES for part in self.url.split("::")):
            raise UsageError(
                f"{self.url} is not opened: files behind {TEMPLATES}:// may hold code.",
                "Give the address of the file itself.",
            )
        try:
            return _fsspec().core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{self.url} cannot be reached: {error}.", "fsspec's documentation says what it needs."
            ) from None

    def exists(self) -> bool:
        """Whether there is a file; asked anew, since other machines write too."""
        files, path = self._place
        files.invalidate_cache(str(PurePosixPath(path).parent))
        return files.exists(path)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The file, to read from any place in it."""
        files, path = self._place
        return files.open(path, mode)

    def read_bytes(self) -> bytes:
        """All of the file."""
        files, path = self._place
        return files.cat_file(path)

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of the file as text."""
        return self.read_bytes().decode(encoding)

    def stamp(self) -> str:
        """What changes when the file does, as far as its store tells."""
        files, path = self._place
        return str(files.ukey(path))

    def matches(self, endings: tuple[str, ...]) -> "list[RemotePath]":
        """The files of such endings that a glob or a folder stands for, in order; itself if it is neither."""
        files, path = self._place
        if any(sign in path for sign in "*?["):
            found = files.glob(path)
        else:
            found = files.ls(path, detail=False) if files.isdir(path) else []
        paths = [
            RemotePath(files.unstrip_protocol(one)) for one in sorted(found) if one.lower().endswith(endings)
        ]
        return paths or [self]

    def write_whole(self, content: bytes) -> None:
        """Write the file so that a reader sees all of it or none, whatever happens to the writer."""
        files, path = self._place
        protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
        if protocols & WHOLE:
            files.pipe_file(path, content)
            return
        files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        temporary = f"{PurePosixPath(path).parent}/.xai-writing-{token_hex(8)}"
        try:
            files.pipe_file(temporary, content)
            files.mv(temporary, path)
        except BaseException:
            if files.exists(temporary):
                files.rm_file(temporary)
            raise

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file."""
        files, path = self._place
        if not missing_ok or files.exists(path):
            files.rm_file(path)

    def names(self) -> list[str]:
        """Names in the folder, from one listing; none where there is no such folder."""
        files, path = self._place
        files.invalidate_cache(path)
        try:
            return sorted(PurePosixPath(one).name for one in files.ls(path, detail=False))
        except FileNotFoundError:
            return []

    def remove_all(self) -> None:
        """Delete the folder and what is in it, if it is there."""
        files, path = self._place
        if files.exists(path):
            files.rm(path, recursive=True)


Folder = Path | RemotePath


def folder_of(where: "str | Path | RemotePath") -> Folder:
    """A path of this machine, or a URL."""
    if isinstance(where, str) and "://" in where:
        return RemotePath(where)
    return where if isinstance(where, RemotePath) else Path(where)


def names_in(folder: Folder) -> list[str]:
    """Names in a folder, sorted, from one listing; none where there is no such folder."""
    if isinstance(folder, RemotePath):
        return folder.names()
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@contextmanager
def written_through(folder: Folder) -> Iterator[Path]:
    """A folder of this machine to write to; what is in it at the end is in `folder`."""
    if isinstance(folder, Path):
        yield folder
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary)
        for path in sorted(Path(temporary).rglob("*")):
            if path.is_file():
                place = folder / path.relative_to(temporary).as_posix()
                with disk_errors(place):
                    place.write_whole(path.read_bytes())


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
    write_bytes(path, json_text(content, default=str).encode())


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


def _fsspec() -> Any:
    try:
        return importlib.import_module("fsspec")
    except ImportError:
        raise UsageError(
            "A URL needs fsspec, which is not installed.", "Run: pip install 'vit-xai[ray]'"
        ) from None
