"""The images of a benchmark, known by name and content before they are read."""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

from xai.bench.config import DataConfig
from xai.bench.rows import digest
from xai.core import DataError, Sample, valid_text
from xai.data import find_images, read_image, unique_stems
from xai.data.forgeries import SIDE, forged_samples, shipped_photos
from xai.data.lazy import Entry
from xai.data.manifest import load_samples, read_manifest

MISSING = "missing"


def list_entries(data: DataConfig) -> Sequence[Entry]:
    """Every image of the configuration, up to its limit, in a fixed order; none is read.

    Raises:
        ConfigError: A malformed manifest.
        DataError: A manifest that names missing files, or no photographs to forge.
    """
    if data.forgeries is not None:
        asked = data.forgeries
        entries = forged_samples(**asked.model_dump()).entries
    elif data.manifest is not None:
        entries = load_samples(read_manifest(data.manifest)).entries
    else:
        paths = find_images(data.images or ())
        names = {path: valid_text(stem) for path, stem in unique_stems(paths).items()}  # records hold text
        entries = [Entry(names[path], partial(_read, names[path], path), path) for path in paths]
    if not entries:
        raise DataError("The data hold no image.")
    return entries[: data.limit]


def digests(data: DataConfig, entries: Sequence[Entry]) -> list[str]:
    """What tells each image's content: sha256 of its files, or of the recipe it is made by."""
    if data.forgeries is not None:
        asked = data.forgeries
        shipped = asked.photos == "shipped"
        photos = list(shipped_photos().values()) if shipped else find_images([asked.photos])
        # runs of before there was a size go on
        without = {"photos", "count"} | ({"size"} if asked.size == SIDE else set())
        recipe = asked.model_dump(exclude=without) | {"photos": [sha256_of(p) for p in photos]}
        return [digest([recipe, entry.id], 16) for entry in entries]
    masks: dict[Path, Path | None] = {}
    if data.manifest is not None:
        masks = {row.path: row.mask for row in read_manifest(data.manifest)}
    return [
        digest([*_said(entry), sha256_of(entry.path), sha256_of(masks.get(entry.path))], 16)
        for entry in entries
        if entry.path is not None
    ]


def sha256_of(path: Path | None) -> str | None:
    """Hex digest of a file; None for no file, `MISSING` for one that cannot be read."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            whole = sha256()
            while block := file.read(1 << 20):
                whole.update(block)
    except OSError:
        return MISSING
    return whole.hexdigest()


def _said(entry: Entry) -> list[str | None]:
    """What is told of an image; without a kind as before there were kinds, so that such runs go on."""
    return [entry.id, entry.label, entry.group, *([] if entry.kind is None else [entry.kind])]


def _read(name: str, path: Path) -> Sample:
    return Sample(name, read_image(path), path)
