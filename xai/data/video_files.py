"""Which files are videos: by what they hold, and by their suffix where that does not say it."""

import os
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from xai.core.files import fault_of, resolved
from xai.data.image import FORMATS, MOST, what_it_is

# not .ts, which programs end with as well: a transport stream is known by what it holds
VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"),
)
SYNC = 0x47
"""First byte of every packet of an MPEG transport stream (ISO/IEC 13818-1)."""
PACKETS = ((0, 188), (4, 192))
"""Where the first such byte stands, and the length of packets: plain, and with a time code before each."""


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


def find_videos(folder: Path, exclude: Path | None = None) -> list[Path]:
    """The videos in a folder and below, by suffix, sorted; hidden files and folders are passed over.

    Args:
        folder: Searched.
        exclude: A folder below it that is not.
    """
    found: list[Path] = []
    excluded = exclude and resolved(exclude)
    for root, folders, files in os.walk(folder):
        places = {name: resolved(Path(root, name)) for name in folders if not name.startswith(".")}
        folders[:] = sorted(name for name, place in places.items() if place != excluded)
        named = (name for name in sorted(files) if not name.startswith("."))
        found += [Path(root, name) for name in named if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    return found


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
