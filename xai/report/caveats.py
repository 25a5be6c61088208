"""What a reader must know about one image before its maps are believed, in sentences."""

from collections.abc import Iterable, Mapping

import numpy as np

from xai.core import Explanation, ProblemType, predicted_labels
from xai.report import words
from xai.report.overlay import ColourScale
from xai.report.payload import Box, Removal
from xai.report.text import percent

UNSURE = 0.2  # difference of the two largest probabilities below which a model is not sure
SAID = 5  # labels named in a sentence
WHOLE = 0.999  # share of an image from which on nothing of it is left out


def caveats_of(
    rows: Mapping[str, Explanation], removals: Iterable[Removal] = (), controls: Iterable[str] = ()
) -> list[str]:
    """Sentences about one image, the most important first.

    Args:
        rows: Row → explanation, all of the same image.
        removals: What happened when the most relevant patches were removed.
        controls: Rows of which nothing is expected.
    """
    one, methods = (
        next(iter(rows.values())),
        {row: found for row, found in rows.items() if row not in controls},
    )
    return [
        *answer(one.probabilities, one.predicted, one.sample.label, one.problem_type),
        *contrasts(dict.fromkeys(label for found in rows.values() for label in found.maps), one),
        *no_evidence(methods),
        *(no_better(removal) for removal in removals if removal.row not in controls and _no_better(removal)),
        *blind(one.geometry.size, one.geometry.box, one.sample.box is not None),
        *words.squashed_for(one),
        *signs(methods),
    ]


def answer(
    probabilities: Mapping[str, float],
    predicted: str,
    label: str | None,
    problem_type: ProblemType = ProblemType.SINGLE_LABEL,
) -> list[str]:
    """On a wrong answer, and on one that could as well have been another.

    Args:
        probabilities: Of all classes that are known.
        predicted: The likeliest.
        label: True class, if known.
        problem_type: Whether the classes exclude each other.
    """
    if problem_type.independent:
        return _independent(probabilities, predicted, label)
    said = []
    if label is not None and label != predicted:
        said.append(
            f"The model is wrong here: the true class is {words.short(label)}, "
            f"and the maps show what it went by, not what is so."
        )
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:2]
    if len(ranked) == 2 and ranked[0][1] - ranked[1][1] < UNSURE:
        found = " and ".join(f"{words.short(name)} ({percent(share)})" for name, share in ranked)
        said.append(f"The model is not sure: {found} are close.")
    return said


def _independent(probabilities: Mapping[str, float], predicted: str, label: str | None) -> list[str]:
    """On labels that are true or not one by one: several may be, or none."""
    found = predicted_labels(probabilities, ProblemType.MULTI_LABEL)
    said = []
    if label is not None and label in probabilities and label not in found:
        said.append(
            f"The model is wrong here: it gives the true label {words.short(label)} "
            f"{percent(probabilities[label])}, and the maps show what it went by, not what is so."
        )
    names = ", ".join(words.short(name) for name in found[:SAID])
    more = f" and {len(found) - SAID} more" if len(found) > SAID else ""
    said.append(
        "The labels are independent: each probability is one for itself, and they do not add up to 100%. "
        + (
            f"At 50% or more: {names}{more}."
            if found
            else f"None reaches 50%; the likeliest is {words.short(predicted)}."
        )
    )
    near = [name for name, share in probabilities.items() if abs(share - 0.5) < UNSURE / 2]
    if near:
        shown = ", ".join(f"{words.short(name)} ({percent(probabilities[name])})" for name in near[:SAID])
        rest = f" and {len(near) - SAID} more" if len(near) > SAID else ""
        said.append(f"The model is not sure of {shown}{rest}: a label counts as found from 50%.")
    return said


def contrasts(maps: Iterable[str], one: Explanation) -> list[str]:
    """On maps of one label against another, where both may be true."""
    if not one.problem_type.independent:
        return []
    return [
        f"{words.short(name)} is a difference of two logits: the map shows what tells the two labels apart, "
        "while both may be true, or neither."
        for name in maps
        if name not in one.labels
    ]


def no_evidence(rows: Mapping[str, Explanation]) -> list[str]:
    """On maps that are zero everywhere."""
    return [
        f"No evidence for {words.short(label)}{_by(row, rows)}: the map is zero everywhere. "
        "That does not say that nothing is there."
        for row, found in rows.items()
        for label, values in found.maps.items()
        if not values.any()
    ]


def no_better(removal: Removal) -> str:
    """On a map whose most relevant patches matter less than any."""
    return (
        f"Removing the {removal.removed} patches that {removal.row} calls most relevant for "
        f"{words.short(removal.target)} lowers the score no more than removing as many random ones: "
        "this map is not supported by the model's answer."
    )


def blind(size: tuple[int, int], seen: Box, cropped: bool) -> list[str]:
    """On what of the image the model never saw, and on what it saw beyond it."""
    width, height = size
    left, top, right, bottom = seen
    across = max(0.0, min(right, width) - max(left, 0))
    down = max(0.0, min(bottom, height) - max(top, 0))
    share = across * down / (width * height)
    said = []
    if cropped:
        said.append(f"The model was given a crop, {percent(share)} of the image; the rest had no say.")
    elif share < WHOLE:
        said.append(
            f"The model saw {percent(share)} of the image; what its preprocessing cut off had no say."
        )
    if (right - left) * (bottom - top) * WHOLE > across * down:
        said.append("The model's view reaches beyond the image: patches at the edge hold padding.")
    return said


def signs(rows: Mapping[str, Explanation]) -> list[str]:
    """On maps that speak for and against."""
    signed = [row for row, found in rows.items() if ColourScale.of(found.maps.values()).signed]
    if not signed:
        return []
    whose = "The map has" if len(rows) == 1 else f"The maps of {', '.join(signed)} have"
    return [f"{whose} two signs: orange speaks for the class, blue against it."]


def _no_better(removal: Removal) -> bool:
    return removal.top >= float(np.mean(removal.random))


def _by(row: str, rows: Mapping[str, Explanation]) -> str:
    return f" by {row}" if len(rows) > 1 else ""
