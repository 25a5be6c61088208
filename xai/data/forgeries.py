"""Forgeries with known masks, made on the fly from pristine photographs: the benchmark's test images."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xai.core import DataError, Sample, UsageError, derive_seed, nearest
from xai.core.files import expanded, fault_of, is_folder
from xai.data.find import find_images, unique_stems
from xai.data.forgery import KINDS, MAX_STRENGTH, forge
from xai.data.image import SUFFIXES, opened, read_image
from xai.data.samples import Entry, LazySamples

PHOTOS = Path(__file__).parent / "photos"
SIDE = 224
"""Side of the crops in pixels."""
PRISTINE = "pristine"
"""Kind of the untouched twins."""
_FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX)


@dataclass(frozen=True)
class Photo:
    """A pristine photograph: its name among the others, and where it is read."""

    name: str
    path: Path


@dataclass(frozen=True)
class Recipe:
    """All that a forgery, or its pristine twin, is made from: equal recipes make equal images.

    Args:
        photo: What is forged.
        forged_as: Kind of forgery, a key of `xai.data.forgery.KINDS`.
        seed: Of all forgeries made together.
        index: Number among them.
        size: Side of the crop in pixels.
        donor: Where the kind takes content from, if it does.
        pristine: Whether this is the twin, the same crop left as it is.
        strength: See `xai.data.forgery.forge`.
    """

    photo: Photo
    forged_as: str
    seed: int
    index: int
    size: int = SIDE
    donor: Photo | None = None
    pristine: bool = False
    strength: float = 1.0

    @property
    def kind(self) -> str:
        """What the sample's kind is: the forgery's, or `pristine`."""
        return PRISTINE if self.pristine else self.forged_as

    @property
    def id(self) -> str:
        """Unique among the recipes of one plan."""
        return f"{self.photo.name}-s{self.seed}-{self.index:05d}-{self.kind}"

    @property
    def label(self) -> str:
        """True class name."""
        return "real" if self.pristine else KINDS[self.forged_as].label

    def make(self) -> Sample:
        """Read the photograph, crop and forge it.

        Raises:
            DataError: The photograph or the donor cannot be read.
        """
        crop = self._crop(self.photo, "crop")
        mask = None
        if not self.pristine:
            donor = None if self.donor is None else self._crop(self.donor, "donor crop")
            rng = np.random.default_rng(derive_seed(self.seed, "forgery", self.index))
            forgery = forge(crop, rng, self.forged_as, donor=donor, strength=self.strength)
            crop, mask = forgery.image, forgery.mask
        image = Image.fromarray(crop)
        return Sample(self.id, image, label=self.label, mask=mask, group=self.photo.name, kind=self.kind)

    def _crop(self, photo: Photo, stream: str) -> NDArray[np.uint8]:
        rng = np.random.default_rng(derive_seed(self.seed, stream, self.index))
        crop = _centred_crop if KINDS[self.forged_as].portrait else _random_crop
        return crop(_read(photo.path), self.size, rng)


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
    size: int = SIDE,
    strength: float = 1.0,
) -> LazySamples:
    """Make crops of photographs that are forged inside a known mask, label `fake` (of `seam`: `real`).

    A crop is a square of 224 pixels, half of the time out of the photograph at its own size and otherwise
    out of one reduced by up to 2, mirrored half of the time; `xai.data.forgery.forge` then edits it at a
    uniformly random place. For `face_swap`, the photographs are portraits and the crop is the largest square
    about the middle. Photographs and kinds take turns; both are equally frequent where the count is a
    multiple of their product. Sample number i depends on the photograph, the kind, the seed and i alone, not
    on the count; that of a kind with a donor also on which photographs there are, since the donor is drawn
    from the others. No class balance is claimed: use `pristine` where a detector's answers to both classes
    are asked for.

    Args:
        photos: `"shipped"`, or a folder of pristine photographs, searched with its subfolders. Give each
            split a folder of its own: donors never come from outside of it.
        count: Number of forgeries.
        kinds: Kinds of edit, keys of `xai.data.forgery.KINDS`. The demo detector knows upsampling and noise.
        seed: Source of every random choice.
        pristine: Also give the untouched twin of each forgery right after it, label `real`, without a mask.
        size: Side of the crops in pixels.
        strength: How plain the traces are: see `xai.data.forgery.forge`.

    Returns:
        `count` samples, twice as many with `pristine`, made when asked for; group = the photograph.

    Raises:
        UsageError: Unknown kind, no kind, no sample wanted, one photograph and a kind with a donor, or a
            strength outside of 0 … `MAX_STRENGTH`.
        DataError: No photograph, or one that is broken or smaller than the crops.
    """
    check_kinds(count, kinds)
    sources = shipped_photos() if photos == "shipped" else _photos_below(expanded(photos))
    for path in sources.values():
        check_photo(path, size)
    recipes = plan_forgeries(sources, count, kinds, seed, pristine, size, strength)
    return LazySamples(
        [Entry(one.id, one.make, None, one.label, one.photo.name, one.kind) for one in recipes]
    )


def plan_forgeries(
    photos: Mapping[str, Path],
    count: int,
    kinds: Sequence[str],
    seed: int = 0,
    pristine: bool = False,
    size: int = SIDE,
    strength: float = 1.0,
) -> list[Recipe]:
    """Recipes of `forged_samples`, of photographs by name; none of them is looked at.

    Raises:
        UsageError: As `forged_samples`.
    """
    check_kinds(count, kinds)
    if not 0 < strength <= MAX_STRENGTH:
        raise UsageError(
            f"strength={strength}: it must be above 0 and at most {MAX_STRENGTH:g}.",
            "1 is as the kinds are described.",
        )
    sources = [Photo(name, path) for name, path in photos.items()]
    needy = [kind for kind in kinds if KINDS[kind].needs_donor]
    if needy and len(sources) < 2:
        raise UsageError(
            f"{', '.join(needy)}: the content comes from another photograph, and there is only one.",
            "Give at least two photographs, or leave this kind out.",
        )
    recipes = []
    for index in range(count):
        turn, place = divmod(index, len(sources))
        photo, kind = sources[place], kinds[(place + turn) % len(kinds)]
        donor = None
        if KINDS[kind].needs_donor:
            others = np.random.default_rng(derive_seed(seed, "donor", index))
            donor = sources[(place + 1 + int(others.integers(len(sources) - 1))) % len(sources)]
        twins = (False, True) if pristine else (False,)
        recipes += [Recipe(photo, kind, seed, index, size, donor, twin, strength) for twin in twins]
    return recipes


def check_kinds(count: int, kinds: Sequence[str]) -> None:
    """Object to what cannot be planned.

    Raises:
        UsageError: Unknown kind, no kind, or no sample wanted.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"Unknown kind of forgery {kind!r}.", nearest(str(kind), KINDS))
    if not kinds or count < 1:
        raise UsageError(f"{count} forgeries of {len(kinds)} kinds: at least one of each is needed.")


