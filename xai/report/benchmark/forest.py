"""Means with their intervals, one row for each method, and what they mean against chance."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from xai.report.benchmark.chart import (
    CONTROL,
    GRID,
    NAME,
    SMALL,
    Axis,
    Chart,
    name_of,
    nothing_to_draw,
    widest,
    wrapped,
)
from xai.report.benchmark.words import count, direction, intervals
from xai.report.layout import GREY, INK, MARGIN
from xai.report.text import height, number_format
from xai.stats import Analysis, MethodSummary, Outcome, phrase
from xai.stats.words import notes_of

SCALE, VERDICT = 3.6, 2.9  # inches
LEAST_ROW = 0.23
COLOURS, UNCLEAR = {Outcome.BETTER: "#0b5c9e", Outcome.WORSE: "#b34700"}, "#737373"


def draw_forest(analysis: Analysis, title: str, *, metric: str, notes: Sequence[str] = ()) -> Figure:
    """Mean and interval of every method, best first, beside the reference's, with the verdicts in words.

    Args:
        analysis: Of one metric under one protocol.
        title: Stands above.
        metric: Name of the scale.
        notes: Stand below, with the analysis's own.

    Raises:
        UsageError: No method has a score.
    """
    if not analysis.methods:
        raise nothing_to_draw(title)
    sign = -1 if analysis.higher_is_better else 1
    rows = sorted(analysis.methods, key=lambda method: sign * method.mean)
    names = [name_of(method.name) for method in rows]
    write = number_format([m.mean for m in rows], [m.high - m.low for m in rows])
    numbers = [f"{write(m.mean)}  [{write(m.low)}, {write(m.high)}]" for m in rows]
    left = MARGIN + widest(names) + 0.15
    values = left + SCALE + 0.2
    verdicts = values + widest(numbers, SMALL) + 0.2
    sheet = Chart(verdicts + VERDICT - MARGIN)
    sheet.head(title, f"Mean {metric} on {count(analysis)}; {direction(analysis)}.")
    axis = Axis.around([end for m in rows for end in (m.low, m.mean, m.high)], left, left + SCALE)
    top = sheet.y
    texts = [wrapped(phrase(method.verdict), VERDICT) for method in rows]
    heights = [max(LEAST_ROW, height(len(text), SMALL) + 0.07) for text in texts]
    bottom = top + sum(heights)
    _reference(sheet, axis, analysis, top, bottom)
    sheet.horizontal_scale(axis, top, bottom)
    y = top
    for method, name, text, tall, figures in zip(rows, names, texts, heights, numbers, strict=True):
        centre = y + tall / 2
        colour = CONTROL if method.control else INK
        sheet.text(name, left - 0.1, centre, NAME, align="right", colour=colour)
        _mark(sheet, axis, method, centre, COLOURS.get(method.verdict.outcome, UNCLEAR))
        sheet.text(figures, values, centre, SMALL, align="left", colour=colour)
        sheet.write(
            text, verdicts, centre - height(len(text), SMALL) / 2 + 0.025, SMALL, colour=colour, align="left"
        )
        y += tall
    sheet.y = bottom + 0.05 + height(1, SMALL)
    sheet.write([metric], left + SCALE / 2, sheet.y, SMALL, colour=GREY)
    sheet.y += height(1, SMALL)
    sheet.foot([_meaning(analysis), *notes_of(analysis), *notes])
    return sheet.finish()


def _reference(sheet: Chart, axis: Axis, analysis: Analysis, top: float, bottom: float) -> None:
    """The reference's interval as a band behind all rows."""
    if analysis.reference is None:
        return
    chance = analysis.method(analysis.reference)
    low, high = axis.at(chance.low), axis.at(chance.high)
    sheet.box(low, top, max(high - low, 0.01), bottom - top, "#efefef", GRID)
    sheet.line([axis.at(chance.mean)] * 2, [top, bottom], CONTROL, 0.9, linestyle=(0, (3, 2)), zorder=1.2)


def _mark(sheet: Chart, axis: Axis, method: MethodSummary, y: float, colour: str) -> None:
    sheet.line([axis.at(method.low), axis.at(method.high)], [y, y], colour, 1.6)
    for end in (method.low, method.high):
        sheet.line([axis.at(end)] * 2, [y - 0.035, y + 0.035], colour, 1.2)
    sheet.dot(axis.at(method.mean), y, colour, 5.5, "s" if method.control else "o")


def _meaning(analysis: Analysis) -> str:
    if analysis.reference is None:
        return f"{intervals(analysis)} Squares: controls."
    return (
        f"{intervals(analysis)} Blue: better than {analysis.reference}, orange: worse, grey: not "
        f"distinguishable from it. Squares: controls. Band: the interval of {analysis.reference}. "
        "Verdicts compare image by image, which sees more than whether two intervals overlap."
    )
