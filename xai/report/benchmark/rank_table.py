"""Methods against metrics: ranks as colours, means as numbers, and which beat chance."""

from collections.abc import Mapping, Sequence

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from xai.report.benchmark.chart import (
    CONTROL,
    NAME,
    SMALL,
    Chart,
    cell_width,
    ink_on,
    name_of,
    nothing_to_draw,
    widest,
    wrapped,
)
from xai.report.benchmark.words import count
from xai.report.layout import GREY, INK, MARGIN
from xai.report.outcomes import SIGNS
from xai.report.text import height, number_format
from xai.stats import Analysis, MethodSummary

CELL, MOST_CELL, ROW = 0.9, 1.4, 0.4  # inches
# from best to worst; lightness alone tells the order
BLUES = LinearSegmentedColormap.from_list("ranks", ["#0b4f8a", "#5b98cf", "#c3daf0", "#f7f7f7"])


def draw_rank_table(
    analyses: Mapping[str, Analysis], title: str, *, subheading: str = "", notes: Sequence[str] = ()
) -> Figure:
    """One row for each method, one column for each metric; rows by the mean rank under the first metric.

    Args:
        analyses: Metric (or metric and protocol) → its analysis.
        title: Stands above.
        subheading: Stands under the title.
        notes: Stand below.

    Raises:
        UsageError: No method has a score.
    """
    shown = {metric: analysis for metric, analysis in analyses.items() if analysis.methods}
    if not shown:
        raise nothing_to_draw(title)
    rows = _order(list(shown.values()))
    controls = {m.name for analysis in shown.values() for m in analysis.methods if m.control}
    left = MARGIN + widest([name_of(name) for name in rows]) + 0.15
    cell = cell_width(list(shown), CELL, MOST_CELL, bold=True)
    sheet = Chart(max(left + len(shown) * cell - MARGIN, 5.5))
    sheet.head(title, subheading or f"Mean score and rank on {_counts(shown)}.")
    _columns(sheet, shown, left, cell)
    top = sheet.y
    for i, name in enumerate(rows):
        y = top + i * ROW
        colour = CONTROL if name in controls else INK
        sheet.text(name_of(name), left - 0.1, y + ROW / 2, NAME, align="right", colour=colour)
        for j, analysis in enumerate(shown.values()):
            _cell(sheet, analysis, name, left + j * cell, y, cell)
    sheet.y = top + len(rows) * ROW
    sheet.foot([_meaning(shown), *notes])
    return sheet.finish()


def _order(analyses: Sequence[Analysis]) -> list[str]:
    """Every method once, by its mean rank under the first metric that has it."""
    names: dict[str, None] = {}
    for analysis in analyses:
        for method in analysis.ranked:
            names.setdefault(method.name)
    return list(names)


def _columns(sheet: Chart, shown: Mapping[str, Analysis], left: float, cell: float) -> None:
    """Names of the metrics, standing on the table, with their directions."""
    titles = [wrapped(metric, cell - 0.1, SMALL, bold=True) for metric in shown]
    tallest = max(len(title) for title in titles)
    for j, (title, analysis) in enumerate(zip(titles, shown.values(), strict=True)):
        x = left + (j + 0.5) * cell
        sheet.write(title, x, sheet.y + height(tallest - len(title), SMALL), SMALL, bold=True)
        arrow = "higher better ↑" if analysis.higher_is_better else "lower better ↓"
        sheet.write([arrow], x, sheet.y + height(tallest, SMALL), 6.5, colour=GREY)
    sheet.y += height(tallest, SMALL) + height(1, 6.5) + 0.05


def _cell(sheet: Chart, analysis: Analysis, name: str, x: float, y: float, cell: float) -> None:
    method = next((method for method in analysis.methods if method.name == name), None)
    if method is None:
        sheet.box(x, y, cell, ROW, "white")
        sheet.text("no score", x + cell / 2, y + ROW / 2, SMALL, colour=GREY)
        return
    place = _place(analysis, method)
    face = BLUES((place - 1) / max(1, len(analysis.methods) - 1))
    ink = ink_on(face)
    sheet.box(x, y, cell, ROW, face)
    write = number_format([m.mean for m in analysis.methods], [m.high - m.low for m in analysis.methods])
    sign = SIGNS[method.verdict.outcome]
    sheet.text(f"{write(method.mean)} {sign}".rstrip(), x + cell / 2, y + 0.13, NAME, colour=ink)
    sheet.text(f"no. {place} · {method.mean_rank:.2f}", x + cell / 2, y + 0.29, 6.5, colour=ink)


def _place(analysis: Analysis, method: MethodSummary) -> int:
    """1 for the best mean rank; equal ranks share the better place."""
    return 1 + sum(other.mean_rank < method.mean_rank - 1e-9 for other in analysis.methods)


def _counts(shown: Mapping[str, Analysis]) -> str:
    """Images of all metrics, where they are the same; else from the fewest to the most."""
    said = {count(analysis) for analysis in shown.values()}
    images = [analysis.images for analysis in shown.values()]
    return said.pop() if len(said) == 1 else f"{min(images)} to {max(images)} images, depending on the metric"


def _meaning(shown: Mapping[str, Analysis]) -> str:
    reference = next((a.reference for a in shown.values() if a.reference), None)
    said = (
        "Cells: mean score; below, the place and the mean rank over images, 1 = best. The darker, the better "
        f"the place. Rows in the order of {next(iter(shown))}. Grey names: controls."
    )
    if reference:
        said += (
            f" ▲ better than {reference}, ▼ worse, ○ not distinguishable, ? too few images to "
            "tell, – saturated. Metrics are not averaged: they measure different things."
        )
    return said
