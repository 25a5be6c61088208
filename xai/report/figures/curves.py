"""Deletion, insertion, flipping and randomisation curves of several methods, with intervals of the mean."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from statistics import median

from xai.core.language import gettext, ngettext
from xai.report.figures.description import (
    CONTROLS,
    CURVES,
    CurveChart,
    CurvePoint,
    MeanCurve,
    named_rows,
    nothing_to_draw,
)
from xai.report.text import number_format, percent
from xai.stats import Band

MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
DASHES = ((4, 2), (1.5, 1.5), (6, 2, 1.5, 2), (3, 3), (8, 2), (2, 3))


def curve_chart(
    bands: Mapping[str, Band],
    title: str,
    *,
    controls: Collection[str] = (),
    x_label: str = "",
    y_label: str = "",
    subheading: str = "",
    alpha: float = 0.05,
    notes: Sequence[str] = (),
) -> CurveChart:
    """Mean curves on one plot, listed as they lie, the highest mean first.

    Args:
        bands: Method → its mean curve.
        title: Stands above.
        controls: Methods drawn grey and dashed.
        x_label: What runs along; default: the share of patches removed.
        y_label: What runs up; default: score.
        subheading: Stands under the title.
        alpha: The intervals cover 1 − alpha.
        notes: Stand below.

    Raises:
        UsageError: There is no curve with a value.
    """
    known = {name: band for name, band in bands.items() if any(map(isfinite, band.mean))}
    if not known:
        raise nothing_to_draw(title)
    heights = {name: _height(band) for name, band in known.items()}
    spread = [median(_widths(band) or [0.0]) for band in known.values()]
    write = number_format(list(heights.values()), spread)
    named, styles = named_rows(known, controls), _styles(known, controls)
    curves = [
        MeanCurve(
            label=named[name].label,
            control=named[name].control,
            points=_points(band),
            height=write(heights[name]),
            colour=styles[name][0],
            dash=styles[name][1],
            marker=styles[name][2],
        )
        for name, band in sorted(known.items(), key=lambda item: -heights[item[0]])
    ]
    along, banded = x_label or gettext("share of patches removed"), _banded(known.values())
    return CurveChart(
        title=title,
        subheading=subheading or _subheading(known.values(), alpha),
        alt=gettext(
            "{title}: mean curves of {n} methods with their intervals, along the {share}.",
            title=title,
            n=len(curves),
            share=along,
        )
        if banded
        else gettext(
            "{title}: mean curves of {n} methods, along the {share}.", title=title, n=len(curves), share=along
        ),
        notes=(
            gettext(
                "Bands: bootstrap intervals of the mean at each point; they hold point by point. The legend "
                "lists the curves by their mean height, the highest first. Grey, dashed: controls."
            )
            if banded
            else gettext(
                "The legend lists the curves by their mean height, the highest first. Grey, dashed: controls."
            ),
            *notes,
        ),
        along=along,
        up=y_label or gettext("score"),
        curves=tuple(curves),
        height=gettext("mean"),
    )


def _banded(bands: Collection[Band]) -> bool:
    """Whether any curve has an interval."""
    return any(map(_widths, bands))


def _subheading(bands: Collection[Band], alpha: float) -> str:
    if not _banded(bands):
        most = max(band.images for band in bands)
        return ngettext("Mean of {n} image.", "Mean of {n} images.", most, n=_images(bands))
    level = f"{100 * (1 - alpha):g} %"
    return gettext("Mean of {n} images with {level} intervals.", n=_images(bands), level=level)


def _points(band: Band) -> tuple[CurvePoint, ...]:
    known = [p for p in zip(band.fractions, band.mean, band.low, band.high, strict=True) if isfinite(p[1])]
    write = number_format([mean for _, mean, _, _ in known], _widths(band))
    points = []
    for share, mean, low, high in known:
        known_interval = isfinite(low) and isfinite(high)
        interval = f"{write(low)} … {write(high)}" if known_interval else ""
        ends = (low, high) if known_interval else (mean, mean)
        points.append(CurvePoint(share, mean, *ends, percent(share), write(mean), interval))
    return tuple(points)


def _widths(band: Band) -> list[float]:
    widths = [high - low for low, high in zip(band.low, band.high, strict=True)]
    return [width for width in widths if isfinite(width)]


def _height(band: Band) -> float:
    """Mean height: the trapezoid rule over the points that are known."""
    known = [(x, y) for x, y in zip(band.fractions, band.mean, strict=True) if isfinite(y)]
    span = known[-1][0] - known[0][0]
    if not span:
        return sum(y for _, y in known) / len(known)
    return sum((one[1] + other[1]) / 2 * (other[0] - one[0]) for one, other in pairwise(known)) / span


def _styles(
    names: Collection[str], controls: Collection[str]
) -> dict[str, tuple[str, tuple[float, ...], str]]:
    """Colour, dashes and marker of each; equal names in equal order look alike, whatever their curves.

    Methods are solid while colours last; controls are grey and dashed and have no markers.
    """
    styles, plain, grey = {}, 0, 0
    colours, greys = list(CURVES), list(CONTROLS)
    for name in names:
        if name in controls:
            styles[name] = greys[grey % len(greys)], DASHES[grey % len(DASHES)], ""
            grey += 1
        else:
            again = plain // len(colours)
            dash = DASHES[(again - 1) % len(DASHES)] if again else ()
            styles[name] = colours[plain % len(colours)], dash, MARKERS[(plain + again * 3) % len(MARKERS)]
            plain += 1
    return styles


def _images(bands: Collection[Band]) -> str:
    least, most = min(band.images for band in bands), max(band.images for band in bands)
    return str(least) if least == most else gettext("{least} to {most}", least=least, most=most)
