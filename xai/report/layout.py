"""Panels on a sheet: which pictures stand side by side, and where their words go."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from xai.report.scale import Scale
from xai.report.sheet import GREY, MARGIN, Sheet
from xai.report.text import drawable, height, wrap

PAGE_WIDTH, PAGE_HEIGHT = 10.0, 7.6  # inches for panels; a page with many rows grows longer
GAP, WORDS = 0.25, 0.9  # between columns; room for title and colour bar in a row
LEAST_CELL, LEAST_PICTURE, LEAST_TEXT = 1.3, 1.6, 6.5
LEAST_BAR, MOST_BAR = 1.3, 4.0
PARAGRAPH = 0.06
LEAST_DPI, MOST_DPI = 150, 300
MOST_PIXELS = 30_000  # of the page's height: what every viewer opens
HEADING, SUBHEADING, TITLE, SMALL = 12.0, 9.5, 9.5, 8.0  # font sizes in points


@dataclass(frozen=True)
class Panel:
    """One picture with its words.

    Args:
        title: Stands above, bold.
        picture: (height, width, 3) uint8.
        note: Stands under the title.
        scale: Draws a colour bar below, with its limits in raw units.
        unit: What the colour bar measures.
        stamp: Words written over the picture.
    """

    title: str
    picture: np.ndarray
    note: str = ""
    scale: Scale | None = None
    unit: str = ""
    stamp: str = ""

    def fit(self, width: float, tall: float) -> tuple[float, float]:
        """(width, height) of the picture as large as it fits, in inches."""
        rows, cols = self.picture.shape[:2]
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
    scale: Scale | None = None,
    unit: str = "",
) -> Figure:
    """Lay out rows of panels, whose columns line up, between a heading and a caption of paragraphs.

    The caption takes the place of the panels that the last row lacks, if it fits there. With `scale`,
    one colour bar is drawn for all panels.
    """
    columns = max(len(row) for row in rows)
    cell, tall = _room(columns, len(rows))
    panels = [panel for row in rows for panel in row]
    widest = max(panel.fit(cell, tall)[0] for panel in panels)
    sharpest = max(panel.picture.shape[0] / panel.fit(cell, tall)[1] for panel in panels)
    cell = min(cell, max(widest, LEAST_CELL))
    used = columns * (cell + GAP) - GAP
    dpi = min(max(sharpest, LEAST_DPI), MOST_DPI, MOST_PIXELS / (len(rows) * (tall + WORDS)))
    sheet = Sheet(max(used, LEAST_TEXT), dpi)
    sheet.paragraph(heading, HEADING, bold=True)
    sheet.paragraph(subheading, SUBHEADING)
    left = MARGIN + (sheet.width - used) / 2
    top = sheet.y
    for row in rows:
        sheet.y += 0.14
        top = sheet.y
        _draw_row(sheet, row, left, cell, tall)
    bottom, aside = sheet.y, (columns - len(rows[-1])) * (cell + GAP) - GAP
    beside = aside > 0 and _caption_height(caption, aside) <= bottom - top
    if beside:
        sheet.y = top
        _draw_caption(sheet, caption, left + used - aside, aside)
        sheet.y = bottom
    if scale is not None and scale.limit > 0:
        sheet.y += 0.1
        sheet.y += sheet.bar(scale, unit, MARGIN + sheet.width / 2, sheet.y, MOST_BAR, sheet.width)
    if not beside:
        sheet.y += 0.14
        _draw_caption(sheet, caption, MARGIN, sheet.width)
    return sheet.finish()


def _draw_caption(sheet: Sheet, caption: Sequence[str], left: float, width: float) -> None:
    for text in filter(None, caption):
        sheet.paragraph(text, SMALL, colour=GREY, left=left, width=width)
        sheet.y += PARAGRAPH


def _caption_height(caption: Sequence[str], width: float) -> float:
    return sum(
        height(len(wrap(drawable(text), width, SMALL)), SMALL) + PARAGRAPH for text in filter(None, caption)
    )


def _room(columns: int, rows: int) -> tuple[float, float]:
    """(width, height) in inches that a picture may take."""
    return (PAGE_WIDTH + GAP) / columns - GAP, max(PAGE_HEIGHT / rows - WORDS, LEAST_PICTURE)


def _draw_row(sheet: Sheet, panels: Sequence[Panel], left: float, cell: float, tall: float) -> None:
    """Titles stand on the upper edge of the pictures, colour bars hang on their lower edges."""
    titles = [wrap(drawable(panel.title), cell, TITLE, bold=True) for panel in panels]
    notes = [wrap(drawable(panel.note), cell, SMALL) if panel.note else [] for panel in panels]
    heights = [height(len(t), TITLE) + height(len(n), SMALL) for t, n in zip(titles, notes, strict=True)]
    top = sheet.y + max(heights) + 0.05
    bottom = top
    for i, panel in enumerate(panels):
        centre = left + cell / 2 + i * (cell + GAP)
        y = top - 0.05 - heights[i]
        y += sheet.write(titles[i], centre, y, TITLE, bold=True)
        sheet.write(notes[i], centre, y, SMALL, colour=GREY)
        width, picture_height = panel.fit(cell, tall)
        sheet.picture(panel.picture, centre - width / 2, top, width, picture_height)
        if panel.stamp:
            sheet.stamp(panel.stamp, centre, top + picture_height - 0.06, cell)
        end = top + picture_height
        if panel.scale is not None and panel.scale.limit > 0:
            end += 0.07 + sheet.bar(
                panel.scale, panel.unit, centre, end + 0.07, min(max(width, LEAST_BAR), MOST_BAR), cell
            )
        bottom = max(bottom, end)
    sheet.y = bottom
