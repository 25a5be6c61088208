"""The picture of the evidence by parts of the face: the face with its parts, and a row of bars for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from xai.core import Explanation
from xai.core.language import gettext, joined, pgettext
from xai.data.face_landmarks import complete_landmarks
from xai.data.face_parts import PARTS, label_parts
from xai.report import words
from xai.report.colours import ColourScale
from xai.report.image_payload import FaceEvidence, FacePart
from xai.report.layout import HEADING, MARGIN, PARAGRAPH, SMALL, SUBHEADING, TITLE, PictureBuilder
from xai.report.overlay import DrawnImage, View
from xai.report.picture import GREY, Layer, Picture, Size
from xai.report.text import drawable, drawable_language, height, number, percent, wrap
from xai.report.words import in_order

PART_COLOURS = (
    "#e69f00",
    "#d55e00",
    "#f0e442",
    "#cc79a7",
    "#56b4e9",
    "#009e73",
    "#0072b2",
    "#8b5e3c",
    "#999999",
)
"""Of the parts, in the order of `PARTS`: those of Okabe and Ito (2008), with brown and grey."""
TINT = 0.3  # of a part's colour over the photograph
AROUND = 0.45  # of the face's size, shown around it
FOR, AGAINST, EVEN, INK, RANGE = "#e6854b", "#65a0ef", "#d8d8d8", "#1a1a1a", "#c4c4c4"
WIDTH, DPI = 10.0, 200
PHOTO, NAMES, ROW, GAP = 2.55, 1.15, 0.56, 0.12  # inches
NUMBERS = 0.85  # inches of a column, for what is written beside its bars
TEXT = 7.0  # points
BAR = 0.3  # of a row's height: half of a bar


@dataclass(frozen=True)
class _Bar:
    """What one row shows of one column: all are places on the column's axis, None where unknown.

    Args:
        grey: Ends of the ground that chance gives.
        bars: (from 0 to, colour).
        whiskers: Ends of intervals.
        dot: A single value.
        text: Beside it.
    """

    grey: tuple[float, float] | None = None
    bars: Sequence[tuple[float, str]] = ()
    whiskers: Sequence[tuple[float, float]] = ()
    dot: float | None = None
    text: str = ""

    @property
    def reach(self) -> list[float]:
        """All places."""
        dots = [] if self.dot is None else [self.dot]
        ends = [end for pair in self.whiskers for end in pair]
        return [*(self.grey or ()), *(end for end, _ in self.bars), *ends, *dots]


def part_name(part: str) -> str:
    """A part's name in the current language."""
    return {
        "eyes": gettext("eyes"),
        "brows": gettext("brows"),
        "nose": gettext("nose"),
        "mouth": gettext("mouth"),
        "forehead": gettext("forehead"),
        "skin": pgettext("part of a face", "skin"),
        "jaw": gettext("jaw and boundary"),
        "hair": gettext("hair and ears"),
        "background": gettext("background"),
    }[part]


def painted_face(explanation: Explanation, longest: int) -> Image.Image:
    """The face with its parts in their colours, as tables name them.

    Args:
        explanation: Of a sample with landmarks.
        longest: Longest side in pixels.
    """
    landmarks = complete_landmarks(np.asarray(explanation.sample.landmarks, float))
    photo = DrawnImage(explanation, _view(landmarks, explanation))
    width, tall = photo.size
    factor = longest / max(width, tall)
    return Image.fromarray(_painted(photo.at((round(width * factor), round(tall * factor))), landmarks))


@drawable_language()
def draw_face_parts(explanation: Explanation, evidence: FaceEvidence) -> Picture:
    """The face with its parts and the map of the class followed, beside bars for each part.

    Bars: share of the positive (orange) and negative (blue) relevance over the share of area (grey), with the
    intervals; and the change of the value without the part, over the range of random regions.

    Args:
        explanation: Of a sample with landmarks.
        evidence: What was found about it.
    """
    landmarks = complete_landmarks(np.asarray(explanation.sample.landmarks, float))
    view = _view(landmarks, explanation)
    photo, followed = DrawnImage(explanation, view), explanation.followed
    scale = ColourScale.of(explanation.maps.values())
    builder = PictureBuilder(WIDTH - 2 * MARGIN, DPI)
    heading = gettext("{name} · evidence by parts of the face", name=words.name(explanation))
    builder.paragraph(heading, HEADING, bold=True)
    builder.paragraph(words.verdict(explanation), SUBHEADING)
    builder.y += 0.1
    top = builder.y
    pictures = [
        (gettext("parts"), Layer(photo.size, lambda size: _painted(photo.at(size), landmarks))),
        (
            gettext("map for {label}", label=words.short(followed)),
            Layer(
                photo.size,
                lambda size: _lined(
                    photo.at(size).overlay(explanation.maps[followed], scale), photo.at(size), landmarks
                ),
            ),
        ),
    ]
    tall = PHOTO * photo.size[1] / photo.size[0]
    for title, layer in pictures:
        builder.y += builder.write([drawable(title)], MARGIN + PHOTO / 2, builder.y, TITLE, bold=True) + 0.04
        builder.picture(layer, MARGIN, builder.y, PHOTO, tall)
        builder.y += tall + 0.1
    bottom, builder.y = builder.y, top
    _draw_table(builder, explanation, evidence)
    builder.y = max(bottom, builder.y) + 0.1
    for text in filter(None, _caption(explanation, evidence)):
        builder.paragraph(text, SMALL, colour=GREY)
        builder.y += PARAGRAPH
    return builder.finished()


