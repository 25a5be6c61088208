"""A benchmark as the page tells it: verdicts first, then what they rest on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

from xai.core.language import gettext, gettext_noop, joined, listed, ngettext, pgettext
from xai.report.figures.description import direction, image_count, scored
from xai.report.payload import Page, PageMetric
from xai.report.protocol_words import protocol_sentences
from xai.report.rankings import MetricSection, ranking_of
from xai.report.sentences import (
    Finding,
    against_controls,
    against_random,
    at_the_top,
    warnings,
)
from xai.report.tables import SIGNS, TONES, Cell, Column, Table, decimals, line, numeric, table
from xai.report.text import number
from xai.stats import Agreement, MethodSummary, MetricResult, Outcome, Summary, phrase, short

ORDERS = (
    (0.8, gettext_noop("{pair} put the methods in the same order, nearly (τ={tau}).")),
    (0.5, gettext_noop("{pair} put the methods mostly in the same order (τ={tau}).")),
    (0.2, gettext_noop("{pair} put the methods loosely alike (τ={tau}).")),
    (-0.2, gettext_noop("{pair} put the methods in unrelated orders (τ={tau}).")),
    (-2, gettext_noop("{pair} put the methods in opposed orders (τ={tau}).")),
)


@dataclass(frozen=True)
class ProtocolSection:
    """What is said under one protocol.

    Args:
        place: Among the protocols.
        name: Of it.
        about: Its metrics and images.
        explained: What it does, in sentences.
        random: Methods against random maps.
        controls: Methods against controls.
        top: The best methods.
        table: Methods × metrics, verdicts in a word; None where nothing was compared.
        rankings: Its metric results.
    """

    place: int
    name: str
    about: str
    explained: list[str]
    random: list[Finding]
    controls: list[Finding]
    top: list[Finding]
    table: Table | None
    rankings: list[MetricSection]


@dataclass(frozen=True)
class Matrix:
    """Kendall's tau between rankings: id of its chart, a sentence on it, and the numbers."""

    chart: str
    title: str
    sentence: str
    table: Table


@dataclass(frozen=True)
class Findings:
    """All of a benchmark.

    Args:
        about: Images.
        warnings: Sentences a reader must know.
        protocols: In the order of the run.
        stability: By metric, between protocols.
        agreement: By protocol, between metrics.
        halves: Whether halves of the images agree.
        outputs: The model's values with all and with nothing; None if nothing was removed.
        cost: By row.
        exclusions: What is missing; None if nothing is.
    """

    about: str
    warnings: list[str]
    protocols: list[ProtocolSection]
    stability: list[Matrix]
    agreement: list[Matrix]
    halves: Table | None
    outputs: Table | None
    cost: Table
    exclusions: Table | None


def findings_of(page: Page) -> Findings | None:
    """What the page's summary says; None for pages without a benchmark."""
    return None if page.summary is None else findings_of_summary(page.summary, page.shown[1], page.parts)


def findings_of_summary(summary: Summary, measured: int, metrics: Sequence[PageMetric] = ()) -> Findings:
    """What a summary says.

    Args:
        summary: Of a run.
        measured: Images measured so far.
        metrics: What a page knows of its metrics, at the places of `summary.parts`.
    """
    return Findings(
        about=_images(summary.images, measured),
        warnings=warnings(summary),
        protocols=list(_protocols(summary, metrics)),
        stability=[
            _matrix(f"stability-{i}", gettext("By {metric}", metric=metric), "protocol", one)
            for i, (metric, one) in enumerate(summary.stability.items())
        ],
        agreement=[
            _matrix(f"agreement-{i}", gettext("Under {protocol}", protocol=protocol), "metric", one)
            for i, (protocol, one) in enumerate(summary.agreement.items())
        ],
        halves=_halves(summary),
        outputs=_model_outputs(summary),
        cost=_cost(summary),
        exclusions=_exclusions(summary),
    )


