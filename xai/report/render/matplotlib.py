"""Charts as matplotlib figures, for files and notebooks."""

import re
from collections.abc import Sequence
from functools import singledispatch

import numpy as np
from matplotlib.figure import Figure

from xai.report.colours import DIVERGING
from xai.report.figures.description import (
    PALETTE,
    Chart,
    CurveChart,
    IntervalChart,
    LegendEntry,
    MatrixChart,
    MeanCurve,
    MeanInterval,
    NamedRow,
    RankChart,
)
from xai.report.layout import MARGIN
from xai.report.picture import GREY, HAIRLINE, INK
from xai.report.render.plot import (
    GRID,
    NAME,
    SMALL,
    TINY,
    InchScale,
    Plot,
    ink_on,
    widest,
    wrapped,
)
from xai.report.text import drawable, height

DASHED = (0, (3, 2))
CONTROL = PALETTE["control-1"]
INTERVALS, VERDICT, LEAST_ROW = 3.6, 2.9, 0.23  # inches: the scale of intervals, verdicts, a row's height
WIDTH, TALL, SAMPLE = 5.6, 3.9, 0.5  # the plot of curves, a line in its legend
MARKED, CROWD = 8, 12  # markers on a curve; curves from which bands are fainter
LEAST_CELL, MOST_CELL, CELL = 0.8, 1.4, 0.4  # widths of a matrix's cells, and their height
RANKS, ARM, LINE, LANE = (
    5.0,
    0.25,
    0.21,
    0.12,
)  # the scale of ranks, a name's line, between names, between bars
UNKNOWN, ITSELF = "#f4f4f4", "#dcdcdc"
PIECES = re.compile(r"[^_/ -]+[_/-]?|[_/-]")


@singledispatch
def draw(chart: Chart) -> Figure:
    """A chart as a figure, as tall as it needs to be."""
    raise TypeError(f"No figure of a {type(chart).__name__}.")


@draw.register
def _(chart: IntervalChart) -> Figure:
    rows = chart.rows
    numbers = [f"{row.number}  ({row.interval})" if row.interval else row.number for row in rows]
    left = MARGIN + widest([row.label for row in rows]) + 0.15
    values = left + INTERVALS + 0.2
    verdicts = values + widest(numbers, SMALL) + 0.2
    plot = Plot(verdicts + VERDICT - MARGIN)
    plot.head(chart.title, chart.subheading)
    ends = [end for row in rows for end in (row.low, row.mean, row.high)]
    scale = InchScale.around(ends, left, left + INTERVALS)
    texts = [wrapped(row.verdict, VERDICT) for row in rows]
    heights = [max(LEAST_ROW, height(len(text), SMALL) + 0.07) for text in texts]
    top, bottom = plot.y, plot.y + sum(heights)
    if chart.reference is not None:
        low, mean, high = map(scale.at, chart.reference)
        plot.box(low, top, max(high - low, 0.01), bottom - top, "#efefef", GRID)
        plot.line([mean, mean], [top, bottom], CONTROL, 0.9, linestyle=DASHED, zorder=1.2)
    plot.horizontal_scale(scale, top, bottom, chart.axis)
    y = top
    for row, text, tall, number in zip(rows, texts, heights, numbers, strict=True):
        centre, first = y + tall / 2, y + tall / 2 - height(len(text), SMALL) / 2 + 0.025
        plot.text(row.label, left - 0.1, centre, align="right", colour=_ink(row))
        _interval(plot, scale, row, centre)
        plot.text(number, values, centre, SMALL, align="left", colour=_ink(row))
        plot.write(text, verdicts, first, SMALL, colour=_ink(row), align="left")
        y += tall
    _legend(plot, chart.legend, left)
    plot.foot(chart.notes)
    return plot.figure()


def _interval(plot: Plot, scale: InchScale, row: MeanInterval, y: float) -> None:
    low, mean, high = map(scale.at, (row.low, row.mean, row.high))
    colour = PALETTE[row.colour]
    plot.line([low, high], [y, y], colour, 1.6)
    for end in (low, high):
        plot.line([end, end], [y - 0.035, y + 0.035], colour, 1.2)
    plot.dot(mean, y, colour, 5.5, "s" if row.control else "o")


def _legend(plot: Plot, entries: Sequence[LegendEntry], left: float) -> None:
    """Colours and what they mean, side by side."""
    plot.y += 0.16
    x = left
    for entry in entries:
        plot.dot(x + 0.05, plot.y, PALETTE[entry.colour], 5.5, "s" if entry.square else "o")
        plot.text(entry.label, x + 0.15, plot.y, SMALL, align="left", colour=GREY)
        x += widest([entry.label], SMALL) + 0.4
    plot.y += height(1, SMALL) / 2


