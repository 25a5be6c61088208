"""Charts as pictures and as what pages draw: renderers know how a chart looks, and nothing of statistics."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from xai.report.figures import (
    agreement_chart,
    charts_of_run,
    critical_difference_chart,
    curve_chart,
    interval_chart,
    rank_chart,
)
from xai.report.figures.description import Chart, RankChart
from xai.report.payload import Page
from xai.report.render.vega import Spec, vega_spec
from xai.report.text import drawable_language
from xai.stats import Agreement, MetricResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")

Options = ParamSpec("Options")


def _drawn(describe: Callable[Options, Chart]) -> "Callable[Options, Figure]":
    """A function that draws what another describes."""

    @wraps(describe)
    def drawn(*args: Options.args, **options: Options.kwargs) -> "Figure":
        from xai.report.render.matplotlib import draw  # a page does without

        with drawable_language():
            return draw(describe(*args, **options))

    return drawn


draw_agreement = _drawn(agreement_chart)
draw_critical_difference = _drawn(critical_difference_chart)
draw_curves = _drawn(curve_chart)
draw_forest = _drawn(interval_chart)
draw_rank_table = _drawn(rank_chart)


@drawable_language()
def write_pictures(
    results: Sequence[MetricResult],
    out: Path,
    *,
    agreement: Mapping[str, Agreement] | None = None,
    stability: Mapping[str, Agreement] | None = None,
) -> list[Path]:
    """Draw every result: ranks, intervals and curves, each as PNG and SVG.

    Args:
        results: In the order in which they are to be read.
        out: Folder, made if need be.
        agreement: By protocol: whether its metrics rank alike.
        stability: By metric: whether the protocols rank alike.

    Returns:
        The PNG files, in that order.
    """
    from xai.report.render.matplotlib import draw
    from xai.report.saving import save

    written = []
    for one in charts_of_run(results, agreement or {}, stability or {}):
        figure = draw(one.chart)
        for ending in FORMATS:
            save(figure, out / f"{one.file}.{ending}", keep=ending != FORMATS[-1])
        written.append(out / f"{one.file}.png")
    return written


def charts_of(page: Page) -> dict[str, Spec]:
    """Chart id (see `RunChart`) → Vega-Lite specification; empty for pages without a benchmark."""
    summary = page.summary
    if summary is None:
        return {}
    charts = charts_of_run(
        summary.parts,
        summary.agreement,
        summary.stability,
        values={one["name"]: one["value"] for one in summary.protocols},
        metrics=[one.metric for one in page.parts],
        test="nemenyi",
    )
    return {one.id: vega_spec(one.chart) for one in charts if _fits_page(one.chart)}


def _fits_page(chart: Chart) -> bool:
    """A page shows ranks only where there is a critical difference to go by."""
    return not isinstance(chart, RankChart) or (chart.ruler is not None and len(chart.rows) > 1)
