"""Pictures for the repository, of photographs and maps: JPEG, a third of a PNG's bytes, colours kept smooth.

python benchmarks/pictures.py PICTURE.png …   # writes PICTURE.jpg beside each
"""

import sys
from pathlib import Path

from PIL import Image

QUALITY = 92


def to_jpeg(path: Path, target: Path | None = None) -> Path:
    """Write a picture on a white ground as JPEG; without a target, beside it."""
    target = target or path.with_suffix(".jpg")
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    picture.save(target, quality=QUALITY, subsampling=0, optimize=True)  # text keeps its colour edges
    return target


if __name__ == "__main__":
    for name in sys.argv[1:]:
        to_jpeg(Path(name))