def _images(planned: int, measured: int) -> str:
    """How many images the numbers can be of: those of an unfinished run are of fewer than it is to have."""
    if measured < planned:
        return ngettext(
            "{measured} of {n} image measured.",
            "{measured} of {n} images measured.",
            planned,
            measured=measured,
        )
    return ngettext("{n} image.", "{n} images.", planned)


def _protocols(summary: Summary, metrics: Sequence[PageMetric]) -> Iterator[ProtocolSection]:
    about = dict(enumerate(metrics))
    rankings = [ranking_of(i, result, about.get(i)) for i, result in enumerate(summary.parts)]
    for place, name in enumerate(dict.fromkeys(result.protocol for result in summary.parts)):
        mine = [result for result in summary.parts if result.protocol == name]
        yield ProtocolSection(
            place=place,
            name=name,
            about=_about(mine),
            explained=_explained(summary, name, about),
            random=against_random(mine),
            controls=against_controls(mine),
            top=at_the_top(mine),
            table=_verdicts(mine, name),
            rankings=[one for one in rankings if one.protocol == name],
        )


def _explained(summary: Summary, name: str, about: Mapping[int, PageMetric]) -> list[str]:
    """What the protocol does, or what stands in its place."""
    protocol = next((one for one in summary.protocols if one["name"] == name), None)
    places = [place for place, result in enumerate(summary.parts) if result.protocol == name]
    return protocol_sentences(protocol, about[places[0]].protocol if places[0] in about else name)


def _about(results: Sequence[MetricResult]) -> str:
    counts = list(dict.fromkeys(image_count(result.analysis) for result in results))
    metrics = ngettext("{n} metric", "{n} metrics", len(results))
    images = counts[0] if len(counts) == 1 else gettext("each on its own images")
    counted_words = gettext("{metrics}, {images}", metrics=metrics, images=images)
    judged = [result for result in results if result.analysis.reference is not None]
    better: dict[str, list[bool]] = {}
    for result in judged:
        for one in scored(result.analysis):
            if not one.control:
                better.setdefault(one.name, []).append(one.verdict.outcome is Outcome.BETTER)
    if not better:
        return gettext("{counts}.", counts=counted_words)
    always = sum(all(found) for found in better.values())
    return ngettext(
        "{counts}: {better} of {n} method better than random maps by {metrics}.",
        "{counts}: {better} of {n} methods better than random maps by {metrics}.",
        len(better),
        counts=counted_words,
        better=always,
        metrics=gettext("every metric") if len(judged) > 1 else judged[0].metric,
    )


def _verdicts(results: Sequence[MetricResult], protocol: str) -> Table | None:
    judged = [
        result for result in results if result.analysis.reference is not None and scored(result.analysis)
    ]
    if not judged:
        return None
    by_method = [{one.name: one for one in scored(result.analysis)} for result in judged]
    methods = {name: one for scores in by_method for name, one in scores.items()}
    reference = {result.analysis.reference for result in judged}
    lines = [
        line([Cell(name), *[_verdict(scores.get(name)) for scores in by_method]], one.control)
        for name, one in methods.items()
        if name not in reference
    ]
    columns = [
        gettext("method"),
        *[Column(p.metric, number=False, note=direction(p.higher_is_better)) for p in judged],
    ]
    caption = gettext(
        "Compared with random maps under {protocol}, p by Holm over the methods", protocol=protocol
    )
    return table(caption, columns, lines)


def _verdict(one: MethodSummary | None) -> Cell:
    if one is None:
        return Cell(gettext("no score"))
    found = one.verdict.outcome
    return Cell(f"{SIGNS[found]} {short(one.verdict)}", phrase(one.verdict), TONES.get(found, "plain"))


def _matrix(chart: str, title: str, what: str, one: Agreement) -> Matrix:
    names = one.names
    lines = [
        line([Cell(name), *[numeric(tau, decimals(2)) for tau in taus]])
        for name, taus in zip(names, one.tau, strict=True)
    ]
    caption = gettext(
        "Kendall τ between rankings: {title} (controls left out)", title=title[0].lower() + title[1:]
    )
    head = gettext("protocol") if what == "protocol" else gettext("metric")
    return Matrix(chart, title, _sentence(what, one), table(caption, [head, *map(Column, names)], lines))


