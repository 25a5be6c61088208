"""Words for what the statistics found: the only place that makes sentences of verdicts and of analyses."""

from collections.abc import Iterator

from xai.stats.ranktests import smallest_p
from xai.stats.results import Analysis, Comparison
from xai.stats.verdict import Outcome, Verdict

MANY = 2000  # blocks with which nearly every difference is significant
FEW = 10  # blocks under which chi-squared is a poor approximation

FULL = {
    Outcome.BETTER: "better than {other}, {p}",
    Outcome.WORSE: "worse than {other}, {p}",
    Outcome.UNCLEAR: "not distinguishable from {other}, {p}",
}
SHORT = {
    Outcome.BETTER: "better, {p}",
    Outcome.WORSE: "worse, {p}",
    Outcome.UNCLEAR: "not distinguishable, {p}",
}
SMALL = {
    Outcome.BETTER: "{verdict}, but the effect is small: better on {share} of {unit}s, median {median}",
    Outcome.WORSE: "{verdict}, but the effect is small: worse on {share} of {unit}s, median {median}",
}


def phrase(verdict: Verdict) -> str:
    """A verdict as a sentence that claims no more than its test: `better than random, p<0.001 (Holm)`."""
    return _with_saturation(verdict, _compared(verdict, FULL))


def short(verdict: Verdict) -> str:
    """The same for a table whose caption says what is compared with, and that p is Holm's."""
    return _with_saturation(verdict, _compared(verdict, SHORT))


def phrase_comparison(comparison: Comparison) -> str:
    """The verdict on a comparison, with the name of what was compared: `new: better than old, p<0.001`."""
    return f"{comparison.names[0]}: {phrase(comparison.verdict)}"


def p_value(p: float) -> str:
    """`p<0.001`, `p=0.012`, `p=0.34`; what is under 0.05 does not read 0.05."""
    if p < 0.001:
        return "p<0.001"
    if p >= 0.0995:
        return "p=1" if p >= 0.995 else f"p={p:.2f}"
    return f"p={p:.3g}" if 0.0495 <= p < 0.05 else f"p={p:.2g}"


def plural(count: int, unit: str) -> str:
    """`1 image`, `5 groups`."""
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def signed(value: float) -> str:
    """Three digits with a sign."""
    return f"{value:+.3g}".replace("-", "−")


def notes_of(analysis: Analysis) -> list[str]:
    """What a reader must know of the data of an analysis and of what its tests can find."""
    return [*_notes_on_data(analysis), *(_notes_on_power(analysis) if analysis.methods else ())]


def _compared(verdict: Verdict, phrases: dict[Outcome, str]) -> str:
    """What the test says, saturated or not."""
    if verdict.other is None:
        return "no reference to compare with"
    if verdict.p is None:
        return "the reference"
    if verdict.identical:
        return f"identical to {verdict.other}"
    brief = phrases is SHORT
    if verdict.tested is Outcome.TOO_FEW:
        return (
            f"cannot be told{'' if brief else f' from {verdict.other}'}: "
            f"{plural(verdict.blocks, verdict.unit)} {'is' if verdict.blocks == 1 else 'are'} too few "
            f"(smallest possible {p_value(verdict.smallest_p)})"
        )
    p = p_value(verdict.p)
    p = p if brief or verdict.adjusted_over is None else f"{p} (Holm)"
    text = phrases[verdict.tested].format(other=verdict.other, p=p)
    if not verdict.negligible:
        return text
    return SMALL[verdict.tested].format(
        verdict=text,
        share=f"{verdict.ahead:.0%}",
        unit=verdict.unit,
        median=signed(verdict.difference or 0.0),
    )


def _with_saturation(verdict: Verdict, text: str) -> str:
    """The same, with a remark where most curves of the method rank nothing."""
    if verdict.saturated and verdict.saturated == verdict.images:
        return f"saturated on every image, ranks nothing ({text})"
    if 2 * verdict.saturated > verdict.images:
        return f"{text}, but saturated on {verdict.saturated} of {verdict.images} images"
    return text


def _notes_on_data(analysis: Analysis) -> Iterator[str]:
    if analysis.excluded:
        yield f"{plural(analysis.excluded, 'image')} excluded: the score of some method is undefined there."
    if analysis.left_out and analysis.images:
        yield f"Left out, without any score: {', '.join(analysis.left_out)}."
    if analysis.unit == "group" and analysis.blocks < analysis.images:
        yield (
            f"{plural(analysis.images, 'image')} in {plural(analysis.blocks, 'group')}: "
            "tests compare groups, intervals resample groups, "
            f"and every {analysis.weights[:-1]} counts once in a mean."
        )
    if not analysis.images:
        yield "No image has a score of every method: nothing can be said."


def _notes_on_power(analysis: Analysis) -> Iterator[str]:
    blocks, unit, alpha = analysis.blocks, analysis.unit, analysis.alpha
    pairs = len(analysis.methods) * (len(analysis.methods) - 1) // 2
    if pairs and smallest_p(blocks) * pairs > alpha:
        least = next(n for n in range(1, 1000) if smallest_p(n) * pairs <= alpha)
        yield (
            f"With {plural(blocks, unit)} paired tests cannot tell any two of the methods "
            f"apart, however different they are: it takes {plural(least, unit)} "
            f"for a p under {alpha:g} after correction."
        )
    elif blocks >= MANY:
        yield f"With {plural(blocks, unit)} nearly every difference is significant: look at the effects."
    if analysis.friedman is not None and analysis.friedman.p >= alpha:
        yield f"Friedman's test finds no difference among the methods ({p_value(analysis.friedman.p)})."
    if analysis.friedman is not None and blocks < FEW:
        yield f"Friedman's p is approximate with {plural(blocks, unit)}."
