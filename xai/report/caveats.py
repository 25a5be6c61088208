"""What a reader must know about one image before its maps are believed, in sentences."""

from collections.abc import Iterable, Mapping

import numpy as np

from xai.core import Explanation
from xai.report import words
from xai.report.payload import Box, Removal
from xai.report.scale import Scale
from xai.report.text import percent

UNSURE = 0.2  # difference of the two largest probabilities below which a model is not sure
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
        *answer(one.probabilities, one.predicted, one.sample.label),
        *no_evidence(methods),
        *(no_better(removal) for removal in removals if removal.row not in controls and _no_better(removal)),
        *blind(one.geometry.size, one.geometry.box, one.sample.box is not None),
        *words.squashed_for(one),
        *signs(methods),
    ]


def answer(probabilities: Mapping[str, float], predicted: str, label: str | None) -> list[str]:
    """On a wrong answer, and on one that could as well have been another."""
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
    signed = [row for row, found in rows.items() if Scale.of(found.maps.values()).signed]
    if not signed:
        return []
    whose = "The map has" if len(rows) == 1 else f"The maps of {', '.join(signed)} have"
    return [f"{whose} two signs: orange speaks for the class, blue against it."]


def _no_better(removal: Removal) -> bool:
    return removal.top >= float(np.mean(removal.random))


def _by(row: str, rows: Mapping[str, Explanation]) -> str:
    return f" by {row}" if len(rows) > 1 else ""
