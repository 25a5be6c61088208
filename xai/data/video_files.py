"""Which files are videos, by what they hold or their suffix; which show the same people, by their names."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from xai.core.files import fault_of, resolved
from xai.data.find import drawn_among
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

_ONE = re.compile(r"\d{3}")
_PAIR = re.compile(r"(\d{3})_(\d{3})")
_CELEB = re.compile(r"(id\d+)(?:_id\d+)?(_\d{4})")


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
    """The videos in a folder and below, by suffix, sorted, without hidden ones and those that xai drew.

    Args:
        folder: Searched.
        exclude: A folder below it that is not.
    """
    found: list[Path] = []
    excluded = exclude and resolved(exclude)
    for root, folders, files in os.walk(folder):
        places = {name: resolved(Path(root, name)) for name in folders if not name.startswith(".")}
        folders[:] = sorted(name for name, place in places.items() if place != excluded)
        drawn = drawn_among(files)
        named = (name for name in sorted(files) if not name.startswith(".") and name not in drawn)
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


def groups_of(names: Iterable[str]) -> dict[str, str]:
    """Group of each video named as in FaceForensics++ or Celeb-DF; other names are left out.

    FaceForensics++: `000_003` is the face of 003 in video 000. Videos linked by such pairs are one group,
    named after all its numbers: people of `000`, `003`, `000_003` and `003_000` are the same. Celeb-DF:
    `id0_id1_0002` is the face of person 1 in video 2 of person 0, and in the group of that video, `id0_0002`;
    as every face is in many videos, groups by people would be one.
    """
    names = set(names)
    linked = {name: name for name in names if _ONE.fullmatch(name)}

    def root(one: str) -> str:
        while linked.setdefault(one, one) != one:
            one = linked[one]
        return one

    pairs = {name: found.groups() for name in sorted(names) if (found := _PAIR.fullmatch(name))}
    for target, source in pairs.values():
        first, second = sorted((root(target), root(source)))
        linked[second] = first
    members: dict[str, list[str]] = {}
    for one in sorted(linked):
        members.setdefault(root(one), []).append(one)
    titles = {one: _title(together) for together in members.values() for one in together}
    celeb = {name: "".join(found.groups()) for name in names if (found := _CELEB.fullmatch(name))}
    return celeb | {
        name: titles[pairs[name][0] if name in pairs else name]
        for name in names
        if name in linked or name in pairs
    }


def _title(together: Sequence[str]) -> str:
    return "_".join(together) if len(together) <= 4 else f"{together[0]} and {len(together) - 1} more"
