"""A run's summary as a page says it: names of rows, metrics and protocols in words, all else as it was."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from xai.core.language import gettext, gettext_noop
from xai.core.names import metric_in_words, removal_in_words, row_in_words
from xai.report.payload import Page
from xai.stats import Agreement, Analysis, MetricResult, Summary

T = TypeVar("T")

WITHOUT_PROTOCOL = {
    "maps": gettext_noop("maps alone, without removals"),
    "checks": gettext_noop("checks on few images"),
}
"""What stands where a protocol would, for metrics that need none."""


@dataclass(frozen=True)
class WordedNames:
    """What is read in place of each name; no two of a kind are read alike.

    Args:
        rows: Row name → words.
        metrics: Registry name → words.
        protocols: Name → words.
    """

    rows: Mapping[str, str]
    metrics: Mapping[str, str]
    protocols: Mapping[str, str]

    def given(self, words: str) -> str:
        """The name that is read so, also if marked as a control; empty if unknown, or read as it is."""
        for names in (self.rows, self.metrics, self.protocols):
            for name, read in names.items():
                if words in (read, gettext("{name} (control)", name=read)):
                    return name if name != read else ""
        return ""

    def anchors(self, page: Page) -> dict[str, str]:
        """Words for a row → id of the saliency card of its method, where the page has one."""
        cards = {card.method: f"card-{place}" for place, card in enumerate(page.cards)}
        methods = {one.name: one.method for one in page.rows}
        found: dict[str, str] = {}
        for name, words in self.rows.items():
            if card := cards.get(methods.get(name, name)):
                found |= {words: card, gettext("{name} (control)", name=words): card}
        return found


def read_in_words(page: Page) -> tuple[Page, WordedNames]:
    """A page with a summary, as it is read: names of the summary in words, the rest as it was."""
    if page.summary is None:
        raise ValueError("The page has no summary.")
    names = names_of(page.summary)
    return page.model_copy(update={"summary": in_words(page.summary, names)}), names


def names_of(summary: Summary) -> WordedNames:
    """How the names of a summary are read in the current language."""
    methods = {one.name: one.method for one in summary.methods}
    rows = dict.fromkeys([*methods, *summary.cost])
    for result in summary.parts:
        rows |= dict.fromkeys([*(one.name for one in result.analysis.methods), *result.analysis.left_out])
    removals = {
        one["name"]: removal_in_words(one["unit"], one["operator"]["name"]) for one in summary.protocols
    }
    protocols = dict.fromkeys([*removals, *(result.protocol for result in summary.parts)])
    return WordedNames(
        rows=_unlike(rows, lambda name: row_in_words(name, methods.get(name, ""))),
        metrics=_unlike((result.metric for result in summary.parts), metric_in_words),
        protocols=_unlike(protocols, lambda name: removals.get(name) or _without_protocol(name)),
    )


def in_words(summary: Summary, names: WordedNames) -> Summary:
    """The summary with every name as it is read; what it says else is the same."""
    rows, metrics, protocols = names.rows, names.metrics, names.protocols
    return replace(
        summary,
        parts=tuple(_result(one, names) for one in summary.parts),
        stability={
            metrics.get(name, name): _agreement(one, protocols) for name, one in summary.stability.items()
        },
        agreement={
            protocols.get(name, name): _agreement(one, metrics) for name, one in summary.agreement.items()
        },
        answers=_keyed(summary.answers, protocols),
        cost=_keyed(summary.cost, rows),
        protocols=[{**one, "name": protocols[one["name"]]} for one in summary.protocols],
        methods=tuple(replace(one, name=rows[one.name]) for one in summary.methods),
        exclusions=tuple(
            replace(
                one,
                method=rows.get(one.method, one.method),
                protocol=protocols.get(one.protocol, one.protocol),
            )
            for one in summary.exclusions
        ),
    )


def _without_protocol(name: str) -> str:
    return gettext(WITHOUT_PROTOCOL[name]) if name in WITHOUT_PROTOCOL else name


def _unlike(names: Iterable[str], read: Callable[[str], str]) -> dict[str, str]:
    """Each name as it is read, with the name itself behind where another is read so already."""
    words: dict[str, str] = {}
    for name in dict.fromkeys(names):
        said = read(name)
        if said in words.values():
            said = gettext("{method} ({name})", method=said, name=name)
        words[name] = said if said not in words.values() else name
    return words


def _keyed(found: Mapping[str, T], words: Mapping[str, str]) -> dict[str, T]:
    return {words.get(name, name): one for name, one in found.items()}


def _result(one: MetricResult, names: WordedNames) -> MetricResult:
    rows = names.rows
    return replace(
        one,
        metric=names.metrics[one.metric],
        protocol=names.protocols[one.protocol],
        analysis=_analysis(one.analysis, rows),
        strata={name: _analysis(found, rows) for name, found in one.strata.items()},
        kinds={name: _analysis(found, rows) for name, found in one.kinds.items()},
        saturated=_keyed(one.saturated, rows),
        ties=_keyed(one.ties, rows),
        greedy=one.greedy and replace(one.greedy, methods=_keyed(one.greedy.methods, rows)),
        curves=_keyed(one.curves, rows),
    )


def _analysis(one: Analysis, rows: Mapping[str, str]) -> Analysis:
    def read(name: str | None) -> str | None:
        return None if name is None else rows.get(name, name)

    return replace(
        one,
        methods=tuple(
            replace(
                method,
                name=rows.get(method.name, method.name),
                verdict=replace(method.verdict, other=read(method.verdict.other)),
            )
            for method in one.methods
        ),
        pairs=tuple(
            replace(pair, first=rows.get(pair.first, pair.first), second=rows.get(pair.second, pair.second))
            for pair in one.pairs
        ),
        left_out=tuple(rows.get(name, name) for name in one.left_out),
        reference=read(one.reference),
        precision=one.precision and replace(one.precision, errors=_keyed(one.precision.errors, rows)),
    )


def _agreement(one: Agreement, words: Mapping[str, str]) -> Agreement:
    return replace(one, names=tuple(words.get(name, name) for name in one.names))
