"""What a benchmark allows one to say, in sentences; each rests on a test of the summary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xai.core.language import gettext, gettext_noop, listed, ngettext
from xai.report.figures.description import direction, scored
from xai.report.tables import Tone, decimals, share
from xai.stats import MethodSummary, MetricResult, Outcome, Summary, mask_warning
from xai.stats.words import notes_of

MANY_TIES = 0.5  # share of units without a rank of their own from which a reader is told
BY = {
    Outcome.BETTER: gettext_noop("better than random maps by {metrics}"),
    Outcome.UNCLEAR: gettext_noop("not distinguishable from them by {metrics}"),
    Outcome.WORSE: gettext_noop("worse than random maps by {metrics}"),
    Outcome.IMPRECISE: gettext_noop("within the error of the precision by {metrics}"),
    Outcome.TOO_FEW: gettext_noop("too few images to tell by {metrics}"),
    Outcome.SATURATED: gettext_noop("saturated, ranks nothing, by {metrics}"),
}


@dataclass(frozen=True)
class Finding:
    """One sentence: `lead`, then the methods it holds for, then `rest`.

    Args:
        tone: Of its mark.
        lead: Beginning, without the colon.
        methods: Their names.
        rest: A remark on them.
    """

    tone: Tone
    lead: str
    methods: tuple[str, ...] = ()
    rest: str = ""


def against_random(results: Sequence[MetricResult]) -> list[Finding]:
    """Which methods beat random maps by which metrics of one protocol, those of one pattern together."""
    judged = [
        result for result in results if result.analysis.reference is not None and scored(result.analysis)
    ]
    patterns: dict[tuple[tuple[Outcome, tuple[str, ...]], ...], list[str]] = {}
    for name, one in _by_method(judged).items():
        found = [(method.verdict.outcome, result.metric) for result, method in one]
        by_outcome = {which: tuple(metric for other, metric in found if other is which) for which in BY}
        pattern = tuple((which, metrics) for which, metrics in by_outcome.items() if metrics)
        if pattern:
            patterns.setdefault(pattern, []).append(named(name, one[0][1]))
    findings = [Finding(_tone(p), _pattern(p, len(judged)), tuple(names)) for p, names in patterns.items()]
    return sorted(findings, key=lambda one: ("good", "warn", "plain", "", "bad").index(one.tone))


def against_controls(results: Sequence[MetricResult]) -> list[Finding]:
    """Metrics by which controls do well, where to beat random maps is not enough."""
    return [verdict for result in results for verdict in _controls(result)]


def at_the_top(results: Sequence[MetricResult]) -> list[Finding]:
    """The best method by each metric, and those that cannot be told apart from it."""
    return [verdict for result in results for verdict in _top(result)]


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before trusting the numbers."""
    return list(dict.fromkeys(_warnings(summary)))


def named(name: str, method: MethodSummary) -> str:
    """A row's name, marked if it is a control."""
    return gettext("{name} (control)", name=name) if method.control else name


def _by_method(results: Sequence[MetricResult]) -> dict[str, list[tuple[MetricResult, MethodSummary]]]:
    """Method → the metric results that have a score of it, with it."""
    by_method: dict[str, list[tuple[MetricResult, MethodSummary]]] = {}
    for result in results:
        for method in scored(result.analysis):
            by_method.setdefault(method.name, []).append((result, method))
    return by_method


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


def _controls(result: MetricResult) -> Iterator[Finding]:
    """Whether any method is better than the best control that beats random maps."""
    methods = scored(result.analysis)
    best = next((one for one in methods if one.control and one.verdict.outcome is Outcome.BETTER), None)
    if best is None:
        return
    better = [one for one in methods if not one.control and apart(result, one, best) and ahead(one, best)]
    names = {"metric": result.metric, "control": best.name}
    if better:
        lead = gettext("By {metric}, the control {control} beats random maps, too. Better than it", **names)
        yield Finding("warn", lead, tuple(one.name for one in better))
    else:
        lead = gettext(
            "By {metric}, the control {control} beats random maps, too. Better than it: none.", **names
        )
        yield Finding("bad", lead)


def _top(result: MetricResult) -> Iterator[Finding]:
    methods = scored(result.analysis)
    if not methods:
        yield Finding("", gettext("By {metric} no method has a score on every image.", metric=result.metric))
        return
    best, *others = methods
    like = [named(one.name, one) for one in others if not apart(result, best, one)]
    lead = gettext(
        "Best by {metric} ({direction}): {name}, mean rank {rank}",
        metric=result.metric,
        direction=direction(result.higher_is_better),
        name=named(best.name, best),
        rank=decimals(2)(best.mean_rank),
    )
    if not others:
        yield Finding("", gettext("{best}; it stands alone.", best=lead))
    elif like:
        yield Finding("", gettext("{best}. Cannot be told apart from it", best=lead), tuple(like))
    else:
        yield Finding("", gettext("{best}; told apart from every other method.", best=lead))


def apart(result: MetricResult, one: MethodSummary, other: MethodSummary) -> bool:
    """Whether the test of all pairs tells two methods apart."""
    names = {one.name, other.name}
    pair = next((p for p in result.analysis.pairs if {p.first, p.second} == names), None)
    return pair is not None and bool(pair.distinguishable)


def ahead(one: MethodSummary, other: MethodSummary) -> bool:
    """Whether a method has the better mean rank."""
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
    for result in summary.parts:
        names = {"metric": result.metric, "protocol": result.protocol}
        if result.saturated_images:
            yield ngettext(
                "{n} image of {total} is saturated for every method under {protocol} by {metric} and ranks "
                "nothing.",
                "{n} images of {total} are saturated for every method under {protocol} by {metric} and rank "
                "nothing.",
                result.saturated_images,
                total=result.analysis.images,
                **names,
            )
    for name, ties in _tied(summary).items():
        yield gettext(
            "{method}: {share} of its patches share their relevance with others; their order among each "
            "other says nothing.",
            method=name,
            share=share(ties),
        )
    for result in summary.parts:
        if result.analysis.left_out:
            yield gettext(
                "Without any score by {metric} under {protocol}: {methods}.",
                metric=result.metric,
                protocol=result.protocol,
                methods=listed(list(result.analysis.left_out)),
            )
    yield from notes(summary.parts)
    if summary.exclusions:
        yield ngettext(
            "{n} score could not be had; see the exclusions.",
            "{n} scores could not be had; see the exclusions.",
            len(summary.exclusions),
        )


def notes(results: Sequence[MetricResult]) -> Iterator[str]:
    """What holds of every result once, all else with the metrics and the protocol of which it holds."""
    noted: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for note in notes_of(result.analysis):
            noted.setdefault(note, {}).setdefault(result.protocol, []).append(result.metric)
    for note, where in noted.items():
        if sum(map(len, where.values())) == len(results):
            yield note
            continue
        for protocol, metrics in where.items():
            yield gettext(
                "{metrics} under {protocol}: {note}", metrics=listed(metrics), protocol=protocol, note=note
            )


def _tied(summary: Summary) -> dict[str, float]:
    """Method → share of tied patches, where it is large; pixels drawn from a patch map tie by nature."""
    pixels = {one["name"] for one in summary.protocols if one["unit"] != "patch"}
    found: dict[str, float] = {}
    for result in summary.parts:
        if result.protocol in pixels:
            continue
        for name, ties in result.ties.items():
            if ties >= MANY_TIES:
                found.setdefault(name, ties)
    return found
