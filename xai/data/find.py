"""From what a person typed (files, folders, globs) to image files, and a name for each."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from glob import glob
from hashlib import sha256
from pathlib import Path

from xai.data.image import SUFFIXES


def find_images(patterns: Iterable[str | Path], exclude: Path | None = None) -> list[Path]:
    """List the image files that files, folders and globs stand for, each once, in the order given.

    A folder stands for the images in it and below, by suffix, sorted; hidden files and folders are
    passed over. A file that is named is taken whatever its suffix.

    Args:
        patterns: Paths and globs (`**` goes through folders).
        exclude: A folder that is not searched: the output folder may lie inside the input folder.

    Returns:
        Paths. A pattern that matches nothing stays in the list as it is, so that reading it reports it.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _expand(Path(pattern).expanduser(), exclude and exclude.resolve()):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def unique_stems(
    paths: Sequence[Path], owner: Callable[[str], Path | None] = lambda stem: None
) -> dict[Path, str]:
    """Name each path by its stem, so that no two ever share a name.

    A stem that several of the paths share (in whatever case: some file systems do not tell `A` from
    `a`), that belongs to the files of another image already, or that could be read as the name of
    another image's panel (`x_layer`, `x_head`) gets a suffix: the first eight digits of the sha256 of the
    image's resolved path. The suffix depends on that path alone, so it is the same in every run.

    Args:
        paths: Distinct image paths.
        owner: Says which image the files of a stem were written for, None if there are none.
    """
    count = Counter(path.stem.casefold() for path in paths)
    names = {}
    for path in paths:
        stem, resolved = path.stem, path.resolve()
        shared = count[stem.casefold()] > 1 or f"_{stem}".casefold().endswith(("_layer", "_head"))
        if shared or owner(stem) not in (None, resolved):
            stem = f"{stem}-{sha256(str(resolved).encode(errors='surrogateescape')).hexdigest()[:8]}"
        names[path] = stem
    return names


def _expand(pattern: Path, exclude: Path | None) -> list[Path]:
    if pattern.is_dir():
        return _images_below(pattern, exclude) or [pattern]
    if pattern.exists():
        return [pattern]
    matches = (Path(match) for match in sorted(glob(str(pattern), recursive=True)))  # noqa: PTH207 - Path.glob refuses absolute ones
    files = [path for path in matches if path.is_file() and not _inside(path, exclude)]
    return files or [pattern]


def _images_below(folder: Path, exclude: Path | None) -> list[Path]:
    images = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not _inside(Path(root, name), exclude)
        )
        images += [Path(root, name) for name in sorted(files) if _is_image(name)]
    return images


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _inside(path: Path, exclude: Path | None) -> bool:
    return exclude is not None and path.resolve().is_relative_to(exclude)
