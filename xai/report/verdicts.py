"""What a benchmark allows one to say, in sentences; each rests on a test of the summary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xai.report.outcomes import outcome_of, ranked
from xai.report.tables import Tone, decimals, share
from xai.stats import Outcome

Part = Mapping[str, Any]
MANY_TIES = 0.5  # share of units without a rank of their own from which a reader is told
SAID = {
    Outcome.BETTER: "better than random maps by",
    Outcome.UNCLEAR: "not distinguishable from them by",
    Outcome.WORSE: "worse than random maps by",
    Outcome.TOO_FEW: "too few images to tell by",
    Outcome.SATURATED: "saturated, ranks nothing, by",
}


@dataclass(frozen=True)
class Verdict:
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


def against_random(parts: Sequence[Part]) -> list[Verdict]:
    """Which rows beat random maps by which metrics of one protocol, rows of one pattern together."""
    judged = [part for part in parts if part["analysis"]["reference"] is not None and ranked(part)]
    patterns: dict[tuple[tuple[Outcome, tuple[str, ...]], ...], list[str]] = {}
    for name, one in _rows(judged).items():
        found = [(outcome_of(method), part["metric"]) for part, method in one]
        by_outcome = {which: tuple(metric for other, metric in found if other is which) for which in SAID}
        pattern = tuple((which, metrics) for which, metrics in by_outcome.items() if metrics)
        if pattern:
            patterns.setdefault(pattern, []).append(named(name, one[0][1]))
    said = [Verdict(_tone(p), _pattern(p, len(judged)), tuple(rows)) for p, rows in patterns.items()]
    return sorted(said, key=lambda one: ("good", "warn", "plain", "", "bad").index(one.tone))


def against_controls(parts: Sequence[Part]) -> list[Verdict]:
    """Metrics by which controls do well, where to beat random maps is not enough."""
    return [verdict for part in parts for verdict in _controls(part)]


def at_the_top(parts: Sequence[Part]) -> list[Verdict]:
    """The best row by each metric, and those that cannot be told apart from it."""
    return [verdict for part in parts for verdict in _top(part)]


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting the numbers."""
    return list(dict.fromkeys(_warnings(summary)))


def named(name: str, method: Mapping[str, Any]) -> str:
    """A row's name, marked if it is a control."""
    return f"{name} (control)" if method["control"] else name


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(count: int, what: str) -> str:
    """`1 image`, `5 images`."""
    return f"{count} {what}{'s' * (count != 1)}"


def direction(part: Part) -> str:
    """Which way the metric points."""
    return "higher is better" if part["higher_is_better"] else "lower is better"


def _rows(parts: Sequence[Part]) -> dict[str, list[tuple[Part, Mapping[str, Any]]]]:
    """Row → the parts that have a score of it, with it."""
    rows: dict[str, list[tuple[Part, Mapping[str, Any]]]] = {}
    for part in parts:
        for method in ranked(part):
            rows.setdefault(method["name"], []).append((part, method))
    return rows


def _pattern(pattern: Sequence[tuple[Outcome, Sequence[str]]], metrics: int) -> str:
    if len(pattern) == 1 and len(pattern[0][1]) == metrics > 1:
        said = f"{SAID[pattern[0][0]]} every metric"
    else:
        said = "; ".join(f"{SAID[which]} {listed(names)}" for which, names in pattern)
    return said[0].upper() + said[1:]


def _tone(pattern: Sequence[tuple[Outcome, Sequence[str]]]) -> Tone:
    outcomes = {which for which, _ in pattern}
    if outcomes == {Outcome.BETTER}:
        return "good"
    if Outcome.BETTER in outcomes:
        return "warn"
    return "bad" if Outcome.WORSE in outcomes or outcomes == {Outcome.UNCLEAR} else ""


def _controls(part: Part) -> Iterator[Verdict]:
    """Whether any method is better than the best control that beats random maps."""
    rows = ranked(part)
    best = next((one for one in rows if one["control"] and outcome_of(one) is Outcome.BETTER), None)
    if best is None:
        return
    told = [one for one in rows if not one["control"] and _apart(part, one, best) and _ahead(one, best)]
    lead = f"By {part['metric']}, the control {best['name']} beats random maps, too. Better than it"
    yield (
        Verdict("warn", lead, tuple(one["name"] for one in told))
        if told
        else Verdict("bad", f"{lead}: none.")
    )


def _top(part: Part) -> Iterator[Verdict]:
    rows = ranked(part)
    if not rows:
        yield Verdict("", f"By {part['metric']} no row has a score on every image.")
        return
    best, *others = rows
    like = [named(one["name"], one) for one in others if not _apart(part, best, one)]
    said = f"Best by {part['metric']} ({direction(part)}): {named(best['name'], best)}, "
    said += f"mean rank {decimals(2)(best['mean_rank'])}"
    if not others:
        yield Verdict("", f"{said}; it stands alone.")
    elif like:
        yield Verdict("", f"{said}. Cannot be told apart from it", tuple(like))
    else:
        yield Verdict("", f"{said}; told apart from every other row.")


def _apart(part: Part, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the test of all pairs tells two rows apart."""
    names = {one["name"], other["name"]}
    pair = next((p for p in part["analysis"]["pairs"] if {p["first"], p["second"]} == names), None)
    return pair is not None and bool(pair["distinguishable"])


def _ahead(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["mean_rank"] < other["mean_rank"]


def _warnings(summary: Mapping[str, Any]) -> Iterator[str]:
    done, total = summary["units"]
    if done < total:
        yield f"The run is not finished: {done} of {total} units are done."
    yield from summary.get("warnings", ())
    for protocol, one in summary["answers"].items():
        if one["kept"]:
            yield (
                f"Under {protocol} the followed class keeps a probability of more than one half on "
                f"{one['kept']} of {plural(one['images'], 'image')} with nothing left of the image: "
                "there, deleting evidence cannot take it away."
            )
    for part in summary["parts"]:
        if part["saturated_images"]:
            yield (
                f"{plural(part['saturated_images'], 'image')} of {part['analysis']['images']} are saturated "
                f"for every row under {part['protocol']} by {part['metric']} and rank nothing."
            )
    for name, ties in _tied(summary).items():
        yield (
            f"{name}: {share(ties)} of its patches share their relevance with others; "
            "their order among each other says nothing."
        )
    for part in summary["parts"]:
        if part["analysis"]["left_out"]:
            rows = listed(list(part["analysis"]["left_out"]))
            yield f"Without any score by {part['metric']} under {part['protocol']}: {rows}."
    noted: dict[tuple[str, str], list[str]] = {}
    for part in summary["parts"]:
        for note in part["analysis"]["notes"]:
            noted.setdefault((note, part["protocol"]), []).append(part["metric"])
    for (note, protocol), metrics in noted.items():
        yield f"{listed(metrics)} under {protocol}: {note}"
    if summary["exclusions"]:
        yield f"{plural(len(summary['exclusions']), 'score')} could not be had; see the exclusions."


def _tied(summary: Mapping[str, Any]) -> dict[str, float]:
    """Row → share of tied patches, where it is large; pixels drawn from a patch map tie by nature."""
    pixels = {one["name"] for one in summary["protocols"] if one["unit"] == "pixel"}
    found: dict[str, float] = {}
    for part in summary["parts"]:
        if part["protocol"] in pixels:
            continue
        for name, ties in part["ties"].items():
            if ties is not None and ties >= MANY_TIES:
                found.setdefault(name, ties)
    return found
