"""The tables of one metric under one protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from xai.core.language import gettext, ngettext, pgettext
from xai.report.figures.description import direction, image_count, scored
from xai.report.payload import PageMetric
from xai.report.sentences import named
from xai.report.tables import (
    NAMES,
    TONES,
    Cell,
    Column,
    Line,
    Table,
    decimals,
    line,
    numeric,
    share,
    table,
)
from xai.report.text import number_format, percent
from xai.stats import Analysis, MethodSummary, MetricResult, Outcome
from xai.stats.results import LEADING
from xai.stats.words import precision_remark

POINTS = 11  # of a curve in its table


@dataclass(frozen=True)
class MetricSection:
    """One metric result as the page tells it.

    Args:
        place: In `page.parts`.
        metric: Registry name.
        protocol: Name.
        headline: Who is best and how many beat random maps.
        about: Direction, images, protocol hash.
        meaning: What the metric measures; may be empty.
        table: The ranking.
        remarks: Sentences under it.
        strata: Means and intervals by true class, if there are several.
        kinds: The same by kind of manipulation.
        curves: The curves' values, if there are curves.
    """

    place: int
    metric: str
    protocol: str
    headline: str
    about: str
    meaning: str
    table: Table
    remarks: list[str]
    strata: Table | None
    kinds: Table | None
    curves: Table | None


def ranking_of(place: int, result: MetricResult, about: PageMetric | None) -> MetricSection:
    """A metric result of the summary, with its place and what the page says of it beside."""
    return MetricSection(
        place=place,
        metric=result.metric,
        protocol=result.protocol,
        headline=_headline(result),
        about=_about(result),
        meaning=about.meaning if about else "",
        table=_table(result),
        remarks=_remarks(result),
        strata=_strata(result),
        kinds=_kinds(result),
        curves=_curves(result, about),
    )


def writer(methods: Sequence[MethodSummary]) -> Callable[[float], str]:
    """How means and their intervals are written: with as many decimals as the intervals deserve."""
    return number_format([m.mean for m in methods if isfinite(m.mean)], [m.high - m.low for m in methods])


def _headline(result: MetricResult) -> str:
    methods = scored(result.analysis)
    if not methods:
        return gettext("no method has a score on every image")
    best = gettext("best: {name}", name=named(methods[0].name, methods[0]))
    compared = [one for one in methods if not one.control and one.verdict.outcome is not Outcome.NOT_COMPARED]
    better = sum(one.verdict.outcome is Outcome.BETTER for one in compared)
    if not compared:
        return best
    return ngettext(
        "{best}; {better} of {n} method better than random",
        "{best}; {better} of {n} methods better than random",
        len(compared),
        best=best,
        better=better,
    )


def _about(result: MetricResult) -> str:
    way = direction(result.higher_is_better)
    return gettext(
        "{direction}. {images}. Protocol hash {hash}.",
        direction=way[0].upper() + way[1:],
        images=image_count(result.analysis),
        hash=result.protocol_hash,
    )


def _table(result: MetricResult) -> Table:
    analysis, greedy = result.analysis, result.greedy
    level = f"{100 * (1 - analysis.alpha):g} %"
    columns = [
        Column(gettext("method"), number=False),
        Column(gettext("mean")),
        Column(
            gettext("{level} from", level=level),
            note=gettext("Lower end of the {level} bootstrap interval of the mean.", level=level),
        ),
        Column(pgettext("interval", "to"), note=gettext("Its upper end.")),
        Column(gettext("mean rank"), note=gettext("Over images or groups; 1 is best.")),
        Column(
            gettext("P(best)"),
            note=gettext("Share of bootstrap resamples in which its mean rank is the best."),
        ),
        Column(gettext("verdict"), number=False, note=gettext("Compared with random maps.")),
        Column(
            gettext("better on"),
            note=gettext("Share of images or groups on which it is better than random maps."),
        ),
        Column("p", note=gettext("Against random maps, Holm-adjusted over the methods.")),
        Column(
            gettext("ties"), note=gettext("Mean share of patches or pixels whose relevance is not unique.")
        ),
        Column(
            pgettext("images", "saturated"),
            note=gettext("Images whose curve moves too little to rank anything."),
        ),
    ]
    if greedy:
        columns.append(
            Column(
                ngettext("mean on {n} image", "mean on {n} images", greedy.images),
                note=gettext("Those of the greedy order alone."),
            )
        )
    methods = scored(result.analysis)
    write = writer(methods)
    lines = [_line(result, one, write) for one in methods]
    if greedy:
        empty = [""] * (len(columns) - 2)
        cells = [Cell(gettext("greedy order")), *map(Cell, empty), numeric(greedy.mean, write)]
        lines.append(Line(tuple(cells), "reference"))
    caption = gettext(
        "Ranking by {metric} under {protocol}, best mean rank first",
        metric=result.metric,
        protocol=result.protocol,
    )
    return table(caption, columns, lines)


def _line(result: MetricResult, one: MethodSummary, write: Callable[[float], str]) -> Line:
    found, name = one.verdict.outcome, one.name
    word = "" if found is Outcome.NOT_COMPARED else gettext(NAMES[found])
    cells = [
        Cell(name),
        numeric(one.mean, write),
        numeric(one.low, write),
        numeric(one.high, write),
        numeric(one.mean_rank, decimals(2)),
        numeric(one.p_best, decimals(2)),
        Cell(word, word, TONES.get(found, "plain") if word else ""),
        numeric(one.superiority, share),
        numeric(one.p_reference, _p),
        numeric(result.ties.get(name), share),
        numeric(result.saturated.get(name), str),
    ]
    if result.greedy:
        cells.append(numeric(result.greedy.methods.get(name), write))
    return line(cells, one.control)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def _remarks(result: MetricResult) -> list[str]:
    analysis, halves = result.analysis, result.split_half
    sentences = []
    if analysis.friedman:
        p, w = _p(analysis.friedman.p), analysis.friedman.kendall_w
        sentences.append(
            gettext("Friedman's test that all methods are alike: p {p}.", p=p)
            if not isfinite(w)
            else gettext(
                "Friedman's test that all methods are alike: p {p}, Kendall's W {w} (1: every image ranks "
                "the methods alike).",
                p=p,
                w=f"{w:.2f}",
            )
        )
    reference = analysis.reference
    pairs = [p for p in analysis.pairs if reference not in (p.first, p.second)]
    if pairs:
        sentences.append(
            ngettext(
                "{apart} of {n} pair of methods can be told apart (Wilcoxon, Holm).",
                "{apart} of {n} pairs of methods can be told apart (Wilcoxon, Holm).",
                len(pairs),
                apart=sum(bool(pair.distinguishable) for pair in pairs),
            )
        )
    if analysis.precision is not None:
        sentences.append(precision_remark(analysis.precision))
    if analysis.critical_difference is not None:
        sentences.append(
            gettext(
                "Nemenyi's critical difference of mean ranks: {difference}.",
                difference=f"{analysis.critical_difference:.2f}",
            )
        )
    if halves.splits and isfinite(halves.mean):
        sentences.append(
            gettext(
                "Two random halves of the images rank the methods alike to Kendall τ {tau}.",
                tau=f"{halves.mean:.2f}",
            )
        )
    if result.saturated_images:
        sentences.append(
            ngettext(
                "{n} image saturated for every method ranks nothing.",
                "{n} images saturated for every method rank nothing.",
                result.saturated_images,
            )
        )
    return sentences


def _strata(result: MetricResult) -> Table | None:
    return _split(result, result.strata, gettext("by true class"), scored(result.analysis))


def _kinds(result: MetricResult) -> Table | None:
    """The controls, and the methods that lead over all images."""
    methods = scored(result.analysis)
    first = [one.name for one in methods if not one.control][:LEADING]
    leading = [one for one in methods if one.control or one.name in first]
    return _split(result, result.kinds, gettext("by kind of manipulation"), leading)


def _split(
    result: MetricResult,
    analyses: Mapping[str, Analysis],
    what: str,
    methods: Sequence[MethodSummary],
) -> Table | None:
    """Methods × subsets of the images, each with as many decimals as its intervals deserve."""
    found = {name: one for name, one in analyses.items() if one.methods}
    if not found:
        return None
    by_name = [{method.name: method for method in one.methods} for one in found.values()]
    writers = [writer(one.methods) for one in found.values()]
    heads = [Column(f"{name} (n={one.images})", note=image_count(one)) for name, one in found.items()]
    lines = []
    for method in methods:
        found_here = zip([one.get(method.name) for one in by_name], writers, strict=True)
        cells = [_with_interval(one, write) for one, write in found_here]
        lines.append(line([Cell(method.name), *cells], method.control))
    level = f"{100 * (1 - result.analysis.alpha):g} %"
    caption = gettext(
        "Mean {metric} and {level} interval {what} under {protocol}",
        metric=result.metric,
        level=level,
        what=what,
        protocol=result.protocol,
    )
    return table(caption, [gettext("method"), *heads], lines)


def _with_interval(one: MethodSummary | None, write: Callable[[float], str]) -> Cell:
    if one is None:
        return Cell("")
    if not isfinite(one.low):
        return numeric(one.mean, write)
    return numeric(one.mean, lambda mean: f"{write(mean)} ({write(one.low)} … {write(one.high)})")


def _curves(result: MetricResult, about: PageMetric | None) -> Table | None:
    """At most `POINTS` points of every curve, evenly spread."""
    curves = result.curves
    if not curves:
        return None
    fractions = next(iter(curves.values())).fractions
    last = len(fractions) - 1
    places = sorted(
        {round(i * last / (POINTS - 1)) for i in range(POINTS)} if last >= POINTS else range(last + 1)
    )
    share = gettext("share put back") if about and about.inserts else gettext("share changed")
    values = [v for one in curves.values() for v in one.mean if isfinite(v)]
    spread = [high - low for one in curves.values() for low, high in zip(one.low, one.high, strict=True)]
    write, controls = (
        number_format(values, spread),
        {m.name for m in result.analysis.methods if m.control},
    )
    columns = [gettext("method"), *[Column(f"{percent(fractions[i])}") for i in places]]
    lines = [
        line([Cell(name), *[numeric(one.mean[i], write) for i in places]], name in controls)
        for name, one in curves.items()
    ]
    names = {"metric": result.metric, "protocol": result.protocol, "share": share}
    caption = gettext("Mean curve of {metric} under {protocol}, by the {share}", **names)
    if len(places) < len(fractions):
        points = gettext("{n} of {total} points", n=len(places), total=len(fractions))
        caption = gettext("{caption}; {points}", caption=caption, points=points)
    return table(caption, columns, lines)