def _draw_table(builder: PictureBuilder, explanation: Explanation, evidence: FaceEvidence) -> None:
    labels = in_order(list(explanation.maps), len(explanation.labels))
    columns = [
        (gettext("evidence for {label}", label=words.short(label)), _shares(evidence, label))
        for label in labels
    ]
    removals = evidence.removals
    if removals is not None:
        title = gettext(
            "change of {value} for {label} without it",
            value=removals.value,
            label=words.short(removals.target),
        )
        columns.append((title, _changes(evidence, removals.clean)))
    left = MARGIN + PHOTO + 2 * GAP
    wide = (MARGIN + builder.width - left - NAMES) / len(columns)
    titles = [wrap(drawable(title), wide - GAP, TITLE, bold=True) for title, _ in columns]
    top = builder.y + max(height(len(lines), TITLE) for lines in titles) + 0.05
    for place, part in enumerate(evidence.parts):
        middle = top + (place + 0.5) * ROW
        swatch = np.full((8, 8, 3), _rgb(PART_COLOURS[PARTS.index(part.part)]), np.uint8)
        builder.picture(Layer.of(swatch), left, middle - 0.06, 0.12, 0.12)
        name = wrap(drawable(part_name(part.part)), NAMES - 0.3, TITLE)
        builder.write(name, left + 0.2, middle - height(len(name), TITLE) / 2, TITLE, align="left")
    for column, ((_, bars), lines) in enumerate(zip(columns, titles, strict=True)):
        x, room = left + NAMES + column * wide, wide - NUMBERS - GAP
        builder.write(lines, x + (wide - GAP) / 2, top - 0.05 - height(len(lines), TITLE), TITLE, bold=True)
        size = round(room * DPI), round(len(bars) * ROW * DPI)
        builder.picture(Layer(size, partial(_chart, bars)), x, top, room, len(bars) * ROW)
        for place, bar in enumerate(bars):
            text = [drawable(line) for line in bar.text.split("\n")]
            y = top + (place + 0.5) * ROW - height(len(text), TEXT) / 2
            builder.write(text, x + room + 0.05, y, TEXT, align="left")
    builder.y = top + len(evidence.parts) * ROW


def _shares(evidence: FaceEvidence, label: str) -> list[_Bar]:
    negative = any(part.relevance[label].negative for part in evidence.parts)

    def bar(part: FacePart) -> _Bar:
        found = part.relevance[label]
        bars, whiskers, text = [], [], []
        sides = (
            (found.positive, found.positive_interval, 1, FOR),
            (found.negative, found.negative_interval, -1, AGAINST),
        )
        for share, interval, side, colour in sides:
            if share is not None and interval is not None:
                bars.append((side * share, colour))
                whiskers.append((side * interval[0], side * interval[1]))
                ratio = f" ({share / part.area:.2f}×)" if part.area > 0 else ""
                text.append(("+" if side > 0 else "−") + percent(share) + ratio)
        return _Bar((-part.area if negative else 0.0, part.area), bars, whiskers, text="\n".join(text) or "–")

    return [bar(part) for part in evidence.parts]


def _changes(evidence: FaceEvidence, clean: float) -> list[_Bar]:
    def bar(part: FacePart) -> _Bar:
        if part.without is None:
            return _Bar(text=gettext("no cell of its own"))
        change = part.without - clean
        text = number(change).replace("-", "−") if change <= 0 else f"+{number(change)}"
        if part.p is None:
            return _Bar(dot=change, text=f"{text}\n{gettext('too large to compare')}")
        ends = min(part.random) - clean, max(part.random) - clean
        return _Bar(ends, dot=change, text=f"{text}\np = {part.p:.2f}")

    return [bar(part) for part in evidence.parts]