def _sentence(what: str, one: Agreement) -> str:
    """The pair that agrees least decides what is said."""
    pairs = [(one.tau[i][j], i, j) for i, j in combinations(range(len(one.names)), 2)]
    known = [pair for pair in pairs if isfinite(pair[0])]
    if not known:
        if what == "protocol":
            return gettext(
                "The protocols' rankings cannot be compared: fewer than two methods, or all equal."
            )
        return gettext("The metrics' rankings cannot be compared: fewer than two methods, or all equal.")
    tau, i, j = min(known)
    pair = listed([one.names[i], one.names[j]])
    order = next(sentence for least, sentence in ORDERS if tau >= least)
    text = gettext(order, pair=pair, tau=decimals(2)(tau))
    return text if len(known) == 1 else joined([text, gettext("No two agree less.")])


def _halves(summary: Summary) -> Table | None:
    found = [(result, result.split_half) for result in summary.parts if result.split_half.splits]
    if not found:
        return None
    lines = [
        line(
            [
                Cell(f"{result.metric}, {result.protocol}"),
                *[numeric(tau, decimals(2)) for tau in (half.mean, half.low, half.high)],
                numeric(half.splits, str),
                numeric(half.blocks, str),
            ]
        )
        for result, half in found
    ]
    columns = [
        gettext("metric and protocol"),
        Column(gettext("mean τ")),
        Column(pgettext("interval", "from")),
        Column(pgettext("interval", "to")),
        Column(gettext("splits")),
        Column(gettext("images or groups")),
    ]
    caption = gettext("Kendall τ between random halves of the images (controls left out)")
    return table(caption, columns, lines)


def _model_outputs(summary: Summary) -> Table | None:
    if not summary.answers:
        return None
    lines = [
        line(
            [
                Cell(name),
                numeric(one.images, str),
                numeric(one.clean, decimals(3)),
                numeric(one.baseline, decimals(3)),
                Cell("")
                if one.kept is None
                else Cell(gettext("{n} of {total}", n=one.kept, total=one.images), one.kept),
            ]
        )
        for name, one in summary.answers.items()
    ]
    columns = [
        gettext("protocol"),
        Column(gettext("images")),
        Column(gettext("with everything"), note=gettext("Mean value of the followed class, image as it is.")),
        Column(gettext("with nothing"), note=gettext("The same with all evidence removed.")),
        Column(
            gettext("class kept"),
            note=gettext("Images on which the class stays on top with nothing left."),
        ),
    ]
    caption = gettext("The model's value of the followed class, with all evidence and with none")
    return table(caption, columns, lines)


def _cost(summary: Summary) -> Table:
    controls = {one.name for one in summary.methods if one.control}
    controls |= {result.analysis.reference for result in summary.parts}
    lines = [
        line(
            [
                Cell(name),
                numeric(1000 * one.seconds, number),
                numeric(one.forwards, str),
                numeric(one.backwards, str),
                numeric(one.peak_bytes / 2**20, decimals(0))
                if one.peak_bytes
                else Cell(gettext("not measured")),
            ],
            name in controls,
        )
        for name, one in summary.cost.items()
    ]
    columns = [
        gettext("method"),
        Column(gettext("ms per image"), note=gettext("Median over images.")),
        Column(gettext("forwards"), note=gettext("Passes at the method's defaults.")),
        Column(gettext("backwards"), note=gettext("Passes at the method's defaults.")),
        Column(
            gettext("peak MiB"),
            note=gettext("Largest memory of the accelerator, where it can be measured."),
        ),
    ]
    return table(gettext("What a map costs"), columns, lines)


def _exclusions(summary: Summary) -> Table | None:
    if not summary.exclusions:
        return None
    lines = [line([one.image, one.method, one.protocol, one.reason]) for one in summary.exclusions]
    columns = [gettext("image"), gettext("method"), gettext("protocol"), gettext("reason")]
    return table(gettext("What is missing, and why"), columns, lines)
