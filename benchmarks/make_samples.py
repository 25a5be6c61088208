"""Write the sample images: pristine crops of public domain photographs, forged twins and their masks.

    python benchmarks/make_samples.py --photos / --out xai/data/samples

The photographs are held out from the training of the demo detector. Each crop is reduced to a short side of
224 pixels before it is forged, so that the detector's preprocessing crops it but doesn't resample it.
The places and seeds were picked by hand and search as clear examples; they measure nothing.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.demo_photos import gather
from xai.data.forgery import forge, outline_alpha


@dataclass(frozen=True)
class Sample:
    """One pair: where it is cut from its photograph, and what is forged in it.

    Attributes:
        name: stem of the files.
        photo: name in the catalogue of photographs.
        box: left, top, right, bottom of the crop, in pixels of the photograph.
        size: width and height of the sample in pixels.
        centre: centre (x, y) of the forged ellipse, in pixels of the sample.
        radii: half axes (x, y) of the ellipse in pixels.
        kind: kind of the forgery.
        seed: seed of the forgery.
        credit: subject, author and origin.
        licence: licence of the photograph.
    """

    name: str
    photo: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    centre: tuple[float, float]
    radii: tuple[float, float]
    kind: str
    seed: int
    credit: str
    licence: str


SAMPLES = (
    Sample(
        "astronaut",
        "scikit-image/astronaut",
        (40, 0, 490, 337),
        (299, 224),
        (93, 180),
        (36, 34),
        "upsampling",
        2,
        "Eileen Collins, NASA, as shipped by scikit-image",
        "public domain",
    ),
    Sample(
        "cat",
        "scikit-image/chelsea",
        (0, 0, 451, 300),
        (336, 224),
        (128, 87),
        (42, 34),
        "upsampling",
        2,
        "Chelsea the cat, Stefan van der Walt, as shipped by scikit-image",
        "CC0-1.0",
    ),
    Sample(
        "coffee",
        "scikit-image/coffee",
        (102, 64, 538, 354),
        (336, 224),
        (154, 103),
        (39, 42),
        "noise",
        63,
        "Coffee cup, Rachel Michetti (Pikolo Espresso Bar), as shipped by scikit-image",
        "CC0-1.0",
    ),
    Sample(
        "parrot",
        "plasma-workspace-data/Parrot",
        (33, 46, 376, 490),
        (224, 290),
        (173, 181),
        (42, 31),
        "noise",
        44,
        "Parrot avatar of KDE Plasma, from CC0 photo sites, as shipped by Debian's plasma-workspace-data",
        "CC0-1.0",
    ),
    Sample(
        "owl",
        "plasma-workspace-data/Owl",
        (119, 96, 506, 483),
        (224, 224),
        (80, 169),
        (39, 31),
        "upsampling",
        76,
        "Owl avatar of KDE Plasma, from CC0 photo sites, as shipped by Debian's plasma-workspace-data",
        "CC0-1.0",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[Path("/")], help="roots of the Debian packages"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    photos = gather(args.photos, True, 1)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    rows = []
    for sample in SAMPLES:
        left, top, right, bottom = sample.box
        crop = Image.fromarray(photos[sample.photo][top:bottom, left:right])
        image = np.asarray(crop.resize(sample.size, Image.Resampling.LANCZOS))
        outline = np.stack([sample.radii[0] * np.cos(angle), sample.radii[1] * np.sin(angle)], axis=1)
        area = np.pi * sample.radii[0] * sample.radii[1] / image[..., 0].size
        alpha = outline_alpha(image.shape[:2], outline, sample.centre, area, softness=2)
        forgery = forge(image, np.random.default_rng(sample.seed), sample.kind, alpha)
        real, fake, mask = (f"{sample.name}_{part}.png" for part in ("real", "fake", "mask"))
        Image.fromarray(image).save(args.out / real, optimize=True)
        Image.fromarray(forgery.image).save(args.out / fake, optimize=True)
        Image.fromarray(forgery.mask).save(args.out / mask, optimize=True)
        forged = f"{sample.credit}; forged inside the mask ({sample.kind})"
        rows += [
            (real, "real", "", sample.credit, sample.licence),
            (fake, "fake", mask, forged, sample.licence),
        ]
    with (args.out / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "label", "mask", "source", "licence"))
        writer.writerows(rows)
    lines = [f"| `{s.name}_*.png` | {s.credit} | {s.licence} | {s.kind} |" for s in SAMPLES]
    text = [
        "# Sample images",
        "",
        "Crops of photographs that are free of copyright, held out from the training of the demo detector.",
        "`*_real.png` is pristine (cropped and reduced), `*_fake.png` is forged inside `*_mask.png` by",
        "`xai.data.forgery`. Written by `python benchmarks/make_samples.py`; `manifest.csv` lists the files.",
        "",
        "They are picked examples, not a test set: in four of them gradient-weighted attention points into",
        "the mask; in `cat_fake.png` the detector is sure of the forgery and the map still points elsewhere.",
        "",
        "| files | photograph | licence | forgery |",
        "| --- | --- | --- | --- |",
        *lines,
    ]
    (args.out / "ATTRIBUTION.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