@draw.register
def _(chart: CurveChart) -> Figure:
    """The legend stands beside the plot, with the mean height of each curve."""
    curves = chart.curves
    line = max(0.2, min(0.24, TALL / len(curves)))
    tall = max(TALL, len(curves) * line + 0.3)
    start = MARGIN + 0.55
    legend = start + WIDTH + 0.3
    numbers = legend + SAMPLE + 0.12 + widest([curve.label for curve in curves]) + 0.25
    plot = Plot(numbers + widest([*(curve.height for curve in curves), chart.height], SMALL) - MARGIN)
    plot.head(chart.title, chart.subheading)
    plot.write([drawable(chart.up)], MARGIN, plot.y, SMALL, colour=GREY, align="left")
    plot.y += height(1, SMALL) + 0.08
    top, bottom = plot.y, plot.y + tall
    points = [point for curve in curves for point in curve.points]
    shares = [point.share for point in points]
    along = InchScale(min(shares), max(*shares, min(shares) + 1e-9), start, start + WIDTH)
    up = InchScale.around([v for p in points for v in (p.low, p.mean, p.high)], bottom, top)
    plot.vertical_scale(up, start, start + WIDTH)
    plot.horizontal_scale(along, top, bottom, chart.along, percent=True)
    for place, curve in enumerate(curves):
        _curve(plot, along, up, curve, place / len(curves), 0.13 if len(curves) <= CROWD else 0.07)
    plot.line([start, start], [top, bottom], HAIRLINE, 0.8)
    plot.text(chart.height, plot.right, top + 0.08, SMALL, align="right", colour=GREY)
    for place, curve in enumerate(curves):
        y = top + 0.3 + place * line
        _stroke(plot, [legend, legend + SAMPLE], [y, y], curve)
        if curve.marker:
            plot.dot(legend + SAMPLE / 2, y, PALETTE[curve.colour], 5, curve.marker)
        plot.text(curve.label, legend + SAMPLE + 0.12, y, align="left", colour=_ink(curve))
        plot.text(curve.height, plot.right, y, SMALL, align="right", colour=_ink(curve))
    plot.foot(chart.notes)
    return plot.figure()


def _curve(
    plot: Plot, along: InchScale, up: InchScale, curve: MeanCurve, phase: float, opacity: float
) -> None:
    """Markers of different curves stand at different places, so that none hides another."""
    x = [along.at(point.share) for point in curve.points]
    mean, low, high = ([up.at(getattr(p, name)) for p in curve.points] for name in ("mean", "low", "high"))
    plot.area(x, low, high, PALETTE[curve.colour], opacity)
    _stroke(plot, x, mean, curve)
    if curve.marker:
        for i in {round((j + phase) / MARKED * (len(x) - 1)) for j in range(MARKED)}:
            plot.dot(x[i], mean[i], PALETTE[curve.colour], 5, curve.marker)


def _stroke(plot: Plot, x: Sequence[float], y: Sequence[float], curve: MeanCurve) -> None:
    dashes = (0, curve.dash) if curve.dash else "-"
    plot.line(x, y, PALETTE[curve.colour], 1.5, linestyle=dashes, zorder=3)


@draw.register
def _(chart: MatrixChart) -> Figure:
    columns, remarks = [name for name, _ in chart.columns], [remark for _, remark in chart.columns]
    two = any(cell.detail for cell in chart.cells)
    left = MARGIN + widest([row.label for row in chart.rows]) + 0.15
    # names of columns break at `_`, `-`, `/` and spaces only, if they are not very long
    pieces = [piece for name in columns for piece in PIECES.findall(drawable(name))]
    cell_width = min(max(LEAST_CELL, widest(pieces, SMALL, bold=True) + 0.14), MOST_CELL)
    plot = Plot(max(left + len(columns) * cell_width - MARGIN, 5.0))
    plot.head(chart.title, chart.subheading)
    _columns(plot, columns, remarks, left, cell_width)
    top = plot.y
    for place, row in enumerate(chart.rows):
        plot.text(row.label, left - 0.1, top + (place + 0.5) * CELL, align="right", colour=_ink(row))
    for cell in chart.cells:
        x, y = left + cell.column * cell_width, top + cell.row * CELL
        face = (ITSELF if cell.text == "" else UNKNOWN) if cell.fill is None else _face(cell.fill)
        plot.box(x, y, cell_width, CELL, face)
        ink = GREY if isinstance(face, str) else ink_on(face)
        plot.text(cell.text, x + cell_width / 2, y + (0.13 if two else CELL / 2), colour=ink)
        if cell.detail:
            plot.text(cell.detail, x + cell_width / 2, y + 0.29, TINY, colour=ink)
    plot.y = top + len(chart.rows) * CELL
    if chart.scale:
        plot.y += 0.18
        middle = left + len(columns) * cell_width / 2 if len(columns) > 4 else MARGIN + plot.width / 2
        wide = min(3.0, max(1.8, len(columns) * cell_width))
        colours = np.array([_face(fill) for fill in np.linspace(-1, 1, 256)])
        plot.y += plot.bar((-1.0, 1.0), colours, chart.scale, middle, plot.y, wide, plot.width)
    plot.foot(chart.notes)
    return plot.figure()


