"""Deletion, insertion and flipping curves of several methods, with the interval of the mean."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from xai.report.benchmark.chart import (
    CONTROL,
    NAME,
    SMALL,
    Axis,
    Chart,
    name_of,
    nothing_to_draw,
    widest,
)
from xai.report.layout import GREY, HAIRLINE, INK, MARGIN
from xai.report.text import height, number_format
from xai.stats import Band

WIDTH, TALL = 5.6, 3.9  # inches of the plot
SAMPLE = 0.5  # of a line in the legend
# searched for: 20 or more apart in CIELAB with each colour blindness, contrast of 3 or more to white
COLOURS = ("#055997", "#c14405", "#2f97ac", "#6d1a44", "#9759eb", "#c1826d", "#5905eb", "#6d0505")
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
DASHES = ((4, 1.6), (1.4, 1.2), (6, 1.5, 1.3, 1.5), (3, 3), (8, 2), (2, 2.4))
MARKED = 8  # markers on a line
CROWD = 12  # curves from which bands are fainter


def draw_curves(
    bands: Mapping[str, Band],
    title: str,
    *,
    controls: Collection[str] = (),
    x_label: str = "share of patches removed",
    y_label: str = "score",
    subheading: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Mean curves on one plot; the legend lists them as they lie, the highest mean first.

    Args:
        bands: Method → its mean curve.
        title: Stands above.
        controls: Methods drawn grey and dashed.
        x_label: What runs along.
        y_label: What runs up.
        subheading: Stands under the title.
        notes: Stand below.

    Raises:
        UsageError: There is no curve with a value.
    """
    known = {name: band for name, band in bands.items() if np.isfinite(band.mean).any()}
    if not known:
        raise nothing_to_draw(title)
    height_of = {name: _area(band) for name, band in known.items()}
    order = sorted(known, key=lambda name: -height_of[name])
    styles = _styles(list(known), controls)
    names = [name_of(name) for name in order]
    write = number_format(
        list(height_of.values()), [float(np.nanmedian(np.subtract(b.high, b.low))) for b in known.values()]
    )
    areas = [write(height_of[name]) for name in order]
    line = max(0.2, min(0.24, TALL / len(order)))
    tall = max(TALL, len(order) * line + 0.3)

    all_values = np.concatenate([np.ravel([b.low, b.mean, b.high]) for b in known.values()])
    start = MARGIN + 0.55
    legend = start + WIDTH + 0.3
    numbers = legend + SAMPLE + 0.12 + widest(names) + 0.25
    sheet = Chart(numbers + max(widest(areas, SMALL), widest(["mean"], SMALL)) - MARGIN)
    sheet.head(title, subheading or f"Mean of {_images(known)} images with 95 % intervals.")
    sheet.write([y_label], MARGIN, sheet.y, SMALL, colour=GREY, align="left")
    sheet.y += height(1, SMALL) + 0.08
    top, bottom = sheet.y, sheet.y + tall
    fractions = [fraction for band in known.values() for fraction in band.fractions]
    along = Axis(min(fractions), max(max(fractions), min(fractions) + 1e-9), start, start + WIDTH)
    up = Axis.around(all_values.tolist(), bottom, top)
    sheet.vertical_scale(up, start, start + WIDTH)
    sheet.horizontal_scale(along, top, bottom)
    opacity = 0.13 if len(known) <= CROWD else 0.07
    for place, name in enumerate(known):
        _curve(sheet, along, up, known[name], styles[name], place / len(known), opacity)
    sheet.line([start, start], [top, bottom], HAIRLINE, 0.8)
    sheet.text("mean", sheet.right, top + 0.08, SMALL, align="right", colour=GREY)
    for i, (name, label, area) in enumerate(zip(order, names, areas, strict=True)):
        y, style = top + 0.3 + i * line, styles[name]
        _line(sheet, [legend, legend + SAMPLE], [y, y], style)
        if style["marker"]:
            sheet.dot(legend + SAMPLE / 2, y, style["colour"], 5, style["marker"])
        colour = CONTROL if name in controls else INK
        sheet.text(label, legend + SAMPLE + 0.12, y, NAME, align="left", colour=colour)
        sheet.text(area, sheet.right, y, SMALL, align="right", colour=colour)
    sheet.y = bottom + 0.05 + height(1, SMALL)
    sheet.write([x_label], start + WIDTH / 2, sheet.y, SMALL, colour=GREY)
    sheet.y += height(1, SMALL)
    sheet.foot(
        [
            "Bands: bootstrap intervals of the mean at each point; they hold point by point. "
            "The legend lists the curves by their mean height, the highest first. Grey, dashed: controls.",
            *notes,
        ]
    )
    return sheet.finish()


def _area(band: Band) -> float:
    """Mean height: the trapezoid rule over the fractions given."""
    x, y = np.array(band.fractions), np.array(band.mean)
    span = x[-1] - x[0]
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / span) if span else float(y.mean())


def _styles(names: Sequence[str], controls: Collection[str]) -> dict[str, dict]:
    """Colour, dashes and marker of each method; equal names in equal order look alike."""
    styles, plain, grey = {}, 0, 0
    for name in names:
        if name in controls:
            shade = (CONTROL, "#9a9a9a", "#4d4d4d")[grey % 3]
            styles[name] = {"colour": shade, "dashes": DASHES[grey % len(DASHES)], "marker": ""}
            grey += 1
        else:
            second = plain // len(COLOURS)
            dashes = None if second == 0 else DASHES[(second - 1) % len(DASHES)]
            marker = MARKERS[(plain + second * 3) % len(MARKERS)]
            styles[name] = {"colour": COLOURS[plain % len(COLOURS)], "dashes": dashes, "marker": marker}
            plain += 1
    return styles


def _curve(
    sheet: Chart, along: Axis, up: Axis, band: Band, style: dict, phase: float, opacity: float
) -> None:
    x = np.array([along.at(fraction) for fraction in band.fractions])
    mean, low, high = (np.array([up.at(v) for v in values]) for values in (band.mean, band.low, band.high))
    sheet.area(x, low, high, style["colour"], opacity)
    _line(sheet, x.tolist(), mean.tolist(), style)
    if style["marker"]:
        # markers of different curves stand at different places, so that none hides another
        where = np.unique(np.rint((np.arange(MARKED) + phase) / MARKED * (len(x) - 1)).astype(int))
        for i in where[np.isfinite(mean[where])]:
            sheet.dot(float(x[i]), float(mean[i]), style["colour"], 5, style["marker"])


def _line(sheet: Chart, x: Sequence[float], y: Sequence[float], style: dict) -> None:
    dashes = "-" if style["dashes"] is None else (0, style["dashes"])
    sheet.line(x, y, style["colour"], 1.5, linestyle=dashes, zorder=3)


def _images(bands: Mapping[str, Band]) -> str:
    counts = {band.images for band in bands.values()}
    return str(counts.pop()) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
