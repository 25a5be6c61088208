"""Lines, dots, areas, boxes and scales, drawn on a figure; everything is placed in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from xai.report.layout import MARGIN, PictureBuilder
from xai.report.picture import GREY, HAIRLINE, INK
from xai.report.text import LARGE, drawable, height, line_width, wrap
from xai.report.vector import to_figure

DPI = 200
HEADING, SUBHEADING, NAME, SMALL, TINY = 12.0, 9.5, 8.5, 7.5, 6.5  # font sizes in points
GRID = "#e2e2e2"


@dataclass(frozen=True)
class InchScale:
    """A scale from data to inches.

    Args:
        low: Value at `start`.
        high: Value at `end`.
        start: Position in inches.
        end: Position in inches; before `start` for a scale that points up.
    """

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, room: float = 0.04) -> "InchScale":
        """The scale that holds all finite values, with some room; never of no length."""
        finite = np.asarray(values, float)
        finite = finite[np.isfinite(finite)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        pad = room * (high - low) or 0.05 * abs(high) or 0.5
        return cls(low - pad, high + pad, start, end)

    def at(self, value: float) -> float:
        """Position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 6, percent: bool = False) -> list[tuple[float, str]]:
        """Round values within the scale, with their labels."""
        values = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        inside = [float(v) for v in values if self.low - slack <= v <= self.high + slack]
        texts = [f"{100 * v:.3g}%" for v in inside] if percent else _labels(inside)
        return list(zip(inside, texts, strict=True))


def _labels(values: Sequence[float]) -> list[str]:
    """As few digits as tell the values apart, the same number for all."""
    largest = max(map(abs, values), default=0.0)
    plain = largest == 0 or 1e-4 <= largest < LARGE
    step = min((b - a for a, b in pairwise(values)), default=largest)
    texts: list[str] = []
    for digits in range(12):
        texts = [f"{value + 0.0:.{digits}{'f' if plain else 'e'}}" for value in values]
        if all(abs(float(t) - v) <= 1e-3 * step for t, v in zip(texts, values, strict=True)):
            break
    return [text.replace("-", "−") for text in texts]


class Plot(PictureBuilder):
    """A figure with lines, areas, dots and boxes. Positions are in inches, y pointing down."""

    def __init__(self, width: float):
        super().__init__(width, DPI)
        self._artists: list[Artist] = []

    @property
    def right(self) -> float:
        """Where the right margin begins."""
        return MARGIN + self.width

    def head(self, title: str, subheading: str) -> None:
        """Title and the line under it."""
        self.paragraph(title, HEADING, bold=True)
        self.paragraph(subheading, SUBHEADING, colour=GREY)
        self.y += 0.12

    def foot(self, notes: Sequence[str]) -> None:
        """Sentences at the end of the figure."""
        self.y += 0.14
        for note in filter(None, notes):
            self.paragraph(note, SMALL, colour=GREY)
            self.y += 0.04

    def line(
        self, x: Sequence[float], y: Sequence[float], colour: str, width: float = 1.0, **options: Any
    ) -> None:
        """Join points. `options` are matplotlib's for a line."""
        options = {"solid_capstyle": "butt", "zorder": 2, **options}
        self._artists.append(Line2D(x, y, color=colour, linewidth=width, **options))

    def area(
        self, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str, opacity: float
    ) -> None:
        """Fill between two curves."""
        corners = [*zip(x, low, strict=True), *reversed(list(zip(x, high, strict=True)))]
        self._artists.append(Polygon(corners, facecolor=colour, alpha=opacity, linewidth=0, zorder=1.5))

    def dot(self, x: float, y: float, colour: str, size: float = 5.0, marker: str = "o") -> None:
        """A marker of `size` points with a white edge."""
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.6}
        self._artists.append(
            Line2D([x], [y], marker=marker, markersize=size, color=colour, linestyle="none", zorder=4, **edge)
        )

    def box(self, x: float, y: float, width: float, tall: float, face: Any, edge: str = "white") -> None:
        """A filled rectangle."""
        self._artists.append(
            Rectangle((x, y), width, tall, facecolor=face, edgecolor=edge, linewidth=0.8, zorder=1)
        )

    def text(self, text: str, x: float, y: float, size: float = NAME, **options: Any) -> None:
        """One line, centred on the height y."""
        self.write([drawable(text)], x, y - height(1, size) / 2 + 0.17 * size / 72, size, **options)

    def vertical_scale(self, scale: InchScale, left: float, right: float) -> None:
        """Labels beside, and lines across, a scale that points up."""
        for value, label in scale.ticks():
            self.line([left, right], [scale.at(value)] * 2, GRID, 0.7, zorder=0.5)
            self.text(label, left - 0.07, scale.at(value), SMALL, align="right", colour=GREY)

    def horizontal_scale(
        self, scale: InchScale, top: float, bottom: float, title: str, percent: bool = False
    ) -> None:
        """Lines across a scale that points right, its labels and title below; moves on under them."""
        for value, label in scale.ticks(percent=percent):
            self.line([scale.at(value)] * 2, [top, bottom], GRID, 0.7, zorder=0.5)
            self.write([label], scale.at(value), bottom + 0.05, SMALL, colour=GREY)
        self.line([scale.start, scale.end], [bottom, bottom], HAIRLINE, 0.8)
        self.y = bottom + 0.05 + height(1, SMALL)
        self.write([drawable(title)], (scale.start + scale.end) / 2, self.y, SMALL, colour=GREY)
        self.y += height(1, SMALL)

    def figure(self) -> Figure:
        """The chart, as tall as what was drawn."""
        return to_figure(self.finished(), self._artists)


def widest(texts: Sequence[str], size: float = NAME, bold: bool = False) -> float:
    """Width in inches of the longest of these lines."""
    return max((line_width(drawable(text), size, bold) for text in texts), default=0.0)


def wrapped(text: str, width: float, size: float = SMALL, bold: bool = False) -> list[str]:
    """Lines of at most `width` inches."""
    return wrap(drawable(text), width, size, bold)


def ink_on(face: Sequence[float]) -> str:
    """White or black, whichever stands out more on a colour (WCAG contrast)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in face[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.06 else INK
