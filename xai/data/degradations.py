"""What happens to pictures on their way: JPEG, resizing, being uploaded and saved again. PIL in, PIL out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image

from xai.core import DataError, Sample, derive_seed
from xai.data.affine import read_through

Kind = Literal["jpeg", "resize", "upload", "noise"]

UPLOAD_SIDE, UPLOAD_QUALITY, UPLOADS = 1080, 75, 2  # pixels of the longer side, JPEG, how often


@dataclass(frozen=True)
class Degradation:
    """One way in which a picture gets worse; size and place of what it shows stay.

    Args:
        name: Unique, as tables of data have it.
        kind: jpeg (saved and read), resize (made smaller and larger again), upload, or noise.
        level: Quality of the JPEG, share of the side, standard deviation in grey levels; of an upload 0.
        apply: RGB image to RGB image of the same size.
    """

    name: str
    kind: Kind
    level: float
    apply: Callable[[Image.Image], Image.Image]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Saved as JPEG with colours at half resolution (4:2:0), as cameras and sites do, and read again.

    Raises:
        DataError: JPEG cannot hold it: a side has more than 65500 pixels.
    """
    file = BytesIO()
    try:
        image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    except (OSError, ValueError) as error:
        width, height = image.size
        raise DataError(f"{width} × {height} pixels cannot be saved as JPEG: {error}.") from None
    return Image.open(file).convert("RGB")


def resize(image: Image.Image, share: float) -> Image.Image:
    """Made smaller by a share of its sides and enlarged again, bicubic."""
    small = max(1, round(image.width * share)), max(1, round(image.height * share))
    return image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)


def upload(image: Image.Image) -> Image.Image:
    """What sites and messengers do, and no one of them in particular: twice, at most 1080 pixels and JPEG 75.

    The longer side is brought to 1080 pixels if it is longer (Lanczos), and the picture is saved as JPEG 75
    with colours at half resolution; then that once more. In the end it is enlarged to its own size again.
    """
    size, factor = image.size, min(1.0, UPLOAD_SIDE / max(image.size))
    small = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    for _ in range(UPLOADS):
        reduced = image if image.size == small else image.resize(small, Image.Resampling.LANCZOS)
        image = jpeg(reduced, UPLOAD_QUALITY)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def noise(image: Image.Image, std: float) -> Image.Image:
    """With the grain of a camera: normal, independent in pixels and channels, the same for the same picture.

    Args:
        image: RGB.
        std: Standard deviation in grey levels of 255.
    """
    seed = derive_seed(0, "noise", sha256(image.tobytes()).hexdigest())
    grain = np.random.default_rng(seed).normal(scale=std, size=(image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + grain).round().clip(0, 255).astype(np.uint8))


LADDER: tuple[Degradation, ...] = (
    *(Degradation(f"jpeg-{q}", "jpeg", q, partial(jpeg, quality=q)) for q in (95, 90, 80, 70, 60, 50)),
    *(Degradation(f"resize-{s:g}", "resize", s, partial(resize, share=s)) for s in (0.75, 0.5, 0.25)),
    Degradation("upload", "upload", 0, upload),
)
"""From the mildest to the harshest of each kind: what `xai robustness` asks."""
NOISE: tuple[Degradation, ...] = tuple(
    Degradation(f"noise-{std}", "noise", std, partial(noise, std=std)) for std in (2, 4, 8)
)
"""What the benchmark's checks ask besides."""


def levels(kind: Kind) -> tuple[Degradation, ...]:
    """All degradations of a kind, mildest first."""
    return tuple(one for one in (*LADDER, *NOISE) if one.kind == kind)


def degraded(sample: Sample, degradation: Degradation) -> Sample:
    """The sample as if its picture had gone through this before it came here.

    Of a face cut out of a photograph the photograph is degraded, and the face cut out at the same place. A
    crop without its photograph is degraded itself.
    """
    origin = sample.origin
    if origin is None or origin.image is sample.image:
        return replace(sample, image=degradation.apply(sample.image))
    whole = degradation.apply(origin.image)
    image = read_through(whole, origin.to_crop, sample.image.size)
    return replace(sample, image=image, origin=replace(origin, image=whole))
