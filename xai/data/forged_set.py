"""A folder of forgeries: `images/`, `masks/`, `manifest.csv`, and `forgeries.json` with the settings."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from xai.core import DataError, UsageError, valid_text
from xai.core.files import only_writer, write_bytes
from xai.core.runtime import SAME_NUMBERS
from xai.data.find import find_images, unique_stems
from xai.data.forgeries import PHOTOS, Recipe, check_photo, shipped_photos
from xai.data.manifest import Row, manifest_csv

SCHEMA = "xai.forgeries/1"
RECORD = "forgeries.json"
MANIFEST = "manifest.csv"
ATTRIBUTION = "ATTRIBUTION.md"


def gather_photos(
    patterns: Sequence[str], size: int, exclude: Path | None = None
) -> tuple[dict[str, Path], list[DataError]]:
    """The photographs that files, folders and globs stand for, by name, and what is wrong with the others.

    Args:
        patterns: The word `shipped` stands for the package's own; `./shipped` is a folder of that name.
        size: Side of the crops in pixels; a smaller photograph is an error.
        exclude: A folder that is not searched.
    """
    shipped = [str(path) for path in shipped_photos().values()]
    expanded = [one for pattern in patterns for one in (shipped if pattern == "shipped" else [pattern])]
    paths, errors = [], []
    for path in find_images(expanded, exclude):
        try:
            check_photo(path, size)
            paths.append(path)
        except DataError as error:
            errors.append(error)
    return {valid_text(name): path for path, name in unique_stems(paths).items()}, errors


@dataclass(frozen=True)
class ForgedSet:
    """Which files the recipes become, and what is said of them.

    Args:
        out: The folder.
        photos: Photographs by name.
        recipes: What is made of them.
        settings: What the caller chose, for the record.
    """

    out: Path
    photos: Mapping[str, Path]
    recipes: Sequence[Recipe]
    settings: Mapping[str, Any]

    @property
    def manifest(self) -> Path:
        """Written last: it is there once all is done."""
        return self.out / MANIFEST

    @property
    def licences(self) -> Path | None:
        """Who made the shipped photographs, to be passed on with what is made of them; None without such."""
        return PHOTOS / ATTRIBUTION if any(path.parent == PHOTOS for path in self.photos.values()) else None

    def image(self, recipe: Recipe) -> Path:
        """Where its image belongs."""
        return self.out / "images" / f"{recipe.id}.png"

    def mask(self, recipe: Recipe) -> Path | None:
        """Where its mask belongs; None for a pristine twin."""
        return None if recipe.pristine else self.out / "masks" / f"{recipe.id}.png"

    def is_done(self, recipe: Recipe) -> bool:
        """Whether its files are there."""
        return all(path is None or path.is_file() for path in (self.image(recipe), self.mask(recipe)))

    def missing(self) -> list[Recipe]:
        """Recipes whose files are not there, those of one photograph together, so that it is decoded once."""
        left = [one for one in self.recipes if not self.is_done(one)]
        return sorted(left, key=lambda one: one.photo.name)

    def write(self, step: Callable[[], object] = lambda: None) -> list[DataError]:
        """Write what is missing: settings and licences first, then images and masks, the manifest last.

        Args:
            step: Called after each of `missing()`.

        Returns:
            What is wrong with photographs, each once; all that they are no part of is written.

        Raises:
            UsageError: The folder holds something else, see `check_folder`, or another process writes it.
            OutputError: The disk objects.
        """
        record = self.record()
        failures: dict[str, DataError] = {}
        self.check_folder(record)  # before anything, the lock too, is put there
        with only_writer(self.out):
            self.check_folder(record)
            text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
            write_bytes(self.out / RECORD, valid_text(text).encode())
            if self.licences is not None:
                write_bytes(self.out / ATTRIBUTION, self.licences.read_bytes())
            for recipe in self.missing():
                try:
                    files = self.files(recipe)
                except DataError as error:
                    failures.setdefault(str(error), error)
                else:
                    for path, content in files.items():
                        write_bytes(path, content)
                step()
            if any(map(self.is_done, self.recipes)):
                write_bytes(self.manifest, self.manifest_text().encode())
        return list(failures.values())

    def files(self, recipe: Recipe) -> dict[Path, bytes]:
        """Its image and its mask (grey, 255 inside) as PNG, which loses nothing.

        Raises:
            DataError: A photograph cannot be read.
        """
        sample = recipe.make()
        files = {self.image(recipe): _png(sample.image)}
        if (path := self.mask(recipe)) is not None and sample.mask is not None:
            files[path] = _png(Image.fromarray(sample.mask.astype(np.uint8) * np.uint8(255)))
        return files

    def record(self) -> dict[str, Any]:
        """What decides every byte of the images: settings, photographs, versions; then the images one by one.

        Raises:
            DataError: A photograph cannot be read.
        """
        return {
            "schema": SCHEMA,
            "settings": dict(self.settings),
            "photographs": {
                name: {"file": valid_text(path.name), "sha256": _digest(path)}
                for name, path in self.photos.items()
            },
            "versions": {"xai": SAME_NUMBERS, "numpy": np.__version__, "pillow": PIL.__version__},
            "images": [
                {
                    "id": one.id,
                    "kind": one.kind,
                    "label": one.label,
                    "photograph": one.photo.name,
                    "donor": None if one.donor is None or one.pristine else one.donor.name,
                }
                for one in self.recipes
            ],
        }

    def check_folder(self, record: Mapping[str, Any]) -> None:
        """Let nothing of other settings stand beside what will be written.

        Raises:
            UsageError: The folder holds forgeries of other settings, or files that are none.
        """
        path = self.out / RECORD
        if not path.exists():
            if self.out.exists() and any(not one.name.startswith(".") for one in self.out.iterdir()):
                raise UsageError(f"{self.out} is not empty, and holds no {RECORD}.", "Choose another folder.")
            return
        try:
            there = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}.", "Choose another folder.") from None
        for part in ("schema", "settings", "photographs", "versions"):
            before, now = (one.get(part) if isinstance(one, dict) else None for one in (there, record))
            if before != now:
                raise UsageError(
                    f"{self.out} holds forgeries of other {part}{_first_difference(before, now)}.",
                    "Choose another folder, or delete this one.",
                )

    def manifest_text(self) -> str:
        """The manifest of the recipes whose files are there."""
        rows = [
            Row(self.image(one), one.label, self.mask(one), one.photo.name, one.kind)
            for one in self.recipes
            if self.is_done(one)
        ]
        return manifest_csv(rows, self.out)


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", compress_level=4)  # 1.7 times as fast as the default for 1 % more bytes
    return file.getvalue()


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.") from None


def _first_difference(before: object, now: object) -> str:
    """`: size 224 there, 256 here`, where both are mappings."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return ""
    for key in (*now, *before):
        if before.get(key) != now.get(key):
            return f": {key} {_short(before.get(key))} there, {_short(now.get(key))} here"
    return ""


def _short(value: object) -> str:
    if isinstance(value, dict):  # a photograph
        return f"{str(value.get('sha256'))[:8]}…"
    return (
        "absent" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    )
