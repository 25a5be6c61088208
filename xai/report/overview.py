"""The first screen of a benchmark's page: the verdict in a paragraph, and one figure of what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from xai.core.catalogue import catalogue
from xai.core.language import gettext, gettext_noop
from xai.report.figures.description import direction, scored
from xai.report.headlines import Evidence, Purpose, evidence_of, leaders
from xai.report.payload import Page
from xai.report.protocol_words import protocol_sentences
from xai.report.recommendation import Statement, rounded, statements_of
from xai.report.worded import WordedNames
from xai.stats import MethodSummary, MetricResult, Outcome, Summary, phrase

MOST_ROWS, MOST_COLUMNS = 10, 4  # methods beside the controls; headline results
TITLES: dict[Purpose, str] = {
    "faithfulness": gettext_noop("Faithfulness"),
    "localisation": gettext_noop("Localisation"),
}
QUESTIONS: dict[Purpose, str] = {
    "faithfulness": gettext_noop("Does the model's answer rest on what the map marks?"),
    "localisation": gettext_noop("Does the map lie where the forgery is known to be?"),
}


@dataclass(frozen=True)
class Plotted:
    """One mean with its interval: where it is drawn, as shares of the width, and in words.

    Args:
        low: Lower end, 0 to 1.
        mean: 0 to 1.
        high: Upper end, 0 to 1.
        number: The mean as text.
        interval: The interval as text; may be empty.
        verdict: Beside random maps, in words.
        outcome: The same as a value.
        leads: Whether no method is significantly better.
    """

    low: float
    mean: float
    high: float
    number: str
    interval: str
    verdict: str
    outcome: Outcome
    leads: bool


@dataclass(frozen=True)
class OverviewColumn:
    """One headline result.

    Args:
        place: Of the result in the run.
        purpose: Heading.
        metric: In words.
        protocol: In words; empty where nothing is removed.
        direction: Which way is better.
        random: (low, mean, high) of random maps, 0 to 1.
    """

    place: int
    purpose: str
    metric: str
    protocol: str
    direction: str
    random: tuple[float, float, float]


@dataclass(frozen=True)
class OverviewRow:
    """One row of the figure; cells are None where there is no score."""

    name: str
    control: bool
    cells: tuple[Plotted | None, ...]


@dataclass(frozen=True)
class Overview:
    """The first screen.

    Args:
        statements: The verdict.
        columns: Of the figure; may be none.
        rows: Of the figure, best first.
        hidden: Methods that the figure leaves out.
        unseen: Headline results that the figure leaves out.
        explained: (what, its name where that is another, sentence) of all that stands in it.
    """

    statements: list[Statement]
    columns: list[OverviewColumn]
    rows: list[OverviewRow]
    hidden: int
    unseen: int
    explained: list[tuple[str, str, str]]

    @property
    def has_intervals(self) -> bool:
        """Whether any mean is drawn with one: of a few images none is known."""
        return any(cell is not None and cell.interval for row in self.rows for cell in row.cells)


def overview_of(page: Page, said: Page, names: WordedNames, images: str) -> Overview | None:
    """The first screen of a benchmark's page.

    Args:
        page: Of any kind; None without a summary.
        said: The same, its summary in words.
        names: What the words stand for.
        images: How many were measured, in words.
    """
    if page.summary is None or said.summary is None:
        return None
    parts = said.summary.parts
    evidence = evidence_of(parts, page.parts, [one.metric for one in page.summary.parts])
    results: list[tuple[Purpose, MetricResult]] = [
        (one.purpose, result) for one in evidence for result in one.results
    ]
    shown = results[:MOST_COLUMNS]
    columns = [_Column.of(purpose, result, _place(result, parts)) for purpose, result in shown]
    order = _order([result for _, result in results])
    methods = [name for name, control in order.items() if not control]
    listed = {*methods[:MOST_ROWS]}
    return Overview(
        statements=statements_of(evidence, images),
        columns=[one.head for one in columns],
        rows=[
            OverviewRow(name, control, tuple(one.cell(name) for one in columns))
            for name, control in order.items()
            if control or name in listed
        ],
        hidden=max(0, len(methods) - MOST_ROWS),
        unseen=len(results) - len(shown),
        explained=_explained(page, said.summary, names, [result for _, result in shown], evidence),
    )


@dataclass(frozen=True)
class _Column:
    """A result, and the scale that it is drawn on."""

    head: OverviewColumn
    methods: Mapping[str, MethodSummary]
    leading: Sequence[str]
    limits: tuple[float, float]

    @classmethod
    def of(cls, purpose: Purpose, result: MetricResult, place: int) -> "_Column":
        found = {one.name: one for one in scored(result.analysis)}
        ends = [end for one in found.values() for end in (one.mean, one.low, one.high) if isfinite(end)]
        low, high = min(ends), max(ends)
        margin = 0.03 * (high - low) or 1.0
        limits = low - margin, high + margin
        chance = found.get(result.analysis.reference or "")
        head = OverviewColumn(
            place=place,
            purpose=gettext(TITLES[purpose]),
            metric=result.metric,
            protocol=result.protocol if purpose == "faithfulness" else "",
            direction=direction(result.higher_is_better),
            random=_places(chance, limits) if chance else (0.0, 0.0, 0.0),
        )
        return cls(head, found, leaders(result), limits)

    def cell(self, name: str) -> Plotted | None:
        one = self.methods.get(name)
        if one is None:
            return None
        write = rounded(self.methods.values())
        low, mean, high = _places(one, self.limits)
        return Plotted(
            low=low,
            mean=mean,
            high=high,
            number=write(one.mean),
            interval=f"[{write(one.low)}, {write(one.high)}]" if isfinite(one.low) else "",
            verdict=phrase(one.verdict),
            outcome=one.verdict.outcome,
            leads=name in self.leading,
        )


def _places(one: MethodSummary, limits: tuple[float, float]) -> tuple[float, float, float]:
    start, span = limits[0], limits[1] - limits[0]
    low, high = (end if isfinite(end) else one.mean for end in (one.low, one.high))
    return (low - start) / span, (one.mean - start) / span, (high - start) / span


def _place(result: MetricResult, parts: Sequence[MetricResult]) -> int:
    """Where this very result stands; equality would compare every number."""
    return next(place for place, one in enumerate(parts) if one is result)


def _order(results: Sequence[MetricResult]) -> dict[str, bool]:
    """Row → whether it is a control, by the mean rank in the first result with it, without random maps."""
    references = {result.analysis.reference for result in results}
    return {
        one.name: one.control
        for result in results
        for one in scored(result.analysis)
        if one.name not in references
    }


def _explained(
    page: Page, said: Summary, names: WordedNames, shown: Sequence[MetricResult], evidence: Sequence[Evidence]
) -> list[tuple[str, str, str]]:
    explained = [
        (gettext(TITLES[one.purpose]), "", gettext(QUESTIONS[one.purpose])) for one in evidence if one.results
    ]
    for result in shown:
        place = _place(result, said.parts)
        known = catalogue().metrics.get(names.given(result.metric) or result.metric)
        meaning = page.parts[place].meaning if place < len(page.parts) else ""
        if meaning := meaning or (gettext(known.summary) if known else ""):
            explained.append((result.metric, names.given(result.metric), meaning))
        protocol = next((one for one in said.protocols if one["name"] == result.protocol), None)
        if protocol is not None:
            sentences = protocol_sentences(protocol, "")
            explained.append((result.protocol, names.given(result.protocol), " ".join(sentences)))
    return list(dict.fromkeys(explained))
