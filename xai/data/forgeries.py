"""Forgeries with known masks, made on the fly from pristine photographs: the benchmark's test images."""

import csv
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xai.core import DataError, Sample, UsageError, derive_seed, nearest
from xai.data.find import find_images, unique_stems
from xai.data.forgery import KINDS, forge
from xai.data.image import FORMATS, read_image
from xai.data.lazy import Entry, LazySamples

PHOTOS = Path(__file__).parent / "photos"
SIDE = 224
"""Side of the crops in pixels."""
_FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX)


def shipped_photos() -> dict[str, Path]:
    """The pristine photographs of the package by name; their sources and licences are in `ATTRIBUTION.md`."""
    with (PHOTOS / "photos.csv").open(newline="", encoding="utf-8") as file:
        return {row["group"]: PHOTOS / row["image"] for row in csv.DictReader(file)}


def forged_samples(
    photos: str | Path = "shipped",
    count: int = 200,
    kinds: Sequence[str] = ("upsampling", "noise"),
    seed: int = 0,
    pristine: bool = False,
) -> LazySamples:
    """Make crops of photographs that are forged inside a known mask, label `fake`.

    A crop is a square of 224 pixels, half of the time out of the photograph at its own size and otherwise
    out of one reduced by up to 2, mirrored half of the time; `xai.data.forgery.forge` then edits it at a
    uniformly random place. Photographs and kinds take turns, so that both are equally frequent. Sample
    number i depends on the photograph, the kind, the seed and i alone, not on the count. No class balance
    is claimed: use `pristine` where a detector's answers to both classes are asked for.

    Args:
        photos: `"shipped"`, or a folder of pristine photographs, searched with its subfolders.
        count: Number of forgeries.
        kinds: Kinds of edit, keys of `xai.data.forgery.KINDS`. The demo detector knows upsampling and noise.
        seed: Source of every random choice.
        pristine: Also give the untouched twin of each forgery right after it, label `real`, without a mask.

    Returns:
        `count` samples, twice as many with `pristine`, made when asked for; group = the photograph.

    Raises:
        UsageError: Unknown kind, no kind, or no sample wanted.
        DataError: No photograph, or one that is broken or smaller than the crops.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"Unknown kind of forgery {kind!r}.", nearest(str(kind), KINDS))
    if not kinds or count < 1:
        raise UsageError(f"{count} forgeries of {len(kinds)} kinds: at least one of each is needed.")
    sources = shipped_photos() if photos == "shipped" else _photos_below(Path(photos).expanduser())
    names = list(sources)
    for path in sources.values():
        _check_size(path)
    entries = []
    for index in range(count):
        turn, place = divmod(index, len(names))
        name, kind = names[place], kinds[(place + turn) % len(kinds)]
        for suffix in (kind, "pristine") if pristine else (kind,):
            id = f"{name}-s{seed}-{index:05d}-{suffix}"
            make = partial(_make, id, sources[name], name, kind, seed, index, suffix == "pristine")
            entries.append(Entry(id, make, None, "real" if suffix == "pristine" else "fake", name))
    return LazySamples(entries)


def _make(id: str, path: Path, group: str, kind: str, seed: int, index: int, pristine: bool) -> Sample:
    crop = _random_crop(_read(path), np.random.default_rng(derive_seed(seed, "crop", index)))
    if pristine:
        return Sample(id, Image.fromarray(crop), label="real", group=group)
    forgery = forge(crop, np.random.default_rng(derive_seed(seed, "forgery", index)), kind)
    return Sample(id, Image.fromarray(forgery.image), label="fake", mask=forgery.mask, group=group)


def _random_crop(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of (H, W, 3), half of the time reduced by up to 2 and half of the time mirrored."""
    scale = rng.uniform(0.5, 1) if rng.random() < 0.5 else 1.0
    side = min(round(SIDE / scale), *photo.shape[:2])
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in photo.shape[:2])
    crop = photo[top : top + side, left : left + side]
    if side > SIDE:
        crop = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), _FILTERS[rng.integers(3)]))
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


@lru_cache(maxsize=1)
def _read(path: Path) -> NDArray[np.uint8]:
    """Pixels of a photograph; the last one is kept, for the twin that is asked for next."""
    return np.asarray(read_image(path))


def _photos_below(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder of photographs.", "'shipped' stands for the package's own."
        )
    paths = [path for path in find_images([folder]) if path.is_file()]
    if not paths:
        raise DataError(f"{folder}: no photograph in this folder.")
    return {name: path for path, name in unique_stems(paths).items()}


def _check_size(path: Path) -> None:
    """Look at the header alone; what cannot be read is an error here, before any work is done."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            size = image.size
    except Exception:  # PIL's decoders raise whatever the broken bytes make them
        size = read_image(path).size  # one clear DataError
    if min(size) < SIDE:
        raise DataError(
            f"{path}: {size[0]} × {size[1]} pixels are too few for crops of {SIDE} × {SIDE}.",
            "Take it out of the folder.",
        )
