"""Pages laid out in inches and filled from top to bottom: text, pictures, rows of panels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.report.colours import ColourScale
from xai.report.picture import GREY, INK, Label, Layer, Picture, Placed, TextLine
from xai.report.text import drawable, height, line_width, number, wrap

MARGIN = 0.3
BAR_HEIGHT, BAR_TEXT = 0.1, 7.5
PADDING = 0.08
PAGE_WIDTH, PAGE_HEIGHT = 10.0, 7.6  # inches for panels; a page with many rows grows longer
GAP, WORDS = 0.25, 0.9  # between columns; room for title and colour bar in a row
LEAST_CELL, LEAST_PICTURE, LEAST_TEXT = 1.3, 1.6, 6.5
LEAST_BAR, MOST_BAR = 1.3, 4.0
PARAGRAPH = 0.06
LEAST_DPI, MOST_DPI = 150, 300
MOST_PIXELS = 30_000  # of the page's height: what every viewer opens
HEADING, SUBHEADING, TITLE, SMALL = 12.0, 9.5, 9.5, 8.0  # font sizes in points


class PictureBuilder:
    """A page `width` inches wide between its margins. Positions are in inches, y pointing down."""

    def __init__(self, width: float, dpi: float):
        self.width = width
        self.y = MARGIN
        self._dpi = dpi
        self._layers: list[Placed] = []
        self._labels: list[Label] = []
        self._lines: list[TextLine] = []

    def paragraph(
        self,
        text: str,
        size: float,
        bold: bool = False,
        colour: str = INK,
        left: float = MARGIN,
        width: float | None = None,
    ) -> None:
        """Write from `left` over `width` (default: the whole page's) and move on below."""
        lines = wrap(drawable(text), width or self.width, size, bold)
        self.y += self.write(lines, left, self.y, size, bold, colour, align="left")

    def write(
        self,
        lines: list[str],
        x: float,
        y: float,
        size: float,
        bold: bool = False,
        colour: str = INK,
        align: str = "center",
    ) -> float:
        """Write lines from y downwards; returns their height."""
        for i, line in enumerate(lines):
            self._lines.append(TextLine(line, x, y + height(i, size), size, bold, colour, align))
        return height(len(lines), size)

    def picture(self, layer: Layer, x: float, y: float, width: float, tall: float) -> None:
        """Draw an image with a hairline around it."""
        self._layers.append(Placed(layer, x, y, width, tall))

    def stamp(self, text: str, x: float, bottom: float, width: float) -> None:
        """Write on a white label centred on x that ends at `bottom`."""
        lines = wrap(drawable(text), width - 2 * PADDING, BAR_TEXT)
        wide = max(line_width(line, BAR_TEXT) for line in lines) + 2 * PADDING
        tall = height(len(lines), BAR_TEXT) + PADDING
        self._labels.append(Label(x - wide / 2, bottom - tall, wide, tall))
        self.write(lines, x, bottom - tall + 0.6 * PADDING, BAR_TEXT)

    def bar(
        self,
        limits: tuple[float, float],
        colours: np.ndarray,
        unit: str,
        x: float,
        y: float,
        width: float,
        room: float,
    ) -> float:
        """Draw (…, 3) colours as a bar centred on x with its limits and unit; returns its height."""
        left = x - width / 2
        self.picture(Layer.of((colours[None] * 255).astype(np.uint8)), left, y, width, BAR_HEIGHT)
        low, middle, high = map(number, (limits[0], sum(limits) / 2, limits[1]))
        below = y + BAR_HEIGHT + 0.03
        self.write([low], left, below, BAR_TEXT, align="left")
        self.write([high], left + width, below, BAR_TEXT, align="right")
        if line_width(low + middle + middle + high, BAR_TEXT) < width:
            self.write([middle], x, below, BAR_TEXT)
        below += height(1, BAR_TEXT)
        return below - y + self.write(wrap(drawable(unit), room, BAR_TEXT), x, below, BAR_TEXT, colour=GREY)

    def finished(self) -> Picture:
        """The page, as tall as what was written."""
        return Picture(
            self.width + 2 * MARGIN,
            self.y + MARGIN,
            self._dpi,
            tuple(self._layers),
            tuple(self._labels),
            tuple(self._lines),
        )


@dataclass(frozen=True)
class Panel:
    """One picture with its words.

    Args:
        title: Stands above, bold.
        picture: What is shown.
        note: Stands under the title.
        scale: Draws a colour bar below, with its limits in raw units.
        unit: What the colour bar measures.
        stamp: Words written over the picture.
    """

    title: str
    picture: Layer
    note: str = ""
    scale: ColourScale | None = None
    unit: str = ""
    stamp: str = ""

    def fit(self, width: float, tall: float) -> tuple[float, float]:
        """(width, height) of the picture as large as it fits, in inches."""
        cols, rows = self.picture.size
        factor = min(width / cols, tall / rows)
        return cols * factor, rows * factor


def arrange(panels: Sequence[Panel], choices: Sequence[int]) -> list[list[Panel]]:
    """Break a sequence of panels into rows of the length that draws the pictures largest on one page."""

    def area(columns: int) -> float:
        cell, tall = _room(columns, -(-len(panels) // columns))
        return sum(float(np.prod(panel.fit(cell, tall))) for panel in panels)

    columns = max(choices, key=area)
    return [list(panels[start : start + columns]) for start in range(0, len(panels), columns)]


def compose(
    heading: str,
    subheading: str,
    rows: Sequence[Sequence[Panel]],
    caption: Sequence[str],
    scale: ColourScale | None = None,
    unit: str = "",
) -> Picture:
    """Lay out rows of panels, whose columns line up, between a heading and a caption of paragraphs.

    The caption takes the place of the panels that the last row lacks, if it fits there. With `scale`,
    one colour bar is drawn for all panels.
    """
    columns = max(len(row) for row in rows)
    cell, tall = _room(columns, len(rows))
    panels = [panel for row in rows for panel in row]
    widest = max(panel.fit(cell, tall)[0] for panel in panels)
    sharpest = max(panel.picture.size[1] / panel.fit(cell, tall)[1] for panel in panels)
    cell = min(cell, max(widest, LEAST_CELL))
    used = columns * (cell + GAP) - GAP
    dpi = min(max(sharpest, LEAST_DPI), MOST_DPI, MOST_PIXELS / (len(rows) * (tall + WORDS)))
    builder = PictureBuilder(max(used, LEAST_TEXT), dpi)
    builder.paragraph(heading, HEADING, bold=True)
    builder.paragraph(subheading, SUBHEADING)
    left = MARGIN + (builder.width - used) / 2
    top = builder.y
    for row in rows:
        builder.y += 0.14
        top = builder.y
        _draw_row(builder, row, left, cell, tall)
    bottom, aside = builder.y, (columns - len(rows[-1])) * (cell + GAP) - GAP
    beside = aside > 0 and _caption_height(caption, aside) <= bottom - top
    if beside:
        builder.y = top
        _draw_caption(builder, caption, left + used - aside, aside)
        builder.y = bottom
    if scale is not None and scale.limit > 0:
        builder.y += 0.1
        builder.y += builder.bar(
            scale.limits, scale.ramp, unit, MARGIN + builder.width / 2, builder.y, MOST_BAR, builder.width
        )
    if not beside:
        builder.y += 0.14
        _draw_caption(builder, caption, MARGIN, builder.width)
    return builder.finished()


def _draw_caption(builder: PictureBuilder, caption: Sequence[str], left: float, width: float) -> None:
    for text in filter(None, caption):
        builder.paragraph(text, SMALL, colour=GREY, left=left, width=width)
        builder.y += PARAGRAPH


def _caption_height(caption: Sequence[str], width: float) -> float:
    return sum(
        height(len(wrap(drawable(text), width, SMALL)), SMALL) + PARAGRAPH for text in filter(None, caption)
    )


def _room(columns: int, rows: int) -> tuple[float, float]:
    """(width, height) in inches that a picture may take."""
    return (PAGE_WIDTH + GAP) / columns - GAP, max(PAGE_HEIGHT / rows - WORDS, LEAST_PICTURE)


def _draw_row(
    builder: PictureBuilder, panels: Sequence[Panel], left: float, cell: float, tall: float
) -> None:
    """Titles stand on the upper edge of the pictures, colour bars hang on their lower edges."""
    titles = [wrap(drawable(panel.title), cell, TITLE, bold=True) for panel in panels]
    notes = [wrap(drawable(panel.note), cell, SMALL) if panel.note else [] for panel in panels]
    heights = [height(len(t), TITLE) + height(len(n), SMALL) for t, n in zip(titles, notes, strict=True)]
    top = builder.y + max(heights) + 0.05
    bottom = top
    for i, panel in enumerate(panels):
        centre = left + cell / 2 + i * (cell + GAP)
        y = top - 0.05 - heights[i]
        y += builder.write(titles[i], centre, y, TITLE, bold=True)
        builder.write(notes[i], centre, y, SMALL, colour=GREY)
        width, picture_height = panel.fit(cell, tall)
        builder.picture(panel.picture, centre - width / 2, top, width, picture_height)
        if panel.stamp:
            builder.stamp(panel.stamp, centre, top + picture_height - 0.06, cell)
        end = top + picture_height
        if panel.scale is not None and panel.scale.limit > 0:
            limits, colours, wide = panel.scale.limits, panel.scale.ramp, min(max(width, LEAST_BAR), MOST_BAR)
            end += 0.07 + builder.bar(limits, colours, panel.unit, centre, end + 0.07, wide, cell)
        bottom = max(bottom, end)
    builder.y = bottom
