"""The pictures drawn of explanations: a class, two compared, layer by layer, head by head, methods."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property

import numpy as np

from xai.core import Explanation, UsageError, nearest
from xai.core.language import gettext, joined
from xai.report import words
from xai.report.colours import ColourScale
from xai.report.layout import Panel, arrange, compose
from xai.report.overlay import DrawnImage, close_view
from xai.report.picture import Layer, Picture, Size
from xai.report.text import drawable_language
from xai.report.words import in_order

COLUMNS = 6  # of the layers panel; more layers start a new pair of rows
PIXELS = 2000  # width of a row of panels
TILE_GAP = 6  # pixels between the pictures of two heads
TILES = (160, 480)  # longest side of one head's picture, at the least and at the most


class ExplanationPictures:
    """The pictures of one explanation. What they share is made once, while this object lives.

    All pictures of one explanation have the colour scale of all classes explained, so they may be compared.
    """

    def __init__(self, explanation: Explanation):
        self._explanation = explanation
        self._overlays: dict[str, Layer] = {}

    @drawable_language()
    def attention(self, label: str) -> Picture:
        """Original, heatmap and overlay of one class; see `draw_class`."""
        explanation, scale = self._explanation, self._scales[0]
        values, unit = class_map(explanation, label), _unit(label)
        heatmap, stamp = heatmap_layer(self._image, values, scale), words.stamp(values)
        panels = [
            Panel(gettext("original"), self._original),
            Panel(gettext("relevance"), heatmap, scale=scale, unit=unit, stamp=stamp),
            Panel(gettext("overlay"), self._overlay(label), scale=scale, unit=unit, stamp=stamp),
        ]
        others = [words.short(other) for other in explanation.maps if other != label]
        shared = gettext(
            "The scale is shared with {classes}: equal colours mean equal relevance.",
            classes=gettext(", ").join(others),
        )
        caption = [
            joined([words.colours(scale, words.short(label)), shared if others else ""]),
            joined(words.conditions(explanation, self._image)),
            gettext(words.LIMITS),
            words.made_by(explanation),
        ]
        evidence = gettext("evidence for {label}", label=words.titled(explanation, label))
        heading = f"{words.name(explanation)} · {evidence}"
        return compose(heading, words.verdict(explanation), arrange(panels, (3, 1)), caption)

    @drawable_language()
    def comparison(self, first: str, second: str) -> Picture:
        """Original, two classes, their difference `first` − `second` and overlap; see `draw_comparison`."""
        explanation, image = self._explanation, self._image
        scale, difference_scale, overlap_scale = self._scales
        maps = {label: class_map(explanation, label) for label in (first, second)}
        difference = explanation.difference(first, second) * scale.limit
        overlap = explanation.overlap(first, second) * scale.limit
        names = words.short(first), words.short(second)

        panels = [Panel(gettext("original"), self._original)]
        for label, values in maps.items():
            title, unit = words.titled(explanation, label), _unit(label)
            note = words.peak(values, scale)
            panels.append(Panel(title, self._overlay(label), note, scale, unit, words.stamp(values)))
        panels += [
            Panel(
                gettext("difference"),
                overlay_layer(image, difference, difference_scale),
                f"{names[0]} − {names[1]}",
                difference_scale,
                words.sides(first, second),
                words.stamp(difference, "difference"),
            ),
            Panel(
                gettext("overlap"),
                overlay_layer(image, overlap, overlap_scale),
                gettext("the smaller of the two"),
                overlap_scale,
                gettext("relevance that both share"),
                words.stamp(overlap, "overlap"),
            ),
        ]
        difference_words = gettext(
            "Difference: orange where {first} has more relevance, blue where {second} has more. "
            "Overlap: what speaks for both, so for neither of them alone.",
            first=names[0],
            second=names[1],
        )
        shared = gettext(
            "Both class maps share one scale: equal colours mean equal relevance, "
            "a pale map is weak evidence."
        )
        caption = [
            joined([shared, words.colours(scale, gettext("the class")), difference_words]),
            joined(words.conditions(explanation, image)),
            gettext(words.LIMITS),
            words.made_by(explanation),
        ]
        subject = gettext("{first} and {second} compared", first=names[0], second=names[1])
        heading = f"{words.name(explanation)} · {subject}"
        return compose(heading, words.verdict(explanation), arrange(panels, (5, 3, 1)), caption)

    @cached_property
    def _scales(self) -> tuple[ColourScale, ColourScale, ColourScale]:
        return comparison_scales(self._explanation)

    @cached_property
    def _image(self) -> DrawnImage:
        return DrawnImage(self._explanation, close_view(self._explanation))

    @cached_property
    def _original(self) -> Layer:
        """All of the image, also where the maps show a crop enlarged."""
        return original_layer(self._image if self._image.view is None else replace(self._image, view=None))

    def _overlay(self, label: str) -> Layer:
        """Shown by two pictures and blended once, if they show it at one size."""
        if label not in self._overlays:
            layer = overlay_layer(self._image, class_map(self._explanation, label), self._scales[0])
            self._overlays[label] = Layer(layer.size, cache(layer.draw))
        return self._overlays[label]


def draw_class(explanation: Explanation, label: str) -> Picture:
    """Original, heatmap and overlay of one class.

    The colour scale is that of all classes explained, so pictures of the same image may be compared.

    Raises:
        UsageError: There is no map for `label`.
        DataError: A map holds NaN or infinity.
    """
    return ExplanationPictures(explanation).attention(label)


def draw_comparison(explanation: Explanation, first: str, second: str) -> Picture:
    """Original, the overlays of two classes on one scale, their signed difference and their overlap.

    The difference is `first` − `second`.

    Raises:
        UsageError: There is no map for one of the two.
        DataError: A map holds NaN or infinity.
    """
    return ExplanationPictures(explanation).comparison(first, second)


@drawable_language()
def draw_layers(explanations: Mapping[str, Explanation], label: str) -> Picture:
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
        Panel(words.short(title), heatmap_layer(image, values, scale), words.peak(values, scale))
        for title, values in maps.items()
    ]
    overlays = [
        Panel("", overlay_layer(image, values, scale), stamp=words.stamp(values)) for values in maps.values()
    ]
    rows = [
        panels[start : start + COLUMNS]
        for start in range(0, len(maps), COLUMNS)
        for panels in (heatmaps, overlays)
    ]
    shared = gettext(
        "All layers share one scale: equal colours mean equal relevance, a pale map is weak evidence."
    )
    caption = [
        joined([shared, words.colours(scale, words.short(label))]),
        joined(words.conditions(some, image)),
        words.made_by(some, without=("layers",)),
    ]
    subject = gettext("evidence for {label}, layer by layer", label=words.short(label))
    heading = f"{words.name(some)} · {subject}"
    return compose(heading, words.verdict(some), rows, caption, scale, _unit(label))


@drawable_language()
def draw_heads(
    explanation: Explanation, maps: Sequence[np.ndarray], layer_names: Sequence[str], label: str
) -> Picture:
    """One overlay for every attention head, a row for every layer, all on one scale.

    Args:
        explanation: The image, and what it was explained with.
        maps: Per layer (heads, rows, cols) relevance before any fusion.
        layer_names: One for each layer.
        label: The class whose maps are drawn.
    """
    scale = ColourScale.of(maps)
    most = max(map(len, maps))
    tile = min(max(PIXELS // most, TILES[0]), TILES[1])
    image = DrawnImage(explanation, close_view(explanation), tile)
    rows = [
        [
            Panel(
                gettext(
                    "{layer}: heads 0 to {last} from left to right",
                    layer=words.short(name),
                    last=len(layer) - 1,
                ),
                strip_layer(image, layer, scale, most),
            )
        ]
        for name, layer in zip(layer_names, maps, strict=True)
    ]
    shared = gettext("All heads share one scale: equal colours mean equal relevance.")
    caption = [
        joined([shared, words.colours(scale, words.short(label))]),
        joined(words.conditions(explanation, image)),
        words.made_by(explanation, without=("layers", "head_fusion", "layer_fusion", "clamp")),
    ]
    subject = gettext("evidence for {label}, head by head", label=words.short(label))
    heading = f"{words.name(explanation)} · {subject}"
    unit = _unit(label)
    return compose(heading, words.verdict(explanation), rows, caption, scale, unit)


@drawable_language()
def draw_methods(rows: Sequence[Mapping[str, Explanation]], label: str) -> Picture:
    """Images × methods. Every map has its own scale and colour bar: the units of methods differ.

    Args:
        rows: For each image, method name → explanation; the same methods in every row.
        label: The class whose maps are drawn.
    """
    methods = list(rows[0])
    longest = PIXELS // (len(methods) + 1)
    drawn: list[list[Panel]] = []
    conditions: list[str] = []
    signs: set[bool] = set()
    for i, row in enumerate(rows):
        some = next(iter(row.values()))
        image = DrawnImage(some, close_view(some), longest)
        of_image = "" if len(rows) == 1 else f", {words.name(some)}"
        drawn_maps = {
            f"{words.short(method)}{of_image}": replace(one, maps={label: class_map(one, label)})
            for method, one in row.items()
        }
        conditions += words.conditions(some, image, drawn_maps)
        note = f"{words.name(some)} · {words.titled(some, label)}"
        whole = original_layer(DrawnImage(some, longest=longest))
        panels = [Panel("" if i else gettext("original"), whole, note)]
        for method in methods:
            values = class_map(row[method], label)
            scale = ColourScale.of([values])
            signs.add(scale.signed)
            panels.append(
                Panel(
                    "" if i else words.short(method),
                    overlay_layer(image, values, scale),
                    scale=scale,
                    unit="" if i < len(rows) - 1 else gettext("relevance, own units"),
                    stamp=words.stamp(values),
                )
            )
        drawn.append(panels)
    caption = [
        gettext(
            "Each map has its own scale, up to its strongest patch, and its own colour bar: methods have "
            "units of their own. Compare where the evidence lies, not how strong the colours are."
        ),
        *(words.colours(ColourScale(1, signed), words.short(label)) for signed in sorted(signs)),
        joined(dict.fromkeys(conditions)),
        gettext(words.LIMITS),
        gettext("Methods: {methods}.", methods=gettext("; ").join(map(words.method, rows[0].values()))),
    ]
    heading = gettext("Evidence for {label} by {n} methods", label=words.short(label), n=len(methods))
    return compose(heading, "", drawn, caption)


def _unit(label: str) -> str:
    return gettext("relevance for {label}", label=words.short(label))


def compared(explanation: Explanation) -> tuple[str, str]:
    """The two maps to compare: the first two; of two classes (real, fake) their difference is fake − real."""
    first, second = in_order(list(explanation.maps), len(explanation.labels))[:2]
    return first, second


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


def original_layer(image: DrawnImage) -> Layer:
    """The image in its own colours."""
    return Layer(image.size, lambda size: image.at(size).original)


def heatmap_layer(image: DrawnImage, values: np.ndarray, scale: ColourScale) -> Layer:
    """A map alone."""
    return Layer(image.size, lambda size: image.at(size).heatmap(values, scale))


def overlay_layer(image: DrawnImage, values: np.ndarray, scale: ColourScale) -> Layer:
    """A map over the grey image."""
    return Layer(image.size, lambda size: image.at(size).overlay(values, scale))


def strip_layer(image: DrawnImage, maps: np.ndarray, scale: ColourScale, most: int) -> Layer:
    """Several maps over the grey image, side by side with a white gap.

    Args:
        image: One of them.
        maps: (maps, rows, cols).
        scale: Of all.
        most: Maps that the strip has room for.
    """
    width, height = image.size
    step = width + TILE_GAP
    long = step * most - TILE_GAP

    def draw(size: Size) -> np.ndarray:
        strip = np.full((height, long, 3), 255, np.uint8)
        for place, values in enumerate(maps):
            strip[:, place * step : place * step + width] = image.overlay(values, scale)
        return Layer.of(strip).draw(size)

    return Layer((long, height), draw)
