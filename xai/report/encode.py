"""Arrays, pictures and scripts as text that fits into JSON and into pages."""

import gzip
import json
from base64 import b64decode, b64encode
from hashlib import sha256
from io import BytesIO
from math import isfinite
from typing import Any

import numpy as np
from PIL import Image as Pillow

from xai.core import DataError
from xai.core.map_statistics import relative_range
from xai.report.image_payload import Grid, Stack

QUALITY = 72
INT8, INT16 = 127, 32767


def finite(value: float) -> float | None:
    """The number; None for NaN and infinity, which JSON does not have."""
    return float(value) if isfinite(value) else None


def pack(content: Any) -> str:
    """JSON (or text) as base64 of gzip; equal content gives equal text."""
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def unpack(packed: str) -> str:
    """The text that was packed."""
    return gzip.decompress(b64decode(packed, validate=True)).decode()


def inline(script: str) -> str:
    """A script that may stand inside of an HTML file; its hash is of what the parser hands on."""
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def digest(text: str) -> str:
    """Of a script or style, as a Content Security Policy states it."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def encode_grid(values: np.ndarray) -> Grid:
    """A (rows, cols) map with 1/32767 of its largest value as the smallest step.

    Raises:
        DataError: NaN or infinity.
    """
    limit, codes = _quantise(values, INT16, "<i2")
    rows, cols = values.shape
    return Grid(rows=rows, cols=cols, limit=limit, values=codes, relative_range=relative_range(values))


def encode_stack(products: np.ndarray) -> Stack:
    """(layers, heads, rows, cols) products with 1/127 of the largest value as the smallest step.

    Raises:
        DataError: NaN or infinity.
    """
    limit, codes = _quantise(products, INT8, "i1")
    layers, heads, rows, cols = products.shape
    return Stack(layers=layers, heads=heads, rows=rows, cols=cols, limit=limit, values=codes)


def encode_order(order: np.ndarray) -> str:
    """A permutation of at most 65536 units."""
    return _base64(np.asarray(order).astype("<u2").tobytes())


def encode_picture(image: Pillow.Image, longest: int) -> str:
    """An image as WebP, no side longer than `longest`."""
    small = image.convert("RGB")
    small.thumbnail((longest, longest), Pillow.Resampling.BICUBIC, reducing_gap=3.0)
    return _data_uri(small, "webp", quality=QUALITY, method=4)


def encode_pixels(pixels: np.ndarray) -> str:
    """(rows, cols, 3) uint8 as a PNG of as many pixels."""
    return _data_uri(Pillow.fromarray(pixels), "png", optimize=True)


def encode_mask(
    mask: np.ndarray, size: tuple[int, int], view: tuple[float, float, float, float] | None = None
) -> str:
    """A (H, W) bool mask as a PNG of black and white.

    Args:
        mask: True is white.
        size: (width, height) of the picture.
        view: (left, top, right, bottom) to show, in pixels of the mask; None for all of it.
    """
    picture = Pillow.fromarray(mask.astype(np.uint8) * 255).resize(size, Pillow.Resampling.BOX, view)
    return _data_uri(
        picture.point([255 * (value >= 128) for value in range(256)]).convert("1"), "png", optimize=True
    )


def _quantise(values: np.ndarray, steps: int, kind: str) -> tuple[float, str]:
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            "A relevance map holds NaN or infinity and cannot be drawn.",
            "Check the model's weights; try dtype float32 if it ran in half precision.",
        )
    limit = float(np.abs(values).max(initial=0.0))
    codes = np.rint(values / (limit or 1.0) * steps).astype(kind)
    return limit, _base64(codes.tobytes())


def _data_uri(image: Pillow.Image, kind: str, **options: object) -> str:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{_base64(buffer.getvalue())}"


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
