"""Maps of a survey, over the mean face where there is one: as small pictures, and all of them in one.

That one has a row for each method and frame, fake beside genuine, difference and spread.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from xai.core import DataError
from xai.core.language import gettext, ngettext
from xai.report.colours import ColourScale
from xai.report.encode import encode_picture, encode_pixels
from xai.report.survey import contrast_title, map_title, section_title
from xai.report.text import drawable, drawable_language, number
from xai.stats.survey import MapContrast, MeanMap, Survey, SurveySection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 160  # pixels of a map over a face
FAINTEST, STRONGEST = 0.15, 0.85  # opacity of no and of the strongest relevance over a face

SIDE, GAP, HEAD, SMALL = 1.4, 0.25, 0.95, 6.5  # inches; points
WRAPPED = 30  # characters of a title


@dataclass(frozen=True)
class Tile:
    """A map with what it says.

    Args:
        title: Of which images.
        note: How many, or what is measured.
        pixels: (height, width, 3) uint8: a pixel for each cell, or the map over the mean face.
        picture: The same as a data URI.
    """

    title: str
    note: str
    pixels: np.ndarray
    picture: str


@dataclass(frozen=True)
class Strip:
    """Maps on one scale.

    Args:
        title: What they have in common.
        low: The value of the first colour, as text.
        high: That of the last.
        bar: Data URI of the scale.
        tiles: In order.
    """

    title: str
    low: str
    high: str
    bar: str
    tiles: tuple[Tile, ...]


def strips(section: SurveySection, alpha: float) -> list[Strip]:
    """Mean maps by label, by answer, by both, by kind; their differences; their spread."""
    maps = section.maps
    groups = {
        gettext("By label") if any(one.label for one in maps) else gettext("Mean maps"): [
            one for one in maps if _asked(one) in ((), ("label",))
        ],
        gettext("By answer"): [one for one in maps if _asked(one) == ("predicted",)],
        gettext("By label and answer"): [one for one in maps if _asked(one) == ("label", "predicted")],
        gettext("By kind"): [one for one in maps if _asked(one) == ("kind",)],
    }
    found = []
    for title, some in groups.items():
        if some:
            scale = ColourScale.of(one.mean for one in some)
            tiles = [
                _tile(map_title(one), _images(one.images), one.mean, scale, section.backdrop) for one in some
            ]
            found.append(_strip(title, scale, tiles))
    if section.contrasts:
        found.insert(1, differences(section.contrasts, alpha, section.backdrop))
    spreads = [one for one in maps if _asked(one) in ((), ("label",)) and np.isfinite(one.spread).all()]
    if spreads:
        scale = ColourScale.of(one.spread for one in spreads)
        tiles = [
            _tile(map_title(one), gettext("spread"), one.spread, scale, section.backdrop) for one in spreads
        ]
        found.append(_strip(gettext("Spread over images (standard deviation)"), scale, tiles))
    return found


def differences(contrasts: Sequence[MapContrast], alpha: float, backdrop: str | None) -> Strip:
    """Differences of mean maps, each as it is and where it is significant."""
    scale = _symmetric(one.difference for one in contrasts)
    tiles = [tile for one in contrasts for tile in _contrast_tiles(one, scale, alpha, backdrop)]
    return _strip(gettext("Differences"), scale, tiles)


def map_picture(values: np.ndarray) -> str:
    """A map on its own scale, each cell a pixel, as a data URI."""
    return encode_pixels(_pixels(values, ColourScale.of([values]), None))


def _asked(one: MeanMap) -> tuple[str, ...]:
    return tuple(name for name in ("label", "predicted", "kind") if getattr(one, name) is not None)


def _strip(title: str, scale: ColourScale, tiles: Iterable[Tile]) -> Strip:
    low, high = scale.limits
    return Strip(
        title,
        number(low),
        number(high),
        encode_pixels((scale.ramp[None] * 255 + 0.5).astype(np.uint8)),
        tuple(tiles),
    )


def _symmetric(maps: Iterable[np.ndarray]) -> ColourScale:
    """Colours either side of 0, also where all differences have one sign, or there is none at all."""
    return ColourScale(float(max(np.abs(one).max() for one in maps)) or 1.0, signed=True)


def _contrast_tiles(
    one: MapContrast, scale: ColourScale, alpha: float, backdrop: str | None
) -> Iterator[Tile]:
    title = contrast_title(one)
    yield _tile(title, gettext("difference of the means"), one.difference, scale, backdrop)
    if one.p is not None:
        shown = np.where(one.p < alpha, one.difference, 0.0)
        note = gettext("where p < {alpha}, adjusted", alpha=f"{alpha:g}")
        yield _tile(title, note, shown, scale, backdrop)


def _tile(title: str, note: str, values: np.ndarray, scale: ColourScale, backdrop: str | None) -> Tile:
    pixels = _pixels(values, scale, backdrop)
    picture = encode_pixels(pixels) if backdrop is None else encode_picture(Image.fromarray(pixels), ACROSS)
    return Tile(title, note, pixels, picture)


def _pixels(values: np.ndarray, scale: ColourScale, backdrop: str | None) -> np.ndarray:
    if backdrop is None:
        return (scale.colours(values) * 255 + 0.5).astype(np.uint8)
    face = Image.open(BytesIO(b64decode(backdrop.partition(",")[2]))).convert("L")
    grey = np.asarray(face.resize((ACROSS, ACROSS), Image.Resampling.BICUBIC), np.float64)[..., None] / 255
    cells = Image.fromarray(values.astype(np.float32))
    smooth = np.asarray(cells.resize((ACROSS, ACROSS), Image.Resampling.BILINEAR))
    opacity = (FAINTEST + (STRONGEST - FAINTEST) * scale.strength(smooth))[..., None]
    mixed = grey * (1 - opacity) + scale.colours(smooth) * opacity
    return (mixed * 255 + 0.5).astype(np.uint8)


def _images(count: int) -> str:
    return ngettext("{n} image", "{n} images", count)


@drawable_language()
def survey_figure(survey: Survey) -> "Figure":
    """Mean maps by label, their differences and spread, each on the scale of its kind.

    Raises:
        DataError: No map has any relevance.
    """
    from matplotlib.figure import Figure

    rows = []
    for section in (one for one in survey.sections if one.maps):
        found = strips(section, survey.alpha)
        chosen = [(strip, tile) for strip in found[:2] for tile in strip.tiles]
        if len(found) > 2:
            chosen.append((found[-1], found[-1].tiles[0]))  # the spread of all
        rows.append((section_title(section), chosen))
    if not rows:
        raise DataError("No map has any relevance, so there is no mean to draw.")
    wide = max(len(tiles) for _, tiles in rows)
    width, height = wide * (SIDE + GAP) + GAP, len(rows) * (SIDE + HEAD) + 2 * GAP
    figure = Figure(figsize=(width, height), dpi=100)
    for row, (title, tiles) in enumerate(rows):
        top = height - GAP - row * (SIDE + HEAD)
        figure.text(GAP / width, top / height, drawable(title), size=9, weight="bold", va="top")
        for column, (strip, tile) in enumerate(tiles):
            left, bottom = GAP + column * (SIDE + GAP), top - 0.68 - SIDE
            axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            axes.imshow(tile.pixels, interpolation="nearest")
            axes.set_axis_off()
            lines = [line for text in (tile.title, tile.note) for line in wrap(drawable(text), WRAPPED)]
            axes.set_title("\n".join(lines), size=SMALL, pad=3)
            limits = f"{strip.low} … {strip.high}"
            axes.text(0.5, -0.03, limits, size=SMALL - 1, ha="center", va="top", transform=axes.transAxes)
    return figure
