"""A picture as a value: what stands where, in inches; turned into pixels when it is shown or saved.

Drawn with numpy and Pillow; what is no layer is grey on white.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from xai.core.runtime import __version__
from xai.report.glyphs import ink_of
from xai.report.png import write_png
from xai.report.text import POINTS

INK, GREY, HAIRLINE = "#1a1a1a", "#555555", "#8a8a8a"
WHITE, HAIRLINE_GREY = 255, 0x8A
THIN = 0.5  # points: the width of a hairline
CAP = 0.76  # height of an `l` over its line, in font sizes
SOFTWARE = f"xai {__version__}"
SHARES = {"left": 0.0, "center": 0.5, "right": 1.0}  # of a line's width that lies left of its place

Size = tuple[int, int]
Edges = tuple[int, int, int, int]  # left, top, right, bottom in pixels


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
