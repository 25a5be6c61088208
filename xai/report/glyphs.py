"""Lines of text as ink.

Plain text is set glyph by glyph at the widths of the font's design, as matplotlib does it: Pillow alone
rounds the width of every letter to a pixel. Matplotlib itself shapes lines in scripts that the base font
lacks or that do not stand one after the other from left to right.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor

import numpy as np
from PIL import Image, ImageDraw

from xai.report.text import advance, base_font, fonts_of, is_plain

PHASES = 4  # places between two pixels at which a glyph may begin
POINTS_PER_INCH = 72


@dataclass(frozen=True, eq=False)
class Ink:
    """How much ink there is in each pixel of a line or a glyph.

    Args:
        mask: (height, width) uint8.
        left: Column of the mask's first one, from where writing begins.
        top: Row of the mask's first one, from the line on which the letters stand.
        width: From where writing begins to where it would go on, in pixels.
    """

    mask: np.ndarray
    left: int
    top: int
    width: float


@lru_cache(maxsize=1024)  # most lines of a picture or chart stand in the next one too
def ink_of(text: str, size: float, bold: bool = False) -> Ink:
    """The ink of a line of text, at a font size in pixels."""
    return _set(text, size, bold) if is_plain(text) else _shaped(text, size, bold)


def _set(text: str, size: float, bold: bool) -> Ink:
    pen, placed = 0.0, []
    for character, following in pairwise(text + " "):
        if character not in " \xa0":
            column, phase = divmod(floor(pen * PHASES + 0.5), PHASES)
            placed.append((column, _glyph(character, size, bold, phase)))
        pen += (advance(character + following, bold) - advance(following, bold)) * size
    left = min((column + glyph.left for column, glyph in placed), default=0)
    right = max((column + glyph.left + glyph.mask.shape[1] for column, glyph in placed), default=0)
    top = min((glyph.top for _, glyph in placed), default=0)
    bottom = max((glyph.top + glyph.mask.shape[0] for _, glyph in placed), default=0)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for column, glyph in placed:
        row, column = glyph.top - top, column + glyph.left - left
        height, width = glyph.mask.shape
        area = mask[row : row + height, column : column + width]
        np.maximum(area, glyph.mask, out=area)
    return Ink(mask, left, top, pen)


@lru_cache(maxsize=4096)
def _glyph(character: str, size: float, bold: bool, phase: int) -> Ink:
    font = base_font(size, bold)
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    left, top, right, bottom = floor(left) - 1, floor(top) - 1, ceil(right) + 2, ceil(bottom) + 1
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((phase / PHASES - left, -top), character, 255, font, "ls")
    return Ink(np.asarray(image), left, top, 0.0)


def _shaped(text: str, size: float, bold: bool) -> Ink:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    families, weight = fonts_of(text, bold)
    font = get_font([findfont(FontProperties(family=[family], weight=weight)) for family in families])
    font.set_size(size, POINTS_PER_INCH)
    font.set_text(text)
    font.draw_glyphs_to_bitmap(antialiased=True)
    mask = np.array(font.get_image())
    left, _ = font.get_bitmap_offset()
    descent = round(font.get_descent() / 64)
    return Ink(mask, round(left / 64), descent - len(mask), font.get_width_height()[0] / 64)
