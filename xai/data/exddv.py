"""Clicks of people on what is wrong in a fake video, as ExDDV publishes them, as rows of a manifest.

Hondru et al. 2025, arXiv 2503.14421. A row of `ExDDV.csv` is a video; `click_locations` is JSON that maps the
number of a frame to `{"x": …, "y": …}`, shares of the whole frame's width and height from the top left.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from xai.core import ConfigError, DataError
from xai.core.files import expanded, is_folder, short_path
from xai.data.frame_folders import FAKE, FoundFrames
from xai.data.image import SUFFIXES, opened
from xai.data.manifest import Row
from xai.data.points import clicks_text
from xai.data.table import read_csv
from xai.data.video_groups import groups_of

COLUMNS = ("movie_name", "click_locations")


def read_exddv(path: str | Path, roots: Sequence[str | Path], *, split: str = "test") -> FoundFrames:
    """Find the frames on which somebody clicked.

    Whole frames are needed, not crops of faces, as files `{number}.png` in a folder of the video's name,
    which may lie below one of the method's name: `ROOT/Deepfakes/000_003/117.png`.

    Args:
        path: `ExDDV.csv`.
        roots: Folders of frames.
        split: train, val or test, where the table says which; "all" for all.

    Raises:
        ConfigError: It is no such table, or holds clicks that are none.
        DataError: None of the frames is there.
    """
    path = expanded(path)
    folders = [expanded(root) for root in roots]
    for root in folders:
        if not is_folder(root):
            raise DataError(f"{short_path(root)}: no such folder.")
    if not folders:
        raise DataError("Where the frames lie is not known.", "Say it with --root.")
    lines = read_csv(path, COLUMNS, "the clicks")
    header = next(lines).cells
    if absent := [name for name in COLUMNS if name not in header]:
        raise ConfigError(f"{short_path(path)}: no column {absent[0]!r}.", "Expected ExDDV.csv of ExDDV.")
    found = FoundFrames()
    videos = []
    for line in lines:
        if line.fault is not None:
            raise ConfigError(f"{path}:{line.number}: {line.fault}.")
        if split == "all" or line.cells.get("split", split) == split:
            videos.append((f"{path}:{line.number}", line.cells))
    groups = groups_of(Path(cells["movie_name"]).stem for _, cells in videos)
    clicked: dict[Path, Row] = {}
    missing: dict[Path, None] = {}  # each once, whoever clicked on it
    for where, cells in videos:
        name, kind = Path(cells["movie_name"]).stem, cells.get("manipulation") or None
        frames = _numbered(folders, kind, name)
        for number, share in _clicks(cells["click_locations"], where):
            image = frames.get(number)
            size = None if image is None else _size_of(image)
            if image is None or size is None:
                base = folders[0] / kind if kind else folders[0]
                missing[image or base / name / f"{number}.png"] = None
                continue
            pixels = np.array([share]) * size - 0.5
            earlier = clicked[image].clicks + " " if image in clicked else ""  # of somebody else
            clicks = earlier + clicks_text(pixels)
            clicked[image] = Row(image, FAKE, group=groups.get(name) or name, kind=kind, clicks=clicks)
    found.rows, found.missing = list(clicked.values()), list(missing)
    found.videos = len({row.path.parent for row in found.rows})
    if not found.rows:
        example = f", first {short_path(found.missing[0])}" if found.missing else ""
        raise DataError(
            f"None of the frames clicked on is there: {len(found.missing)} looked for{example}.",
            "Frames of the whole video are needed, named by their numbers from 0.",
        )
    return found


def _numbered(roots: Sequence[Path], kind: str | None, name: str) -> Mapping[int, Path]:
    """The frames of a video by their numbers, whatever zeros stand before these."""
    places = [root / kind / name for root in roots if kind] + [root / name for root in roots]
    folder = next((place for place in places if place.is_dir()), None)
    files = [] if folder is None else sorted(folder.iterdir())
    return {int(one.stem): one for one in files if one.stem.isdecimal() and one.suffix.lower() in SUFFIXES}


def _size_of(image: Path) -> tuple[int, int] | None:
    """(width, height); None where it is no image."""
    try:
        with opened(image) as file:
            return file.size
    except DataError:
        return None


def _clicks(text: str, where: str) -> Iterator[tuple[int, tuple[float, float]]]:
    """Frame number, and (x, y) as shares of the frame's width and height."""
    try:
        content = json.loads(text or "{}")
        clicks = [(int(number), (float(one["x"]), float(one["y"]))) for number, one in content.items()]
        if not all(math.isfinite(share) and 0 <= share <= 1 for _, both in clicks for share in both):
            raise ValueError("a share of the frame lies outside 0 … 1")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{where}: click_locations are no clicks: {error}.",
            'Expected {"117": {"x": 0.54, "y": 0.63}}: frame number, shares of its width and height.',
        ) from None
    yield from clicks
