"""Charts as Vega-Lite specifications, for pages.

Whatever a user may have named stands in them as a value of the data (or of a scale's domain), never as a
field and never in an expression. Colours are the page's own CSS variables, so that the theme may change, and
paper be white, without drawing anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from typing import Any

from xai.core.errors import printable
from xai.core.language import gettext
from xai.report.figures.description import (
    PALETTE,
    Chart,
    CurveChart,
    Details,
    IntervalChart,
    MatrixChart,
    NamedRow,
    RankChart,
)

Spec = dict[str, Any]
Records = list[dict[str, Any]]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
ROW, CELL, TALL = 24, 40, 380  # pixels: a row of intervals, of a matrix; the plot of curves
LEAST_CELL, MOST_CELL, BESIDE = 90, 170, 200  # width of a matrix's cells, and of the names beside them
LANE, NAME = 11, 22  # between bars, and between the names of a diagram of ranks
CHARACTER = 6.8  # room for each character of a name beside a diagram of ranks
DOTTED = 24  # points of a curve up to which each has a dot
CHOSEN = "chosen"  # rows that the legend has switched on; none: all

# variables of benchmark.css; the values after the comma count where a specification stands alone
INK, QUIET, LINE, BACK = (
    "var(--chart-ink, #1c1f23)",
    "var(--chart-quiet, #5a6069)",
    "var(--chart-line, #dfe2e6)",
    "var(--chart-back, #ffffff)",
)
COLOURS = {name: f"var(--chart-{name}, {colour})" for name, colour in PALETTE.items()}
CONFIG: Spec = {
    "aria": False,  # one picture with one description; its numbers stand in the table beside it
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
        "domainColor": QUIET,
        "tickColor": QUIET,
        "gridColor": LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 240,
    },
    "text": {"fill": INK, "fontSize": 12},
}


@singledispatch
def vega_spec(chart: Chart) -> Spec:
    """A chart as a Vega-Lite specification with its data, as wide as its place in the page.

    `usermeta` is read by charts.js: `legend` ({param, entries} with `name`, `colour` and `dash` or `shape`),
    and in pixels `widest` and `narrowest`.
    """
    raise TypeError(f"No Vega-Lite specification of a {type(chart).__name__}.")


@vega_spec.register
def _(chart: IntervalChart) -> Spec:
    records, tips = _records(
        (
            {
                "row": row.label,
                "value": row.mean,
                "low": row.low,
                "high": row.high,
                "control": row.control,
                "colour": row.colour,
                "outcome": row.outcome.value,
            },
            (
                (gettext("method"), row.label),
                (gettext("mean"), row.number),
                (gettext("interval"), row.interval),
                (gettext("verdict"), row.verdict),
            ),
        )
        for row in chart.rows
    )
    axis = {"scale": {"zero": False}, "axis": {"tickCount": 7, "title": printable(chart.axis)}}
    at, ends = {"x": _number("value", **axis)}, {"x": _number("low", **axis), "x2": {"field": "high"}}
    rows, colour = {"y": _names(chart.rows), "tooltip": tips}, _nominal("colour", COLOURS)
    shape = _nominal("control", {False: "circle", True: "square"})
    points = {"fill": colour, "shape": shape, "size": {"value": 75}}
    layers = [
        _layer("rule", rows | ends | {"color": colour}, strokeWidth=2.5, tooltip=True),
        _layer("point", rows | at | points, filled=True, opacity=1, stroke=BACK, strokeWidth=1.2),
    ]
    if chart.reference is not None:
        chance: Records = [dict(zip(("low", "value", "high"), chart.reference, strict=True))]
        layers = [
            _layer("rect", ends, chance, fill=LINE, opacity=0.7),
            _layer("rule", at, chance, color=QUIET, strokeDash=[4, 3]),
            *layers,
        ]
    legend = [
        {"name": one.label, "colour": COLOURS[one.colour]} | ({"shape": "square"} if one.square else {})
        for one in chart.legend
    ]
    meta = {"legend": {"param": None, "entries": legend}}
    return _spec(chart, layers, ROW * len(chart.rows), data={"values": records}, usermeta=meta)


@vega_spec.register
def _(chart: CurveChart) -> Spec:
    share = printable(chart.along)
    records, tips = _records(
        (
            {
                "row": curve.label,
                "control": curve.control,
                "share": point.share,
                "value": point.mean,
                "low": point.low,
                "high": point.high,
            },
            (
                (gettext("method"), curve.label),
                (share, point.position),
                (gettext("mean"), point.number),
                (gettext("interval"), point.interval),
            ),
        )
        for curve in chart.curves
        for point in curve.points
    )
    axis = {"title": share, "format": ".0%", "grid": False, "tickCount": 6}
    along = {"x": _number("share", scale={"nice": False}, axis=axis)}
    up = {"scale": {"zero": False}, "axis": {"title": printable(chart.up)}}
    at, ends = {"y": _number("value", **up)}, {"y": _number("low", **up), "y2": {"field": "high"}}
    colour = _nominal("row", {curve.label: COLOURS[curve.colour] for curve in chart.curves})
    dash = _nominal("row", {curve.label: curve.dash or (1, 0) for curve in chart.curves})
    dots = max(len(curve.points) for curve in chart.curves) <= DOTTED
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    condition = [{"param": "near", "empty": False, "value": 1}, _hidden(0)]
    points = along | at | {"fill": colour, "tooltip": tips}
    points["opacity"] = {"condition": condition, "value": 0.9 if dots else 0}
    lines = along | at | {"stroke": colour, "strokeDash": dash, "opacity": _dimmed(1, 0.12)}
    layers = [
        _layer("area", along | ends | {"fill": colour, "opacity": _dimmed(0.13, 0.02)}, clip=True),
        _layer("line", lines, strokeWidth=2),
        _layer("point", points, filled=True, size=44, stroke=BACK, strokeWidth=1)
        | {"params": [{"name": "near", "select": near | {"fields": ["row", "share"]}}]},
    ]
    legend = [
        {"name": one.label, "colour": COLOURS[one.colour], "dash": one.dash or (1, 0)} for one in chart.curves
    ]
    return _spec(
        chart,
        layers,
        TALL,
        data={"values": records},
        params=[{"name": CHOSEN, "value": []}],
        usermeta={"legend": {"param": CHOSEN, "entries": legend}},
    )


@vega_spec.register
def _(chart: MatrixChart) -> Spec:
    """Colours of cells are as strong as their `fill`; orange under 0."""
    columns = [name for name, _ in chart.columns]
    records, tips = _records(
        (
            {
                "row": chart.rows[cell.row].label,
                "column": columns[cell.column],
                "value": cell.value,
                "colour": "unclear" if cell.fill is None else "same" if cell.fill >= 0 else "reversed",
                "strength": 0.25 if cell.fill is None and cell.text == "" else abs(cell.fill or 0.0),
                "text": cell.text,
                "detail": cell.detail,
            },
            cell.details,
        )
        for cell in chart.cells
    )
    heads = {"title": None, "orient": "top", "ticks": False, "domain": False, "labelAngle": 0}
    place = {"x": _text("column", scale={"domain": columns}, axis=heads), "y": _names(chart.rows)}
    faint = {"domain": [0, 1], "range": [0.03, 0.5]}
    face = {
        "fill": _nominal("colour", COLOURS),
        "fillOpacity": _number("strength", scale=faint, legend=None),
        "tooltip": tips,
    }
    two = any(cell.detail for cell in chart.cells)
    layers = [
        _layer("rect", place | face, stroke=BACK, strokeWidth=2),
        _layer("text", place | {"text": _text("text")}, fill=INK, dy=-7 if two else 0),
        _layer("text", place | {"text": _text("detail")}, fill=INK, fontSize=10.5, dy=8),
    ]
    room = {"widest": BESIDE + MOST_CELL * len(columns), "narrowest": BESIDE + LEAST_CELL * len(columns)}
    height = CELL * len(chart.rows)
    return _spec(chart, layers[: 2 + two], height, data={"values": records}, usermeta=room)


@vega_spec.register
def _(chart: RankChart) -> Spec:
    """Every name is joined to its place on the scale by an elbow."""
    low, high = chart.limits
    first = 14 + LANE * len(chart.bars) + 8  # of the names, under all bars
    height = first + chart.lanes * NAME
    exact, ranks = {"nice": False, "zero": False}, {"values": list(range(low, high + 1)), "format": "d"}
    axis = {"title": chart.axis, "orient": "top", "grid": False} | ranks
    across = {"scale": {"domain": [low, high]} | exact, "axis": axis}
    down = {"scale": {"domain": [0, height], "reverse": True} | exact, "axis": None}
    at, lane = {"x": _number("value", **across)}, {"y": _number("lane", **down)}
    sides = [chart.side(place) for place in range(len(chart.rows))]
    records, tips = _records(
        (
            {
                "row": row.label,
                "label": label,
                "value": row.rank,
                "lane": first + place * NAME + NAME / 2,
                "top": 0,
                "control": row.control,
                "left": left,
            },
            ((gettext("method"), row.label), (gettext("mean rank"), row.number)),
        )
        for row, (left, place, label) in zip(chart.rows, sides, strict=True)
    )
    layers: list[Spec] = []
    for control, left in ((False, True), (False, False), (True, True), (True, False)):
        mine = [one for one in records if (one["control"], one["left"]) == (control, left)]
        ink, edge = QUIET if control else INK, {"value": 0 if left else "width"}
        rule = {"color": ink, "strokeDash": [4, 3] if control else []}
        text = {"align": "right" if left else "left", "dx": -7 if left else 7, "fill": ink}
        layers += [
            _layer("rule", at | lane | {"y2": {"field": "top"}, "tooltip": tips}, mine, **rule),
            _layer("rule", at | lane | {"x2": edge, "tooltip": tips}, mine, **rule),
            _layer("text", {"x": edge} | lane | {"text": _text("label")}, mine, **text),
        ]
    layers += _bars(chart, across, lane)
    if chart.ruler is not None:
        length, name = chart.ruler
        ruler = [{"value": low, "high": low + length, "lane": height, "text": name}]
        ends = at | lane | {"x2": {"field": "high"}}
        layers += [
            _layer("rule", ends, ruler, color=COLOURS["joined"], strokeWidth=1.5),
            _layer("text", at | lane | {"text": _text("text")}, ruler, align="left", dy=12, fill=QUIET),
        ]
    room = [
        CHARACTER * max((len(label) for left, _, label in sides if left == side), default=0) + 10
        for side in (True, False)
    ]
    return _spec(chart, layers, height, usermeta={"narrowest": round(sum(room) + 240)})


def _bars(chart: RankChart, across: Spec, lane: Spec) -> list[Spec]:
    """A bar from the first to the last of its rows, with a dot at each of them."""
    ranks = [[chart.rows[place].rank for place in bar] for bar in chart.bars]
    records, tips = _records(
        (
            {"low": bar[0], "high": bar[-1], "lane": 14 + place * LANE},
            ((gettext("joins"), gettext("{n} methods that cannot be told apart", n=len(bar))),),
        )
        for place, bar in enumerate(ranks)
    )
    dots = [{"rank": rank, "lane": 14 + place * LANE} for place, bar in enumerate(ranks) for rank in bar]
    ends, bar = {"x": _number("low", **across), "x2": {"field": "high"}}, {"color": COLOURS["joined"]}
    dot = {"filled": True, "fill": COLOURS["joined"], "opacity": 1, "size": 36}
    return [
        _layer("rule", ends | lane | {"tooltip": tips}, records, **bar, strokeWidth=3.5, strokeCap="round"),
        _layer("point", {"x": _number("rank", **across)} | lane, dots, **dot),
    ]


def _layer(mark: str, encoding: Spec, records: Records | None = None, **style: Any) -> Spec:
    """Marks of one kind; of the chart's own data unless `records` are given."""
    layer = {"mark": {"type": mark, **style}, "encoding": encoding}
    return layer if records is None else {"data": {"values": records}, **layer}


