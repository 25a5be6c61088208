"""All figures of a benchmark run, each with its name on pages and as a file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from xai.core.language import gettext
from xai.report.figures.agreement import agreement_chart
from xai.report.figures.critical_difference import Test, critical_difference_chart
from xai.report.figures.curves import curve_chart
from xai.report.figures.description import Chart, controls_of, scored
from xai.report.figures.intervals import interval_chart
from xai.report.figures.ranks import rank_chart
from xai.report.text import file_slug
from xai.stats import Agreement, MetricResult


@dataclass(frozen=True)
class RunChart:
    """A chart of a run.

    Args:
        id: On pages: `intervals-I`, `ranks-I` (critical difference) and `curves-I` of the I-th result;
            `places-J`, `agreement-J` of the J-th protocol, `stability-K` of the K-th metric.
        file: Name of its files, without an ending.
        chart: What it shows.
    """

    id: str
    file: str
    chart: Chart


def charts_of_run(
    results: Sequence[MetricResult],
    agreement: Mapping[str, Agreement],
    stability: Mapping[str, Agreement],
    *,
    values: Mapping[str, str] | None = None,
    metrics: Sequence[str] = (),
    test: Test = "wilcoxon",
) -> Iterator[RunChart]:
    """Every chart that has something to show: places, then ranks, intervals and curves, then agreements.

    Args:
        results: In the order in which they are to be read.
        agreement: By protocol: whether its metrics rank alike.
        stability: By metric: whether the protocols rank alike.
        values: Protocol → what it reads of the model, where that is known.
        metrics: Registry names of the results' metrics, where the results have them in words.
        test: Of the diagrams of ranks.
    """
    for place, protocol in enumerate(dict.fromkeys(one.protocol for one in results)):
        analyses = {one.metric: one.analysis for one in results if one.protocol == protocol}
        if any(map(scored, analyses.values())):
            chart = rank_chart(analyses, gettext("Protocol {name}", name=protocol))
            yield RunChart(f"places-{place}", _file("ranks", protocol), chart)
    for place, one in enumerate(results):
        if scored(one.analysis):
            metric = metrics[place] if place < len(metrics) else one.metric
            yield from _charts(place, one, metric, (values or {}).get(one.protocol), test)
    for place, (protocol, matrix) in enumerate(agreement.items()):
        title = gettext("Do the metrics agree? {protocol}", protocol=protocol)
        yield RunChart(f"agreement-{place}", _file("agreement", protocol), agreement_chart(matrix, title))
    for place, (metric, matrix) in enumerate(stability.items()):
        title = gettext("Do the protocols agree? {metric}", metric=metric)
        yield RunChart(f"stability-{place}", _file("stability", metric), agreement_chart(matrix, title))


def _charts(place: int, one: MetricResult, metric: str, value: str | None, test: Test) -> Iterator[RunChart]:
    title = gettext("{metric} under {protocol}", metric=one.metric, protocol=one.protocol)
    names = one.metric, one.protocol
    ranks = critical_difference_chart(one.analysis, title, test=test)
    yield RunChart(f"ranks-{place}", _file("critical_difference", *names), ranks)
    chart = interval_chart(one.analysis, title, metric=one.metric)
    yield RunChart(f"intervals-{place}", _file("intervals", *names), chart)
    if any(isfinite(mean) for band in one.curves.values() for mean in band.mean):
        chart = curve_chart(
            one.curves,
            title,
            controls=controls_of(one.analysis.methods),
            x_label=_along(metric),
            y_label=_up(metric, value),
            alpha=one.analysis.alpha,
        )
        yield RunChart(f"curves-{place}", _file("curves", *names), chart)


def _along(metric: str) -> str:
    """What the curves of a metric run along."""
    if metric == "insertion":
        return gettext("share put back")
    return gettext("share of stages randomised") if metric == "randomization" else gettext("share removed")


def _up(metric: str, value: str | None) -> str:
    """What the curves of a metric measure."""
    if metric == "srg":
        return gettext("value: least relevant first − most relevant first")
    if metric == "randomization":
        return gettext("similarity to the map of the trained model")
    return gettext("value: {name}", name=value) if value else gettext("value")


def _file(*words: str) -> str:
    return "_".join(map(file_slug, words))
