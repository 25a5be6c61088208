"""Folders of video frames as DeepfakeBench and DF40 lay them out, as rows of a manifest.

The files of `dataset_json` say which frames there are. Beside a folder `frames` lie `masks` and `landmarks`,
with the same names below.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xai.core import ConfigError, DataError, UsageError, nearest
from xai.core.files import expanded, is_folder, short_path
from xai.data.dataset_json import FramePlaces, ListedVideo, parse_root, read_videos
from xai.data.manifest import Row
from xai.data.video_groups import groups_of

REAL, FAKE, PRISTINE = "real", "fake", "pristine"
FACEFORENSICS = {
    "FF-DF": "Deepfakes",
    "FF-F2F": "Face2Face",
    "FF-FS": "FaceSwap",
    "FF-NT": "NeuralTextures",
    "FF-FH": "FaceShifter",
    "FF-SH": "FaceShifter",
}
"""Labels of FaceForensics++ that do not say that they are fake, and the method behind each."""

MASKS_OF = "c23"  # the compression whose folder holds the masks of all
FRAMES = 32  # of a video, as DeepfakeBench tests


@dataclass
class FoundFrames:
    """Rows of a manifest, and what a reader must know of how they came about.

    Args:
        rows: One an image, videos in the order of the files.
        videos: Videos with at least one image.
        missing: Images that are listed and not there, where they were looked for.
        notes: Sentences: what was read in place of what.
    """

    rows: list[Row] = field(default_factory=list)
    videos: int = 0
    missing: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counts(self) -> Counter[tuple[str | None, str | None]]:
        """Images by label and kind."""
        return Counter((row.label, row.kind) for row in self.rows)


def read_dataset_json(
    sources: Sequence[str | Path],
    roots: Sequence[str | Path] = (),
    *,
    split: str = "test",
    compression: str = "c23",
    frames: int = FRAMES,
    datasets: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> FoundFrames:
    """Find the frames that files of `dataset_json` list, with their masks, landmarks and groups.

    Paths in them are often of another machine, see `xai.data.dataset_json`. Missing frames are left out and
    counted; of what is there so many are taken, evenly over the video by their numbers. An image that several
    files list is there once.

    Args:
        sources: JSON files, or folders of them.
        roots: Folders below which the frames lie, or `beginning of paths=folder`; default the working folder,
            or one around the JSON file.
        split: train, val or test.
        compression: Taken where a dataset has several.
        frames: At most so many of a video; 0 for all.
        datasets: Only these, of the files' datasets; default all.
        labels: Label of the JSON → `real` or `fake`, where its name does not say so.

    Raises:
        ConfigError: A file that is no such JSON, an unknown dataset, split or compression, a label that is
            neither real nor fake by its name, an image of both.
        DataError: None of the frames is there.
    """
    if frames < 0:
        raise UsageError(f"frames={frames} must be 0 (all) or more.")
    given = [parse_root(root) for root in roots]
    files = {path: list(read_videos(path)) for path in _json_files(sources)}
    everything = [video for videos in files.values() for video in videos]
    there = list(dict.fromkeys(video.dataset for video in everything))
    for name in datasets:
        if name not in there:
            raise ConfigError(f"No dataset {name!r}.", nearest(name, there))
    reader = _RowCollector(frames, labels or {}, groups_of(video.name for video in everything))
    for path, videos in files.items():
        wanted = _chosen(path, videos, split, compression, datasets)
        places = FramePlaces.find(path, videos, wanted, given)
        reader.found.notes += places.notes()
        if empty := sum(not video.frames for video in wanted):
            reader.found.notes.append(f"{short_path(path)}: videos without any frame listed: {empty}")
        for video in wanted:
            reader.add(video, places)
    found = reader.found
    if not found.rows:
        example = f", first {short_path(found.missing[0])}" if found.missing else ""
        raise DataError(
            f"None of the frames is there: {len(found.missing)} looked for{example}.",
            "Say with --root below which folder they lie; the path of a frame in the JSON goes on there. "
            "Where the folders have other names, say which: --root OLD=NEW.",
        )
    return found


def _json_files(sources: Sequence[str | Path]) -> Iterator[Path]:
    for source in map(expanded, sources):
        if is_folder(source):
            inside = sorted(source.glob("*.json"))
            if not inside:
                raise DataError(f"{short_path(source)} holds no .json file.")
            yield from inside
        else:
            yield source


def _chosen(
    path: Path, videos: Sequence[ListedVideo], split: str, compression: str, datasets: Sequence[str]
) -> list[ListedVideo]:
    """Those of the split and the compression."""
    wanted = [one for one in videos if not datasets or one.dataset in datasets]
    splits = {one.split for one in wanted}
    if wanted and split not in splits:
        raise ConfigError(
            f"{short_path(path)}: no split {split!r}.", f"There is {', '.join(sorted(splits))}."
        )
    wanted = [one for one in wanted if one.split == split]
    compressions = {one.compression for one in wanted} - {None}
    if compressions and compression not in compressions:
        names = ", ".join(sorted(filter(None, compressions)))
        raise ConfigError(f"{short_path(path)}: no compression {compression!r}.", f"There is {names}.")
    return [one for one in wanted if one.compression in (None, compression)]


class _RowCollector:
    """Collects the rows of one video after the other."""

    def __init__(self, most: int, labels: Mapping[str, str], groups: Mapping[str, str]):
        self.most = most
        self.labels = labels
        self.groups = groups
        self.found = FoundFrames()
        self._label_of: dict[Path, str] = {}
        self._missing: set[Path] = set()
        self._names: dict[Path, frozenset[str]] = {}

    def add(self, video: ListedVideo, places: FramePlaces) -> None:
        there: list[Path] = []
        folders = {parts: places.folder(parts) for parts in {frame[:-1] for frame in video.frames}}
        for parts in video.frames:
            path = folders[parts[:-1]] / parts[-1]
            if self._exists(path):
                there.append(path)
            elif path not in self._missing:  # of several files, too
                self._missing.add(path)
                self.found.missing.append(path)
        label = label_of(video.label, self.labels)
        kind = PRISTINE if label == REAL else kind_of(video.label)
        group = self.groups.get(video.name) or f"{video.label}/{video.name}"
        rows = len(self.found.rows)
        for path in _evenly(sorted(there, key=_number), self.most):
            before = self._label_of.get(path)
            if before not in (None, label):
                raise ConfigError(
                    f"{short_path(path)} is listed as {before} and as {label}.", "Read the two files apart."
                )
            if before is not None:
                continue
            self._label_of[path] = label
            mask, landmarks = self._mask(path), self._beside(path, "landmarks", f"{path.stem}.npy")
            self.found.rows.append(Row(path, label, mask, group, kind, landmarks=landmarks))
        self.found.videos += len(self.found.rows) > rows

    def _mask(self, path: Path) -> Path | None:
        own = self._beside(path, "masks", path.name) or self._beside(path, "masks", f"{path.stem}.png")
        return own or self._beside(path, "masks", path.name, MASKS_OF)

    def _beside(self, path: Path, folder: str, name: str, compression: str | None = None) -> Path | None:
        """The file of another kind that belongs to a frame, where it is there."""
        parts = list(path.parent.parts)
        place = next((i for i in reversed(range(len(parts))) if parts[i].startswith("frames")), None)
        if place is None:
            return None
        if compression is not None and place:
            parts[place - 1] = compression
        for own in dict.fromkeys(
            (parts[place].replace("frames", folder), folder)
        ):  # of frames_all: masks_all
            other = Path(*parts[:place], own, *parts[place + 1 :], name)
            if self._exists(other):
                return other
        return None

    def _exists(self, path: Path) -> bool:
        """From one listing of each folder, which is far quicker than asking for every file."""
        folder = path.parent
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(one.name for one in os.scandir(folder))
            except OSError:
                self._names[folder] = frozenset()
        return path.name in self._names[folder]


def label_of(name: str, known: Mapping[str, str]) -> str:
    """`real` or `fake`, by the last word of a label such as `CelebDFv2_real` or `DFDCP_FakeA`.

    Raises:
        ConfigError: It says neither, and is not among the known ones.
    """
    if name in known:
        return known[name]
    last = re.split(r"[^a-z0-9]+", name.casefold())[-1]
    if name in FACEFORENSICS or last.startswith(FAKE):
        return FAKE
    if last == REAL:
        return REAL
    raise ConfigError(
        f"The label {name!r} says neither real nor fake.", f"Say --label {name}=fake, or =real."
    )


def kind_of(name: str) -> str:
    """The method behind a label of fakes: `simswap_Fake` is simswap, `FF-DF` Deepfakes."""
    return FACEFORENSICS.get(name) or re.sub(r"[-_]fake$", "", name, flags=re.IGNORECASE) or name


def _number(path: Path) -> tuple[float, str]:
    digits = re.findall(r"\d+", path.stem)
    return (float(digits[-1]) if digits else float("inf")), path.name


def _evenly(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many, the first and the last among them; 0: all."""
    if not most or len(paths) <= most:
        return list(paths)
    return [paths[place] for place in np.linspace(0, len(paths) - 1, most).round().astype(int)]
