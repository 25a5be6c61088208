"""Relevance in colours, over the image at its own aspect."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image

from xai.core import Explanation, Geometry
from xai.core.explanation import CLICK_TOLERANCE
from xai.report.colours import ColourScale

SMALLEST, LARGEST = 640, 1600  # longest side drawn, in pixels
BRIGHTNESS = 0.85  # of the grey photograph: leaves room for the hot colours
GREY = np.array([0.299, 0.587, 0.114], np.float32) * np.float32(BRIGHTNESS)  # of red, green and blue
UNSEEN = 0.93  # grey of a heatmap where the model saw nothing
STRIPE = 0.85  # of the brightness in the stripes of what was not seen
MASK, BOX = (0, 255, 217), (255, 255, 255)  # colours of the outlines
ROWS = 64  # blended at once: few enough to stay in the processor's cache
ZOOM = 0.4  # a crop whose sides are all below this share of the image's is drawn enlarged
MARGIN = 0.25  # of the crop, kept around it when enlarged

View = tuple[float, float, float, float]


@dataclass(frozen=True)
class DrawnImage:
    """One explained image, or a rectangle of it, at the size it is drawn.

    All pictures are (height, width, 3) uint8 RGB.

    Args:
        explanation: The image and where the model looked.
        view: (left, top, right, bottom) to draw, in pixels of the image; None for all of it.
        longest: Longest side in pixels; smaller images are enlarged to 640 at the least.
        exactly: (width, height) to draw, whatever `longest` says.
    """

    explanation: Explanation
    view: View | None = None
    longest: int = LARGEST
    exactly: tuple[int, int] | None = None

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) drawn."""
        if self.exactly is not None:
            return self.exactly
        left, top, right, bottom = self._view
        side = max(right - left, bottom - top)
        factor = min(max(side, SMALLEST), self.longest) / side
        return max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor))

    def at(self, size: tuple[int, int]) -> "DrawnImage":
        """The same at another (width, height); made once for each."""
        if size == self.size:
            return self
        if size not in self._sizes:
            self._sizes[size] = replace(self, exactly=size)
        return self._sizes[size]

    @cached_property
    def original(self) -> np.ndarray:
        """The image in its own colours, with the outline of the crop that was explained."""
        picture = self._photo.copy()
        if self._box is not None:
            self._box.draw(picture)
        return picture

    def heatmap(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Colours of (rows, cols) relevance alone; grey and hatched where the model saw nothing."""
        picture = np.empty((*self.size[::-1], 3), np.uint8)
        if not self.sees_all:
            picture[:] = self._blank[..., None]
        picture[self._seen] = np.take(scale.heat, self._steps(values, scale), axis=0, mode="clip")
        return picture

    def overlay(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Colours of (rows, cols) relevance over the grey image, the more opaque the stronger it is.

        Dimmed and hatched where the model saw nothing; true mask, clicks and crop are outlined.
        """
        picture = np.empty((*self.size[::-1], 3), np.uint8)
        if not self.sees_all:
            picture[:] = self._dimmed[..., None]
        area, grey, steps = picture[self._seen], self._grey[self._seen], self._steps(values, scale)
        pale, paint = scale.blend
        for start in range(0, len(area), ROWS):
            rows = slice(start, start + ROWS)
            ground = pale.take(steps[rows], mode="clip") * grey[rows]
            for channel, colour in enumerate(paint):
                area[rows, :, channel] = colour.take(steps[rows], mode="clip") + ground
        for outline in (self._true_mask, self._clicked, self._box):
            if outline is not None:
                outline.draw(picture)
        return picture

    @cached_property
    def visible(self) -> np.ndarray:
        """(height, width) bool: where the model looked at all."""
        seen = np.zeros(self.size[::-1], bool)
        seen[self._seen] = True
        return seen

    @cached_property
    def sees_all(self) -> bool:
        """Whether the model looked at all that is drawn."""
        width, height = self.size
        return self._seen == (slice(0, height), slice(0, width))

    @property
    def outlined(self) -> bool:
        """Whether a crop is outlined."""
        return self.explanation.sample.box is not None

    @property
    def source(self) -> Image.Image:
        """What is drawn."""
        return self.explanation.sample.image

    @cached_property
    def _sizes(self) -> dict[tuple[int, int], "DrawnImage"]:
        return {}

    @cached_property
    def _view(self) -> View:
        return self.view or (0, 0, *self.source.size)

    @cached_property
    def _projection(self) -> Geometry:
        """Where the model looked, in pixels of the view."""
        left, top, right, bottom = self._view
        return self.explanation.geometry.within((right - left, bottom - top), (-left, -top))  # type: ignore[arg-type]

    @cached_property
    def _seen(self) -> tuple[slice, slice]:
        """The rows and the columns that the model looked at."""
        left, top, right, bottom = self._projection.box
        (width, height), (across, down) = self.size, self._projection.size
        return _inside(height, top, bottom, down), _inside(width, left, right, across)

    @cached_property
    def _blank(self) -> np.ndarray:
        """Of a heatmap's unseen area."""
        return (255 * UNSEEN * self._stripes + 0.5).astype(np.uint8)

    @cached_property
    def _dimmed(self) -> np.ndarray:
        """Of an overlay's unseen area."""
        return ((0.4 * self._grey + 0.5 * 255) * self._stripes + 0.5).astype(np.uint8)

    @cached_property
    def _stripes(self) -> np.ndarray:
        """(height, width) float32 factors: diagonal stripes."""
        width, height = self.size
        along = np.arange(width + height) % (7 * self._line) < self._line
        factors = np.where(along, np.float32(STRIPE), np.float32(1))
        return np.lib.stride_tricks.sliding_window_view(factors, width)[:height]

    def _steps(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Places in `scale.steps` of relevance where the model looked, bilinear between patch centres."""
        return scale.step(self._projection.project(values, self.size)[self._seen])

    @cached_property
    def _photo(self) -> np.ndarray:
        # reducing_gap: a cheap first step spares the filter the pixels of a huge image
        small = self.source.resize(self.size, Image.Resampling.BICUBIC, self._view, reducing_gap=3.0)
        return np.asarray(small.convert("RGB"))

    @cached_property
    def _grey(self) -> np.ndarray:
        """(height, width) float32 brightness in [0, 255 · BRIGHTNESS]."""
        return self._photo @ GREY

    @cached_property
    def _line(self) -> int:
        """Width of a line in pixels, the same share of every picture."""
        return max(1, round(max(self.size) / 240))

    @cached_property
    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the centres of the drawn rows and columns lie, in pixels of the image."""
        left, top, right, bottom = self._view
        width, height = self.size
        rows = top + (np.arange(height) + 0.5) * (bottom - top) / height
        cols = left + (np.arange(width) + 0.5) * (right - left) / width
        return rows, cols

    @cached_property
    def _true_mask(self) -> "Outline | None":
        """Around the true mask, bilinear, read at the drawn pixels only (it may be huge)."""
        if self.explanation.sample.mask is None:
            return None
        mask = np.asarray(self.explanation.sample.mask)
        (top, bottom, down), (left, right, across) = (
            _neighbours(centres / full, pixels)
            for centres, full, pixels in zip(
                self._centres, self.explanation.sample.image.size[::-1], mask.shape, strict=True
            )
        )
        upper = mask[np.ix_(top, left)] * (1 - across) + mask[np.ix_(top, right)] * across
        lower = mask[np.ix_(bottom, left)] * (1 - across) + mask[np.ix_(bottom, right)] * across
        inside = upper * (1 - down[:, None]) + lower * down[:, None] >= 0.5
        return Outline.of(inside, self._line, MASK)

    @cached_property
    def _clicked(self) -> "Outline | None":
        """Around what is near enough to a click to be a hit."""
        clicks = self.explanation.sample.clicks
        if clicks is None:
            return None
        left, top, right, bottom = self.explanation.geometry.box
        radius = CLICK_TOLERANCE * min(right - left, bottom - top)
        rows, cols = self._centres
        inside = np.zeros(self.size[::-1], bool)
        for x, y in clicks + 0.5:
            inside |= (rows[:, None] - y) ** 2 + (cols - x) ** 2 <= radius**2
        return Outline.of(inside, self._line, MASK)

    @cached_property
    def _box(self) -> "Outline | None":
        """Around the crop that was explained."""
        if self.explanation.sample.box is None:
            return None
        x, y, width, height = self.explanation.sample.box
        rows, cols = self._centres
        inside = ((rows >= y) & (rows < y + height))[:, None] & ((cols >= x) & (cols < x + width))
        return Outline.of(inside, self._line, BOX)


@dataclass(frozen=True, eq=False)
class Outline:
    """The inner border of an area, with a dark edge that shows it on any ground.

    Args:
        line: (n,) flat indices of pixels of the border.
        edge: (m,) of those around it.
        colour: Of the border.
    """

    line: np.ndarray
    edge: np.ndarray
    colour: tuple[int, int, int]

    @classmethod
    def of(cls, inside: np.ndarray, width: int, colour: tuple[int, int, int]) -> "Outline":
        """Around (height, width) bool `inside`, so many pixels wide."""
        beyond = ~_shrink(~inside, max(1, width // 2), beyond=True) & ~inside
        border = inside & ~_shrink(inside, width, beyond=False)
        return cls(np.flatnonzero(border), np.flatnonzero(beyond), colour)

    def draw(self, picture: np.ndarray) -> None:
        """Draw on (height, width, 3) uint8, in place."""
        pixels = picture.reshape(-1, 3)
        pixels[self.edge] //= 4
        pixels[self.line] = self.colour


def close_view(explanation: Explanation) -> View | None:
    """The crop with some margin if it is small in its image; None where all of the image should be drawn."""
    return close_box(explanation.sample.image.size, explanation.sample.box)


def close_box(size: tuple[int, int], box: tuple[float, float, float, float] | None) -> View | None:
    """The same for an image of `size` (width, height) and the crop (x, y, width, height) of it."""
    if box is None:
        return None
    (width, height), (x, y, box_width, box_height) = size, box
    if max(box_width / width, box_height / height) > ZOOM:
        return None
    margin = MARGIN * max(box_width, box_height)
    view = (x - margin, y - margin, x + box_width + margin, y + box_height + margin)
    return max(view[0], 0), max(view[1], 0), min(view[2], width), min(view[3], height)


def _neighbours(shares: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two pixels nearest to each position (a share of the axis), and how far it is from the first."""
    where = np.clip(shares * pixels - 0.5, 0, pixels - 1)
    low = where.astype(int)
    return low, np.minimum(low + 1, pixels - 1), where - low


def _inside(pixels: int, start: float, stop: float, extent: int) -> slice:
    """Which of so many pixels, drawn of `extent`, have their centre in [start, stop), as in a projection."""
    where = (np.arange(pixels) + 0.5) * extent / pixels
    found = np.flatnonzero((where >= start) & (where < stop))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _shrink(area: np.ndarray, steps: int, beyond: bool) -> np.ndarray:
    """Take `steps` pixels off an area's border; `beyond` says whether it goes on outside the picture."""
    for _ in range(steps):
        around = np.pad(area, 1, constant_values=beyond)
        area = area & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return area
