"""Methods against metrics: places as colours, means as numbers, and which beat the reference."""

from collections.abc import Collection, Mapping, Sequence

from xai.core.errors import printable
from xai.core.language import gettext, joined, pgettext
from xai.report.figures.description import (
    MatrixCell,
    MatrixChart,
    NamedRow,
    controls_of,
    image_count,
    named_rows,
    nothing_to_draw,
    scored,
)
from xai.report.tables import SIGNS
from xai.report.text import number_format
from xai.stats import Analysis, MethodSummary, Outcome, phrase


def rank_chart(
    analyses: Mapping[str, Analysis], title: str, *, subheading: str = "", notes: Sequence[str] = ()
) -> MatrixChart:
    """One row for each method, one column for each metric; rows by the mean rank under the first metric.

    Args:
        analyses: Metric (or metric and protocol) → its analysis.
        title: Stands above.
        subheading: Stands under the title.
        notes: Stand below.

    Raises:
        UsageError: No method has a score.
    """
    measured = {metric: analysis for metric, analysis in analyses.items() if scored(analysis)}
    if not measured:
        raise nothing_to_draw(title)
    methods = [method for analysis in measured.values() for method in scored(analysis)]
    named = named_rows(dict.fromkeys(method.name for method in methods), controls_of(methods))
    cells = [
        cell
        for column, (metric, analysis) in enumerate(measured.items())
        for cell in _column(analysis, printable(metric), column, named)
    ]
    return MatrixChart(
        title=title,
        subheading=subheading or gettext("Mean score and rank on {images}.", images=_images(measured)),
        alt=gettext(
            "{title}: place of every method by each metric, 1 is best; the stronger in colour the better.",
            title=title,
        ),
        notes=(*_meaning(measured), *notes),
        rows=tuple(named.values()),
        columns=tuple(
            (
                printable(metric),
                gettext("higher better ↑") if one.higher_is_better else gettext("lower better ↓"),
            )
            for metric, one in measured.items()
        ),
        cells=tuple(cells),
    )


def _column(
    analysis: Analysis, metric: str, column: int, named_methods: Mapping[str, NamedRow]
) -> list[MatrixCell]:
    methods = {method.name: method for method in scored(analysis)}
    write = number_format([m.mean for m in methods.values()], [m.high - m.low for m in methods.values()])
    cells = []
    for row, (name, named) in enumerate(named_methods.items()):
        details = ((gettext("method"), named.label), (gettext("metric"), metric))
        if name not in methods:
            text = gettext("no score")
            cells.append(
                MatrixCell(row=row, column=column, value=None, text=text, fill=None, details=details)
            )
            continue
        method = methods[name]
        place, rank, mean = _place(methods.values(), method), f"{method.mean_rank:.2f}", write(method.mean)
        numbers = (
            (gettext("mean"), mean),
            (pgettext("rank", "place"), gettext("{place} of {methods}", place=place, methods=len(methods))),
            (gettext("mean rank"), rank),
            (gettext("verdict"), phrase(method.verdict)),
        )
        cells.append(
            MatrixCell(
                row=row,
                column=column,
                value=place,
                text=f"{mean} {SIGNS[method.verdict.outcome]}".rstrip(),
                detail=gettext("no. {place} · {rank}", place=place, rank=rank),
                fill=1 - (place - 1) / max(1, len(methods) - 1),
                details=(*details, *numbers),
            )
        )
    return cells


def _place(methods: Collection[MethodSummary], method: MethodSummary) -> int:
    """1 for the best mean rank; equal ranks share the better place."""
    return 1 + sum(other.mean_rank < method.mean_rank - 1e-9 for other in methods)


def _images(measured: Mapping[str, Analysis]) -> str:
    """Images of all metrics, where they are the same; else from the fewest to the most."""
    texts = {image_count(analysis) for analysis in measured.values()}
    counts = [analysis.images for analysis in measured.values()]
    if len(texts) == 1:
        return texts.pop()
    return gettext("{least} to {most} images, depending on the metric", least=min(counts), most=max(counts))


def _meaning(measured: Mapping[str, Analysis]) -> list[str]:
    cells = gettext(
        "Cells: mean score; below, the place and the mean rank over images, 1 = best. The darker, the better "
        "the place. Methods in the order of {metric}.",
        metric=next(iter(measured)),
    )
    reference = next((a.reference for a in measured.values() if a.reference), None)
    if reference is None:
        return [cells]
    signs = gettext(
        "▲ better than {reference}, ▼ worse, ○ not distinguishable, ? too few images to tell, – saturated. "
        "Metrics are not averaged: they measure different things.",
        reference=reference,
    )
    if any(one.verdict.outcome is Outcome.IMPRECISE for found in measured.values() for one in found.methods):
        signs = joined([signs, gettext("≈ within the error of the precision.")])
    return [f"{cells} {signs}"]
