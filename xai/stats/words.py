"""Words for what the statistics found: the only place that makes sentences of verdicts and of analyses."""

from collections.abc import Iterator

from xai.core.language import gettext, gettext_noop, joined, ngettext
from xai.stats.bootstrap import LEAST_BLOCKS
from xai.stats.precision import PrecisionReport
from xai.stats.ranktests import smallest_p
from xai.stats.results import Analysis, Comparison
from xai.stats.verdict import Outcome, Verdict

MANY = 2000  # blocks with which nearly every difference is significant
FEW = 10  # blocks under which chi-squared is a poor approximation

FULL = {
    Outcome.BETTER: gettext_noop("better than {other}, {p}"),
    Outcome.WORSE: gettext_noop("worse than {other}, {p}"),
    Outcome.UNCLEAR: gettext_noop("not distinguishable from {other}, {p}"),
    Outcome.IMPRECISE: gettext_noop("cannot be told from {other} in this precision, though {p}"),
}
SHORT = {
    Outcome.BETTER: gettext_noop("better, {p}"),
    Outcome.WORSE: gettext_noop("worse, {p}"),
    Outcome.UNCLEAR: gettext_noop("not distinguishable, {p}"),
    Outcome.IMPRECISE: gettext_noop("within the error of the precision, though {p}"),
}
SMALL = {
    (Outcome.BETTER, "image"): gettext_noop(
        "{verdict}, but the effect is small: better on {share} of images, median {median}"
    ),
    (Outcome.BETTER, "group"): gettext_noop(
        "{verdict}, but the effect is small: better on {share} of groups, median {median}"
    ),
    (Outcome.WORSE, "image"): gettext_noop(
        "{verdict}, but the effect is small: worse on {share} of images, median {median}"
    ),
    (Outcome.WORSE, "group"): gettext_noop(
        "{verdict}, but the effect is small: worse on {share} of groups, median {median}"
    ),
}


def phrase(verdict: Verdict) -> str:
    """A verdict as a sentence that claims no more than its test: `better than random, p<0.001 (Holm)`."""
    return _with_saturation(verdict, _compared(verdict, FULL))


def short(verdict: Verdict) -> str:
    """The same for a table whose caption says what is compared with, and that p is Holm's."""
    return _with_saturation(verdict, _compared(verdict, SHORT))


def phrase_comparison(comparison: Comparison) -> str:
    """The verdict on a comparison, with the name of what was compared: `new: better than old, p<0.001`."""
    return gettext("{name}: {verdict}", name=comparison.names[0], verdict=phrase(comparison.verdict))


def p_value(p: float) -> str:
    """`p<0.001`, `p=0.012`, `p=0.34`; what is under 0.05 does not read 0.05."""
    if p < 0.001:
        return "p<0.001"
    if p >= 0.0995:
        return "p=1" if p >= 0.995 else f"p={p:.2f}"
    return f"p={p:.3g}" if 0.0495 <= p < 0.05 else f"p={p:.2g}"


def plural(count: int, unit: str) -> str:
    """`1 image`, `5 groups`."""
    if unit == "group":
        return ngettext("{n} group", "{n} groups", count)
    return ngettext("{n} image", "{n} images", count)


def signed(value: float) -> str:
    """Three digits with a sign."""
    return f"{value:+.3g}".replace("-", "−")


def blocks_needed(analysis: Analysis) -> int | None:
    """Images or groups that it takes to tell any two methods apart; None if the analysis has as many."""
    pairs = len(analysis.methods) * (len(analysis.methods) - 1) // 2
    if not pairs or smallest_p(analysis.blocks) * pairs <= analysis.alpha:
        return None
    return next(n for n in range(1, 1000) if smallest_p(n) * pairs <= analysis.alpha)


def notes_of(analysis: Analysis) -> list[str]:
    """What a reader must know of the data of an analysis and of what its tests can find."""
    return [*_notes_on_data(analysis), *(_notes_on_power(analysis) if analysis.methods else ())]


def _compared(verdict: Verdict, phrases: dict[Outcome, str]) -> str:
    """What the test says, saturated or not."""
    if verdict.other is None:
        return gettext("no reference to compare with")
    if verdict.p is None:
        return gettext("the reference")
    if verdict.identical:
        return gettext("identical to {other}", other=verdict.other)
    brief = phrases is SHORT
    if verdict.tested is Outcome.TOO_FEW:
        reason = ngettext(
            "{blocks} is too few (smallest possible {p})",
            "{blocks} are too few (smallest possible {p})",
            verdict.blocks,
            blocks=plural(verdict.blocks, verdict.unit),
            p=p_value(verdict.smallest_p),
        )
        if brief:
            return gettext("cannot be told: {reason}", reason=reason)
        return gettext("cannot be told from {other}: {reason}", other=verdict.other, reason=reason)
    p = p_value(verdict.p)
    p = p if brief or verdict.adjusted_over is None else gettext("{p} (Holm)", p=p)
    text = gettext(phrases[verdict.tested], other=verdict.other, p=p)
    if not verdict.negligible:
        return text
    return gettext(
        SMALL[verdict.tested, verdict.unit],
        verdict=text,
        share=f"{verdict.ahead:.0%}",
        median=signed(verdict.difference or 0.0),
    )


