"""DeepfakeBench's `preprocessing/dataset_json`: dataset → label → split → (compression →) video → frames."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xai.core import ConfigError, printable
from xai.core.files import fault_of, short_path


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
    frames: tuple[tuple[str, ...], ...]


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
