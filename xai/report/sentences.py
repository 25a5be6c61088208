"""What a benchmark allows one to say, in sentences; each rests on a test of the summary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xai.core.language import gettext, gettext_noop, listed, ngettext
from xai.report.tables import Tone, decimals, ranked, share
from xai.stats import MethodSummary, MetricResult, Outcome, Summary, mask_warning
from xai.stats.words import notes_of

MANY_TIES = 0.5  # share of units without a rank of their own from which a reader is told
BY = {
    Outcome.BETTER: gettext_noop("better than random maps by {metrics}"),
    Outcome.UNCLEAR: gettext_noop("not distinguishable from them by {metrics}"),
    Outcome.WORSE: gettext_noop("worse than random maps by {metrics}"),
    Outcome.TOO_FEW: gettext_noop("too few images to tell by {metrics}"),
    Outcome.SATURATED: gettext_noop("saturated, ranks nothing, by {metrics}"),
}


@dataclass(frozen=True)
class Finding:
    """One sentence: `lead`, then the rows it holds for, then `rest`.

    Args:
        tone: Of its mark.
        lead: Beginning, without the colon.
        rows: Names of rows.
        rest: A remark on them.
    """

    tone: Tone
    lead: str
    rows: tuple[str, ...] = ()
    rest: str = ""


def against_random(parts: Sequence[MetricResult]) -> list[Finding]:
    """Which rows beat random maps by which metrics of one protocol, rows of one pattern together."""
    judged = [part for part in parts if part.analysis.reference is not None and ranked(part.analysis)]
    patterns: dict[tuple[tuple[Outcome, tuple[str, ...]], ...], list[str]] = {}
    for name, one in _rows(judged).items():
        found = [(method.verdict.outcome, part.metric) for part, method in one]
        by_outcome = {which: tuple(metric for other, metric in found if other is which) for which in BY}
        pattern = tuple((which, metrics) for which, metrics in by_outcome.items() if metrics)
        if pattern:
            patterns.setdefault(pattern, []).append(named(name, one[0][1]))
    said = [Finding(_tone(p), _pattern(p, len(judged)), tuple(rows)) for p, rows in patterns.items()]
    return sorted(said, key=lambda one: ("good", "warn", "plain", "", "bad").index(one.tone))


def against_controls(parts: Sequence[MetricResult]) -> list[Finding]:
    """Metrics by which controls do well, where to beat random maps is not enough."""
    return [verdict for part in parts for verdict in _controls(part)]


def at_the_top(parts: Sequence[MetricResult]) -> list[Finding]:
    """The best row by each metric, and those that cannot be told apart from it."""
    return [verdict for part in parts for verdict in _top(part)]


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before trusting the numbers."""
    return list(dict.fromkeys(_warnings(summary)))


def named(name: str, method: MethodSummary) -> str:
    """A row's name, marked if it is a control."""
    return gettext("{name} (control)", name=name) if method.control else name


def direction(part: MetricResult) -> str:
    """Which way the metric points."""
    return gettext("higher is better") if part.higher_is_better else gettext("lower is better")


def _rows(parts: Sequence[MetricResult]) -> dict[str, list[tuple[MetricResult, MethodSummary]]]:
    """Row → the parts that have a score of it, with it."""
    rows: dict[str, list[tuple[MetricResult, MethodSummary]]] = {}
    for part in parts:
        for method in ranked(part.analysis):
            rows.setdefault(method.name, []).append((part, method))
    return rows


def _pattern(pattern: Sequence[tuple[Outcome, Sequence[str]]], metrics: int) -> str:
    if len(pattern) == 1 and len(pattern[0][1]) == metrics > 1:
        text = gettext(BY[pattern[0][0]], metrics=gettext("every metric"))
    else:
        text = gettext("; ").join(gettext(BY[which], metrics=listed(names)) for which, names in pattern)
    return text[0].upper() + text[1:]


def _tone(pattern: Sequence[tuple[Outcome, Sequence[str]]]) -> Tone:
    outcomes = {which for which, _ in pattern}
    if outcomes == {Outcome.BETTER}:
        return "good"
    if Outcome.BETTER in outcomes:
        return "warn"
    return "bad" if Outcome.WORSE in outcomes or outcomes == {Outcome.UNCLEAR} else ""


