"""What a run recommends: for faithfulness, for localisation, what not to rely on, and how sure that is.

Each statement rests on typed verdicts: a method is named where it is better than random maps and no other
method is significantly better than it, by the headline metric of every protocol (see `xai.report.headlines`).
Where nothing separates methods, or images are too few, the statement says that.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from xai.core.language import gettext, gettext_noop, listed, ngettext, pgettext
from xai.report.figures.description import image_count, level, scored
from xai.report.headlines import Evidence, Purpose, ahead_of_all, behind, has, leaders, methods_of, rivals
from xai.report.text import number_format
from xai.stats import MethodSummary, MetricResult, Outcome, phrase
from xai.stats.words import blocks_needed, plural

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
        yield from _sentence(text, leading, either=either, where=where)
        best = first.analysis.method(leading[0])
        yield Piece(_gap() + _numbers(first, best))
    elif any(map(leaders, one.results)):
        yield Piece(gettext("it depends on how evidence is removed."))
        for result in one.results:
            metric, protocol = result.metric, result.protocol
            if names := leaders(result):
                text = gettext("By {metric}, {protocol}: {methods}.")
                yield Piece(_gap())
                yield from _sentence(text, names, metric=metric, protocol=protocol)
            else:
                text = gettext("By {metric}, {protocol}: none.", metric=metric, protocol=protocol)
                yield Piece(_gap() + text)
    else:
        yield Piece(
            gettext("none: no method is shown to be better than random maps by {where}.", where=where)
        )
        return
    controls = [name for name in rivals(one.results[0]) if all(name in rivals(r) for r in one.results)]
    if controls:
        text = (
            gettext("But no method is shown to be better than this control: {methods}.")
            if len(controls) == 1
            else gettext("But no method is shown to be better than these controls: {methods}.")
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
    others = {*methods_of(one)} - {*leading}
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
    if others and all(ahead_of_all(result, leading[0]) for result in one.results):
        text = gettext(
            "use {methods}. By {where} it beats random maps and, significantly, every other method."
        )
        return text, False
    text = gettext("use {methods}. By {where} it beats random maps, and no method is significantly better.")
    return text, False


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
        for name in methods_of(one):
            outcomes = {
                result.analysis.method(name).verdict.outcome for result in one.results if has(result, name)
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
    found = [behind(one) for one in evidence if one.leading]
    if common := [name for name in (found or [[]])[0] if all(name in one for one in found)]:
        text = (
            gettext("Significantly behind the leaders in both: {methods}.")
            if len(found) > 1
            else gettext("Significantly behind the leaders: {methods}.")
        )
        yield from [Piece(_gap()), *_sentence(text, common)]


def _sure(evidence: Sequence[Evidence], images: str) -> Iterator[Piece]:
    analyses = [result.analysis for one in evidence for result in one.results]
    counts = list(dict.fromkeys(map(image_count, analyses)))
    tests = max((m.verdict.adjusted_over or 0 for a in analyses for m in a.methods), default=0)
    text = (
        gettext(
            "{images}; {level} intervals; p adjusted by Holm over {tests} comparisons with random maps, "
            "significant under {alpha}."
        )
        if any(isfinite(m.low) for a in analyses for m in a.methods)
        else gettext(
            "{images}, too few for intervals; p adjusted by Holm over {tests} comparisons with random maps, "
            "significant under {alpha}."
        )
    )
    yield Piece(
        text.format(
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


def _sentence(template: str, rows: Sequence[str], *, either: bool = False, **values: str) -> Iterator[Piece]:
    """A sentence with rows in the place of `{methods}`, the first `NAMED` by name."""
    before, _, after = template.partition("{methods}")
    shown = [Piece(name, True) for name in (rows if len(rows) <= NAMED + 1 else rows[:NAMED])]
    if len(shown) < len(rows):
        shown.append(Piece(ngettext("{n} more", "{n} more", len(rows) - len(shown))))
    last = pgettext("between the last two", " or ") if either else pgettext("between the last two", " and ")
    yield Piece(before.format(**values))
    for place, piece in enumerate(shown):
        if place:
            yield Piece(last if place == len(shown) - 1 else gettext(", "))
        yield piece
    yield Piece(after.format(**values))


def _gap() -> str:
    """What stands between two sentences."""
    return gettext("{first} {second}", first="", second="")
