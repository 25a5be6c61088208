"""A picture as a value: what stands where, in inches; turned into pixels when it is shown or saved.

Drawn with numpy and Pillow; what is no layer is grey on white.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import numpy as np
from PIL import Image

from xai.core.runtime import __version__
from xai.report.glyphs import ink_of
from xai.report.text import POINTS

INK, GREY, HAIRLINE = "#1a1a1a", "#555555", "#8a8a8a"
WHITE, HAIRLINE_GREY = 255, 0x8A
THIN = 0.5  # points: the width of a hairline
CAP = 0.76  # height of an `l` over its line, in font sizes
SOFTWARE = f"xai {__version__}"
SHARES = {"left": 0.0, "center": 0.5, "right": 1.0}  # of a line's width that lies left of its place

Size = tuple[int, int]
Edges = tuple[int, int, int, int]  # left, top, right, bottom in pixels

ROWS = 64  # filtered and compressed at once: few enough to stay in the processor's cache
LEVEL = 2  # of zlib: see reports/speed/drawing.md
UP = 2  # the filter's number in the standard
INCH = 0.0254  # metres


@dataclass(frozen=True)
class Layer:
    """An image that is drawn at the size at which it is shown.

    Args:
        size: (width, height) in pixels at which it is sharpest.
        draw: Makes (height, width, 3) uint8 RGB of a (width, height).
    """

    size: Size
    draw: Callable[[Size], np.ndarray]

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Layer":
        """Of (height, width, 3) uint8 pixels, resampled where they are shown at another size."""
        own = pixels.shape[1], pixels.shape[0]

        def draw(size: Size) -> np.ndarray:
            if size == own:
                return pixels
            return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))

        return cls(own, draw)


@dataclass(frozen=True)
class Placed:
    """A layer and the rectangle it fills, in inches; `framed` with a hairline."""

    layer: Layer
    x: float
    y: float
    width: float
    height: float
    framed: bool = True


@dataclass(frozen=True)
class Label:
    """A white rectangle with a hairline around it, over the layers."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class TextLine:
    """One line of text in grey; `y` is its upper edge, `size` in points."""

    text: str
    x: float
    y: float
    size: float
    bold: bool
    colour: str
    align: str


@dataclass(frozen=True)
class Picture:
    """A page of layers and words. Save it with `xai.report.save`; a notebook shows it.

    Args:
        width: In inches.
        height: In inches.
        dpi: Dots per inch at which its layers are drawn pixel by pixel.
        layers: Images.
        labels: Grounds of words that stand on layers.
        lines: Words.
    """

    width: float
    height: float
    dpi: float
    layers: tuple[Placed, ...]
    labels: tuple[Label, ...]
    lines: tuple[TextLine, ...]

    @property
    def size(self) -> Size:
        """(width, height) in pixels, at its own resolution."""
        return self._size(self.dpi)

    def pixels(self, dpi: float | None = None) -> np.ndarray:
        """(height, width, 3) uint8 RGB, at another resolution than its own if one is given."""
        dpi = dpi or self.dpi
        width, height = self._size(dpi)
        hairline = max(1, round(THIN * dpi / POINTS))
        page = np.full((height, width, 3), WHITE, np.uint8)
        for placed in self.layers:
            area = page[_slices(edges(placed, dpi))]
            area[:] = placed.layer.draw((area.shape[1], area.shape[0]))
            if placed.framed:
                _frame(area, hairline)
        for label in self.labels:
            area = page[_slices(edges(label, dpi))]
            area[:] = WHITE
            _frame(area, hairline)
        for line in self.lines:
            _write(page, line, dpi)
        return page

    def png(self, dpi: float | None = None) -> bytes:
        """A PNG file that says its resolution and what made it."""
        file = BytesIO()
        write_png(file, self.pixels(dpi), dpi or self.dpi, SOFTWARE)
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()

    def _size(self, dpi: float) -> Size:
        # as matplotlib rounds them, but for what floating point leaves of a whole pixel
        return max(1, int(self.width * dpi + 1e-6)), max(1, int(self.height * dpi + 1e-6))


def edges(area: Placed | Label, dpi: float) -> Edges:
    """Whole pixels; areas of one size cover equally many wherever they stand."""
    left, top = round(area.x * dpi), round(area.y * dpi)
    return left, top, left + max(1, round(area.width * dpi)), top + max(1, round(area.height * dpi))


def extent(line: TextLine, dpi: float) -> Edges:
    """Where the ink of a line lies."""
    pixels = line.size * dpi / POINTS
    ink = ink_of(line.text, pixels, line.bold)
    left = round(line.x * dpi - SHARES[line.align] * ink.width) + ink.left
    top = round(line.y * dpi + CAP * pixels) + ink.top
    return left, top, left + ink.mask.shape[1], top + ink.mask.shape[0]


def _frame(area: np.ndarray, hairline: int) -> None:
    """Draw a hairline along the edges."""
    area[:hairline] = area[-hairline:] = area[:, :hairline] = area[:, -hairline:] = HAIRLINE_GREY


def _write(page: np.ndarray, line: TextLine, dpi: float) -> None:
    mask = ink_of(line.text, line.size * dpi / POINTS, line.bold).mask
    left, top, right, bottom = extent(line, dpi)
    outside = max(-left, 0), max(-top, 0)
    area = page[_slices((left + outside[0], top + outside[1], right, bottom))]
    shown = mask[outside[1] :, outside[0] :][: area.shape[0], : area.shape[1]]
    shades = WHITE - np.arange(256) * (WHITE - int(line.colour[1:3], 16)) / 255 + 0.5
    np.minimum(area, shades.astype(np.uint8)[shown][..., None], out=area)


def _slices(area: Edges) -> tuple[slice, slice]:
    left, top, right, bottom = area
    return slice(top, bottom), slice(left, right)


def write_png(file: IO[bytes], pixels: np.ndarray, dpi: float, software: str) -> None:
    """Write (height, width, 3) uint8 RGB as a PNG (ISO/IEC 15948), with its resolution and what made it."""
    height, width = pixels.shape[:2]
    per_metre = round(dpi / INCH)
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    _chunk(file, b"tEXt", b"Software\0" + software.encode("latin-1"))
    _chunk(file, b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
    packer = zlib.compressobj(LEVEL)
    for rows in _filtered(pixels.reshape(height, width * 3)):
        if packed := packer.compress(rows):
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _filtered(rows: np.ndarray) -> Iterator[bytes]:
    """Rows of bytes as what each differs by from the one above it."""
    above = np.zeros((1, rows.shape[1]), np.uint8)
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        out = np.full((len(block), 1 + rows.shape[1]), UP, np.uint8)
        np.subtract(block[0], above, out=out[:1, 1:])
        np.subtract(block[1:], block[:-1], out=out[1:, 1:])
        above = block[-1]
        yield out.tobytes()


def _chunk(file: IO[bytes], kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind)
    file.write(content)
    file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
