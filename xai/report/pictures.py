"""The two pictures drawn for every image: one class, and two classes compared."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from xai.core import Explanation, UsageError, nearest
from xai.report import words
from xai.report.canvas import Canvas, close_view
from xai.report.layout import Panel, arrange, compose
from xai.report.scale import Scale


def draw_class(explanation: Explanation, label: str) -> Figure:
    """Original, heatmap and overlay of one class.

    The colour scale is that of all classes explained, so pictures of the same image may be compared.

    Raises:
        UsageError: There is no map for `label`.
        DataError: A map holds NaN or infinity.
    """
    values = class_map(explanation, label)
    scale = Scale.of(explanation.maps.values())
    canvas = Canvas(explanation, close_view(explanation))
    unit = f"relevance for {words.short(label)}"
    panels = [
        Panel("original", Canvas(explanation).original),
        Panel("relevance", canvas.heatmap(values, scale), scale=scale, unit=unit, stamp=words.stamp(values)),
        Panel("overlay", canvas.overlay(values, scale), scale=scale, unit=unit, stamp=words.stamp(values)),
    ]
    others = [words.short(other) for other in explanation.maps if other != label]
    shared = (
        f" The scale is shared with {', '.join(others)}: equal colours mean equal relevance."
        if others
        else ""
    )
    caption = [
        f"{words.colours(scale, words.short(label))}{shared}",
        " ".join(words.conditions(explanation, canvas)),
        words.LIMITS,
        words.made_by(explanation),
    ]
    heading = f"{words.name(explanation)} · evidence for {words.titled(explanation, label)}"
    return compose(heading, words.verdict(explanation), arrange(panels, (3, 1)), caption)


def draw_comparison(explanation: Explanation, first: str, second: str) -> Figure:
    """Original, the overlays of two classes on one scale, their signed difference and their overlap.

    The difference is `first` − `second`.

    Raises:
        UsageError: There is no map for one of the two.
        DataError: A map holds NaN or infinity.
    """
    one, other = class_map(explanation, first), class_map(explanation, second)
    scale, difference_scale, overlap_scale = comparison_scales(explanation)
    difference = explanation.difference(first, second) * scale.limit
    overlap = explanation.overlap(first, second) * scale.limit
    canvas = Canvas(explanation, close_view(explanation))
    names = words.short(first), words.short(second)

    panels = [Panel("original", Canvas(explanation).original)]
    for label, values in ((first, one), (second, other)):
        title, unit = words.titled(explanation, label), f"relevance for {words.short(label)}"
        note = words.peak(values, scale)
        panels.append(Panel(title, canvas.overlay(values, scale), note, scale, unit, words.stamp(values)))
    for title, values, one_scale, note, unit in (
        ("difference", difference, difference_scale, f"{names[0]} − {names[1]}", words.sides(first, second)),
        ("overlap", overlap, overlap_scale, "the smaller of the two", "relevance that both share"),
    ):
        picture = canvas.overlay(values, one_scale)
        panels.append(Panel(title, picture, note, one_scale, unit, words.stamp(values, title)))
    caption = [
        "Both class maps share one scale: equal colours mean equal relevance, a pale map is weak evidence. "
        f"{words.colours(scale, 'the class')} Difference: orange where {names[0]} has more relevance, "
        f"blue where {names[1]} has more. Overlap: what speaks for both, so for neither of them alone.",
        " ".join(words.conditions(explanation, canvas)),
        words.LIMITS,
        words.made_by(explanation),
    ]
    heading = f"{words.name(explanation)} · {names[0]} and {names[1]} compared"
    return compose(heading, words.verdict(explanation), arrange(panels, (5, 3, 1)), caption)


def compared(explanation: Explanation) -> tuple[str, str]:
    """The two maps to compare: the first two; of two classes (real, fake) their difference is fake − real."""
    return in_order(list(explanation.maps), len(explanation.labels))


def in_order(names: Sequence[str], classes: int) -> tuple[str, str]:
    """The first two of these maps, of a model with so many classes, as `compared` puts them."""
    first, second = names[:2]
    return (second, first) if classes == 2 else (first, second)


def comparison_scales(explanation: Explanation) -> tuple[Scale, Scale, Scale]:
    """Scales of the class maps, of their difference and of their overlap, all in the same raw units."""
    scale = Scale.of(explanation.maps.values())
    # signed maps may differ by twice their limit
    return scale, Scale(scale.limit * (2 if scale.signed else 1), signed=True), Scale(scale.limit)


def class_map(explanation: Explanation, label: str) -> np.ndarray:
    """(rows, cols) map of a class, or an error that names the nearest class."""
    if label not in explanation.maps:
        raise UsageError(f"No map for class {label!r}.", nearest(label, explanation.maps))
    return explanation.maps[label]
