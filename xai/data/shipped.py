"""The sample images that come with the package: pristine and forged, with the forged region known."""

import csv
from pathlib import Path

import numpy as np

from xai.core import Sample
from xai.data.image import read_image

FOLDER = Path(__file__).parent / "samples"


def shipped_samples() -> list[Sample]:
    """Read the shipped images, in the order of `manifest.csv`; sources and licences are named there."""
    with (FOLDER / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Sample(
            id=Path(row["image"]).stem,
            image=read_image(FOLDER / row["image"]),
            path=FOLDER / row["image"],
            label=row["label"],
            mask=_mask(FOLDER / row["mask"]) if row["mask"] else None,
        )
        for row in rows
    ]


def _mask(path: Path) -> np.ndarray:
    return np.asarray(read_image(path).convert("L")) >= 128