def _columns(
    plot: Plot, names: Sequence[str], remarks: Sequence[str], left: float, cell_width: float
) -> None:
    """Names of the columns, standing on the matrix, with their remarks."""
    titles = [wrapped(name, cell_width - 0.1, SMALL, bold=True) for name in names]
    tallest = max(map(len, titles), default=0)
    for j, title in enumerate(titles):
        x = left + (j + 0.5) * cell_width
        plot.write(title, x, plot.y + height(tallest - len(title), SMALL), SMALL, bold=True)
        plot.write([remarks[j]], x, plot.y + height(tallest, SMALL), TINY, colour=GREY)
    plot.y += height(tallest, SMALL) + (height(1, TINY) if any(remarks) else 0) + 0.05


def _face(fill: float) -> tuple[float, ...]:
    """Blue over 0, orange under it."""
    return tuple(DIVERGING(0.5 - fill / 2).tolist())


@draw.register
def _(chart: RankChart) -> Figure:
    sides = [chart.side(place) for place in range(len(chart.rows))]
    room = [widest([label for at, _, label in sides if at is left]) + ARM + 0.12 for left in (True, False)]
    plot = Plot(room[0] + RANKS + max(room[1], 0.3))
    plot.head(chart.title, chart.subheading)
    low, high = chart.limits
    scale = InchScale(low, high, MARGIN + room[0], MARGIN + room[0] + RANKS)
    if chart.ruler is not None:
        _ruler(plot, scale, *chart.ruler)
    plot.y += 0.26
    top = plot.y
    plot.line([scale.start, scale.end], [top, top], INK, 1.0)
    for rank in range(low, high + 1):
        plot.line([scale.at(rank)] * 2, [top - 0.07, top], INK, 0.8)
        plot.text(str(rank), scale.at(rank), top - 0.16, SMALL, colour=GREY)
    for i, bar in enumerate(chart.bars):
        x, y = [scale.at(chart.rows[place].rank) for place in bar], top + 0.16 + i * LANE
        plot.line([min(x) - 0.03, max(x) + 0.03], [y, y], PALETTE["joined"], 2.4, zorder=3)
        for each in x:
            plot.dot(each, y, PALETTE["joined"], 4.6)
    first = top + 0.3 + len(chart.bars) * LANE
    for row, (left, lane, label) in zip(chart.rows, sides, strict=True):
        x, y, end = scale.at(row.rank), first + lane * LINE, scale.start - ARM if left else scale.end + ARM
        dashes = DASHED if row.control else "-"
        plot.line([x, x, end], [top, y, y], _ink(row), 0.9, linestyle=dashes)
        at, align = (end - 0.06, "right") if left else (end + 0.06, "left")
        plot.text(label, at, y, NAME, align=align, colour=_ink(row))
    plot.y = first + (chart.lanes - 1) * LINE + 0.1
    plot.foot(chart.notes)
    return plot.figure()


def _ruler(plot: Plot, scale: InchScale, length: float, name: str) -> None:
    """A length to scale, with its name."""
    plot.y += 0.02
    end, colour = scale.at(scale.low + length), PALETTE["joined"]
    plot.line([scale.start, end], [plot.y + 0.06] * 2, colour, 1.4)
    for x in (scale.start, end):
        plot.line([x, x], [plot.y, plot.y + 0.12], colour, 1.4)
    beside = end + 0.08 + widest([name], SMALL) <= plot.right
    x, y = (end + 0.08, plot.y + 0.06) if beside else (scale.start, plot.y + 0.22)
    plot.text(name, x, y, SMALL, align="left", colour=GREY)
    plot.y += 0.16 if beside else 0.36


def _ink(row: NamedRow) -> str:
    return CONTROL if row.control else INK
