"""What a reader must know about one image before its maps are believed, in sentences."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from xai.core import Explanation, ProblemType, predicted_labels
from xai.core.language import gettext, gettext_noop, joined, listed
from xai.core.names import row_in_words
from xai.report import words
from xai.report.colours import ColourScale
from xai.report.image_payload import Box, Caveat, Removal
from xai.report.text import percent

UNSURE = 0.2  # difference of the two largest probabilities below which a model is not sure
LISTED = 5  # labels named in a sentence
WHOLE = 0.999  # share of an image from which on nothing of it is left out
OF_ALL = {
    "wrong": gettext_noop(
        "The model is wrong on these images: the maps show what it went by, not what is so."
    ),
    "unsure": gettext_noop(
        "The model is not sure of these images: the probabilities of two classes are less than 20 points "
        "apart."
    ),
    "independent": gettext_noop(
        "The labels are independent: each probability is one for itself, and they do not add up to 100%."
    ),
    "unsure label": gettext_noop("The model is not sure of a label: it counts as found from 50%."),
    "contrast": gettext_noop(
        "A map is of a difference of two logits: it shows what tells the two labels apart, while both "
        "may be true, "
        "or neither."
    ),
    "zero": gettext_noop("A map is zero everywhere. That does not say that nothing is there."),
    "nearly constant": gettext_noop(
        "A map is nearly constant: its patches differ by less than 10% of the largest value, so its "
        "colours tell no "
        "patch from another."
    ),
    "incomplete": gettext_noop(
        "A map is far from the change of the score that it should sum to: the method has missed much of what "
        "it should share out."
    ),
    "unsupported": gettext_noop(
        "Removing the patches that the map calls most relevant lowers the score no more than removing as "
        "many "
        "random ones: the map is not supported by the model's output."
    ),
    "crop": gettext_noop("The model was given a crop; the rest of the image had no say."),
    "cut": gettext_noop("The model saw part of the image; what its preprocessing cut off had no say."),
    "sinks": gettext_noop(
        "A tenth of a map or more lies on sink tokens, in which large models keep facts of the whole "
        "image: their "
        "relevance need not be about their place."
    ),
    "unshaken": gettext_noop(
        "The model still predicts the class with every patch removed: deletion cannot take that away."
    ),
    "flat curve": gettext_noop("The curve of a method hardly moves: it ranks nothing."),
    "tied": gettext_noop("Most patches of a map are tied, and chance orders them."),
    "failed": gettext_noop("A method failed; the evidence sheet says why."),
    "squashed": gettext_noop(
        "The model saw the image squashed. A crop of the part that matters (--box x,y,w,h) keeps its shapes."
    ),
}
"""Kind of caveat → what a page says once of all images that have it, where their own sentences differ."""


def caveat(kind: str, text: str, short: str) -> Caveat:
    """See `Caveat`."""
    return Caveat(kind=kind, text=text, short=short)


def caveats_of(
    explanations: Mapping[str, Explanation], removals: Iterable[Removal] = (), controls: Iterable[str] = ()
) -> list[Caveat]:
    """What to know about one image, the most important first.

    Args:
        explanations: Method → explanation, all of the same image.
        removals: What happened when the most relevant patches were removed.
        controls: Methods of which nothing is expected.
    """
    one = next(iter(explanations.values()))
    rows = {name: row_in_words(name, found.method) for name, found in explanations.items()}
    methods = {rows[name]: found for name, found in explanations.items() if name not in controls}
    return [
        *on_prediction(one.probabilities, one.predicted, one.sample.label, one.problem_type),
        *contrasts(dict.fromkeys(label for found in explanations.values() for label in found.maps), one),
        *no_evidence(methods),
        *_nearly_constant(methods),
        *(
            caveat("incomplete", text, gettext("misses its sum"))
            for name, found in methods.items()
            for text in words.incomplete_for(found, name if len(methods) > 1 else None)
        ),
        *(
            no_better(removal, rows.get(removal.row, removal.row))
            for removal in removals
            if removal.row not in controls and _no_better(removal)
        ),
        *blind(one.geometry.size, one.geometry.box, one.sample.box is not None),
        *(
            caveat("sinks", text, gettext("sink tokens"))
            for name, found in methods.items()
            for text in words.sinks_for(found, name if len(methods) > 1 else None)
        ),
        *squashed(words.squashed_for(one)),
        *signs(methods),
    ]


def on_prediction(
    probabilities: Mapping[str, float],
    predicted: str,
    label: str | None,
    problem_type: ProblemType = ProblemType.SINGLE_LABEL,
) -> list[Caveat]:
    """On a wrong prediction, and on one that could as well have been another.

    Args:
        probabilities: Of all classes that are known.
        predicted: The likeliest.
        label: True class, if known.
        problem_type: Whether the classes exclude each other.
    """
    if problem_type.independent:
        return _independent(probabilities, predicted, label)
    sentences = []
    if label is not None and label != predicted:
        wrong = gettext(
            "The model is wrong here: the true class is {label}, and the maps show what it went by, not "
            "what is so.",
            label=words.short(label),
        )
        sentences.append(caveat("wrong", wrong, gettext("the model is wrong")))
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:2]
    if len(ranked) == 2 and ranked[0][1] - ranked[1][1] < UNSURE:
        close = listed([f"{words.short(name)} ({percent(share)})" for name, share in ranked])
        unsure = gettext("The model is not sure: {classes} are close.", classes=close)
        sentences.append(caveat("unsure", unsure, gettext("not sure")))
    return sentences


def _independent(probabilities: Mapping[str, float], predicted: str, label: str | None) -> list[Caveat]:
    """On labels that are true or not one by one: several may be, or none."""
    found = predicted_labels(probabilities, ProblemType.MULTI_LABEL)
    sentences = []
    if label is not None and label in probabilities and label not in found:
        wrong = gettext(
            "The model is wrong here: it gives the true label {label} {share}, and the maps show what it "
            "went by, not what is so.",
            label=words.short(label),
            share=percent(probabilities[label]),
        )
        sentences.append(caveat("wrong", wrong, gettext("the model is wrong")))
    likeliest = gettext("None reaches 50%; the likeliest is {label}.", label=words.short(predicted))
    reached = gettext("At 50% or more: {labels}.", labels=_named([words.short(name) for name in found]))
    independent = gettext(
        "The labels are independent: each probability is one for itself, and they do not add up to 100%."
    )
    text = joined([independent, reached if found else likeliest])
    sentences.append(caveat("independent", text, gettext("independent labels")))
    near = [name for name, share in probabilities.items() if abs(share - 0.5) < UNSURE / 2]
    if near:
        labels = _named([f"{words.short(name)} ({percent(probabilities[name])})" for name in near])
        unsure = gettext(
            "The model is not sure of {labels}: a label counts as found from 50%.", labels=labels
        )
        sentences.append(caveat("unsure label", unsure, gettext("not sure of a label")))
    return sentences


def _named(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    first = gettext(", ").join(names[:LISTED])
    if len(names) <= LISTED:
        return first
    return gettext("{labels} and {n} more", labels=first, n=len(names) - LISTED)


def contrasts(maps: Iterable[str], one: Explanation) -> list[Caveat]:
    """On maps of one label against another, where both may be true."""
    if not one.problem_type.independent:
        return []
    return [
        Caveat(
            kind="contrast",
            text=gettext(
                "{name} is a difference of two logits: the map shows what tells the two labels apart, "
                "while both "
                "may be true, or neither.",
                name=words.short(name),
            ),
            short=gettext("a contrast of labels"),
        )
        for name in maps
        if name not in one.labels
    ]


def no_evidence(explanations: Mapping[str, Explanation]) -> list[Caveat]:
    """On maps that are zero everywhere."""
    return [
        zero_map(words.short(label), name if len(explanations) > 1 else None)
        for name, found in explanations.items()
        for label, values in found.maps.items()
        if not values.any()
    ]


def _nearly_constant(explanations: Mapping[str, Explanation]) -> Iterable[Caveat]:
    """On maps that are much the same everywhere."""
    for name, found in explanations.items():
        for label, values in found.maps.items():
            yield from nearly_constant(label, values, name if len(explanations) > 1 else None)


def nearly_constant(label: str, values: np.ndarray, method: str | None) -> list[Caveat]:
    """On a map that is much the same everywhere; the method is named where there are several."""
    short = gettext("nearly constant map")
    return [caveat("nearly constant", text, short) for text in words.near_constant(label, values, method)]


def squashed(sentences: Iterable[str]) -> list[Caveat]:
    """On an image whose aspect the preprocessing changed, see `xai.report.words.squashed`."""
    return [caveat("squashed", text, gettext("seen squashed")) for text in sentences]


def no_better(removal: Removal, method: str) -> Caveat:
    """On a map whose most relevant patches matter less than any; `method` in words."""
    text = gettext(
        "Removing the {n} patches that {method} calls most relevant for {label} lowers the score no more "
        "than removing as many random ones: this map is not supported by the model's output.",
        n=removal.removed,
        method=method,
        label=words.short(removal.target),
    )
    return caveat("unsupported", text, gettext("not supported by removal"))


def blind(size: tuple[int, int], box: Box, cropped: bool) -> list[Caveat]:
    """On what of the image the model never saw, and on what it saw beyond it."""
    left, top, right, bottom = box
    share = words.seen_share(size, box)
    sentences, said = [], percent(share)
    if cropped:
        text = gettext("The model was given a crop, {share} of the image; the rest had no say.", share=said)
        sentences.append(caveat("crop", text, gettext("a crop, {share} of the image", share=said)))
    elif share < WHOLE:
        sentences.append(caveat("cut", words.cut(share), gettext("{share} of the image seen", share=said)))
    if (right - left) * (bottom - top) * WHOLE > share * size[0] * size[1]:
        text = gettext("The model's view reaches beyond the image: patches at the edge hold padding.")
        sentences.append(caveat("padding", text, gettext("padding at the edge")))
    return sentences


def signs(explanations: Mapping[str, Explanation]) -> list[Caveat]:
    """On maps that speak for and against; a page's colour bars say it beside each map."""
    signed = [name for name, found in explanations.items() if ColourScale.of(found.maps.values()).signed]
    if not signed:
        return []
    if len(explanations) == 1:
        text = gettext("The map has two signs: orange speaks for the class, blue against it.")
    else:
        text = gettext(
            "The maps of {methods} have two signs: orange speaks for the class, blue against it.",
            methods=gettext(", ").join(signed),
        )
    return [caveat("signs", text, "")]


def _no_better(removal: Removal) -> bool:
    return removal.top >= float(np.mean(removal.random))


def zero_map(label: str, method: str | None) -> Caveat:
    """On a map that is zero everywhere; the method is named where there are several."""
    zero = (
        gettext("No evidence for {label}: the map is zero everywhere.", label=label)
        if method is None
        else gettext(
            "No evidence for {label} by {method}: the map is zero everywhere.", label=label, method=method
        )
    )
    text = joined([zero, gettext("That does not say that nothing is there.")])
    return caveat("zero", text, gettext("a map of zeros"))
