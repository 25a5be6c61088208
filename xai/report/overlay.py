"""Relevance in colours, over the image at its own aspect; one scale for all maps that are compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap
from PIL import Image

from xai.core import DataError, Explanation, Geometry

# perceptually uniform; its hot end keeps apart from skin on a grey photograph
SEQUENTIAL = colormaps["inferno"]
# even steps of CIELAB lightness either side of white; blue and orange differ in every colour blindness
DIVERGING = LinearSegmentedColormap.from_list(
    "blue_orange",
    ["#08488f", "#1f77c9", "#65a0ef", "#b0c9f8", "#f3f3f3", "#faba97", "#e6854b", "#c35503", "#8e3200"],
)
NOISE = 1e-6  # of the largest value: what is more negative than this is a sign, not rounding
SMALLEST, LARGEST = 640, 1600  # longest side drawn, in pixels
BRIGHTNESS = 0.85  # of the grey photograph: leaves room for the hot colours
OPACITY = 0.8  # of the strongest relevance: what lies under it can still be seen
UNSEEN = 0.93  # grey of a heatmap where the model saw nothing
MASK, BOX = (0.0, 1.0, 0.85), (1.0, 1.0, 1.0)  # colours of the outlines
ZOOM = 0.4  # a crop whose sides are all below this share of the image's is drawn enlarged
MARGIN = 0.25  # of the crop, kept around it when enlarged

View = tuple[float, float, float, float]


@dataclass(frozen=True)
class ColourScale:
    """Colours for relevance in [0, limit], or in [−limit, limit] if `signed`.

    Args:
        limit: The value drawn with the last colour, in the units of the method.
        signed: Diverging colours, centred on 0.
    """

    limit: float
    signed: bool = False

    @classmethod
    def of(cls, maps: Iterable[np.ndarray]) -> "ColourScale":
        """The one scale on which all these maps may be compared: from 0 to their largest absolute value.

        Raises:
            DataError: A map holds NaN or infinity.
        """
        values = np.concatenate([np.ravel(one) for one in maps])
        if not np.isfinite(values).all():
            raise DataError(
                "A relevance map holds NaN or infinity and cannot be drawn.",
                "Check the model's weights; try dtype float32 if it ran in half precision.",
            )
        limit = float(np.abs(values).max())
        return cls(limit, bool(values.min() < -NOISE * limit))

    @property
    def colormap(self) -> Colormap:
        """Diverging for signed relevance, else sequential."""
        return DIVERGING if self.signed else SEQUENTIAL

    @property
    def low(self) -> float:
        """The value drawn with the first colour."""
        return -self.limit if self.signed else 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The values drawn with the first and with the last colour."""
        return self.low, self.limit

    @property
    def ramp(self) -> np.ndarray:
        """(256, 3) colours from the first to the last."""
        return self.colours(np.linspace(self.low, self.limit, 256))

    def colours(self, values: np.ndarray) -> np.ndarray:
        """(…, 3) float32 colours in [0, 1] of relevance values; beyond the scale its end colour."""
        span = (self.limit - self.low) or 1.0
        return self.colormap((np.nan_to_num(values) - self.low) / span)[..., :3].astype(np.float32)

    def strength(self, values: np.ndarray) -> np.ndarray:
        """How strong each value is on this scale, in [0, 1]; 0 where `values` is NaN."""
        values = np.nan_to_num(values)
        return np.clip((np.abs(values) if self.signed else values) / (self.limit or 1.0), 0, 1)


