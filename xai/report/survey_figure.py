"""The picture of a survey: a row for each method and frame, fake beside genuine, difference and spread."""

from textwrap import wrap
from typing import TYPE_CHECKING

from xai.core import DataError
from xai.report.survey import section_title
from xai.report.survey_maps import strips
from xai.report.text import drawable, drawable_language
from xai.stats.survey import Survey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, GAP, HEAD, SMALL = 1.4, 0.25, 0.95, 6.5  # inches; points
WRAPPED = 30  # characters of a title


@drawable_language()
def survey_figure(survey: Survey) -> "Figure":
    """Mean maps by label, their differences and spread, each on the scale of its kind.

    Raises:
        DataError: No map has any relevance.
    """
    from matplotlib.figure import Figure

    rows = []
    for section in (one for one in survey.sections if one.maps):
        found = strips(section, survey.alpha)
        chosen = [(strip, tile) for strip in found[:2] for tile in strip.tiles]
        if len(found) > 2:
            chosen.append((found[-1], found[-1].tiles[0]))  # the spread of all
        rows.append((section_title(section), chosen))
    if not rows:
        raise DataError("No map has any relevance, so there is no mean to draw.")
    wide = max(len(tiles) for _, tiles in rows)
    width, height = wide * (SIDE + GAP) + GAP, len(rows) * (SIDE + HEAD) + 2 * GAP
    figure = Figure(figsize=(width, height), dpi=100)
    for row, (title, tiles) in enumerate(rows):
        top = height - GAP - row * (SIDE + HEAD)
        figure.text(GAP / width, top / height, drawable(title), size=9, weight="bold", va="top")
        for column, (strip, tile) in enumerate(tiles):
            left, bottom = GAP + column * (SIDE + GAP), top - 0.68 - SIDE
            axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            axes.imshow(tile.pixels, interpolation="nearest")
            axes.set_axis_off()
            lines = [line for text in (tile.title, tile.note) for line in wrap(drawable(text), WRAPPED)]
            axes.set_title("\n".join(lines), size=SMALL, pad=3)
            limits = f"{strip.low} … {strip.high}"
            axes.text(0.5, -0.03, limits, size=SMALL - 1, ha="center", va="top", transform=axes.transAxes)
    return figure
