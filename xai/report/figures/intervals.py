"""Means with their intervals, best first, beside what the reference reaches, with the verdicts in words."""

from collections.abc import Sequence
from math import isfinite

from xai.core.language import gettext
from xai.report.figures.description import (
    IntervalChart,
    LegendEntry,
    MeanInterval,
    controls_of,
    direction,
    image_count,
    level,
    named_rows,
    nothing_to_draw,
    scored,
)
from xai.report.tables import NAMES
from xai.report.text import number_format
from xai.stats import Analysis, Outcome, phrase
from xai.stats.bootstrap import LEAST_BLOCKS
from xai.stats.words import notes_of

COLOURS = dict.fromkeys(Outcome, "unclear") | {Outcome.BETTER: "better", Outcome.WORSE: "worse"}


def interval_chart(
    analysis: Analysis, title: str, *, metric: str, notes: Sequence[str] = ()
) -> IntervalChart:
    """Mean and interval of every method, best mean rank first, and its verdict against the reference.

    Args:
        analysis: Of one metric under one protocol.
        title: Stands above.
        metric: Name of the scale.
        notes: Stand below, with the analysis's own.

    Raises:
        UsageError: No method has a score.
    """
    methods = scored(analysis)
    if not methods:
        raise nothing_to_draw(title)
    write = number_format([m.mean for m in methods], [m.high - m.low for m in methods])
    named = named_rows((method.name for method in methods), controls_of(methods))
    rows = []
    for method in methods:
        low, high = (end if isfinite(end) else method.mean for end in (method.low, method.high))
        outcome = method.verdict.outcome
        rows.append(
            MeanInterval(
                label=named[method.name].label,
                control=method.control,
                mean=method.mean,
                low=low,
                high=high,
                number=write(method.mean),
                interval=f"{write(low)} … {write(high)}" if isfinite(method.low) else "",
                outcome=outcome,
                verdict=phrase(method.verdict),
                colour=COLOURS[outcome],
            )
        )
    chance = next((row for row, m in zip(rows, methods, strict=True) if m.name == analysis.reference), None)
    return IntervalChart(
        title=title,
        subheading=gettext(
            "Mean {metric} on {images}; {direction}.",
            metric=metric,
            images=image_count(analysis),
            direction=direction(analysis.higher_is_better),
        ),
        alt=gettext(
            "{title}: mean {metric} with {level} intervals, best mean rank first.",
            title=title,
            metric=metric,
            level=level(analysis),
        )
        if any(isfinite(method.low) for method in methods)
        else gettext("{title}: mean {metric}, best mean rank first.", title=title, metric=metric),
        notes=(*(_meaning(analysis) if analysis.blocks >= LEAST_BLOCKS else ()), *notes_of(analysis), *notes),
        axis=gettext("mean {metric}", metric=metric),
        rows=tuple(rows),
        reference=None if chance is None else (chance.low, chance.mean, chance.high),
        legend=_legend(rows, chance is not None),
    )


def _legend(rows: Sequence[MeanInterval], compared: bool) -> tuple[LegendEntry, ...]:
    """The outcomes that occur; the reference itself, which nothing is compared with, needs no entry."""
    found = [one for one in Outcome if any(row.outcome is one for row in rows)]
    entries = [
        LegendEntry(gettext(NAMES[one]), COLOURS[one])
        for one in found
        if not (compared and one is Outcome.NOT_COMPARED)
    ]
    return (*entries, LegendEntry(gettext("control"), "control-1", square=True))


def _meaning(analysis: Analysis) -> list[str]:
    how = (
        gettext("Bars: {level} BCa bootstrap intervals of the mean, in the limit of many resamples.")
        if analysis.asymptotic
        else gettext("Bars: {level} BCa bootstrap intervals of the mean, groups resampled {n} times.")
        if analysis.unit == "group"
        else gettext("Bars: {level} BCa bootstrap intervals of the mean, images resampled {n} times.")
    ).format(level=level(analysis), n=analysis.resamples)
    if analysis.reference is None:
        return [how]
    band = gettext(
        "Band: the interval of {reference}. Verdicts compare image by image, which sees more than whether "
        "two intervals overlap.",
        reference=analysis.reference,
    )
    return [f"{how} {band}"]