@dataclass(frozen=True)
class DrawnImage:
    """One explained image, or a rectangle of it, at the size it is drawn.

    All pictures are (height, width, 3) uint8 RGB.

    Args:
        explanation: The image and where the model looked.
        view: (left, top, right, bottom) to draw, in pixels of the image; None for all of it.
        longest: Longest side in pixels; smaller images are enlarged to 640 at the least.
    """

    explanation: Explanation
    view: View | None = None
    longest: int = LARGEST

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) drawn."""
        left, top, right, bottom = self._view
        side = max(right - left, bottom - top)
        factor = min(max(side, SMALLEST), self.longest) / side
        return max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor))

    @cached_property
    def original(self) -> np.ndarray:
        """The image in its own colours, with the outline of the crop that was explained."""
        picture = self._photo.astype(np.float32) / 255
        self._draw_box(picture)
        return _to_uint8(picture)

    def heatmap(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Colours of (rows, cols) relevance alone; grey and hatched where the model saw nothing."""
        picture = scale.colours(self._project(values))
        picture[~self.visible] = UNSEEN
        picture[self._hatch] *= 0.85
        return _to_uint8(picture)

    def overlay(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Colours of (rows, cols) relevance over the grey image, the more opaque the stronger it is.

        Dimmed and hatched where the model saw nothing; true mask and crop are outlined.
        """
        projected = self._project(values)
        # flat at 0, so that noise and changes of sign leave no trace, then steep: 0.25 is half opaque
        opacity = OPACITY * (1 - (1 - scale.strength(projected)[..., None] ** 1.25) ** 4)
        picture = self._grey * (1 - opacity) + scale.colours(projected) * opacity
        picture[~self.visible] = 0.4 * picture[~self.visible] + 0.5
        picture[self._hatch] *= 0.85
        if self.explanation.sample.mask is not None:
            _outline(picture, self._mask, self._line, MASK)
        self._draw_box(picture)
        return _to_uint8(picture)

    @cached_property
    def visible(self) -> np.ndarray:
        """(height, width) bool: where the model looked at all."""
        return np.isfinite(self._project(np.zeros((1, 1))))

    @cached_property
    def _view(self) -> View:
        width, height = self.explanation.sample.image.size
        return self.view or (0, 0, width, height)

    def _project(self, values: np.ndarray) -> np.ndarray:
        left, top, right, bottom = self._view
        geometry: Geometry = self.explanation.geometry
        return geometry.within((right - left, bottom - top), (-left, -top)).project(values, self.size)  # type: ignore[arg-type]

    @cached_property
    def _photo(self) -> np.ndarray:
        image = self.explanation.sample.image
        # reducing_gap: a cheap first step spares the filter the pixels of a huge image
        small = image.resize(self.size, Image.Resampling.BICUBIC, self._view, reducing_gap=3.0)
        return np.asarray(small.convert("RGB"))

    @cached_property
    def _grey(self) -> np.ndarray:
        """(height, width, 1) brightness in [0, BRIGHTNESS]."""
        luminance = self._photo @ np.array([[0.299], [0.587], [0.114]], np.float32)
        return luminance * np.float32(BRIGHTNESS / 255)

    @cached_property
    def _line(self) -> int:
        """Width of a line in pixels, the same share of every picture."""
        return max(1, round(max(self.size) / 240))

    @cached_property
    def _hatch(self) -> np.ndarray:
        """(height, width) bool: diagonal stripes where the model saw nothing."""
        width, height = self.size
        stripes = (np.arange(height)[:, None] + np.arange(width)) % (7 * self._line) < self._line
        return stripes & ~self.visible

    @cached_property
    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the centres of the drawn rows and columns lie, as shares of the image."""
        left, top, right, bottom = self._view
        (width, height), (full_width, full_height) = self.size, self.explanation.sample.image.size
        rows = top + (np.arange(height) + 0.5) * (bottom - top) / height
        cols = left + (np.arange(width) + 0.5) * (right - left) / width
        return rows / full_height, cols / full_width

    @cached_property
    def _mask(self) -> np.ndarray:
        """(height, width) bool: the true mask, bilinear, read at the drawn pixels only (it may be huge)."""
        mask = np.asarray(self.explanation.sample.mask)
        (top, bottom, down), (left, right, across) = map(_neighbours, self._centres, mask.shape)
        upper = mask[np.ix_(top, left)] * (1 - across) + mask[np.ix_(top, right)] * across
        lower = mask[np.ix_(bottom, left)] * (1 - across) + mask[np.ix_(bottom, right)] * across
        return upper * (1 - down[:, None]) + lower * down[:, None] >= 0.5

    def _draw_box(self, picture: np.ndarray) -> None:
        if self.explanation.sample.box is not None:
            x, y, width, height = self.explanation.sample.box
            full_width, full_height = self.explanation.sample.image.size
            rows, cols = self._centres
            rows, cols = rows * full_height, cols * full_width
            inside = ((rows >= y) & (rows < y + height))[:, None] & ((cols >= x) & (cols < x + width))
            _outline(picture, inside, self._line, BOX)


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


def _outline(picture: np.ndarray, inside: np.ndarray, width: int, colour: tuple[float, float, float]) -> None:
    """Draw the inner border of an area, in place, with a dark edge that shows it on any ground."""
    picture[~_shrink(~inside, max(1, width // 2), beyond=True) & ~inside] *= 0.25
    picture[inside & ~_shrink(inside, width, beyond=False)] = colour


def _shrink(area: np.ndarray, steps: int, beyond: bool) -> np.ndarray:
    """Take `steps` pixels off an area's border; `beyond` says whether it goes on outside the picture."""
    for _ in range(steps):
        around = np.pad(area, 1, constant_values=beyond)
        area = area & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return area


def _to_uint8(picture: np.ndarray) -> np.ndarray:
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
