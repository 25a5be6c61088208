"""Frames of a video with their maps: as a strip in one picture, and one after the other for a video."""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from xai.core import Explanation, Geometry, UsageError
from xai.core.language import gettext, joined
from xai.report import words
from xai.report.colours import ColourScale
from xai.report.glyphs import ink_of
from xai.report.image_payload import Image
from xai.report.layout import Panel, compose
from xai.report.overlay import DrawnImage
from xai.report.payload import Timeline
from xai.report.picture import Picture, Size
from xai.report.pictures import class_map, original_layer, overlay_layer
from xai.report.text import drawable, drawable_language
from xai.report.video_words import chance, clock, video_verdict

SHOWN, COLUMNS = 12, 6  # frames of a strip, and side by side
GAP, STRIP, TEXT = 8, 84, 17  # pixels of an annotated picture: between the two, below them, letters
MARGIN = 12
LEAST_WIDTH, MOST_HEIGHT, LONGEST = 300, 720, 240
INK, FAINT, LINE = (26, 26, 26), (150, 150, 150), (193, 68, 5)


def small_picture(entry: Image) -> tuple[Pillow.Image, Geometry]:
    """The picture that a page keeps of a frame, and what of it the model saw.

    Raises:
        UsageError: It was kept without a picture.
    """
    if entry.picture is None:
        raise UsageError(f"{entry.name} was kept without a picture.")
    picture = Pillow.open(BytesIO(b64decode(entry.picture.partition(",")[2]))).convert("RGB")
    left, top, right, bottom = entry.view
    across, down = picture.width / (right - left), picture.height / (bottom - top)
    seen = entry.seen
    box = (seen[0] - left) * across, (seen[1] - top) * down, (seen[2] - left) * across, (seen[3] - top) * down
    return picture, Geometry(picture.size, box)