def _controls(part: MetricResult) -> Iterator[Finding]:
    """Whether any method is better than the best control that beats random maps."""
    rows = ranked(part.analysis)
    best = next((one for one in rows if one.control and one.verdict.outcome is Outcome.BETTER), None)
    if best is None:
        return
    better = [one for one in rows if not one.control and _apart(part, one, best) and _ahead(one, best)]
    names = {"metric": part.metric, "control": best.name}
    if better:
        lead = gettext("By {metric}, the control {control} beats random maps, too. Better than it", **names)
        yield Finding("warn", lead, tuple(one.name for one in better))
    else:
        lead = gettext(
            "By {metric}, the control {control} beats random maps, too. Better than it: none.", **names
        )
        yield Finding("bad", lead)


def _top(part: MetricResult) -> Iterator[Finding]:
    rows = ranked(part.analysis)
    if not rows:
        yield Finding("", gettext("By {metric} no method has a score on every image.", metric=part.metric))
        return
    best, *others = rows
    like = [named(one.name, one) for one in others if not _apart(part, best, one)]
    lead = gettext(
        "Best by {metric} ({direction}): {name}, mean rank {rank}",
        metric=part.metric,
        direction=direction(part),
        name=named(best.name, best),
        rank=decimals(2)(best.mean_rank),
    )
    if not others:
        yield Finding("", gettext("{best}; it stands alone.", best=lead))
    elif like:
        yield Finding("", gettext("{best}. Cannot be told apart from it", best=lead), tuple(like))
    else:
        yield Finding("", gettext("{best}; told apart from every other method.", best=lead))


def _apart(part: MetricResult, one: MethodSummary, other: MethodSummary) -> bool:
    """Whether the test of all pairs tells two rows apart."""
    names = {one.name, other.name}
    pair = next((p for p in part.analysis.pairs if {p.first, p.second} == names), None)
    return pair is not None and bool(pair.distinguishable)


def _ahead(one: MethodSummary, other: MethodSummary) -> bool:
    return one.mean_rank < other.mean_rank


def _warnings(summary: Summary) -> Iterator[str]:
    done, total = summary.units
    if done < total:
        yield gettext("The run is not finished: {done} of {total} items are done.", done=done, total=total)
    yield from map(mask_warning, summary.mask_warnings)
    for protocol, one in summary.answers.items():
        if one.kept:
            yield ngettext(
                "Under {protocol} the followed class keeps a probability of more than one half on {kept} of "
                "{n} image with nothing left of the image: there, deleting evidence cannot take it away.",
                "Under {protocol} the followed class keeps a probability of more than one half on {kept} of "
                "{n} images with nothing left of the image: there, deleting evidence cannot take it away.",
                one.images,
                protocol=protocol,
                kept=one.kept,
            )
    for part in summary.parts:
        names = {"metric": part.metric, "protocol": part.protocol}
        if part.saturated_images:
            yield ngettext(
                "{n} image of {total} is saturated for every method under {protocol} by {metric} and ranks "
                "nothing.",
                "{n} images of {total} are saturated for every method under {protocol} by {metric} and rank "
                "nothing.",
                part.saturated_images,
                total=part.analysis.images,
                **names,
            )
    for name, ties in _tied(summary).items():
        yield gettext(
            "{method}: {share} of its patches share their relevance with others; their order among each "
            "other says nothing.",
            method=name,
            share=share(ties),
        )
    for part in summary.parts:
        if part.analysis.left_out:
            yield gettext(
                "Without any score by {metric} under {protocol}: {methods}.",
                metric=part.metric,
                protocol=part.protocol,
                methods=listed(list(part.analysis.left_out)),
            )
    noted: dict[tuple[str, str], list[str]] = {}
    for part in summary.parts:
        for note in notes_of(part.analysis):
            noted.setdefault((note, part.protocol), []).append(part.metric)
    for (note, protocol), metrics in noted.items():
        yield gettext(
            "{metrics} under {protocol}: {note}", metrics=listed(metrics), protocol=protocol, note=note
        )
    if summary.exclusions:
        yield ngettext(
            "{n} score could not be had; see the exclusions.",
            "{n} scores could not be had; see the exclusions.",
            len(summary.exclusions),
        )


def _tied(summary: Summary) -> dict[str, float]:
    """Row → share of tied patches, where it is large; pixels drawn from a patch map tie by nature."""
    pixels = {one["name"] for one in summary.protocols if one["unit"] == "pixel"}
    found: dict[str, float] = {}
    for part in summary.parts:
        if part.protocol in pixels:
            continue
        for name, ties in part.ties.items():
            if ties >= MANY_TIES:
                found.setdefault(name, ties)
    return found
