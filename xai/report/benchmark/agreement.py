"""Whether metrics, operators or protocols put the methods in the same order."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from matplotlib.figure import Figure

from xai.report.benchmark.chart import NAME, SMALL, Chart, cell_width, ink_on, name_of, widest, wrapped
from xai.report.layout import GREY, MARGIN
from xai.report.overlay import ColourScale
from xai.report.text import height
from xai.stats import Agreement

CELL, MOST_CELL, ROW = 0.7, 1.25, 0.36  # inches
UNKNOWN, SELF = "#f4f4f4", "#dcdcdc"


def draw_agreement(
    agreement: Agreement, title: str, *, subheading: str = "", notes: Sequence[str] = ()
) -> Figure:
    """Kendall's tau-b between all pairs of rankings.

    Args:
        agreement: From `metric_agreement` or `rank_stability`.
        title: Stands above.
        subheading: Stands under the title.
        notes: Stand below.
    """
    names = [name_of(name) for name in agreement.names]
    scale = ColourScale(1.0, signed=True)
    left = MARGIN + widest(names) + 0.15
    cell = cell_width(names, CELL, MOST_CELL)
    sheet = Chart(max(left + len(names) * cell - MARGIN, 5.0))
    sheet.head(title, subheading or f"Kendall's tau-b between rankings of {_methods(agreement)} methods.")
    titles = [wrapped(name, cell - 0.08) for name in names]
    tallest = max((len(text) for text in titles), default=0)
    for j, text in enumerate(titles):
        y = sheet.y + height(tallest - len(text), SMALL)
        sheet.write(text, left + (j + 0.5) * cell, y, SMALL)
    sheet.y += height(tallest, SMALL) + 0.05
    top = sheet.y
    for i, name in enumerate(names):
        y = top + i * ROW
        sheet.text(name, left - 0.1, y + ROW / 2, NAME, align="right")
        for j in range(len(names)):
            _cell(sheet, scale, agreement.tau[i][j], i == j, left + j * cell, y, cell)
    sheet.y = top + len(names) * ROW + 0.18
    sheet.y += sheet.bar(
        scale,
        "−1: reversed order · 0: unrelated · 1: the same order",
        left + len(names) * cell / 2 if len(names) > 4 else MARGIN + sheet.width / 2,
        sheet.y,
        min(3.0, max(1.8, len(names) * cell)),
        sheet.width,
    )
    sheet.foot(
        [
            "Every metric is turned so that better comes first. –: fewer than two methods, or all equal.",
            *notes,
        ]
    )
    return sheet.finish()


def _cell(
    sheet: Chart, scale: ColourScale, tau: float, itself: bool, x: float, y: float, cell: float
) -> None:
    if itself or not isfinite(tau):
        sheet.box(x, y, cell, ROW, SELF if itself else UNKNOWN)
        if not itself:
            sheet.text("–", x + cell / 2, y + ROW / 2, NAME, colour=GREY)
        return
    face = scale.colours(np.array([[tau]]))[0, 0]
    sheet.box(x, y, cell, ROW, tuple(face.tolist()))
    sheet.text(f"{tau:.2f}".replace("-", "−"), x + cell / 2, y + ROW / 2, NAME, colour=ink_on(face.tolist()))


def _methods(agreement: Agreement) -> str:
    counts = {
        n for i, row in enumerate(agreement.methods) for j, n in enumerate(row) if i < j or len(row) == 1
    }
    if not counts:
        return "no"
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
