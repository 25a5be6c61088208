"""The photographs that the demo detector is trained and judged on: where they are from, how they are split.

All of them ship inside packages that anybody can install: the wheels of scikit-image, scikit-learn and
matplotlib, and Debian packages of wallpapers, avatars, puzzles and drawing templates. Nothing is downloaded.

    python benchmarks/demo_photos.py --photos /          # where the Debian packages are installed
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHORT_SIDE = 1000
"""Photographs with a longer short side, in pixels, are reduced to it: few are sharp at their full size."""


@dataclass(frozen=True)
class Photo:
    """A photograph of the catalogue; `path` is relative to the wheels' folder or the file system's root."""

    package: str
    path: str
    licence: str
    held_out: bool

    @property
    def name(self) -> str:
        """Name that is unique in the catalogue, such as `mate-backgrounds/Dune`."""
        path = Path(self.path)
        stem = (
            path.parents[2].name if path.parent.name == "images" and "contents" in path.parts else path.stem
        )
        return f"{self.package}/{stem}"


# package, licence, folder, suffix, training photographs, held-out photographs
_SOURCES = (
    (
        "scikit-image",
        "public domain",
        "skimage/data",
        "",
        "hubble_deep_field.jpg",
        "astronaut.png rocket.jpg",
    ),
    (
        "scikit-image",
        "CC0-1.0 or no known restriction",
        "skimage/data",
        "",
        "camera.png coins.png grass.png gravel.png brick.png retina.jpg motorcycle_left.png",
        "chelsea.png coffee.png",
    ),
    ("scikit-learn", "CC-BY-2.0", "sklearn/datasets/images", "", "flower.jpg", "china.jpg"),
    ("matplotlib", "public domain", "matplotlib/mpl-data/sample_data", "", "grace_hopper.jpg", ""),
    (
        "plasma-workspace-data",
        "CC0-1.0",
        "usr/share/plasma/avatars/photos",
        ".png",
        "Astronaut Books Brushes Bulb Car Chameleon Cocktail Fish Gamepad Pancakes Pencils Shuttle Soccer "
        "Sunflower",
        "Air_Balloon Cat Dog Owl Parrot Sushi",
    ),
    (
        "plasma-workspace-wallpapers",
        "GPL-2+ (package), LGPL-3 (metadata)",
        "usr/share/wallpapers",
        "/contents/images/2560x1600.jpg",
        "BytheWater ColdRipple ColorfulCups DarkestHour Grey Kite OneStandsOut Path summer_1am",
        "EveningGlow FallenLeaf",
    ),
    (
        "palapeli-data",
        "GPL-2+ (package), public domain or GFDL (metadata)",
        "usr/share/palapeli/collection",
        ".jpg",
        "cincinnati-bridge citrus-fruits panther-chameleon-female",
        "castle-maintenon european-honey-bee",
    ),
    (
        "mate-backgrounds",
        "GPL-2+",
        "usr/share/backgrounds/mate/nature",
        ".jpg",
        "Aqua Blinds FreshFlower Garden GreenMeadow LadyBird Storm TwoWings Wood YellowFlower",
        "Dune RainDrops",
    ),
    (
        "lxqt-themes",
        "LGPL-2.1+",
        "usr/share/lxqt/wallpapers",
        "",
        "Butterfly-Kenneth-Wimer.jpg Valendas.png after-the-rain.jpg appleflower.png beam.png butterfly.png "
        "cloud.png drop.png fog.jpg",
        "flowers.png this-is-not-windows.jpg",
    ),
    (
        "lomiri-wallpapers-16.04",
        "CC-BY-4.0, CC-BY-SA-4.0 or CC0-1.0",
        "usr/share/backgrounds",
        ".jpg",
        "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_1A_by_freespace Wine_by_Jakkub_Mede "
        "aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich friends_by_Aitzol_Berasategi "
        "greentock_by_Peter_Nerlich life_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt "
        "sunset_by_Aitzol_Berasategi",
        "Picture_0B_by_freespace picosdeeuropa_by_Aitzol_Berasategi",
    ),
    (
        "lomiri-wallpapers-20.04",
        "CC-BY-SA-3.0",
        "usr/share/backgrounds",
        ".jpg",
        "Kleiber_by_Lukas_Baubkus",
        "",
    ),
    (
        "tuxpaint-data",
        "GPL-2+",
        "usr/share/tuxpaint/templates",
        ".jpg",
        "burnt_bark cliff corn_maze jellyfish mossy_bark mudstone ocean_splash ocean_waves redwoods_above "
        "sheep spiders_web sun_behind_clouds sun_behind_leaves trees_above trees_at_dusk",
        "lighthouse mossy_log rocks wool_mill_machine",
    ),
)

WHEELS = {"scikit-image": "skimage", "scikit-learn": "sklearn", "matplotlib": "matplotlib"}
"""Packages of the catalogue that are Python wheels, and what they are imported as."""

CATALOGUE = tuple(
    Photo(package, f"{folder}/{name.replace('Air_Balloon', 'Air Balloon')}{suffix}", licence, held_out)
    for package, licence, folder, suffix, training, held in _SOURCES
    for names, held_out in ((training, False), (held, True))
    for name in names.split()
)
"""Every photograph, each either for training or held out."""


def find(photo: Photo, roots: list[Path]) -> Path | None:
    """Path of a photograph in the wheels or under the roots, or None where it is not installed."""
    if photo.package in WHEELS:
        spec = importlib.util.find_spec(WHEELS[photo.package])
        roots = [Path(spec.origin).parents[1]] if spec and spec.origin else []
    return next((root / photo.path for root in roots if (root / photo.path).is_file()), None)


def load(path: Path) -> NDArray[np.uint8]:
    """Read a photograph, uint8 of shape (H, W, 3), its short side at most `SHORT_SIDE` pixels."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)


def gather(roots: list[Path], held_out: bool, short_side: int) -> dict[str, NDArray[np.uint8]]:
    """Read one part of the split, by name; what is missing or smaller is reported and left out."""
    photos = {}
    for photo in CATALOGUE:
        if photo.held_out != held_out:
            continue
        path = find(photo, roots)
        image = load(path) if path else None
        if image is None or min(image.shape[:2]) < short_side:
            print(f"left out: {photo.name} ({'not installed' if image is None else image.shape})")
        else:
            photos[photo.name] = image
    return photos


def main() -> None:
    parser = argparse.ArgumentParser(description="List the photographs, their licences and their split.")
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[Path("/")], help="roots of the Debian packages"
    )
    roots = parser.parse_args().photos
    for photo in CATALOGUE:
        split = "held out" if photo.held_out else "training"
        print(f"{photo.name}\t{split}\t{photo.licence}\t{find(photo, roots) or 'not installed'}")


if __name__ == "__main__":
    main()