def _number(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def _text(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "nominal", **more}


def _spec(chart: Chart, layers: Sequence[Spec], height: float, **more: Any) -> Spec:
    return {
        "$schema": SCHEMA,
        "description": printable(chart.alt),
        "config": CONFIG,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "height": height,
        "layer": list(layers),
    } | more


def _records(items: Iterable[tuple[dict[str, Any], Details]]) -> tuple[Records, list[Spec]]:
    """Data with what stands beside the pointer, under names fit to be read; and the tooltip that shows it."""
    records, fields = [], {}
    for content, details in items:
        records.append(content | dict(details))
        fields |= dict.fromkeys(name for name, _ in details)
    return records, [_text(name) for name in fields]


def _nominal(field: str, values: Mapping[Any, Any]) -> Spec:
    scale = {"domain": list(values), "range": list(values.values())}
    return _text(field, scale=scale, legend=None)


def _names(rows: Sequence[NamedRow]) -> Spec:
    """Rows by name, from the top, in this order."""
    axis = {"title": None, "ticks": False, "domain": False}
    return _text("row", scale={"domain": [row.label for row in rows]}, axis=axis)


def _dimmed(opacity: float, dimmed: float) -> Spec:
    return {"condition": _hidden(dimmed), "value": opacity}


def _hidden(opacity: float) -> Spec:
    """For methods that the legend has not switched on; controls stay. Names are compared as data."""
    test = f"length({CHOSEN}) && !datum.control && indexof({CHOSEN}, datum.row) < 0"
    return {"test": test, "value": opacity}
