"""What a run recommends: for faithfulness, for localisation, what not to rely on, and how sure that is.

Each statement rests on typed verdicts: a method is named where it is better than random maps and no other
method is significantly better than it, by the headline metric of every protocol. SRG is the headline of
faithfulness and average precision that of localisation where they were measured, else the first metric of the
kind that the run has. Where nothing separates methods, or images are too few, the statement says that.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from xai.core.catalogue import catalogue
from xai.core.language import gettext, gettext_noop, listed, ngettext
from xai.report.figures.description import image_count, level, scored
from xai.report.payload import PageMetric
from xai.report.sentences import ahead, apart
from xai.report.text import number_format
from xai.stats import MethodSummary, MetricResult, Outcome, phrase
from xai.stats.words import blocks_needed, plural

Purpose = Literal["faithfulness", "localisation"]

NEEDS: dict[Purpose, tuple[str, ...]] = {
    "faithfulness": ("perturbation",),
    "localisation": ("mask", "clicks"),
}
HEADLINE: dict[Purpose, str] = {"faithfulness": "srg", "localisation": "average_precision"}
TITLES: dict[Purpose, str] = {
    "faithfulness": gettext_noop("For faithfulness:"),
    "localisation": gettext_noop("For localisation:"),
}
NOT_MEASURED: dict[Purpose, str] = {
    "faithfulness": gettext_noop("not measured in this run."),
    "localisation": gettext_noop("not measured in this run, which has no masks of what was forged."),
}
FAILED: dict[tuple[Purpose, Outcome], str] = {
    ("faithfulness", Outcome.UNCLEAR): gettext_noop("{methods} (faithfulness not told from random maps)"),
    ("faithfulness", Outcome.WORSE): gettext_noop("{methods} (less faithful than random maps)"),
    ("faithfulness", Outcome.SATURATED): gettext_noop("{methods} (saturated: faithfulness says nothing)"),
    ("localisation", Outcome.UNCLEAR): gettext_noop("{methods} (localisation not told from random maps)"),
    ("localisation", Outcome.WORSE): gettext_noop("{methods} (worse placed than random maps)"),
    ("localisation", Outcome.SATURATED): gettext_noop("{methods} (saturated: localisation says nothing)"),
}
NAMED = 4  # methods that a statement names


@dataclass(frozen=True)
class Piece:
    """A piece of a statement: text, or the name of a row."""

    text: str
    row: bool = False


@dataclass(frozen=True)
class Statement:
    """One statement: what it is about, and its pieces."""

    title: str
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """Without its title."""
        return "".join(one.text for one in self.pieces)


@dataclass(frozen=True)
class Evidence:
    """What speaks for a purpose.

    Args:
        purpose: Which.
        results: The headline metric under each protocol, compared with random maps; may be empty.
    """

    purpose: Purpose
    results: tuple[MetricResult, ...]

    @property
    def leading(self) -> list[str]:
        """Rows that lead in every result, best mean rank in the first result first."""
        found = [leaders(result) for result in self.results]
        return [name for name in found[0] if all(name in one for one in found[1:])] if found else []

    @property
    def undecided(self) -> bool:
        """Whether all results have too few images for any verdict."""
        return all(
            one.verdict.outcome is Outcome.TOO_FEW
            for result in self.results
            for one in scored(result.analysis)
            if one.verdict.outcome is not Outcome.NOT_COMPARED
        )


def evidence_of(
    results: Sequence[MetricResult], metrics: Sequence[PageMetric], names: Sequence[str]
) -> list[Evidence]:
    """The headline results of each purpose, in the order of the run.

    Args:
        results: Of the run.
        metrics: What a page knows of its metrics, at the same places; may be empty.
        names: Registry names of the metrics, at the same places.
    """
    found = []
    for purpose, needs in NEEDS.items():
        by_protocol: dict[str, list[tuple[str, MetricResult]]] = {}
        for place, (result, name) in enumerate(zip(results, names, strict=True)):
            known = catalogue().metrics.get(name)
            need = (
                metrics[place].needs
                if place < len(metrics) and metrics[place].needs
                else known and known.needs
            )
            if need in needs and result.analysis.reference is not None and scored(result.analysis):
                by_protocol.setdefault(result.protocol, []).append((name, result))
        headlines = (
            next((result for name, result in some if name == HEADLINE[purpose]), some[0][1])
            for some in by_protocol.values()
        )
        found.append(Evidence(purpose, tuple(headlines)))
    return found


def leaders(result: MetricResult) -> list[str]:
    """Methods that beat random maps and that no other method is significantly better than; best first."""
    methods = [one for one in scored(result.analysis) if not one.control]
    better = [one for one in methods if one.verdict.outcome is Outcome.BETTER]
    return [
        one.name
        for one in better
        if not any(ahead(other, one) and apart(result, other, one) for other in methods)
    ]


def statements_of(evidence: Sequence[Evidence], images: str) -> list[Statement]:
    """The verdict: a statement for each purpose, what not to rely on, and how sure that is.

    Args:
        evidence: Of each purpose.
        images: How many were measured, in words.
    """
    found = [Statement(gettext(TITLES[one.purpose]), tuple(_use(one))) for one in evidence]
    measured = [one for one in evidence if one.results]
    if measured:
        found.append(Statement(gettext("Not to be relied on:"), tuple(_avoid(measured))))
        found.append(Statement(gettext("How sure:"), tuple(_sure(measured, images))))
    return found


def _use(one: Evidence) -> Iterator[Piece]:
    if not one.results:
        yield Piece(gettext(NOT_MEASURED[one.purpose]))
        return
    first, leading = one.results[0], one.leading
    where = _where(one)
    if one.undecided:
        yield Piece(gettext("too few images to tell any method from random maps."))
        return
    if leading:
        text, either = _recommended(one, leading)
        yield from _sentence(text, leading, either, where=where)
        best = first.analysis.method(leading[0])
        yield Piece(_gap() + _numbers(first, best))
    elif any(map(leaders, one.results)):
        yield Piece(gettext("it depends on how evidence is removed."))
        for result in one.results:
            where = {"metric": result.metric, "protocol": result.protocol}
            if names := leaders(result):
                yield from [
                    Piece(_gap()),
                    *_sentence(gettext("By {metric}, {protocol}: {methods}."), names, **where),
                ]
            else:
                yield Piece(_gap() + gettext("By {metric}, {protocol}: none.", **where))
    else:
        yield Piece(
            gettext("none: no method is shown to be better than random maps by {where}.", where=where)
        )
        return
    controls = [name for name in _rivals(one.results[0]) if all(name in _rivals(r) for r in one.results)]
    if controls:
        text = (
            gettext("But a control does at least as well: {methods}.")
            if len(controls) == 1
            else gettext("But controls do at least as well: {methods}.")
        )
        yield from [Piece(_gap()), *_sentence(text, controls)]


def _where(one: Evidence) -> str:
    """The headline metrics, with the protocols of those that need one."""
    if one.purpose == "localisation":
        return listed([result.metric for result in one.results])
    by_metric: dict[str, list[str]] = {}
    for result in one.results:
        by_metric.setdefault(result.metric, []).append(result.protocol)
    return listed(
        [
            gettext("{metric} ({protocols})", metric=metric, protocols=gettext(", ").join(protocols))
            for metric, protocols in by_metric.items()
        ]
    )


def _recommended(one: Evidence, leading: Sequence[str]) -> tuple[str, bool]:
    """The sentence, and whether it asks to choose one of its methods."""
    others = {*_methods(one)} - {*leading}
    if len(leading) > 1 and not others:
        text = gettext(
            "nothing separates {methods}. By {where} all beat random maps, and none is significantly better "
            "than another."
        )
        return text, False
    if len(leading) > 1:
        text = gettext(
            "use {methods}. By {where} they beat random maps, and no method is significantly better than "
            "these."
        )
        return text, True
    if others and all(_first_of_all(result, leading[0]) for result in one.results):
        text = gettext(
            "use {methods}. By {where} it beats random maps and, significantly, every other method."
        )
        return text, False
    text = gettext("use {methods}. By {where} it beats random maps, and no method is significantly better.")
    return text, False


def _first_of_all(result: MetricResult, name: str) -> bool:
    one = result.analysis.method(name)
    others = [other for other in scored(result.analysis) if not other.control and other.name != name]
    return all(apart(result, one, other) for other in others)


def _rivals(result: MetricResult) -> list[str]:
    """Controls that beat random maps, and that the best method is not significantly better than."""
    methods = scored(result.analysis)
    best = next((one for one in methods if not one.control), None)
    return [
        one.name
        for one in methods
        if one.control
        and one.verdict.outcome is Outcome.BETTER
        and not (best and ahead(best, one) and apart(result, best, one))
    ]


def rounded(methods: Iterable[MethodSummary]) -> Callable[[float], str]:
    """How means are written where few digits are enough: the last stands for a tenth of an interval or so."""
    known = list(methods)
    write = number_format([one.mean for one in known], [10 * (one.high - one.low) for one in known])

    def without_sign_of_nothing(value: float) -> str:
        text = write(value)
        return text if re.search("[1-9]", text) else text.removeprefix("−")

    return without_sign_of_nothing


def _numbers(result: MetricResult, one: MethodSummary) -> str:
    write = rounded(scored(result.analysis))
    interval = f" [{write(one.low)}, {write(one.high)}]" if isfinite(one.low) else ""
    return gettext(
        "{method}: {metric} {number}, {verdict}.",
        method=one.name[0].upper() + one.name[1:],
        metric=result.metric,
        number=f"{write(one.mean)}{interval}",
        verdict=phrase(one.verdict),
    )


def _avoid(evidence: Sequence[Evidence]) -> Iterator[Piece]:
    failed: dict[tuple[Purpose, Outcome], list[str]] = {}
    for one in evidence:
        for name in _methods(one):
            outcomes = {
                result.analysis.method(name).verdict.outcome for result in one.results if _has(result, name)
            }
            for outcome in (Outcome.WORSE, Outcome.UNCLEAR, Outcome.SATURATED):
                if outcome in outcomes:
                    failed.setdefault((one.purpose, outcome), []).append(name)
                    break
    if failed:
        for place, (reason, names) in enumerate(failed.items()):
            yield from [
                *([Piece(gettext("; "))] if place else []),
                *_sentence(gettext(FAILED[reason]), names),
            ]
        yield Piece(gettext("."))
        return
    if all(one.undecided for one in evidence):
        yield Piece(gettext("cannot be told of so few images."))
        return
    yield Piece(gettext("no method fails: all beat random maps."))
    behind = [_behind(one) for one in evidence if one.leading]
    if common := [name for name in (behind or [[]])[0] if all(name in found for found in behind)]:
        text = (
            gettext("Significantly behind the leaders in both: {methods}.")
            if len(behind) > 1
            else gettext("Significantly behind the leaders: {methods}.")
        )
        yield from [Piece(_gap()), *_sentence(text, common)]


def _behind(one: Evidence) -> list[str]:
    """Methods that lead in no result, the worst first."""
    return [name for name in _methods(one) if not any(name in leaders(r) for r in one.results)][::-1]


def _methods(one: Evidence) -> list[str]:
    return list(dict.fromkeys(m.name for r in one.results for m in scored(r.analysis) if not m.control))


def _has(result: MetricResult, name: str) -> bool:
    return any(one.name == name for one in scored(result.analysis))


def _sure(evidence: Sequence[Evidence], images: str) -> Iterator[Piece]:
    analyses = [result.analysis for one in evidence for result in one.results]
    counts = list(dict.fromkeys(map(image_count, analyses)))
    tests = max((m.verdict.adjusted_over or 0 for a in analyses for m in a.methods), default=0)
    yield Piece(
        gettext(
            "{images}; {level} intervals; p adjusted by Holm over {tests} comparisons with random maps, "
            "significant under {alpha}.",
            images=counts[0] if len(counts) == 1 else images.rstrip("."),
            level=level(analyses[0]),
            tests=tests,
            alpha=f"{analyses[0].alpha:g}",
        )
    )
    weak = next((one for one in analyses if blocks_needed(one) is not None), None)
    if weak is not None:
        yield Piece(
            _gap()
            + gettext(
                "So few cannot tell any two methods apart, however different they are: it takes {least}.",
                least=plural(blocks_needed(weak) or 0, weak.unit),
            )
        )
    yield Piece(
        _gap() + gettext("It holds for this model and such images; another detector needs its own run.")
    )


def _sentence(template: str, rows: Sequence[str], either: bool = False, **values: object) -> Iterator[Piece]:
    """A sentence with rows in the place of `{methods}`, the first `NAMED` by name."""
    before, _, after = template.partition("{methods}")
    shown = rows if len(rows) <= NAMED + 1 else rows[:NAMED]
    items = [f"{{{place}}}" for place in range(len(shown))]
    if len(shown) < len(rows):
        items.append(ngettext("{n} more", "{n} more", len(rows) - len(shown)))
    yield Piece(before.format(**values))
    for place, piece in enumerate(re.split(r"\{(\d+)\}", _either(items) if either else listed(items))):
        yield Piece(shown[int(piece)], True) if place % 2 else Piece(piece)
    yield Piece(after.format(**values))


def _either(items: Sequence[str]) -> str:
    """`a, b or c`, as the current language lists choices."""
    *first, last = items
    return gettext("{first} or {last}", first=gettext(", ").join(first), last=last) if first else last


def _gap() -> str:
    """What stands between two sentences."""
    return gettext("{first} {second}", first="", second="")
