"""Panels of many maps: layer by layer, head by head, method beside method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from xai.core import Explanation
from xai.report import words
from xai.report.canvas import Canvas, close_view
from xai.report.layout import Panel, compose
from xai.report.pictures import class_map
from xai.report.scale import Scale

COLUMNS = 6  # of the layers panel; more layers start a new pair of rows
PIXELS = 2000  # width of a row of panels
TILES = (160, 480)  # longest side of one head's picture, at the least and at the most


def draw_layers(explanations: Mapping[str, Explanation], label: str) -> Figure:
    """Heatmap and overlay for every layer or choice of layers, all on one scale.

    Args:
        explanations: Title → the same image explained with those layers only.
        label: The class whose maps are drawn.
    """
    maps = {title: class_map(explanation, label) for title, explanation in explanations.items()}
    scale = Scale.of(maps.values())
    some = next(iter(explanations.values()))
    canvas = Canvas(some, close_view(some), PIXELS // min(len(maps), COLUMNS))
    heatmaps = [
        Panel(words.short(title), canvas.heatmap(values, scale), words.peak(values, scale))
        for title, values in maps.items()
    ]
    overlays = [
        Panel("", canvas.overlay(values, scale), stamp=words.stamp(values)) for values in maps.values()
    ]
    rows = [
        panels[start : start + COLUMNS]
        for start in range(0, len(maps), COLUMNS)
        for panels in (heatmaps, overlays)
    ]
    caption = [
        "All layers share one scale: equal colours mean equal relevance, a pale map is weak evidence. "
        f"{words.colours(scale, words.short(label))}",
        " ".join(words.conditions(some, canvas)),
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
    scale = Scale.of(maps)
    tile = min(max(PIXELS // maps.shape[1], TILES[0]), TILES[1])
    canvas = Canvas(explanation, close_view(explanation), tile)
    heads = f"heads 0 to {maps.shape[1] - 1} from left to right"
    rows = [
        [Panel(f"{words.short(name)}: {heads}", _strip([canvas.overlay(head, scale) for head in layer]))]
        for name, layer in zip(layer_names, maps, strict=True)
    ]
    caption = [
        "All heads share one scale: equal colours mean equal relevance. "
        f"{words.colours(scale, words.short(label))}",
        " ".join(words.conditions(explanation, canvas)),
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
        canvas = Canvas(some, close_view(some), longest)
        said += words.conditions(some, canvas)
        note = f"{words.name(some)} · {words.titled(some, label)}"
        panels = [Panel("" if i else "original", Canvas(some, longest=longest).original, note)]
        for method in methods:
            values = class_map(row[method], label)
            scale = Scale.of([values])
            signs.add(scale.signed)
            panels.append(
                Panel(
                    "" if i else words.short(method),
                    canvas.overlay(values, scale),
                    scale=scale,
                    unit="" if i < len(rows) - 1 else "relevance, own units",
                    stamp=words.stamp(values),
                )
            )
        drawn.append(panels)
    caption = [
        "Each map has its own scale, up to its strongest patch, and its own colour bar: methods have units "
        "of their own. Compare where the evidence lies, not how strong the colours are.",
        *(words.colours(Scale(1, signed), words.short(label)) for signed in sorted(signs)),
        " ".join(dict.fromkeys(said)),
        words.LIMITS,
        "Methods: " + "; ".join(words.method(explanation) for explanation in rows[0].values()) + ".",
    ]
    return compose(f"Evidence for {words.short(label)} by {len(methods)} methods", "", drawn, caption)


def _strip(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures side by side with a white gap."""
    gap = np.full((tiles[0].shape[0], 6, 3), 255, np.uint8)
    return np.hstack([part for tile in tiles for part in (gap, tile)][1:])