def check_photo(path: Path, size: int = SIDE) -> None:
    """Look at a photograph's header: what cannot be read is an error before any work is done.

    Raises:
        DataError: Not an image, or smaller than crops of `size`.
    """
    with opened(path) as image:
        extent = image.size
    if min(extent) < size:
        raise DataError(
            f"{path}: {extent[0]} × {extent[1]} pixels are too few for crops of {size} × {size}.",
            "Take it out of the folder, or ask for smaller crops.",
        )


def _random_crop(photo: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of (H, W, 3), half of the time reduced by up to 2 and half of the time mirrored."""
    scale = rng.uniform(0.5, 1) if rng.random() < 0.5 else 1.0
    side = min(round(size / scale), *photo.shape[:2])
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in photo.shape[:2])
    crop = photo[top : top + side, left : left + side]
    if side > size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), _FILTERS[rng.integers(3)]))
    return _mirrored(crop, rng)


def _centred_crop(photo: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The largest square about the middle of (H, W, 3) in the wanted size, half of the time mirrored."""
    side = min(photo.shape[:2])
    top, left = ((extent - side) // 2 for extent in photo.shape[:2])
    crop = Image.fromarray(photo[top : top + side, left : left + side])
    return _mirrored(np.asarray(crop.resize((size, size), Image.Resampling.LANCZOS)), rng)


def _mirrored(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


@lru_cache(maxsize=2)
def _read(path: Path) -> NDArray[np.uint8]:
    """Pixels of a photograph; the last two are kept, host and donor: the twin asks for the host next."""
    return np.asarray(read_image(path))


def _photos_below(folder: Path) -> dict[str, Path]:
    if not is_folder(folder):
        raise DataError(
            f"{folder}: no such folder of photographs.", "'shipped' stands for the package's own."
        )
    found = find_images([folder])
    paths = [path for path in found if fault_of(path) is None and path.suffix.lower() in SUFFIXES]
    if not paths:
        raise DataError(f"{folder}: no photograph in this folder.")
    return {name: path for path, name in unique_stems(paths).items()}