def _with_saturation(verdict: Verdict, text: str) -> str:
    """The same, with a remark where most curves of the method rank nothing."""
    if verdict.saturated and verdict.saturated == verdict.images:
        return gettext("saturated on every image, ranks nothing ({verdict})", verdict=text)
    if 2 * verdict.saturated > verdict.images:
        return gettext(
            "{verdict}, but saturated on {n} of {total} images",
            verdict=text,
            n=verdict.saturated,
            total=verdict.images,
        )
    return text


def _notes_on_data(analysis: Analysis) -> Iterator[str]:
    if analysis.excluded:
        yield ngettext(
            "{n} image excluded: the score of some method is undefined there.",
            "{n} images excluded: the score of some method is undefined there.",
            analysis.excluded,
        )
    if analysis.left_out and analysis.images:
        methods = gettext(", ").join(analysis.left_out)
        yield gettext("Left out, without any score: {methods}.", methods=methods)
    if analysis.unit == "group" and analysis.blocks < analysis.images:
        counts = {"images": plural(analysis.images, "image"), "groups": plural(analysis.blocks, "group")}
        if analysis.weights == "groups":
            yield gettext(
                "{images} in {groups}: tests compare groups, intervals resample groups, and every group "
                "counts once in a mean.",
                **counts,
            )
        else:
            yield gettext(
                "{images} in {groups}: tests compare groups, intervals resample groups, and every image "
                "counts once in a mean.",
                **counts,
            )
    if analysis.asymptotic:
        yield gettext(
            "With so many images or groups none are resampled: intervals are what the bootstrap converges "
            "to, by its Edgeworth expansion, and the probability of being best is that of normally "
            "distributed mean ranks."
        )
    if analysis.precision is not None and analysis.images:
        yield _note_on_precision(analysis.precision)
    if not analysis.images:
        yield gettext("No image has a score of every method: nothing can be said.")


def _note_on_precision(found: PrecisionReport) -> str:
    if found.tolerance is None:
        return gettext(
            "Perturbed images were computed in {dtype}, and its error is measured on fewer than two images, "
            "or groups of them: nothing is told apart.",
            dtype=found.dtype,
        )
    return ngettext(
        "Perturbed images were computed in {dtype}, and on {n} image in full precision too: two methods are "
        "told apart only where the measured error of {dtype} does not explain it.",
        "Perturbed images were computed in {dtype}, and on {n} images in full precision too: two methods are "
        "told apart only where the measured error of {dtype} does not explain it.",
        found.images,
        dtype=found.dtype,
    )


def precision_remark(found: PrecisionReport) -> str:
    """How far scores lie from those of full precision, by the method that differs most, and what follows."""
    if not found.errors:
        return gettext("The error of {dtype} is not measured yet.", dtype=found.dtype)
    name = max(found.errors, key=lambda one: abs(found.errors[one].bias))
    worst = found.errors[name]
    text = gettext(
        "Scores in {dtype} minus those in full precision, of {method}, which differs most: mean {bias}, "
        "standard deviation {spread}, from {low} to {high}.",
        dtype=found.dtype,
        method=name,
        bias=signed(worst.bias),
        spread="–" if worst.spread is None else f"{worst.spread:.2g}",
        low=signed(worst.low),
        high=signed(worst.high),
    )
    if found.tolerance is None:
        return text
    more = ngettext(
        "Differences of up to {tolerance} between two methods may come of it; it holds back {n} pair.",
        "Differences of up to {tolerance} between two methods may come of it; it holds back {n} pairs.",
        found.held_back,
        tolerance=f"{found.tolerance:.2g}",
    )
    return joined([text, more])


def _notes_on_power(analysis: Analysis) -> Iterator[str]:
    blocks, alpha = analysis.blocks, analysis.alpha
    counted = plural(blocks, analysis.unit)
    if (least := blocks_needed(analysis)) is not None:
        yield gettext(
            "With {blocks} paired tests cannot tell any two of the methods apart, however different they "
            "are: it takes {least} for a p under {alpha} after correction.",
            blocks=counted,
            least=plural(least, analysis.unit),
            alpha=f"{alpha:g}",
        )
    elif blocks >= MANY:
        yield gettext(
            "With {blocks} nearly every difference is significant: look at the effects.", blocks=counted
        )
    if blocks < LEAST_BLOCKS:
        yield gettext(
            "With {blocks} no intervals and no probability of being best are given: it takes {least}.",
            blocks=counted,
            least=plural(LEAST_BLOCKS, analysis.unit),
        )
    if analysis.friedman is not None and analysis.friedman.p >= alpha:
        yield gettext(
            "Friedman's test finds no difference among the methods ({p}).", p=p_value(analysis.friedman.p)
        )
    if analysis.friedman is not None and blocks < FEW:
        yield gettext("Friedman's p is approximate with {blocks}.", blocks=counted)
