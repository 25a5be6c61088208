"""Relevance of an upright crop drawn back on the photograph or frame that it was cut from."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image

from xai.core import Geometry, Origin, UsageError
from xai.data.affine import corners
from xai.report.colours import ColourScale
from xai.report.layout import LEAST_DPI
from xai.report.overlay import BOX, GREY, MASK, UNSEEN, DrawnImage, Outline, close_box
from xai.report.picture import Picture, Placed
from xai.report.pictures import ExplanationPictures, class_map, overlay_layer
from xai.report.text import drawable_language


@dataclass(frozen=True)
class DrawnPhotograph(DrawnImage):
    """A photograph, or a rectangle of it, with what the model saw of it in the crop, turned back.

    Outside of the crop the photograph is as it is. `view` is in pixels of the photograph.
    """

    def heatmap(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Colours of (rows, cols) relevance alone; grey where the model saw nothing."""
        picture = np.full((*self.size[::-1], 3), round(255 * UNSEEN), np.uint8)
        picture[self._area][self._in_crop] = scale.heat[self._steps(values, scale)]
        return picture

    def overlay(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """Colours of (rows, cols) relevance over the grey photograph; mask and crop are outlined."""
        picture = self._photo.copy()
        steps, (pale, paint) = self._steps(values, scale), scale.blend
        ground = self._photo[self._area][self._in_crop] @ GREY * pale[steps]
        picture[self._area][self._in_crop] = np.stack([colour[steps] + ground for colour in paint], 1)
        self._outline(picture)
        return picture

    @cached_property
    def original(self) -> np.ndarray:
        """The photograph in its own colours, with the outline of the crop."""
        picture = self._photo.copy()
        self._outline(picture)
        return picture

    @cached_property
    def sees_all(self) -> bool:
        """Nothing is hatched: the outline says what was looked at."""
        return True

    @property
    def outlined(self) -> bool:
        """The crop always is."""
        return True

    @cached_property
    def corners(self) -> np.ndarray:
        """(4, 2) of the crop, in pixels of the photograph."""
        return corners(self._origin.to_crop, self.explanation.sample.image.size)

    @property
    def source(self) -> Image.Image:
        """The photograph."""
        return self._origin.image

    @property
    def _origin(self) -> Origin:
        if (origin := self.explanation.sample.origin) is None:
            raise UsageError(f"{self.explanation.sample.id} was not cut from a photograph.")
        return origin

    @cached_property
    def _area(self) -> tuple[slice, slice]:
        """Rows and columns around the crop, with room for its outline."""
        left, top, right, bottom = self._view
        factor = np.array(self.size) / (right - left, bottom - top)
        around = (self.corners + 0.5 - (left, top)) * factor
        first = np.clip(np.floor(around.min(0)) - 2 * self._line, 0, self.size).astype(int)
        last = np.clip(np.ceil(around.max(0)) + 2 * self._line, 0, self.size).astype(int)
        return slice(first[1], last[1]), slice(first[0], last[0])

    @cached_property
    def _to_crop(self) -> np.ndarray:
        """(2, 3) from the area to the crop, both counted from the corner of the first pixel."""
        left, top, right, bottom = self._view
        rows, cols = self._area
        factor = np.array([right - left, bottom - top]) / self.size
        start = np.array([cols.start, rows.start]) * factor + (left, top)
        turn, shift = self._origin.to_crop[:, :2], self._origin.to_crop[:, 2]
        return np.column_stack([turn * factor, turn @ (start - 0.5) + shift + 0.5])

    def _through(self, values: np.ndarray, resample: Image.Resampling, seen: Geometry) -> np.ndarray:
        """What is laid over a rectangle of the crop, at each pixel of the area; 0 beyond it."""
        left, top, right, bottom = seen.box
        factor = np.array(values.shape[::-1]) / (right - left, bottom - top)
        matrix = np.column_stack([self._to_crop[:, :2], self._to_crop[:, 2] - (left, top)]) * factor[:, None]
        height, width = (edge.stop - edge.start for edge in self._area)
        data = tuple(matrix.ravel())
        image = Image.fromarray(values).transform((width, height), Image.Transform.AFFINE, data, resample)
        return np.asarray(image)

    @cached_property
    def _in_crop(self) -> np.ndarray:
        """(height, width) bool of the area: what the model saw, which may be less than the crop."""
        return self._covers(self.explanation.geometry)

    def _covers(self, seen: Geometry) -> np.ndarray:
        return self._through(np.ones((1, 1), np.uint8), Image.Resampling.NEAREST, seen) > 0

    def _steps(self, values: np.ndarray, scale: ColourScale) -> np.ndarray:
        """(n,) places in `scale.steps` of relevance where the model looked, bilinear between centres."""
        seen = self.explanation.geometry
        found = self._through(values.astype(np.float32), Image.Resampling.BILINEAR, seen)
        return scale.step(found[self._in_crop])

    @cached_property
    def _line(self) -> int:
        """Width of a line in pixels: thinner than usual around a small crop."""
        left, _, right, _ = self._view
        side = np.ptp(self.corners[:, 0]) * self.size[0] / (right - left)
        return max(2, round(min(max(self.size) / 240, side / 80)))

    @cached_property
    def _outlines(self) -> list[Outline]:
        sample = self.explanation.sample
        crop = Geometry(sample.image.size, (0, 0, *sample.image.size))
        outlines = [Outline.of(self._covers(crop), self._line, BOX)]
        if sample.mask is not None:
            mask = self._through(sample.mask.astype(np.uint8) * 255, Image.Resampling.BILINEAR, crop)
            outlines.insert(0, Outline.of(mask >= 128, self._line, MASK))
        return outlines

    def _outline(self, picture: np.ndarray) -> None:
        area = picture[self._area].copy()  # outlines are places in an array of one piece
        for outline in self._outlines:
            outline.draw(area)
        picture[self._area] = area


class PhotographPictures(ExplanationPictures):
    """The same pictures, on the photograph that the image was cut from."""

    @drawable_language()
    def whole(self, label: str) -> Picture:
        """The photograph at its own resolution, with the map of one class and nothing else."""
        photograph = DrawnPhotograph(self._explanation)
        values, own = class_map(self._explanation, label), photograph.at(photograph.source.size)
        layer = overlay_layer(own, values, self._scales[0])
        width, height = (side / LEAST_DPI for side in layer.size)
        return Picture(width, height, LEAST_DPI, (Placed(layer, 0, 0, width, height, framed=False),), (), ())

    @cached_property
    def _image(self) -> DrawnImage:
        """Around the crop where that is small, else all of the photograph."""
        whole = DrawnPhotograph(self._explanation)
        size, at = whole.source.size, whole.corners
        first, last = np.clip(at.min(0), 0, size).tolist(), np.clip(at.max(0), 0, size).tolist()
        box = (first[0], first[1], last[0] - first[0], last[1] - first[1])
        return replace(whole, view=close_box(size, box))