def _chart(bars: Sequence[_Bar], size: Size) -> np.ndarray:
    """(height, width, 3) uint8: a row per bar, on one axis; the last, of the background, may be cut off."""
    width, tall = size
    places = [0.0, *(place for bar in bars[:-1] for place in bar.reach)]
    low, high = min(places), max(places)
    pad = 0.06 * (high - low) or 0.5
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    row, thin = tall / len(bars), max(1, round(tall / 700))

    def x(place: float) -> float:
        return min(max((place - low + pad) / (high - low + 2 * pad), 0.0), 1.0) * (width - 1)

    def box(one: float, other: float, middle: float, half: float, colour: str) -> None:
        draw.rectangle(
            (min(x(one), x(other)), middle - half, max(x(one), x(other)), middle + half), fill=colour
        )

    for place, bar in enumerate(bars):
        middle = (place + 0.5) * row
        if place:
            draw.line((0, place * row, width, place * row), fill="#eeeeee", width=thin)
        if bar.grey is not None:
            box(*bar.grey, middle, row * (0.42 if bar.bars else 0.2), EVEN if bar.bars else RANGE)
        for end, colour in bar.bars:
            box(0, end, middle, row * BAR * 0.7, colour)
        for one, other in bar.whiskers:
            box(one, other, middle, thin, INK)
        if bar.dot is not None:
            radius = row * 0.12
            draw.ellipse(
                (x(bar.dot) - radius, middle - radius, x(bar.dot) + radius, middle + radius), fill=INK
            )
    draw.line((x(0), 0, x(0), tall), fill="#8a8a8a", width=thin)
    return np.asarray(image)


def _caption(explanation: Explanation, evidence: FaceEvidence) -> list[str]:
    shares = gettext(
        "Orange, +: share of the relevance for the class that lies in the part; blue, −: of that against it. "
        "Grey: the share that area alone would give; in brackets, how many times that it is. Lines: where "
        "the share lies in 95 of 100 placements of the landmarks, moved by their measured error. They say "
        "nothing of the model."
    )
    cut = gettext(
        "Scales are those of the parts of the face; what the background has beyond them is cut off."
    )
    known = gettext("{n} landmarks are known.", n=evidence.points)
    drawn = {
        5: gettext("All others, and so the outlines, are drawn from them; hair and forehead least surely."),
        68: gettext("The hairline is drawn, so hair and forehead are least sure."),
    }.get(evidence.points, "")
    removed = ""
    if evidence.removals is not None:
        removed = gettext(
            "Change: dots, without the cells that are the part's more than any other's ({operator}); grey, "
            "range of {n} random regions of as many cells elsewhere. p: how rare so low a value is among "
            "them; one-sided, not corrected for the number of parts.",
            operator=_operator_words(evidence.removals.operator),
            n=max((len(part.random) for part in evidence.parts), default=0),
        )
    sentences = [joined([shares, cut]), removed, joined([known, drawn])]
    return [*sentences, gettext(words.LIMITS), words.made_by(explanation)]


def _operator_words(operator: str) -> str:
    names = {"token": gettext("left out of attention"), "mean": gettext("painted in the image's mean colour")}
    return names.get(operator, operator)


def _view(landmarks: np.ndarray, explanation: Explanation) -> View:
    """The face and what is around it, within the image."""
    (left, top), (right, bottom) = landmarks.min(0), landmarks.max(0)
    margin = AROUND * max(right - left, bottom - top)
    width, tall = explanation.sample.image.size
    return (
        max(left - margin, 0.0),
        max(top - margin, 0.0),
        min(right + margin, width),
        min(bottom + margin, tall),
    )


def _labels(image: DrawnImage, landmarks: np.ndarray) -> np.ndarray:
    left, top, right, bottom = image.view or (0, 0, *image.explanation.sample.image.size)
    width, tall = image.size
    xs = left - 0.5 + (np.arange(width) + 0.5) * (right - left) / width
    ys = top - 0.5 + (np.arange(tall) + 0.5) * (bottom - top) / tall
    return label_parts(landmarks, xs, ys)


def _edges(labels: np.ndarray, width: int) -> np.ndarray:
    """Where one part ends and another begins, so many pixels wide."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        edge[:, step:] |= labels[:, step:] != labels[:, :-step]
        edge[step:] |= labels[step:] != labels[:-step]
    return edge


def _painted(image: DrawnImage, landmarks: np.ndarray) -> np.ndarray:
    labels = _labels(image, landmarks)
    colours = np.array([_rgb(colour) for colour in PART_COLOURS], float)[labels]
    picture = (image.original * (1 - TINT) + colours * TINT + 0.5).astype(np.uint8)
    edge = _edges(labels, max(1, round(max(image.size) / 300)))
    picture[edge] = colours[edge].astype(np.uint8)
    return picture


def _lined(picture: np.ndarray, image: DrawnImage, landmarks: np.ndarray) -> np.ndarray:
    picture[_edges(_labels(image, landmarks), max(1, round(max(image.size) / 400)))] = 255
    return picture


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