def strip_places(frames: int) -> list[int]:
    """Which of so many frames a strip shows: evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, frames - 1, min(frames, SHOWN)).round().astype(int)).tolist()


@drawable_language()
def draw_filmstrip(
    frames: Sequence[tuple[float, Explanation]], timeline: Timeline, scale: ColourScale
) -> Picture:
    """Frames with the map of the class followed below each, all on one scale.

    Args:
        frames: (seconds, explanation) of those shown.
        timeline: Of the whole video.
        scale: Of all maps of the video.
    """
    label, rows = timeline.label, []
    for start in range(0, len(frames), COLUMNS):
        some = frames[start : start + COLUMNS]
        drawn = [DrawnImage(explanation, longest=LONGEST) for _, explanation in some]
        rows.append(
            [
                Panel(clock(seconds), original_layer(image), _answer(explanation, label))
                for (seconds, explanation), image in zip(some, drawn, strict=True)
            ]
        )
        maps = [class_map(explanation, label) for _, explanation in some]
        rows.append(
            [
                Panel("", overlay_layer(image, values, scale), stamp=words.stamp(values))
                for image, values in zip(drawn, maps, strict=True)
            ]
        )
    some = frames[0][1]
    shared = gettext(
        "All frames of the video share one scale: equal colours mean equal relevance, a pale map is weak "
        "evidence. The strongest 1 % of all patches are stronger than the scale's ends, and drawn like them."
    )
    caption = [
        joined([shared, words.colours(scale, words.short(label))]),
        joined([*timeline.remarks, *words.conditions(some, DrawnImage(some, longest=LONGEST))]),
        gettext(words.LIMITS),
        words.made_by(some),
    ]
    subject = gettext(
        "evidence for {label}, {shown} of {n} frames",
        label=words.short(label),
        shown=len(frames),
        n=len(timeline.frames),
    )
    unit = gettext("relevance for {label}", label=words.short(label))
    return compose(f"{timeline.video} · {subject}", video_verdict(timeline), rows, caption, scale, unit)


def _answer(explanation: Explanation, label: str) -> str:
    name = label if label in explanation.probabilities else explanation.predicted
    return chance(words.short(name), explanation.probabilities[name])


@dataclass(frozen=True)
class Annotator:
    """Draws frames of the annotated video: frame and map side by side, below them time and answer.

    Args:
        timeline: Of the video.
        scale: Of all its maps.
        left: (width, height) of a frame's small picture.
        right: The same of what was explained of it: all, or the crop of a face. All frames are drawn like the
            first one, so many times as large that there is room for words, if they do not get too high then.
    """

    timeline: Timeline
    scale: ColourScale
    left: Size
    right: Size

    @cached_property
    def sizes(self) -> tuple[Size, Size]:
        """(width, height) of the frame and of the map as they are drawn, equally high."""
        times = max(1, min(-(-LEAST_WIDTH // self.left[0]), MOST_HEIGHT // self.left[1]))
        width, height = self.left[0] * times, self.left[1] * times
        return (width, height), (max(1, round(height * self.right[0] / self.right[1])), height)

    @property
    def width(self) -> int:
        """Of a picture, in pixels."""
        return self.sizes[0][0] + GAP + self.sizes[1][0]

    def pictures(
        self, frames: Iterable[tuple[Explanation, Pillow.Image | None]]
    ) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds, (height, width, 3) uint8) of the frames in order.

        Args:
            frames: Over its small picture; and all of the frame, where a crop of it was explained.
        """
        for place, (explanation, whole) in enumerate(frames):
            yield self.timeline.frames[place].seconds, self.picture(place, explanation, whole)

    def picture(self, place: int, explanation: Explanation, whole: Pillow.Image | None = None) -> np.ndarray:
        """One frame, at its place in the timeline."""
        (left, height), right = self.sizes
        drawn = DrawnImage(explanation, exactly=right)
        page = np.full((height + STRIP, self.width, 3), 255, np.uint8)
        shown = explanation.sample.image if whole is None else whole
        page[:height, :left] = np.asarray(shown.resize((left, height), Pillow.Resampling.BICUBIC))
        page[:height, left + GAP :] = drawn.overlay(class_map(explanation, self.timeline.label), self.scale)
        strip = self._strip.copy()
        frame = self.timeline.frames[place]
        x = self._x(frame.seconds)
        strip[TEXT + 12 : -6, max(x - 1, 0) : x + 1] = INK
        answer = _answer(explanation, self.timeline.label)
        _write(strip, f"{clock(frame.seconds)} · {answer}", MARGIN, 4)
        subject = gettext("evidence for {label}", label=words.short(self.timeline.label))
        _write(strip, subject, left + GAP + MARGIN, 4)
        page[height:] = strip
        return page

    def _x(self, seconds: float) -> int:
        return MARGIN + round((self.width - 2 * MARGIN) * seconds / (self.timeline.seconds or 1.0))

    @cached_property
    def _strip(self) -> np.ndarray:
        """The probability over the whole video, drawn at twice the size for smooth lines."""
        width, low, high = self.width, TEXT + 14, STRIP - 8
        image = Pillow.new("RGB", (2 * width, 2 * STRIP), "white")
        pen = ImageDraw.Draw(image)
        name = self.timeline.label if self.timeline.label in self.timeline.mean else self.timeline.predicted
        points = [
            (2 * self._x(frame.seconds), 2 * (high - (high - low) * frame.probabilities[name]))
            for frame in self.timeline.frames
        ]
        for y in (low, high):
            pen.line([(2 * MARGIN, 2 * y), (2 * (width - MARGIN), 2 * y)], FAINT, 1)
        if len(points) > 1:
            pen.line(points, LINE, 4, joint="curve")
        for x, y in points if len(points) <= width // 8 else ():
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), LINE)
        return np.asarray(image.resize((width, STRIP), Pillow.Resampling.BOX))


def _write(strip: np.ndarray, text: str, left: int, top: int) -> None:
    """A line of text in dark ink on white."""
    ink = ink_of(drawable(text), TEXT)
    first = max(top + round(0.8 * TEXT) + ink.top, 0)
    area = strip[first : first + len(ink.mask), left + ink.left : left + ink.left + ink.mask.shape[1]]
    mask = ink.mask[: area.shape[0], : area.shape[1], None]
    np.minimum(area, (255 - mask * ((255 - INK[0]) / 255)).astype(np.uint8), out=area)
