"""DeepfakeBench's `preprocessing/dataset_json`, and where the frames that it lists lie on this machine.

dataset → label → split → (compression →) video → frames. Of a JSON of another machine, what all paths have in
common at their beginning may be replaced by a folder: as little of it as leads to the most folders. Parts in
which they differ are never dropped: any method has a folder `frames/000_003`. Who renamed such parts says so,
as `deepfakes_detection_datasets/DF40=/data/df40`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from xai.core import ConfigError, DataError, printable
from xai.core.files import expanded, fault_of, is_folder, short_path

Parts = tuple[str, ...]


@dataclass(frozen=True)
class ListedVideo:
    """A video as a dataset's JSON lists it.

    Args:
        dataset: Name of the dataset.
        label: That the JSON gives it, such as `FF-DF`.
        split: train, val or test.
        compression: Such as c23; None where the dataset has none.
        name: Of the video.
        frames: Paths as parts, slashes or backslashes; the first part of an absolute one is its root.
    """

    dataset: str
    label: str
    split: str
    compression: str | None
    name: str
    frames: tuple[Parts, ...]


def read_videos(path: Path) -> Iterator[ListedVideo]:
    """Every video of a file.

    Raises:
        ConfigError: It cannot be read, or is no such JSON.
    """
    if (fault := fault_of(path)) is not None:
        raise ConfigError(f"Cannot read the dataset {short_path(path)}: {fault}.")
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"Cannot read the dataset {short_path(path)}: {error}.") from None
    for dataset, of_labels in _items(path, content, ()):
        for label, of_splits in _items(path, of_labels, (dataset,)):
            for split, inside in _items(path, of_splits, (dataset, label)):
                where = (dataset, label, split)
                for compression, videos in _by_compression(path, inside, where):
                    for name, video in videos:
                        yield _video(path, video, where, compression, name)


def _by_compression(
    path: Path, inside: Any, where: tuple[str, ...]
) -> Iterator[tuple[str | None, Iterable[tuple[str, Any]]]]:
    if isinstance(inside, dict) and "frames" in inside:  # one video where videos by name should be
        yield None, [("", inside)]
        return
    plain: list[tuple[str, Any]] = []
    for name, one in _items(path, inside, where):
        if isinstance(one, dict) and "frames" not in one:
            yield name, _items(path, one, (*where, name))
        else:
            plain.append((name, one))
    if plain:
        yield None, plain


def _video(path: Path, video: Any, where: tuple[str, ...], compression: str | None, name: str) -> ListedVideo:
    dataset, label, split = where
    frames = video.get("frames") if isinstance(video, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, str) and frame for frame in frames):
        raise _no_dataset(path, (*where, name), "a video with a list of frames")
    parts = tuple(parts_of(frame) for frame in frames)
    own = video.get("label")
    name = name or (parts[0][-2] if parts and len(parts[0]) > 1 else "")
    return ListedVideo(dataset, own if isinstance(own, str) else label, split, compression, name, parts)


def _items(path: Path, content: Any, where: tuple[str, ...]) -> Iterable[tuple[str, Any]]:
    if not isinstance(content, dict):
        raise _no_dataset(path, where, "a mapping")
    return content.items()


def _no_dataset(path: Path, where: Sequence[str], expected: str) -> ConfigError:
    place = printable(" → ".join(where) or "the top")
    return ConfigError(
        f"{short_path(path)}: at {place} stands something else than {expected}.",
        "Expected: dataset → label → split → (compression →) video → {label, frames}, as DeepfakeBench's "
        "preprocessing/rearrange.py writes it.",
    )


def parts_of(path: str) -> tuple[str, ...]:
    """Of a path of any system; what lies above the first folder is no part."""
    text = path.replace("\\", "/")
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    return ("/", *parts) if text.startswith("/") else parts


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
