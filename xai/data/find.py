"""Files of images and videos: found from what a person typed, told by what they hold, named apart."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from glob import glob, has_magic
from hashlib import sha256
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from xai.core import UsageError, printable, valid_text
from xai.core.files import expanded, fault_of, is_folder, resolved
from xai.data.image import FORMATS, MOST, SUFFIXES, what_it_is

UNREADABLE = (".heic", ".heif", ".hif", ".jxl")
"""Photographs of kinds that are not read: a folder's are listed, so that none is passed over unsaid."""
# not .ts, which programs end with as well: a transport stream is known by what it holds
VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"),
)
SYNC = 0x47
"""First byte of every packet of an MPEG transport stream (ISO/IEC 13818-1)."""
PACKETS = ((0, 188), (4, 192))
"""Where the first such byte stands, and the length of packets: plain, and with a time code before each."""
LONGEST = 150
"""Bytes of a stem: with a class's slug (80) and what a file is (25) within the 255 of a file name."""
_RECORD = "_explanation.json"
_DRAWN = (
    *("_attention.png", "_comparison.png", "_face_parts.png", "_on_photograph.png"),
    *("_filmstrip.png", "_timeline.png", "_annotated.mp4"),
)
_DRAWN_OF_ALL = ("layer_comparison.png", "head_comparison.png")


def find_images(patterns: Iterable[str | Path], exclude: Path | None = None) -> list[Path]:
    """List the image files that files, folders and globs stand for, each once, in the order given.

    A folder stands for the images in it and below, by suffix, sorted. Passed over are hidden files and
    folders, and pictures that xai drew there, which lie beside their records. A file that is named is
    taken whatever it is. Photographs of kinds that cannot be read (HEIC, JPEG XL) are listed too, so that
    reading them says so.

    Args:
        patterns: Paths and globs (`**` goes through folders).
        exclude: A folder that is not searched: the output folder may lie inside the input folder.

    Returns:
        Paths. A pattern that matches nothing stays in the list as it is, so that reading it reports it.

    Raises:
        UsageError: A name is empty; as a path that would be the folder one is in.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        if pattern == "":
            raise UsageError("The name of an image or folder is empty.", "For this folder write a dot.")
        for path in _expand(expanded(pattern), exclude and resolved(exclude)):
            found.setdefault(resolved(path), path)
    return list(found.values())


def find_videos(folder: Path, exclude: Path | None = None) -> list[Path]:
    """The videos in a folder and below, by suffix, sorted, without hidden ones and those that xai drew.

    Args:
        folder: Searched.
        exclude: A folder below it that is not.
    """
    return _below(folder, exclude and resolved(exclude), VIDEO_SUFFIXES)


def is_video(path: Path) -> bool:
    """Whether a file is to be read as a video.

    One that begins like a video is, whatever its name; one that is named like a video is, unless it is an
    image. What then turns out to be none is refused by who reads it.
    """
    if fault_of(path) is not None:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(MOST)
    except OSError:
        return False  # reading it as an image says why
    found = what_it_is(head)
    if (found is not None and found[0].startswith("a video")) or _is_transport_stream(head):
        return True
    return path.suffix.lower() in VIDEO_SUFFIXES and not _is_image(path)


def unique_stems(
    paths: Sequence[Path], owner: Callable[[str], Path | None] = lambda stem: None
) -> dict[Path, str]:
    """Name each path by its stem, so that no two ever share a name.

    A stem that several of the paths share (in whatever case: some file systems do not tell `A` from
    `a`), that belongs to the files of another image already, or that could be read as the name of
    another image's panel (`x_layer`, `x_head`) gets a suffix: the first eight digits of the sha256 of the
    image's resolved path. The suffix depends on that path alone, so it is the same in every run. A stem of
    more than 150 bytes is cut, between two characters, and gets that suffix too.

    Args:
        paths: Distinct image paths.
        owner: Says which image the files of a stem were written for, None if there are none.
    """
    count = Counter(path.stem.casefold() for path in paths)
    names = {}
    for path in paths:
        stem, place = _cut(path.stem), resolved(path)
        shared = count[path.stem.casefold()] > 1 or f"_{stem}".casefold().endswith(("_layer", "_head"))
        if shared or stem != path.stem or owner(stem) not in (None, place):
            stem = f"{stem}-{sha256(os.fsencode(place)).hexdigest()[:8]}"
        names[path] = stem
    return names


def unique_ids(paths: Sequence[Path]) -> dict[Path, str]:
    """`unique_stems` for records and tables: bytes that are no text and control characters are escaped."""
    return {
        path: valid_text(stem)
        if printable(stem) == valid_text(stem)
        else f"{printable(stem)}-{sha256(os.fsencode(path)).hexdigest()[:8]}"
        for path, stem in unique_stems(paths).items()
    }


def _cut(stem: str) -> str:
    """The stem, or as many of its characters as leave room for what is appended to it."""
    if len(os.fsencode(stem)) <= LONGEST:
        return stem
    room = LONGEST - 9
    while len(os.fsencode(stem)) > room:
        stem = stem[: min(len(stem) - 1, room)]
    return stem


def _expand(pattern: Path, exclude: Path | None) -> list[Path]:
    fault = fault_of(pattern)
    if fault is None:
        return [pattern]
    if is_folder(pattern):
        return _below(pattern, exclude, (*SUFFIXES, *UNREADABLE)) or [pattern]
    if fault != "no such file" or not has_magic(str(pattern)):
        return [pattern]
    matches = (Path(match) for match in sorted(glob(str(pattern), recursive=True)))  # noqa: PTH207 - Path.glob refuses absolute ones
    files = [path for path in matches if fault_of(path) is None and not _inside(path, exclude)]
    return files or [pattern]


def _below(folder: Path, exclude: Path | None, suffixes: Collection[str]) -> list[Path]:
    """Files in a folder and below, by suffix, sorted, without hidden ones and those that xai drew."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and resolved(Path(root, name)) != exclude
        )
        drawn = _drawn_among(files)
        named = (name for name in sorted(files) if not name.startswith(".") and name not in drawn)
        found += [Path(root, name) for name in named if Path(name).suffix.lower() in suffixes]
    return found


def _drawn_among(files: Collection[str]) -> set[str]:
    """Which files of a folder are pictures and videos that xai drew: the record of them lies beside them."""
    records = {name.removesuffix(_RECORD) for name in files if name.endswith(_RECORD)}
    beginnings = {name: [name[:at] for at, sign in enumerate(name) if sign == "_"] for name in files}
    drawn = {name for name in files if name.endswith(_DRAWN) and not records.isdisjoint(beginnings[name])}
    drawn.update(_DRAWN_OF_ALL if records else ())
    drawn.update(["method_panel.png"] if "method_panel.json" in files else [])
    if "robustness.json" in files:
        drawn.update(name for name in files if name.endswith("_robustness.png"))
    return drawn


def _inside(path: Path, exclude: Path | None) -> bool:
    return exclude is not None and resolved(path).is_relative_to(exclude)


def _is_transport_stream(head: bytes) -> bool:
    return any(
        len(head) > first + 2 * length and all(head[first + i * length] == SYNC for i in range(3))
        for first, length in PACKETS
    )


def _is_image(path: Path) -> bool:
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # a broken image is one; its reader says what is wrong with it
        return True
