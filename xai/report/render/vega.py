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
    along = {
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"tickCount": 7, "title": printable(chart.axis)},
    }
    colour = _nominal("colour", {key: _css(key) for key in PALETTE})
    rows, low, high = {"y": _names(chart.rows)}, {"field": "low", **along}, {"field": "high"}
    shape = _nominal("control", {False: "circle", True: "square"})
    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 2.5, "tooltip": True},
            "encoding": rows | {"x": low, "x2": high, "color": colour, "tooltip": tips},
        },
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "stroke": BACK, "strokeWidth": 1.2},
            "encoding": rows
            | {"x": {"field": "value", **along}, "fill": colour, "shape": shape}
            | {"size": {"value": 75}, "tooltip": tips},
        },
    ]
    if chart.reference is not None:
        data = {"values": [dict(zip(("low", "value", "high"), chart.reference, strict=True))]}
        band, dashed = {"x": low, "x2": high}, {"x": {"field": "value", **along}}
        layers = [
            {"data": data, "mark": {"type": "rect", "fill": LINE, "opacity": 0.7}, "encoding": band},
            {
                "data": data,
                "mark": {"type": "rule", "color": QUIET, "strokeDash": [4, 3]},
                "encoding": dashed,
            },
            *layers,
        ]
    legend = [
        {"name": one.label, "colour": _css(one.colour)} | ({"shape": "square"} if one.square else {})
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
    along = {
        "field": "share",
        "type": "quantitative",
        "scale": {"nice": False},
        "axis": {"title": share, "format": ".0%", "grid": False, "tickCount": 6},
    }
    up = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": printable(chart.up)}}
    at = {"x": along, "y": {"field": "value", **up}}
    band = {"y": {"field": "low", **up}, "y2": {"field": "high"}}
    colour = _nominal("row", {curve.label: _css(curve.colour) for curve in chart.curves})
    dash = _nominal("row", {curve.label: curve.dash or (1, 0) for curve in chart.curves})
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    dots = max(len(curve.points) for curve in chart.curves) <= DOTTED
    layers = [
        {
            "mark": {"type": "area", "clip": True},
            "encoding": {"x": along, "fill": colour, "opacity": _dimmed(0.13, 0.02)} | band,
        },
        {
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": at | {"stroke": colour, "strokeDash": dash, "opacity": _dimmed(1, 0.12)},
        },
        {
            "params": [{"name": "near", "select": near | {"fields": ["row", "share"]}}],
            "mark": {"type": "point", "filled": True, "size": 44, "stroke": BACK, "strokeWidth": 1},
            "encoding": at
            | {
                "fill": colour,
                "tooltip": tips,
                "opacity": {
                    "condition": [{"param": "near", "empty": False, "value": 1}, _hidden(0)],
                    "value": 0.9 if dots else 0,
                },
            },
        },
    ]
    legend = [
        {"name": one.label, "colour": _css(one.colour), "dash": one.dash or (1, 0)} for one in chart.curves
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
    place = {
        "x": {"field": "column", "type": "nominal", "scale": {"domain": columns}, "axis": heads},
        "y": _names(chart.rows),
    }
    strength = {
        "field": "strength",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": [0.03, 0.5]},
        "legend": None,
    }
    colour = _nominal("colour", {key: _css(key) for key in PALETTE})
    two = any(cell.detail for cell in chart.cells)
    layers = [
        {
            "mark": {"type": "rect", "stroke": BACK, "strokeWidth": 2},
            "encoding": place | {"fill": colour, "fillOpacity": strength, "tooltip": tips},
        },
        {
            "mark": {"type": "text", "fill": INK, "dy": -7 if two else 0},
            "encoding": place | {"text": {"field": "text", "type": "nominal"}},
        },
        {
            "mark": {"type": "text", "fill": INK, "fontSize": 10.5, "dy": 8},
            "encoding": place | {"text": {"field": "detail", "type": "nominal"}},
        },
    ]
    room = {"widest": BESIDE + MOST_CELL * len(columns), "narrowest": BESIDE + LEAST_CELL * len(columns)}
    height = CELL * len(chart.rows)
    return _spec(chart, layers[: 2 + two], height, data={"values": records}, usermeta=room)


@vega_spec.register
def _(chart: RankChart) -> Spec:
    low, high = chart.limits
    first = 14 + LANE * len(chart.bars) + 8  # of the names, under all bars
    height = first + chart.lanes * NAME
    exact = {"nice": False, "zero": False}
    ranks = {"orient": "top", "grid": False, "values": list(range(low, high + 1)), "format": "d"}
    along = {
        "type": "quantitative",
        "scale": {"domain": [low, high]} | exact,
        "axis": {"title": chart.axis} | ranks,
    }
    down = {
        "type": "quantitative",
        "scale": {"domain": [0, height], "reverse": True} | exact,
        "axis": None,
    }
    x, y = {"field": "value", **along}, {"field": "lane", **down}
    sides = [chart.side(place) for place in range(len(chart.rows))]
    records, tips = _records(
        (
            {
                "row": row.label,
                "label": label,
                "value": row.rank,
                "lane": first + lane * NAME + NAME / 2,
                "top": 0,
                "control": row.control,
                "left": left,
            },
            ((gettext("method"), row.label), (gettext("mean rank"), row.number)),
        )
        for row, (left, lane, label) in zip(chart.rows, sides, strict=True)
    )
    layers: list[Spec] = []
    for control, left in ((False, True), (False, False), (True, True), (True, False)):
        mine = [one for one in records if (one["control"], one["left"]) == (control, left)]
        ink, data, edge = QUIET if control else INK, {"values": mine}, {"value": 0 if left else "width"}
        rule = {"type": "rule", "color": ink, "strokeDash": [4, 3] if control else []}
        text = {"type": "text", "align": "right" if left else "left", "dx": -7 if left else 7, "fill": ink}
        label = {"field": "label", "type": "nominal"}
        layers += [
            {
                "data": data,
                "mark": rule,
                "encoding": {"x": x, "y": y, "y2": {"field": "top"}, "tooltip": tips},
            },
            {"data": data, "mark": rule, "encoding": {"x": x, "y": y, "x2": edge, "tooltip": tips}},
            {"data": data, "mark": text, "encoding": {"x": edge, "y": y, "text": label}},
        ]
    layers += _bars(chart, along, y)
    if chart.ruler is not None:
        length, name = chart.ruler
        data = {"values": [{"value": low, "high": low + length, "lane": height, "text": name}]}
        line, text = (
            {"type": "rule", "color": _css("joined"), "strokeWidth": 1.5},
            {"type": "text", "align": "left", "dy": 12, "fill": QUIET},
        )
        layers += [
            {"data": data, "mark": line, "encoding": {"x": x, "x2": {"field": "high"}, "y": y}},
            {
                "data": data,
                "mark": text,
                "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
            },
        ]
    room = [
        CHARACTER * max((len(label) for left, _, label in sides if left == side), default=0) + 10
        for side in (True, False)
    ]
    return _spec(chart, layers, height, usermeta={"narrowest": round(sum(room) + 240)})


def _bars(chart: RankChart, along: Spec, y: Spec) -> list[Spec]:
    """A bar from the first to the last of its rows, with a dot at each of them."""
    ranks = [[chart.rows[place].rank for place in bar] for bar in chart.bars]
    lanes = [14 + place * LANE for place in range(len(ranks))]
    records, tips = _records(
        (
            {"low": bar[0], "high": bar[-1], "lane": lane},
            ((gettext("joins"), gettext("{n} methods that cannot be told apart", n=len(bar))),),
        )
        for bar, lane in zip(ranks, lanes, strict=True)
    )
    dots = [{"rank": rank, "lane": lane} for bar, lane in zip(ranks, lanes, strict=True) for rank in bar]
    colour = _css("joined")
    return [
        {
            "data": {"values": records},
            "mark": {"type": "rule", "color": colour, "strokeWidth": 3.5, "strokeCap": "round"},
            "encoding": {"x": {"field": "low", **along}, "x2": {"field": "high"}, "y": y, "tooltip": tips},
        },
        {
            "data": {"values": dots},
            "mark": {"type": "point", "filled": True, "fill": colour, "opacity": 1, "size": 36},
            "encoding": {"x": {"field": "rank", **along}, "y": y},
        },
    ]


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
    return records, [{"field": name, "type": "nominal"} for name in fields]


def _nominal(field: str, values: Mapping[Any, Any]) -> Spec:
    scale = {"domain": list(values), "range": list(values.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _names(rows: Sequence[NamedRow]) -> Spec:
    """Rows by name, from the top, in this order."""
    return {
        "field": "row",
        "type": "nominal",
        "scale": {"domain": [row.label for row in rows]},
        "axis": {"title": None, "ticks": False, "domain": False},
    }


def _css(colour: str) -> str:
    return f"var(--chart-{colour}, {PALETTE[colour]})"


def _dimmed(opacity: float, dimmed: float) -> Spec:
    return {"condition": _hidden(dimmed), "value": opacity}


def _hidden(opacity: float) -> Spec:
    """For methods that the legend has not switched on; controls stay. Names are compared as data."""
    test = f"length({CHOSEN}) && !datum.control && indexof({CHOSEN}, datum.row) < 0"
    return {"test": test, "value": opacity}
