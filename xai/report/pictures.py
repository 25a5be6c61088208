"""The pictures drawn of explanations: a class, two compared, layer by layer, head by head, methods."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from xai.core import Explanation, UsageError, nearest
from xai.report import words
from xai.report.layout import Panel, arrange, compose
from xai.report.overlay import ColourScale, DrawnImage, close_view

COLUMNS = 6  # of the layers panel; more layers start a new pair of rows
PIXELS = 2000  # width of a row of panels
TILES = (160, 480)  # longest side of one head's picture, at the least and at the most


def draw_class(explanation: Explanation, label: str) -> Figure:
    """Original, heatmap and overlay of one class.

    The colour scale is that of all classes explained, so pictures of the same image may be compared.

    Raises:
        UsageError: There is no map for `label`.
        DataError: A map holds NaN or infinity.
    """
    values = class_map(explanation, label)
    scale = ColourScale.of(explanation.maps.values())
    image = DrawnImage(explanation, close_view(explanation))
    unit = f"relevance for {words.short(label)}"
    panels = [
        Panel("original", DrawnImage(explanation).original),
        Panel("relevance", image.heatmap(values, scale), scale=scale, unit=unit, stamp=words.stamp(values)),
        Panel("overlay", image.overlay(values, scale), scale=scale, unit=unit, stamp=words.stamp(values)),
    ]
    others = [words.short(other) for other in explanation.maps if other != label]
    shared = (
        f" The scale is shared with {', '.join(others)}: equal colours mean equal relevance."
        if others
        else ""
    )
    caption = [
        f"{words.colours(scale, words.short(label))}{shared}",
        " ".join(words.conditions(explanation, image)),
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
    image = DrawnImage(explanation, close_view(explanation))
    names = words.short(first), words.short(second)

    panels = [Panel("original", DrawnImage(explanation).original)]
    for label, values in ((first, one), (second, other)):
        title, unit = words.titled(explanation, label), f"relevance for {words.short(label)}"
        note = words.peak(values, scale)
        panels.append(Panel(title, image.overlay(values, scale), note, scale, unit, words.stamp(values)))
    for title, values, one_scale, note, unit in (
        ("difference", difference, difference_scale, f"{names[0]} − {names[1]}", words.sides(first, second)),
        ("overlap", overlap, overlap_scale, "the smaller of the two", "relevance that both share"),
    ):
        picture = image.overlay(values, one_scale)
        panels.append(Panel(title, picture, note, one_scale, unit, words.stamp(values, title)))
    caption = [
        "Both class maps share one scale: equal colours mean equal relevance, a pale map is weak evidence. "
        f"{words.colours(scale, 'the class')} Difference: orange where {names[0]} has more relevance, "
        f"blue where {names[1]} has more. Overlap: what speaks for both, so for neither of them alone.",
        " ".join(words.conditions(explanation, image)),
        words.LIMITS,
        words.made_by(explanation),
    ]
    heading = f"{words.name(explanation)} · {names[0]} and {names[1]} compared"
    return compose(heading, words.verdict(explanation), arrange(panels, (5, 3, 1)), caption)


def draw_layers(explanations: Mapping[str, Explanation], label: str) -> Figure:
    """Heatmap and overlay for every layer or choice of layers, all on one scale.

    Args:
        explanations: Title → the same image explained with those layers only.
        label: The class whose maps are drawn.
    """
    maps = {title: class_map(explanation, label) for title, explanation in explanations.items()}
    scale = ColourScale.of(maps.values())
    some = next(iter(explanations.values()))
    image = DrawnImage(some, close_view(some), PIXELS // min(len(maps), COLUMNS))
    heatmaps = [
        Panel(words.short(title), image.heatmap(values, scale), words.peak(values, scale))
        for title, values in maps.items()
    ]
    overlays = [
        Panel("", image.overlay(values, scale), stamp=words.stamp(values)) for values in maps.values()
    ]
    rows = [
        panels[start : start + COLUMNS]
        for start in range(0, len(maps), COLUMNS)
        for panels in (heatmaps, overlays)
    ]
    caption = [
        "All layers share one scale: equal colours mean equal relevance, a pale map is weak evidence. "
        f"{words.colours(scale, words.short(label))}",
        " ".join(words.conditions(some, image)),
        words.made_by(some, without=("layers",)),
    ]
    heading = f"{words.name(some)} · evidence for {words.short(label)}, layer by layer"
    return compose(heading, words.verdict(some), rows, caption, scale, f"relevance for {words.short(label)}")


def draw_heads(explanation: Explanation, maps: np.ndarray, layer_names: Sequence[str], label: str) -> Figure:
    """One overlay for every attention head, a row for every layer, all on one scale.

    Args:
        explanation: The image, and what it was explained with.
        maps: (layers, heads, rows, cols) relevance before any fusion.
        layer_names: One for each layer.
        label: The class whose maps are drawn.
    """
    scale = ColourScale.of(maps)
    tile = min(max(PIXELS // maps.shape[1], TILES[0]), TILES[1])
    image = DrawnImage(explanation, close_view(explanation), tile)
    heads = f"heads 0 to {maps.shape[1] - 1} from left to right"
    rows = [
        [Panel(f"{words.short(name)}: {heads}", _strip([image.overlay(head, scale) for head in layer]))]
        for name, layer in zip(layer_names, maps, strict=True)
    ]
    caption = [
        "All heads share one scale: equal colours mean equal relevance. "
        f"{words.colours(scale, words.short(label))}",
        " ".join(words.conditions(explanation, image)),
        words.made_by(explanation, without=("layers", "head_fusion", "layer_fusion", "clamp")),
    ]
    heading = f"{words.name(explanation)} · evidence for {words.short(label)}, head by head"
    unit = f"relevance for {words.short(label)}"
    return compose(heading, words.verdict(explanation), rows, caption, scale, unit)


def draw_methods(rows: Sequence[Mapping[str, Explanation]], label: str) -> Figure:
    """Images × methods. Every map has its own scale and colour bar: the units of methods differ.

    Args:
        rows: For each image, method name → explanation; the same methods in every row.
        label: The class whose maps are drawn.
    """
    methods = list(rows[0])
    longest = PIXELS // (len(methods) + 1)
    drawn: list[list[Panel]] = []
    said: list[str] = []
    signs: set[bool] = set()
    for i, row in enumerate(rows):
        some = next(iter(row.values()))
        image = DrawnImage(some, close_view(some), longest)
        said += words.conditions(some, image)
        note = f"{words.name(some)} · {words.titled(some, label)}"
        panels = [Panel("" if i else "original", DrawnImage(some, longest=longest).original, note)]
        for method in methods:
            values = class_map(row[method], label)
            scale = ColourScale.of([values])
            signs.add(scale.signed)
            panels.append(
                Panel(
                    "" if i else words.short(method),
                    image.overlay(values, scale),
                    scale=scale,
                    unit="" if i < len(rows) - 1 else "relevance, own units",
                    stamp=words.stamp(values),
                )
            )
        drawn.append(panels)
    caption = [
        "Each map has its own scale, up to its strongest patch, and its own colour bar: methods have units "
        "of their own. Compare where the evidence lies, not how strong the colours are.",
        *(words.colours(ColourScale(1, signed), words.short(label)) for signed in sorted(signs)),
        " ".join(dict.fromkeys(said)),
        words.LIMITS,
        "Methods: " + "; ".join(words.method(explanation) for explanation in rows[0].values()) + ".",
    ]
    return compose(f"Evidence for {words.short(label)} by {len(methods)} methods", "", drawn, caption)


def compared(explanation: Explanation) -> tuple[str, str]:
    """The two maps to compare: the first two; of two classes (real, fake) their difference is fake − real."""
    return in_order(list(explanation.maps), len(explanation.labels))


def in_order(names: Sequence[str], classes: int) -> tuple[str, str]:
    """The first two of these maps, of a model with so many classes, as `compared` puts them."""
    first, second = names[:2]
    return (second, first) if classes == 2 else (first, second)


def comparison_scales(explanation: Explanation) -> tuple[ColourScale, ColourScale, ColourScale]:
    """Scales of the class maps, of their difference and of their overlap, all in the same raw units."""
    scale = ColourScale.of(explanation.maps.values())
    # signed maps may differ by twice their limit
    return scale, ColourScale(scale.limit * (2 if scale.signed else 1), signed=True), ColourScale(scale.limit)


def class_map(explanation: Explanation, label: str) -> np.ndarray:
    """(rows, cols) map of a class, or an error that names the nearest class."""
    if label not in explanation.maps:
        raise UsageError(f"No map for class {label!r}.", nearest(label, explanation.maps))
    return explanation.maps[label]


def _strip(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures side by side with a white gap."""
    gap = np.full((tiles[0].shape[0], 6, 3), 255, np.uint8)
    return np.hstack([part for tile in tiles for part in (gap, tile)][1:])
