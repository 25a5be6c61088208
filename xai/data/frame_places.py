"""Where the frames of a JSON of another machine lie on this one.

What all paths of a file have in common at their beginning may be replaced by a folder: as little of it as
leads to the most folders. Parts in which they differ are never dropped: any method has a folder
`frames/000_003`. Who renamed such parts says so, as `deepfakes_detection_datasets/DF40=/data/df40`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from xai.core import DataError
from xai.core.files import expanded, is_folder, short_path
from xai.data.dataset_json import ListedVideo, parts_of

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Root:
    """A folder in the place of the beginning of paths.

    Args:
        folder: On this machine.
        prefix: The beginning that it stands for; None while it is not known.
    """

    folder: Path
    prefix: Parts | None = None

    def place(self, parts: Parts) -> Path | None:
        """Where a path leads; None for one with another beginning."""
        prefix = self.prefix or ()
        return self.folder.joinpath(*parts[len(prefix) :]) if parts[: len(prefix)] == prefix else None


def parse_root(text: str | Path) -> Root:
    """Read a folder, or `beginning of paths=folder`.

    Raises:
        DataError: There is no such folder.
    """
    folder = expanded(text)
    if is_folder(folder):
        return Root(folder)
    old, found, new = str(text).rpartition("=")
    if not is_folder(expanded(new)):
        raise DataError(f"{short_path(new)}: no such folder.")
    return Root(expanded(new), parts_of(old) if found else None)


@dataclass(frozen=True)
class FramePlaces:
    """Where the frames of one JSON file lie.

    Args:
        path: The file.
        roots: With the beginnings that they stand for; looked through in order.
    """

    path: Path
    roots: Sequence[Root]

    @classmethod
    def find(
        cls, path: Path, videos: Sequence[ListedVideo], wanted: Sequence[ListedVideo], roots: Sequence[Root]
    ) -> "FramePlaces":
        """Find out which beginning each root stands for.

        Args:
            path: The file.
            videos: All that it lists: what their paths have in common may be replaced.
            wanted: Those that are looked for.
            roots: Given ones; none: the working folder and those around the file are tried.
        """
        # the last two, `frames` and the video, are never replaced
        common = _common([frame[:-3] for video in videos for frame in video.frames[:1]])
        folders = sorted({frame[:-1] for video in wanted for frame in video.frames})
        found: list[tuple[int, Root]] = []
        for root in roots or [Root(one) for one in dict.fromkeys([Path(), *path.parents][:4])]:
            tried = [root] if root.prefix is not None else [
                Root(root.folder, common[:cut]) for cut in range(len(common) + 1)
            ]  # fmt: skip
            reach = [sum(_is_there(one.place(parts)) for parts in folders) for one in tried]
            if max(reach):
                found.append((max(reach), tried[reach.index(max(reach))]))
        if not roots and found:  # nobody named them: the one that leads to most
            found = [max(found, key=lambda one: one[0])]
        return cls(path, [root for _, root in found] or [Root(roots[0].folder if roots else Path(), ())])

    def folder(self, parts: Parts) -> Path:
        """Of a video; the first place where it is there, else where it was looked for first."""
        places = [place for root in self.roots if (place := root.place(parts)) is not None]
        return next(filter(_is_there, places), places[0] if places else Path(*parts))

    def notes(self) -> Iterator[str]:
        """What was read in place of what."""
        for root in self.roots:
            if root.prefix:
                gone = "/".join(root.prefix).replace("//", "/")
                yield f"{short_path(self.path)}: {gone}/ was read as {short_path(root.folder.resolve())}/"


def _is_there(place: Path | None) -> bool:
    return place is not None and place.is_dir()


def _common(paths: Sequence[Parts]) -> Parts:
    """The parts that all begin with."""
    low, high = (min(paths), max(paths)) if paths else ((), ())
    same = (a == b for a, b in zip(low, high, strict=False))
    return low[: len(list(takewhile(bool, same)))]
