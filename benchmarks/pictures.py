"""Pictures for the repository as WebP, less than half the bytes of a JPEG that looks the same.

python benchmarks/pictures.py PICTURE.png …   # writes PICTURE.webp beside each
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

QUALITY = 65


def to_webp(path: Path, target: Path | None = None) -> Path:
    """Write a picture on a white ground as WebP; without a target, beside it.

    Without loss where that takes fewer bytes, as of a chart's few colours.
    """
    target = target or path.with_suffix(".webp")
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    lossy = _webp(picture, quality=QUALITY, use_sharp_yuv=True)  # coloured text keeps its edges
    target.write_bytes(min(lossy, _webp(picture, quality=100, lossless=True), key=len))
    return target


def _webp(picture: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "WEBP", method=6, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        to_webp(Path(name))
